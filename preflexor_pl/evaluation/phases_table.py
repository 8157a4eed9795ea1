"""One table over the phases, after the changes for the worse."""

from collections.abc import Sequence
from pathlib import Path

from preflexor_pl.core.csv_rows import Row, read_rows
from preflexor_pl.evaluation.changes import CEILING, Change, what_got_worse
from preflexor_pl.evaluation.metrics_table import METRICS, Metric, changes, metrics_of
from preflexor_pl.evaluation.question_values import QuestionValues, values_after
from preflexor_pl.evaluation.summary import before_and_after


def phases_table(runs: Sequence[tuple[Path, float, int]]) -> str:
    """Changes for the worse, and a table: the first row of the first run, the last row of each.

    Args:
        runs: folder, minutes and number of held-out questions of each.
    """
    first, _, n = runs[0]
    start_row, _ = before_and_after(read_rows(first / "metrics.csv"))
    ends = [before_and_after(read_rows(run / "metrics.csv"))[1] for run, _, _ in runs]
    columns = _columns([start_row, *ends])
    start, changed = values_after(first, 0), list[Change]()
    lines = [
        "| | " + " | ".join(_heading(columns, start_row)) + " | minutes |",
        "|" + "---|" * (len(columns) + 2),
        _line(columns, f"before {first.name}", start_row, start, n, ""),
    ]
    for (run, minutes, count), last_row in zip(runs, ends, strict=True):
        end = values_after(run, int(last_row["round"])) if last_row else QuestionValues()
        name = f"after {run.name}"
        lines.append(_line(columns, name, last_row, end, count, f"{minutes:.1f}"))
        if last_row:
            changed += changes(start, end, True, f"after {run.name}: ").values()
    note = (
        f"Over {n} held-out questions, in brackets 95 % Wilson intervals; nearest to their own by "
        f"chance: {100 / n:.0f} %. The form is each phase's own, and so are the rejected answers "
        "and the reward."
    )
    worse = what_got_worse(changed, f"Against the time before {first.name}")
    return "\n".join([worse, "", *lines, "", note])


def _columns(rows: Sequence[Row]) -> list[Metric]:
    """Right answers to a task's items, where a run has a task, and the form of all runs."""
    found = metrics_of({name for row in rows for name in row})
    return [metric for metric in found if metric.of_items or metric in METRICS[:8]]


def _heading(columns: Sequence[Metric], start_row: Row) -> list[str]:
    full = [metric for metric in columns if metric.across and metric.at_ceiling(start_row)]
    return [f"{m.label} ({CEILING})" if m in full else m.label for m in columns]


def _line(
    columns: Sequence[Metric], name: str, row: Row, values: QuestionValues, n: int, minutes: str
) -> str:
    over = [values.count(m.name) if m.of_items else n for m in columns]
    cells = [m.cell(row, count) or "-" for m, count in zip(columns, over, strict=True)]
    return f"| {name} | " + " | ".join(cells) + f" | {minutes} |"
