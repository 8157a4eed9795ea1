"""Our step compared with TRL's on a card: Lightning's loop and TRL's own, each in its own process.

Processes, equality check and ratios are those of ``training/compare_trl.py``; the search for
options is shorter: TRL's micro-batch and autocast, and our token budget. Both sides use sdpa,
because eager attention is slower on a card. Budget and autocast of the first row serve all rows.
Each row is measured in the order ours, TRL, TRL, ours, and all rows again while time is left.
"""

import math
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu.flops import Shape, useful_flops, utilisation
from benchmarks.gpu.job import Job
from benchmarks.random_model import config_of
from benchmarks.report.record import spread
from benchmarks.training.compare_trl import compare, summary
from benchmarks.training.equality import check_equality
from benchmarks.training.layouts import RANK
from benchmarks.training.runner import OURS, Bench, How, Result, Row
from benchmarks.training.tuning import fastest
from benchmarks.training.workloads import Workload

AT_ONCE = 2  # repeats, so that each side is first once

Ways = dict[str, Any]  # options of each side, and every trial


def measure(job: Job) -> None:
    """Compare DPO on each workload and ORPO on the first, repeatedly."""
    missing = _missing(Path(job.peer_python))
    if missing:
        job.keep("peer", "skipped", missing)
        return
    names = [(name, "dpo") for name in job.sizes.workloads] + [(job.sizes.workloads[0], "orpo")]
    pairs = job.sizes.pairs_per_step
    rows = [Row(Workload.named(name), loss, "bfloat16", RANK, pairs) for name, loss in names]
    ways: dict[str, Ways] = {}
    failed: list[str] = []
    made: dict[str, list[dict[str, Result]]] = {row.name: [] for row in rows}
    with _bench(job) as bench:
        while any(len(made[row.name]) < job.sizes.repeats for row in rows):
            for row in list(rows):
                if job.over():
                    rows.clear()
                    break
                try:
                    if row.name not in ways:
                        ways[row.name] = tuned(bench, row, job, next(iter(ways.values()), None))
                        ways[row.name]["gate"] = check_equality(bench, row, ways[row.name]["how"])
                    how = ways[row.name]["how"]
                    made[row.name] += compare(bench, row, how, job.sizes.steps, AT_ONCE)
                except SystemExit as error:  # the sides differ, or one that failed
                    before = made[row.name]
                    so_far = result_of(row, ways[row.name], before, job) if before else {}
                    job.keep("peer", row.name, so_far | {"failed": str(error)})
                    rows.remove(row)
                    failed.append(row.name)
                    continue
                job.keep("peer", row.name, result_of(row, ways[row.name], made[row.name], job))
    if failed:
        raise SystemExit(f"error: {', '.join(failed)}: see the result file")


def _missing(python: Path) -> str:
    """Why the peer is missing; "" if it is there."""
    if not python.exists():
        return f"no {python}: run `make venv-peers` or give --peer_python"
    tried = subprocess.run([str(python), "-c", "import trl"], capture_output=True, text=True)
    return f"{python}: {tried.stderr.strip()[-300:]}" if tried.returncode else ""


@contextmanager
def _bench(job: Job) -> Iterator[Bench]:
    with TemporaryDirectory() as folder:
        vocabulary = config_of(job.shape).vocab_size
        yield Bench(Path(job.model), vocabulary, Path(folder), Path(job.peer_python))


def tuned(bench: Bench, row: Row, job: Job, before: Ways | None) -> Ways:
    """The fastest options of each side, and every trial.

    Args:
        bench: runs the sides.
        row: pairs, loss and trained weights.
        job: has the micro-batches and budgets to try.
        before: result for another row, whose budget and autocast are used.
    """
    autocast = [before["how"]["trl"]["autocast"]] if before else [False, True]
    free: dict[str, dict[str, list[Any]]] = {
        "trl": {"attention": ["sdpa"], "micro": [*job.sizes.micros], "autocast": autocast},
    }
    found: Ways = {"how": {}, "tried": {}}
    if before:
        found["how"]["ours"] = before["how"]["ours"]
    else:
        budgets = [*job.sizes.budgets]
        free["ours"] = {"attention": ["sdpa"], "budget": budgets, "batching": ["packed"]}
    for side, choices in free.items():
        best, tried = fastest(partial(_seconds, bench, row, job.sizes.steps, side), choices)
        if not any(math.isfinite(one["seconds"]) for one in tried):
            raise SystemExit(f"error: {side}: out of memory with all options")
        found["how"][side] = OURS | best if side == "ours" else best
        found["tried"][side] = [
            one if math.isfinite(one["seconds"]) else one | {"seconds": "out of memory"}
            for one in tried
        ]
    return found


def _seconds(bench: Bench, row: Row, steps: int, side: str, way: How) -> float:
    """Seconds of the steps that will be timed; infinite if they do not fit in memory."""
    took = math.inf
    try:
        how = OURS | way if side == "ours" else way
        took = round(sum(bench.run(side, row, how, steps, warm_up=1)["seconds"]), 3)
    except SystemExit as error:
        if "out of memory" not in str(error).lower():
            raise
    print(f"{row.name} {side} {way}: {took} s", flush=True)
    return took


def result_of(row: Row, ways: Ways, made: list[dict[str, Result]], job: Job) -> Result:
    """Ratios, results of each side, and our share of the card's peak."""
    pairs, steps = row.pairs_per_step, job.sizes.steps
    lengths = row.workload.lengths(steps * pairs)
    flops = useful_flops(Shape.of(config_of(job.shape)), lengths, row.rank)
    shares = [
        utilisation(flops, sum(one["ours"]["seconds"]), one["ours"]["device"]) for one in made
    ]
    return {
        **summary(made),
        "our useful-FLOP MFU": spread([s for s in shares if s]) if all(shares) else "unknown card",
        "pairs a step": pairs,
        **ways,
        "repeats": made,
    }
