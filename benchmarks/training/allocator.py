"""Time and memory of a CPU step without glibc's lists of small freed blocks, as under ``make fit``.

``python -m benchmarks.training.allocator``, on Linux; about 10 minutes on two CPU cores. When a
tensor takes part of a large free block, the remainder goes into these lists (glibc's tcache) and
from there to small objects that live until backward, so the block never becomes whole again. Our
steps are measured without and with ``GLIBC_TUNABLES``, each in its own process, in the order
without, with, with, without.

Writes ``results/allocator.json``.
"""

import argparse
import os

from benchmarks.report.record import in_turn, save, setting, spread
from benchmarks.training.runner import OURS, Bench, Result, Row, add_options, opened
from benchmarks.training.workloads import Workload
from preflexor_pl.cli.entry import quiet_libraries

NAME, VALUE = "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"
WAYS = "without", "with"


def measure(bench: Bench, row: Row, way: str, steps: int) -> Result:
    """Our steps with the variable set, or without it."""
    os.environ.pop(NAME, None)
    if way == "with":
        os.environ[NAME] = VALUE
    how = OURS | {"attention": "sdpa", "budget": 2048, "batching": "packed"}
    result = bench.run("ours", row, how, steps)
    print(f"{row.name} {way}: {result['seconds']} s, {result['peak MB']} MB", flush=True)
    return result


def compare(repeats: list[dict[str, Result]]) -> dict[str, dict[str, float]]:
    """Time and peak memory with the variable over those without it, and both peaks."""
    seconds = [sum(both["with"]["seconds"]) / sum(both["without"]["seconds"]) for both in repeats]
    peaks = {way: [both[way]["peak MB"] for both in repeats] for way in WAYS}
    memory = [less / usual for less, usual in zip(peaks["with"], peaks["without"], strict=True)]
    return {
        "time": spread(seconds),
        "memory": spread(memory),
        **{f"peak MB {way}": spread(peaks[way]) for way in WAYS},
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", default=["W2/2 dpo", "W1/4 orpo"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--pairs_per_step", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2, help="of both ways")
    add_options(parser, "steps", "model", "out")
    options = parser.parse_args()
    quiet_libraries()
    made = {}
    with opened(options.model) as bench:
        for name in options.rows:
            workload, loss = name.split()
            row = Row(Workload.named(workload), loss, options.dtype, 16, options.pairs_per_step)
            repeats = [
                {way: measure(bench, row, way, options.steps) for way in in_turn(WAYS, n)}
                for n in range(options.repeats)
            ]
            made[row.name] = compare(repeats) | {"repeats": repeats}
    result = setting("torch", "transformers", "peft", "lightning") | {"rows": made}
    save("allocator", result, options.out)


if __name__ == "__main__":
    main()
