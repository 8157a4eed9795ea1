"""A training step of this project and of TRL on the same ids: time, memory, padding.

``python -m benchmarks.training.compare_trl``: one workload in float32 and, where the processor
computes in it, bfloat16; about 25 minutes on two CPU cores. ``--workload W1/4`` takes about 10,
``--tune`` about 15 more, once. TRL is 1.16.0 in its own environment (``--peer_python``): its
``DPOTrainer`` for DPO and EXO, its experimental ``ORPOTrainer`` for ORPO.

Both sides load the same weights and the same file of ids. They train the same parameters (adapters
without dropout on every linear layer but the head, or all weights) from the same values in the same
dtype with the same AdamW, and step over the same pairs in the same order. Each measurement runs in
its own process, in the order ours, TRL, TRL, ours; a ratio compares two neighbours. The time of a
step includes loop and collation; three warm-up steps over the same pairs come first. Both sides
have the reference's log-probs beforehand, so a step is that of the policy. Both run with the
options that ``--tune`` found fastest for them. Ours keeps freed memory for the next step, as a run
does (``policy/kernels/allocator.py``); TRL leaves that to the C library.

No time counts unless loss and gradient norm of the first step agree: in float32, for bfloat16 too,
the relative difference is at most 1e-5, and DPO starts at ln 2. ``equality.py`` says what bfloat16
may differ by and how the two definitions of ORPO's NLL are compared.

``--masked`` excludes a share of each response from our loss. TRL cannot, so it steps over the same
pairs unmasked, and the equality check has no mask. Writes ``results/training-<row>.json``.
"""

import argparse
import itertools
from collections.abc import Sequence
from typing import Any

from benchmarks.report.record import in_turn, save, setting, spread
from benchmarks.training.equality import TOLERANCE, check_equality
from benchmarks.training.runner import (
    BATCHINGS,
    Bench,
    How,
    Result,
    Row,
    add_options,
    dtypes_here,
    opened,
)
from benchmarks.training.tuning import tune, tuned
from benchmarks.training.workloads import Workload
from preflexor_pl.cli.entry import quiet_libraries

SIDES = "ours", "trl"


def compare(
    bench: Bench, row: Row, hows: dict[str, How], steps: int, repeats: int
) -> list[dict[str, Result]]:
    """Results of both sides, ``repeats`` times, in the order ours, TRL, TRL, ours."""
    made: list[dict[str, Result]] = []
    for repeat in range(repeats):
        both = {side: bench.run(side, row, hows[side], steps) for side in in_turn(SIDES, repeat)}
        made.append({side: both[side] for side in SIDES})
        shown = {name: round(value, 2) for name, value in ratios(both).items()}
        print(f"{row.name} {repeat + 1}/{repeats}: {shown}", flush=True)
    return made


def ratios(both: dict[str, Result]) -> dict[str, float]:
    """TRL's time over ours, and our memory over TRL's."""
    ours, trl = both["ours"], both["trl"]
    return {
        "speed": sum(trl["seconds"]) / sum(ours["seconds"]),
        "memory": ours["peak MB"] / trl["peak MB"],
    }


def summary(repeats: Sequence[dict[str, Result]]) -> dict[str, Any]:
    """Median, minimum and maximum over the repeats."""
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
    """The command-line options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", nargs="+", default=["W2/2"], help="W1, W1/4, 9+9+9")
    parser.add_argument("--loss", nargs="+", default=["dpo"], choices=["dpo", "exo", "orpo"])
    parser.add_argument("--dtype", nargs="+", choices=list(TOLERANCE), help="default: both")
    parser.add_argument("--pairs_per_step", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="of both sides")
    parser.add_argument("--ours", default="packed", choices=BATCHINGS)
    parser.add_argument(
        "--masked", type=float, default=0.0, help="share of each response, ours only"
    )
    parser.add_argument("--rows", action="store_true", help="train marker rows too, ours only")
    parser.add_argument(
        "--tune", action="store_true", help="first find the fastest options of each side"
    )
    add_options(parser, "rank", "steps", "model", "peer_python", "out")
    return parser.parse_args()


def rows_of(options: argparse.Namespace) -> list[Row]:
    """Every combination of workload, loss and dtype."""
    dtypes = options.dtype or dtypes_here(options.rank)
    return [
        Row(Workload.named(workload), loss, dtype, options.rank, options.pairs_per_step)
        for workload, loss, dtype in itertools.product(options.workload, options.loss, dtypes)
    ]


def measure(bench: Bench, row: Row, options: argparse.Namespace) -> None:
    """One row: tune if asked, check equality, compare, write."""
    if options.tune:
        tune(bench, row, options.ours, options.out)
    hows = tuned(row, options.ours, options.out)
    extra = {"masked": options.masked, "rows": options.rows}
    hows["ours"] |= extra
    passed = check_equality(bench, row, hows)
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
