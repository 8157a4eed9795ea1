"""Growth of the time to make a round with its number of pairs.

``python -m benchmarks.rounds.scaling``, about 6 minutes on two CPU cores.

The rounds are those of ``batching.py``: over the sample corpus, with the packaged model as teacher
and policy, in float32 and greedy, up to 48 texts in a batch. Each size has its own run, whose index
is built before the time starts. The exponent is the slope of a straight line through the
logarithms: 1 is linear.

Writes ``results/rounds-scaling.json``.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.report.record import RESULTS, exponent, save, setting
from benchmarks.rounds.batching import BATCH, in_rounds, prepare
from preflexor_pl.cli.entry import quiet_libraries


def measure(pairs: int) -> dict[str, Any]:
    """Time and size of one round of ``pairs``."""
    with tempfile.TemporaryDirectory() as name:
        rounds = prepare(Path(name), pairs)
        rounds.library.search("Why is silk tough?", 1)
        seconds, texts = in_rounds(rounds, pairs)
    return {
        "pairs": pairs,
        "seconds": round(seconds, 2),
        "pairs/s": round(pairs / seconds, 4),
        "texts": len(texts),
        "tokens": sum(text.completion.tokens for text in texts),
    }


def main() -> None:
    """Measure each size, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="+", type=int, default=[2, 4, 8, 16, 32])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    measure(1)  # warm-up: what a process does once
    made = []
    for pairs in options.pairs:
        made.append(measure(pairs))
        print(made[-1], flush=True)
    grows = {}
    if len(set(options.pairs)) > 1:
        grows = {"seconds": exponent(options.pairs, [one["seconds"] for one in made])}
    result = setting("torch", "transformers", "peft") | {
        "texts in a batch": BATCH,
        "exponents": grows,
        "sizes": made,
    }
    save("rounds-scaling", result, options.out)
    print(grows)


if __name__ == "__main__":
    main()
