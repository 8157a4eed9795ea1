"""What got worse, first: the measures whose paired difference is beyond chance, and bad."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preflexor_pl.evaluation.paired_tests import Difference

CEILING = "at ceiling before training"
FEW = 10  # documents; an interval over fewer is too narrow to be left without a word


@dataclass(frozen=True)
class Change:
    """A measure before and after.

    Attributes:
        label: of the measure, and of the model where there are several.
        difference: after less before, over the same questions.
        better: 1 where more is better, -1 where less is.
        is_share: whether it is shown in per cent.
    """

    label: str
    difference: Difference
    better: int
    is_share: bool

    @property
    def got_worse(self) -> bool:
        """Whether it is worse than before, beyond chance."""
        return self.difference.is_beyond_chance and self.difference.value * self.better < 0

    def told(self) -> str:
        """The change with its interval, n, documents and p."""
        found = self.difference
        over = f"n = {found.n} on {found.documents} documents, p {shown_p(found.p)}"
        before, after = (number(v, self.is_share) for v in (found.first, found.second))
        return f"{self.label}: {before} -> {after} ({shown(found, self.is_share)}, {over})"


def what_got_worse(changes: Sequence[Change], compared: str) -> str:
    """A Markdown block: what got worse, the surest first.

    Args:
        changes: of every measure that has a better side.
        compared: what is set against what, for the sentence where nothing got worse.
    """
    worse = sorted((c for c in changes if c.got_worse), key=lambda change: change.difference.p)
    lines = [f"- {change.told()}" for change in worse]
    if not changes:
        lines = [f"{compared}: no values of the same questions are on record, so nothing is said."]
    elif not worse:
        lines = [f"{compared}: nothing of {len(changes)} measures, beyond chance."]
    if caveat := few_documents(c.difference.documents for c in changes):
        lines.append(f"\n{caveat}")
    return "\n".join(["## What got worse", "", *lines])


def few_documents(counts: Iterable[int]) -> str:
    """What intervals over few documents are worth; "" where there are enough."""
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


def shown(difference: Difference, is_share: bool) -> str:
    """``+0.14 [0.05, 0.23]``, of shares in points of a per cent."""
    if not difference.n:
        return "-"
    scale, digits = (100, 1) if is_share else (1, 3)
    value, low, high = (
        f"{scale * v:+.{digits}f}" for v in (difference.value, difference.low, difference.high)
    )
    return value if "nan" in low else f"{value} [{low}, {high}]"


def shown_p(p: float) -> str:
    """``= 0.021``, or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def number(value: float, is_share: bool) -> str:
    """A value as tables show it."""
    return f"{100 * value:.1f} %" if is_share else f"{value:.3f}"
