"""The held-out metrics of a run as a table, before and after: what got worse stands first."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from preflexor_pl.evaluation.question_values import QuestionValues
from preflexor_pl.evaluation.text_metrics import wilson_interval
from preflexor_pl.evaluation.worse import CEILING, Change, number, shown, shown_p

Row = Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """A held-out metric.

    Attributes:
        column: in ``metrics.csv``.
        label: in tables.
        kind: a rate is hits of n questions, so it has Wilson's interval.
        better: 1 where more is better, -1 where less is.
        across: whether it means the same in every phase.
    """

    column: str
    label: str
    kind: Literal["rate", "share", "number"]
    better: int
    across: bool = False

    @property
    def name(self) -> str:
        """Of its values for each question."""
        return self.column.removeprefix("val/")

    def shown(self, row: Row, n: int | None) -> str:
        """A value with its unit and, for a rate, its interval over n questions; "" without one."""
        value = self.value(row)
        if not math.isfinite(value):
            return ""
        text = number(value, self.kind != "number")
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
        """Whether it could not get better than it was before training."""
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


def changes(
    before: QuestionValues, after: QuestionValues, across: bool = False, label: str = ""
) -> dict[str, Change]:
    """The changes of all metrics that have values for the same questions, by column.

    Args:
        before: the earlier values.
        after: the later ones.
        across: leave out what means something else in another phase.
        label: put before the metric's.
    """
    found = {}
    for metric in METRICS:
        difference = before.change_to(after, metric.name) if metric.across or not across else None
        if difference and difference.n:
            name, is_share = f"{label}{metric.label}", metric.kind != "number"
            found[metric.column] = Change(name, difference, metric.better, is_share)
    return found


def results_table(first: Row, last: Row, n: int | None, changed: Mapping[str, Change]) -> str:
    """Before and after, what got worse first, what was at its ceiling last; "" without a value.

    Args:
        first: the row of round 0.
        last: that of the last round.
        n: held-out questions.
        changed: the paired changes, by column.
    """
    lines: list[tuple[int, str]] = []
    for metric in METRICS:
        before, after = metric.shown(first, n), metric.shown(last, n)
        if not (before or after):
            continue
        change, place = changed.get(metric.column), 1
        told = _told(change)
        if change and change.got_worse:
            place = 0
        elif metric.at_ceiling(first):
            place, told = 2, CEILING
        cells = metric.label, f"`{metric.column}`", before or "-", after or "-", told
        lines.append((place, f"| {' | '.join(cells)} |"))
    if not lines:
        return ""
    head = f"| held out | metric | before (round 0) | after (round {last.get('round', '?')}) "
    ordered = [line for _, line in sorted(lines, key=lambda one: one[0])]
    return "\n".join([f"{head}| change, p |", "|---|---|---|---|---|", *ordered])


def _told(change: Change | None) -> str:
    if change is None:
        return "-"
    return f"{shown(change.difference, change.is_share)}, p {shown_p(change.difference.p)}"
