"""A training step of this project and of TRL: time, memory and padding, on the same ids.

``python -m benchmarks.training.compare_trl``: one workload in float32 and, where the processor
has it, bfloat16; about 25 minutes on two CPU cores. ``--workload W1/4`` takes about 10, ``--tune``
about 15 more, once. TRL is 1.16.0, in an environment of its own (``--peer_python``): its
``DPOTrainer`` for DPO and EXO, its experimental ``ORPOTrainer`` for ORPO.

Both sides load one folder of weights and one file of ids, train the same weights (adapters on every
linear layer but the head, without dropout, or all of them) from the same values in the same dtype
with the same AdamW, and step over the same pairs in the same order. Each measurement is a process
of its own; the order is ours, TRL, TRL, ours, ...; a ratio is of two neighbours. Step times run
from end to end, loops and collating included; three steps over the same pairs come before. The
reference's log-probs are there before on both sides, so a step is that of the policy. Both run with
what ``--tune`` found fastest for them. Ours keeps the memory that a step frees for the next one, as
a run does (``policy/kernels/allocator.py``), which TRL leaves to the C library.

Nothing counts unless loss and gradient norm of a first step agree: in float32, for bfloat16 too,
the relative difference is at most 1e-5, and DPO starts at ln 2 (``equality.py``, also for what
bfloat16 may round and for how the two definitions of ORPO's NLL are compared).

``--masked`` hides a share of the responses from our loss; TRL has no such thing, steps over the
same pairs, and the gate is without it. Writes ``benchmarks/results/training-<row>.json``.
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import PEER_PYTHON
from benchmarks.report.record import RESULTS, save, setting, spread
from benchmarks.training.equality import TOLERANCE, gate
from benchmarks.training.runner import BATCHINGS, Bench, How, Result, Row, dtypes_here, opened
from benchmarks.training.tuning import tune, tuned
from benchmarks.training.workloads import Workload
from preflexor_pl.cli.entry import quiet_libraries

SIDES = "ours", "trl"


def compare(
    bench: Bench, row: Row, hows: dict[str, How], steps: int, repeats: int
) -> list[dict[str, Result]]:
    """Both sides, ``repeats`` times, in the order ours, TRL, TRL, ours, ..."""
    made: list[dict[str, Result]] = []
    for repeat in range(repeats):
        order = SIDES if repeat % 2 == 0 else SIDES[::-1]
        both = {side: bench.run(side, row, hows[side], steps) for side in order}
        made.append({side: both[side] for side in SIDES})
        shown = {name: round(value, 2) for name, value in ratios(both).items()}
        print(f"{row.name} {repeat + 1}/{repeats}: {shown}", flush=True)
    return made


def ratios(both: dict[str, Result]) -> dict[str, float]:
    """How much faster ours is, and what share of TRL's memory it takes."""
    ours, trl = both["ours"], both["trl"]
    return {
        "speed": sum(trl["seconds"]) / sum(ours["seconds"]),
        "memory": ours["peak MB"] / trl["peak MB"],
    }


def summary(repeats: Sequence[dict[str, Result]]) -> dict[str, Any]:
    """Medians and spreads over the repeats."""
    each = [ratios(both) for both in repeats]
    shown = "pairs/s", "useful tokens/s", "peak MB", "padding"
    return {
        "TRL's time / ours": spread([one["speed"] for one in each]),
        "our memory / TRL's": spread([one["memory"] for one in each]),
        **{
            side: {name: spread([both[side][name] for both in repeats]) for name in shown}
            for side in SIDES
        },
    }


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", nargs="+", default=["W2/2"], help="W1, W1/4, 9+9+9")
    parser.add_argument("--loss", nargs="+", default=["dpo"], choices=["dpo", "exo", "orpo"])
    parser.add_argument("--dtype", nargs="+", choices=list(TOLERANCE), help="both by default")
    parser.add_argument("--rank", type=int, default=16, help="of adapters; 0: all weights train")
    parser.add_argument("--pairs_per_step", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="timed, after three that are not")
    parser.add_argument("--repeats", type=int, default=5, help="of both sides")
    parser.add_argument("--ours", default="packed", choices=BATCHINGS)
    parser.add_argument("--masked", type=float, default=0.0, help="share of responses, ours only")
    parser.add_argument("--rows", action="store_true", help="marker rows train too, ours only")
    parser.add_argument("--tune", action="store_true", help="find each side's fastest way first")
    parser.add_argument("--model", help="a folder or hub id; the packaged one by default")
    parser.add_argument("--peer_python", type=Path, default=PEER_PYTHON)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def rows_of(options: argparse.Namespace) -> list[Row]:
    """Every combination that was asked for."""
    dtypes = options.dtype or dtypes_here(options.rank)
    return [
        Row(Workload.named(workload), loss, dtype, options.rank, options.pairs_per_step)
        for workload, loss, dtype in itertools.product(options.workload, options.loss, dtypes)
    ]


def measure(bench: Bench, row: Row, options: argparse.Namespace) -> None:
    """One row: tune where that was asked for, pass the gate, compare, write."""
    if options.tune:
        tune(bench, row, options.ours, options.out)
    hows = tuned(row, options.ours, options.out)
    extra = {"masked": options.masked, "rows": options.rows}
    hows["ours"] |= extra
    passed = gate(bench, row, hows)
    print(f"{row.name}: the first step agrees: {passed}", flush=True)
    repeats = compare(bench, row, hows, options.steps, options.repeats)
    changed = [f"masked {options.masked}"] * bool(options.masked) + ["rows"] * options.rows
    result = setting("torch", "transformers", "peft", "lightning") | {
        "row": ", ".join([row.name, options.ours, *changed]),
        "pairs a step": row.pairs_per_step,
        "tokens of each pair": row.workload.lengths(options.steps * row.pairs_per_step),
        "how": hows,
        "gate": passed,
        **summary(repeats),
        "repeats": repeats,
    }
    result["versions"]["trl"] = repeats[0]["trl"]["versions"]["trl"]
    name = "-".join(["training", row.slug, options.ours, *changed]).replace(" ", "-")
    save(name, result, options.out)
    print({name: result[name] for name in ("TRL's time / ours", "our memory / TRL's")}, flush=True)


def main() -> None:
    """Measure every row."""
    options = parsed()
    quiet_libraries()
    rows = rows_of(options)
    with opened(options.model, options.peer_python) as bench:
        for row in rows:
            measure(bench, row, options)


if __name__ == "__main__":
    main()
