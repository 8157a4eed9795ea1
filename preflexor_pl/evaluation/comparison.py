"""Models side by side: the rows of an evaluation, its tables, and its results as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from preflexor_pl.evaluation.estimates import Estimate
from preflexor_pl.evaluation.facts import STRATA

INTEGRATED = "integrated"

_ANSWERS = {  # measure -> heading, whether it is a share
    "format_rate": ("in its form", True),
    "finished_for_it": ("had to be asked for an answer", True),
    "looped": ("ended in a loop", True),
    "answered": ("answered", True),
    "on_topic": ("on topic (chance: 50 %)", True),
    "distinct": ("distinct", True),
    "repetition": ("repeated 4-grams, thinking and loops included", True),
    "f1": ("F1 with the teacher", False),
    "similarity": ("similarity to the teacher", False),
    "words": ("words", False),
    "tokens": ("tokens drawn", False),
    "wins_over_base": ("wins over the first row (judge)", True),
    "wins_over_first": ("wins over its first answer (judge)", True),
}
_LIKELIHOODS = {
    "teacher_logp": ("log-prob of the teacher's answer, nats a token", False),
    "prefers_chosen": ("chosen likelier than rejected", True),
    "prefers_matched": ("chosen likelier than another question's", True),
}
_FACTS = {
    f"facts/{stratum}/{way}": (f"{stratum}: {told}", True)
    for stratum in STRATA
    for way, told in (
        ("likelihood", "likeliest of four"),
        ("choice", "letter chosen"),
        ("short", "written"),
    )
}


@dataclass
class Row:
    """What was measured of one model at one stage of its reasoning.

    Attributes:
        model: its label.
        variant: of the recursion; "" where there is none.
        stage: ``0`` the first answer, ``1`` after one refinement, and so on; ``integrated``.
        measures: by name.
    """

    model: str
    variant: str
    stage: str
    measures: dict[str, Estimate] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The row's name in a table."""
        if self.stage == "0":
            return self.model
        stage = self.stage if self.stage == INTEGRATED else f"+{self.stage}"
        return f"{self.model} {stage} ({self.variant})"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> "Row":
        """What ``to_dict`` gave."""
        measures = {name: Estimate(**value) for name, value in known["measures"].items()}
        return cls(known["model"], known["variant"], known["stage"], measures)


@dataclass(frozen=True)
class Answers:
    """Final answers to the held-out questions.

    Attributes:
        variant: of the recursion.
        stages: ``0``, ``1``, ... and ``integrated`` -> one answer a question.
    """

    variant: str
    stages: dict[str, list[str]]


@dataclass
class Measured:
    """What was measured of a model."""

    label: str
    name: str
    rows: list[Row]
    answers: list[Answers] = field(default_factory=list)


def tables(rows: Sequence[Row], control: Mapping[str, Estimate], questions: int) -> str:
    """The whole evaluation in Markdown.

    Args:
        rows: in their order; of two of one label the first, as both variants of a recursion begin
            with the same answers.
        control: of the judge; empty where none judged.
        questions: how many held-out ones were answered.
    """
    rows = [row for i, row in enumerate(rows) if row.label not in {r.label for r in rows[:i]}]
    first = [row for row in rows if row.stage == "0"]
    parts = [
        f"## Answers to {questions} held-out questions",
        _table(rows, _ANSWERS),
        "## What is likely",
        _table(first, _LIKELIHOODS),
        "## Facts (chance: 25 % by likelihood and by letter, none in writing)",
        _table(rows, _FACTS),
    ]
    if control:
        listed = "\n".join(f"| {k} | {v.shown(percent=True)} |" for k, v in control.items())
        parts += ["## The judge under control", f"| | |\n|---|---|\n{listed}", trust(control)]
    parts.append(
        "In brackets: 95 % intervals, Wilson's for shares, a bootstrap over questions for means "
        "and win rates. A difference that fits inside them is not a finding."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def trust(control: Mapping[str, Estimate]) -> str:
    """What the controls say of the judge, in a sentence."""
    losing = [value for name, value in control.items() if name.startswith("corrupted")]
    if all(value.low > 0.5 for value in losing) and control["orders agree"].low > 0.5:
        return (
            "It lets most corrupted answers lose, whichever stands first. Its win rates are worth "
            "as much as that: finer differences are not under control, and a judge that is also "
            "the critic or the base judges texts of its own."
        )
    return (
        "It does not reliably let a corrupted answer lose, or hangs on which answer stands first: "
        "its win rates say little, and the measures above that need no judge are to be read "
        "instead."
    )


def _table(rows: Sequence[Row], columns: Mapping[str, tuple[str, bool]]) -> str:
    used = {n: c for n, c in columns.items() if any(n in row.measures for row in rows)}
    if not used:
        return "Not measured."
    lines = ["| | " + " | ".join(heading for heading, _ in used.values()) + " |"]
    lines.append("|---" * (len(used) + 1) + "|")
    for row in rows:
        cells = [
            row.measures[name].shown(percent) if name in row.measures else ""
            for name, (_, percent) in used.items()
        ]
        if any(cells):
            lines.append(f"| {row.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
