"""One table over the phases, what got worse before it."""

from collections.abc import Sequence
from pathlib import Path

from preflexor_pl.core.csv_rows import Row, read_rows
from preflexor_pl.evaluation.changes import CEILING, Change, what_got_worse
from preflexor_pl.evaluation.metrics_table import METRICS, changes
from preflexor_pl.evaluation.question_values import read_values, values_path
from preflexor_pl.evaluation.summary import before_and_after

SHOWN = METRICS[:8]


def phases_table(runs: Sequence[tuple[Path, float, int]]) -> str:
    """What got worse, and a table: what each run ended with, and what the first one began with.

    Args:
        runs: folder, minutes and number of held-out questions of each.
    """
    first, _, n = runs[0]
    begun, _ = before_and_after(read_rows(first / "metrics.csv"))
    lines = [
        "| | " + " | ".join(_heading(begun)) + " | minutes |",
        "|" + "---|" * (len(SHOWN) + 2),
        _line(f"before {first.name}", begun, n, ""),
    ]
    changed: list[Change] = []
    for run, minutes, count in runs:
        _, ended = before_and_after(read_rows(run / "metrics.csv"))
        lines.append(_line(f"after {run.name}", ended, count, f"{minutes:.1f}"))
        if ended:
            start = read_values(values_path(first, 0))
            end = read_values(values_path(run, int(ended["round"])))
            changed += changes(start, end, True, f"after {run.name}: ").values()
    note = (
        f"Over {n} held-out questions, in brackets 95 % Wilson intervals; nearest to their own by "
        f"chance: {100 / n:.0f} %. The form is each phase's own, and so are the rejected answers "
        "and the reward."
    )
    worse = what_got_worse(changed, f"Against the time before {first.name}")
    return "\n".join([worse, "", *lines, "", note])


def _heading(begun: Row) -> list[str]:
    full = [metric for metric in SHOWN if metric.across and metric.at_ceiling(begun)]
    return [f"{m.label} ({CEILING})" if m in full else m.label for m in SHOWN]


def _line(name: str, row: Row, n: int, minutes: str) -> str:
    cells = [metric.cell(row, n) or "-" for metric in SHOWN]
    return f"| {name} | " + " | ".join(cells) + f" | {minutes} |"
