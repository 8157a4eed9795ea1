"""CorpusGraph compared with hnswlib, faiss and exact search: recall, queries per second, memory.

``make bench-retrieval`` or ``python -m benchmarks.retrieval.compare``, about 10 minutes on one
core; the first time 10 more, to embed the sentences. faiss is in ``.venv-peers``.

20,000 vectors of real sentences (``sentences.py``) and 1,000 queries, which are other sentences;
the 10 nearest are searched, with all queries at once and one at a time. Each measurement of a side
has one thread and a fresh process, which builds the index and searches it (``sides.py``). The order
is that of the sides, then backwards, so a machine that becomes slower favours none. A ratio
compares two runs of one pass. HNSW indexes are compared at the same ef, that of CorpusGraph.

Writes ``results/retrieval.json``.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.processes import PEER_PYTHON, run_module
from benchmarks.report.record import RESULTS, save, setting, spread
from benchmarks.retrieval.sentences import sentence_vectors
from benchmarks.retrieval.sides import EF, LINKS, SIDES, K
from preflexor_pl.cli.entry import quiet_libraries
from preflexor_pl.core.progress import stage

VECTORS, QUERIES = 20_000, 1_000
OURS, RAW = "CorpusGraph", "hnswlib"
TARGETS = {"recall@10": 0.99, "queries/s of hnswlib's": 0.9}
SPEEDS = "queries/s together", "queries/s one at a time"


def prepare(path: Path, rows: np.ndarray, queries: np.ndarray) -> None:
    """Write the input of a side: [N, D], [Q, D], and [Q] the similarity of the 10th neighbour."""
    blocks = (query[None] @ rows.T for query in queries)  # [1, N]
    tenth = np.concatenate([np.partition(similar, -K, axis=1)[:, -K] for similar in blocks])
    np.savez(path, rows=rows, queries=queries, tenth=tenth)


def run(side: str, path: Path) -> dict[str, Any]:
    """The measurement of a side in a fresh process."""
    python = PEER_PYTHON if SIDES[side].package == "faiss-cpu" else sys.executable
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    made: dict[str, Any] = run_module(
        "retrieval.sides", side, str(path), python=python, environment=threads
    )
    return made


def at_ef(made: dict[str, Any]) -> dict[str, float]:
    """The search of a side at the ef at which sides are compared."""
    [found] = [one for one in made["searches"] if one["ef"] in (0, EF)]
    return found


def ratios(passes: Sequence[dict[str, dict[str, Any]]], other: str) -> dict[str, Any]:
    """Ours / another side's: queries per second (above 1: ours is faster), time to build."""
    pairs = [(made[OURS], made[other]) for made in passes]
    speeds = {s: spread([at_ef(a)[s] / at_ef(b)[s] for a, b in pairs]) for s in SPEEDS}
    built = [a["build seconds"] / b["build seconds"] for a, b in pairs if at_ef(b)["ef"]]
    return speeds | ({"build seconds": spread(built)} if built else {})


def summary(passes: Sequence[dict[str, dict[str, Any]]], side: str) -> dict[str, Any]:
    """Medians of a side over all passes; for recall the minimum."""
    mine = [made[side] for made in passes]
    sizes = ("build seconds", "MB", "MB at the peak of the build")
    searches = []
    for each in zip(*(one["searches"] for one in mine), strict=True):
        speeds = {name: median(one[name] for one in each) for name in SPEEDS}
        recall = min(one["recall@10"] for one in each)
        searches.append({"ef": each[0]["ef"], "recall@10": recall} | speeds)
    return {name: median(one[name] for one in mine) for name in sizes} | {"searches": searches}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=VECTORS)
    parser.add_argument("--repeats", type=int, default=3, help="of the sides, both directions")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not PEER_PYTHON.exists():
        raise SystemExit(f"error: no {PEER_PYTHON}: `make venv-peers` makes it")
    quiet_libraries()
    rows, name = sentence_vectors(VECTORS + QUERIES)
    order = [*SIDES, *reversed(SIDES)] * options.repeats
    made: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, stage("sides", len(order)) as progress:
        path = Path(folder) / "vectors.npz"
        prepare(path, rows[: options.vectors], rows[VECTORS:])
        for side in order:
            made.append(run(side, path))
            progress.advance()
    count = len(SIDES)
    passes = [
        dict(zip(order[n : n + count], made[n : n + count], strict=True))
        for n in range(0, len(order), count)
    ]
    result = setting("numpy", "hnswlib") | {"vectors": options.vectors, "dimension": rows.shape[1]}
    result["versions"]["faiss-cpu"] = passes[0]["faiss HNSW"]["version"]
    result |= {"of": name, "queries": QUERIES, "k": K, "threads": 1, "ef": EF, "links": LINKS}
    result |= {
        "targets": TARGETS,
        "recall@10": summary(passes, OURS)["searches"][0]["recall@10"],
        f"{OURS} / others": {side: ratios(passes, side) for side in SIDES if side != OURS},
        "sides": {side: summary(passes, side) for side in SIDES},
        "passes": passes,
    }
    save("retrieval", result, options.out)
    print(json.dumps({key: result[key] for key in ("recall@10", f"{OURS} / others")}, indent=1))


if __name__ == "__main__":
    main()
