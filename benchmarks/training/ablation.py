"""The gain of each part of our own training step: parts are added one after the other.

``python -m benchmarks.training.ablation``. It starts in float32; where the processor computes in
bfloat16 and adapters train, bfloat16 is the last part. Each measurement runs in its own process.
A sweep measures all rungs, and the next sweep runs backwards, so a machine that becomes slower
favours none; a gain compares with the rung before in the same sweep. No time counts unless loss and
gradient norm of the first step equal those of the plainest rung in the same dtype.

Writes ``results/ablation-<row>.json``.
"""

import argparse
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.report.record import in_turn, save, setting, spread
from benchmarks.training.equality import COMPARED, disagreements
from benchmarks.training.runner import OURS, Bench, Result, Row, add_options, dtypes_here, opened
from benchmarks.training.workloads import Workload
from preflexor_pl.cli.entry import quiet_libraries

BUDGET = 4096  # tokens in a micro-batch
EPOCHS = 3  # of a round: a cached reference is computed once for them


@dataclass(frozen=True)
class Rung:
    """One more part, with all those before it."""

    name: str
    batching: str = "plain"
    head: str = "full"
    budget: int = 1  # one pair: on a CPU padding costs more than a batch gains
    reference: str = "live"
    dtype: str = "float32"


def ladder(bfloat16: bool) -> list[Rung]:
    """The rungs, from the plainest step up; with ``bfloat16`` as the last if that is set."""
    rungs = [Rung("padded, logits of every position")]
    for name, change in (
        ("head on supervised tokens", {"batching": "padded", "head": "own"}),
        ("one prompt for both responses, attention by blocks", {"batching": "packed"}),
        ("pairs packed", {"budget": BUDGET}),
        ("reference cached", {"reference": "cached"}),
        ("bfloat16", {"dtype": "bfloat16"}),
    ):
        rungs.append(replace(rungs[-1], name=name, **change))  # type: ignore[arg-type]
    return rungs if bfloat16 else rungs[:-1]


def measure(
    bench: Bench, row: Row, rung: Rung, attention: str, steps: int, warm_up: int = 3
) -> Result:
    """Result of the steps on one rung."""
    how = OURS | {
        "attention": attention,
        "batching": rung.batching,
        "head": rung.head,
        "reference": rung.reference,
        "budget": rung.budget,
    }
    return bench.run("ours", replace(row, dtype=rung.dtype), how, steps, warm_up)


def sweeps(
    bench: Bench, row: Row, rungs: list[Rung], attention: str, steps: int, repeats: int
) -> list[dict[str, Result]]:
    """Results by rung of each sweep, in alternating order."""
    plain = {  # the same number of steps: the pairs depend on it
        dtype: measure(bench, row, replace(rungs[0], dtype=dtype), attention, steps, 0)
        for dtype in dict.fromkeys(rung.dtype for rung in rungs)
    }
    made: list[dict[str, Result]] = []
    for repeat in range(repeats):
        results: dict[str, Result] = {}
        for rung in in_turn(rungs, repeat):
            one = results[rung.name] = measure(bench, row, rung, attention, steps)
            require_same(row, rung, plain[rung.dtype], one)
            print(f"{repeat + 1}/{repeats} {rung.name}: {one['seconds']} s", flush=True)
        made.append({rung.name: results[rung.name] for rung in rungs})
    return made


def require_same(row: Row, rung: Rung, plain: Result, result: Result) -> None:
    """Stop if the first step of a rung differs from the plainest one's in the same dtype.

    Raises:
        SystemExit: names the rung.
    """
    two = {name: {"plain": plain[name], rung.name: result[name]} for name in COMPARED}
    wrong = disagreements(row.loss, two, rung.dtype)
    if wrong:
        raise SystemExit(f"error: no time counts, {' and '.join(wrong)}: {two}")


def table(made: list[dict[str, Result]]) -> list[dict[str, Any]]:
    """The gain of each rung over the one before and over the first."""
    names = list(made[0])
    lines: list[dict[str, Any]] = []
    for before, name in zip([names[0], *names], names, strict=False):
        seconds = [{n: sum(sweep[n]["seconds"]) for n in names} for sweep in made]
        lines.append(
            {
                "rung": name,
                "gain": spread([s[before] / s[name] for s in seconds]),
                "gain over the first": spread([s[names[0]] / s[name] for s in seconds]),
                "peak MB": spread([sweep[name]["peak MB"] for sweep in made]),
                "padding": spread([sweep[name]["padding"] for sweep in made]),
            }
        )
    return lines


def reference_share(made: list[dict[str, Result]]) -> dict[str, float]:
    """Share of training time for a reference that is computed once in ``EPOCHS``."""
    shares = []
    for sweep in made:
        cached, live = (
            sum(sweep[name]["seconds"]) for name in ("reference cached", "pairs packed")
        )
        shares.append((live - cached) / (EPOCHS * cached + live - cached))
    return spread(shares)


def main() -> None:
    """Measure every rung, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="W2/2")
    parser.add_argument("--loss", default="dpo", choices=["dpo", "exo"])
    parser.add_argument("--pairs_per_step", type=int, default=4)
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    parser.add_argument("--repeats", type=int, default=3, help="sweeps")
    add_options(parser, "rank", "steps", "model", "out")
    options = parser.parse_args()
    quiet_libraries()
    workload = Workload.named(options.workload)
    row = Row(workload, options.loss, "float32", options.rank, options.pairs_per_step)
    rungs = ladder("bfloat16" in dtypes_here(options.rank))
    with opened(options.model) as bench:
        made = sweeps(bench, row, rungs, options.attention, options.steps, options.repeats)
    lines = table(made)
    result = setting("torch", "transformers", "peft", "lightning") | {
        "row": row.name,
        "pairs a step": row.pairs_per_step,
        "attention": options.attention,
        "rungs": lines,
        f"reference's share over {EPOCHS} epochs": reference_share(made),
        "sweeps": made,
    }
    save(f"ablation-{row.slug}", result, options.out)
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
