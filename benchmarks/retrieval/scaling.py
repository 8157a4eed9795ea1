"""Growth of CorpusGraph: build time, queries per second and memory for 1,000 to 200,000 vectors.

``python -m benchmarks.retrieval.scaling``, about half an hour on one core, and 4 GB;
``--sizes 1000 20000`` for fewer. Up to 20,000 the vectors are those of real sentences
(``sentences.py``). The rest are synthetic: a random real vector plus as much noise, normalised
again, which makes clusters around the real ones. The queries are 1,000 other sentences.

Each size runs in a fresh process (``sides.py``). An exponent is the slope of a straight line
through the logarithms, by least squares, over the sizes that are not searched exhaustively: time or
memory grows as vectors ** exponent.

Writes ``results/retrieval-scaling.json``.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report.record import RESULTS, exponent, save, setting
from benchmarks.retrieval.compare import OURS, QUERIES, SPEEDS, VECTORS, at_ef, prepare, run
from benchmarks.retrieval.sentences import sentence_vectors
from benchmarks.retrieval.sides import EF, LINKS, K
from preflexor_pl.cli.entry import quiet_libraries
from preflexor_pl.core.progress import stage
from preflexor_pl.corpus.hnsw_index import EXACT_NODES

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)


def vectors(real: np.ndarray, count: int) -> np.ndarray:
    """[count, D]: the first real vectors, and synthetic ones if there are too few."""
    rng = np.random.default_rng(0)
    missing = max(0, count - len(real))
    noise = rng.standard_normal((missing, real.shape[1]), dtype=np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    made = real[rng.integers(len(real), size=missing)] + noise
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return np.concatenate([real[:count], made])


def exponents(points: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Exponent of each quantity; empty if there are fewer than two sizes to fit."""
    fitted = [point for point in points if point["vectors"] > EXACT_NODES]
    if len(fitted) < 2:
        return {}
    sizes = [point["vectors"] for point in fitted]
    made = {name: [point[name] for point in fitted] for name in ("build seconds", "MB")}
    made |= {f"seconds a query, {s[10:]}": [1 / point[s] for point in fitted] for s in SPEEDS}
    return {name: exponent(sizes, values) for name, values in made.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    rows, name = sentence_vectors(VECTORS + QUERIES)
    points: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, stage("sizes", len(options.sizes)) as progress:
        for size in options.sizes:
            path = Path(folder) / "vectors.npz"
            prepare(path, vectors(rows[:VECTORS], size), rows[VECTORS:])
            made = run(OURS, path)
            found = {name: value for name, value in at_ef(made).items() if name != "ef"}
            sizes = {name: made[name] for name in ("build seconds", "MB")}
            peak = made["MB at the peak of the build"]
            points.append({"vectors": size} | sizes | {"MB at the peak of the build": peak} | found)
            progress.advance()
    result = setting("numpy", "hnswlib") | {"dimension": rows.shape[1], "queries": QUERIES, "k": K}
    result |= {"of": name, "real at most": VECTORS, "threads": 1, "ef": EF, "links": LINKS}
    result |= {"exponents": exponents(points), "sizes": points}
    save("retrieval-scaling", result, options.out)
    print(json.dumps({"exponents": result["exponents"], "sizes": points}, indent=1))


if __name__ == "__main__":
    main()
