"""One table over the phases, after the changes for the worse."""

from collections.abc import Sequence
from pathlib import Path

from preflexor_pl.core.csv_rows import Row, read_rows
from preflexor_pl.evaluation.changes import CEILING, Change, what_got_worse
from preflexor_pl.evaluation.metrics_table import METRICS, changes
from preflexor_pl.evaluation.question_values import read_values, values_path
from preflexor_pl.evaluation.summary import before_and_after

COLUMNS = METRICS[:8]


def phases_table(runs: Sequence[tuple[Path, float, int]]) -> str:
    """Changes for the worse, and a table: the first row of the first run, the last row of each.

    Args:
        runs: folder, minutes and number of held-out questions of each.
    """
    first, _, n = runs[0]
    start_row, _ = before_and_after(read_rows(first / "metrics.csv"))
    lines = [
        "| | " + " | ".join(_heading(start_row)) + " | minutes |",
        "|" + "---|" * (len(COLUMNS) + 2),
        _line(f"before {first.name}", start_row, n, ""),
    ]
    changed: list[Change] = []
    for run, minutes, count in runs:
        _, last_row = before_and_after(read_rows(run / "metrics.csv"))
        lines.append(_line(f"after {run.name}", last_row, count, f"{minutes:.1f}"))
        if last_row:
            start = read_values(values_path(first, 0))
            end = read_values(values_path(run, int(last_row["round"])))
            changed += changes(start, end, True, f"after {run.name}: ").values()
    note = (
        f"Over {n} held-out questions, in brackets 95 % Wilson intervals; nearest to their own by "
        f"chance: {100 / n:.0f} %. The form is each phase's own, and so are the rejected answers "
        "and the reward."
    )
    worse = what_got_worse(changed, f"Against the time before {first.name}")
    return "\n".join([worse, "", *lines, "", note])


def _heading(start_row: Row) -> list[str]:
    full = [metric for metric in COLUMNS if metric.across and metric.at_ceiling(start_row)]
    return [f"{m.label} ({CEILING})" if m in full else m.label for m in COLUMNS]


def _line(name: str, row: Row, n: int, minutes: str) -> str:
    cells = [metric.cell(row, n) or "-" for metric in COLUMNS]
    return f"| {name} | " + " | ".join(cells) + f" | {minutes} |"
