"""Changes of measures between two evaluations of the same questions; those for the worse first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preflexor_pl.evaluation.significance import Difference

CEILING = "at ceiling before training"
FEW = 10  # documents; below it intervals are too narrow, and a note says so


@dataclass(frozen=True)
class Change:
    """How a measure changed from one evaluation to another, and which way is better.

    Attributes:
        label: of the measure, after that of the model where there are several.
        difference: after minus before, paired over the same questions.
        better: 1 where more is better, -1 where less is.
        is_share: whether it is a share of 0 to 1, printed in per cent.
        about: what its questions are grouped by.
    """

    label: str
    difference: Difference
    better: int
    is_share: bool
    about: str = "documents"

    @property
    def got_worse(self) -> bool:
        """Whether it is worse than before, beyond chance."""
        return self.difference.is_beyond_chance and self.difference.value * self.better < 0

    def describe(self) -> str:
        """One line: both values, the difference with its interval, n, documents and p."""
        difference = self.difference
        before, after = (
            format_value(v, self.is_share) for v in (difference.first, difference.second)
        )
        by = format_difference(difference, self.is_share)
        n, p = difference.n, format_p(difference.p)
        over = f"n = {n} on {difference.documents} {self.about}, p {p}"
        return f"{self.label}: {before} -> {after} ({by}, {over})"


def what_got_worse(changes: Sequence[Change], compared: str) -> str:
    """A Markdown section: the changes for the worse, the smallest p-value first.

    Args:
        changes: of every measure that has a better side.
        compared: the two times or models, as the sentence begins that says nothing got worse.
    """
    worse = sorted((c for c in changes if c.got_worse), key=lambda change: change.difference.p)
    lines = [f"- {change.describe()}" for change in worse]
    if not changes:
        lines = [f"{compared}: no values of the same questions are on record, so nothing is said."]
    elif not worse:
        lines = [f"{compared}: nothing of {len(changes)} measures, beyond chance."]
    if caveat := few_documents_note(c.difference.documents for c in changes):
        lines.append(f"\n{caveat}")
    return "\n".join(["## What got worse", "", *lines])


def few_documents_note(counts: Iterable[int]) -> str:
    """How little intervals over few documents can show; "" where there are enough."""
    least = min((count for count in counts if count), default=FEW)
    if least >= FEW:
        return ""
    if least == 1:
        return (
            "The questions are about one document: without a second one no interval is known, and "
            "no measure is listed, whatever its change."
        )
    return (
        f"The questions are about {least} documents: chance alone moves all {least} to one side "
        f"once in {2 ** (least - 1)} cases, so no p-value of a mean is smaller than that."
    )


def format_difference(difference: Difference, is_share: bool) -> str:
    """``+0.140 [+0.050, +0.230]``; of shares in percentage points, with one digit."""
    if not difference.n:
        return "-"
    scale, digits = (100, 1) if is_share else (1, 3)
    value, low, high = (
        f"{scale * v:+.{digits}f}" for v in (difference.value, difference.low, difference.high)
    )
    return value if "nan" in low else f"{value} [{low}, {high}]"


def format_p(p: float) -> str:
    """``= 0.021``, or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def format_value(value: float, is_share: bool) -> str:
    """A value as tables print it: a share in per cent, with one digit; a number with three."""
    return f"{100 * value:.1f} %" if is_share else f"{value:.3f}"
