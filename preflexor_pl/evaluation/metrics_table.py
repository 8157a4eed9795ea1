"""The held-out metrics of a run as a table, before and after, those that got worse first."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from preflexor_pl.evaluation.changes import (
    CEILING,
    Change,
    format_difference,
    format_p,
    format_value,
)
from preflexor_pl.evaluation.question_values import BY_LEVEL, PASS, VERIFIED, QuestionValues
from preflexor_pl.evaluation.text_metrics import wilson_interval

Row = Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """A held-out metric.

    Attributes:
        column: in ``metrics.csv``.
        label: in tables.
        kind: ``rate`` is hits over n questions and has Wilson's interval; ``share`` is another
            value of 0 to 1; ``number`` is any other.
        better: 1 where more is better, -1 where less is.
        across: whether its values can be compared across phases.
        of_items: whether it is over a task's held-out items, not over the held-out questions.
    """

    column: str
    label: str
    kind: Literal["rate", "share", "number"]
    better: int
    across: bool = False
    of_items: bool = False

    @property
    def name(self) -> str:
        """The key of its values in `QuestionValues`."""
        return self.column.removeprefix("val/")

    def cell(self, row: Row, n: int | None) -> str:
        """A value with its unit and, for a rate, its interval over n questions; "" for no value."""
        value = self.value(row)
        if not math.isfinite(value):
            return ""
        text = format_value(value, self.kind != "number")
        if self.kind == "rate" and n:
            low, high = wilson_interval(n * min(1.0, max(0.0, value)), n)
            text += f" [{100 * low:.0f}, {100 * high:.0f}]"
        return text

    def value(self, row: Row) -> float:
        """Its value in a row of ``metrics.csv``; nan where there is none."""
        try:
            return float(row.get(self.column, ""))
        except ValueError:
            return math.nan

    def at_ceiling(self, first: Row) -> bool:
        """Whether it had its best possible value before training."""
        best = 1.0 if self.better > 0 else 0.0
        return self.kind != "number" and self.value(first) == best


METRICS = (
    Metric("val/format_rate", "answers in the trained form", "rate", 1),
    Metric("val/unasked_thinking", "thinks without being asked (less is better)", "rate", -1, True),
    Metric("val/distinct", "distinct answers", "share", 1, True),
    Metric("val/on_topic", "answers nearest to their own question of all", "rate", 1, True),
    Metric("val/repetition", "repeated word 4-grams (less is better)", "share", -1, True),
    Metric("val/rewards/accuracies", "chosen preferred to rejected", "rate", 1),
    Metric(
        "val/accuracy_mismatched", "chosen preferred to mismatched (chance: 50 %)", "share", 1, True
    ),
    Metric("val/margin_mismatched", "margin over mismatched, nats a token", "number", 1, True),
    Metric("val/rewards/margins", "reward margin", "number", 1),
    Metric("val/log_odds_ratio", "log odds ratio", "number", 1),
    Metric("val/loss", "loss (less is better)", "number", -1),
    Metric("val/nll", "NLL of chosen, nats per token (less is better)", "number", -1),
)

OF_ITEMS = (
    Metric(f"val/{PASS}", "right answers (pass@1)", "rate", 1, True, True),
    Metric(f"val/{VERIFIED}", "right answers with right thinking", "rate", 1, True, True),
)
_LEVEL = re.compile(rf"val/{BY_LEVEL}(\d+)")


def metrics_of(columns: Collection[str]) -> list[Metric]:
    """All metrics, those of a task's items and of its levels first where there are such columns."""
    levels = sorted(int(level[1]) for level in map(_LEVEL.fullmatch, columns) if level)
    return [
        *(metric for metric in OF_ITEMS if metric.column in columns),
        *(
            Metric(f"val/{BY_LEVEL}{n}", f"right answers, level {n}", "rate", 1, True, True)
            for n in levels
        ),
        *METRICS,
    ]


def changes(
    before: QuestionValues, after: QuestionValues, across: bool = False, label: str = ""
) -> dict[str, Change]:
    """The changes of all metrics that have values for the same questions, by column.

    Args:
        before: the earlier values.
        after: the later ones.
        across: leave out metrics that cannot be compared across phases.
        label: put before the metric's.
    """
    changed = {}
    for metric in metrics_of([f"val/{name}" for name in before.values]):
        difference = before.change_to(after, metric.name) if metric.across or not across else None
        if difference and difference.n:
            name, is_share = f"{label}{metric.label}", metric.kind != "number"
            about = "groups" if metric.of_items else "documents"
            changed[metric.column] = Change(name, difference, metric.better, is_share, about)
    return changed


def results_table(first: Row, last: Row, n: int | None, changed: Mapping[str, Change]) -> str:
    """Before and after, metrics that got worse first, those at their ceiling last; "" for no value.

    Args:
        first: the row of round 0.
        last: the row of the last round.
        n: held-out questions.
        changed: the paired changes, by column.
    """
    lines: list[tuple[int, str]] = []
    for metric in metrics_of({*first, *last}):
        change, rank = changed.get(metric.column), 1
        over = questions_of(metric, change, n)
        before, after = metric.cell(first, over), metric.cell(last, over)
        if not (before or after):
            continue
        last_cell = _change_cell(change)
        if change and change.got_worse:
            rank = 0
        elif metric.at_ceiling(first):
            rank, last_cell = 2, CEILING
        cells = metric.label, f"`{metric.column}`", before or "-", after or "-", last_cell
        lines.append((rank, f"| {' | '.join(cells)} |"))
    if not lines:
        return ""
    head = f"| held out | metric | before (round 0) | after (round {last.get('round', '?')}) "
    ordered = [line for _, line in sorted(lines, key=lambda one: one[0])]
    return "\n".join([f"{head}| change, p |", "|---|---|---|---|---|", *ordered])


def questions_of(metric: Metric, change: Change | None, n: int | None) -> int | None:
    """Over how many questions a metric is; None where that is not known.

    Args:
        metric: of the held-out questions, or of a task's items.
        change: of it, which knows the number of items.
        n: held-out questions.
    """
    if not metric.of_items:
        return n
    return change.difference.n if change else None


def _change_cell(change: Change | None) -> str:
    if change is None:
        return "-"
    difference = format_difference(change.difference, change.is_share)
    return f"{difference}, p {format_p(change.difference.p)}"
