"""Models side by side: the rows of an evaluation, its tables, and its results as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from preflexor_pl.evaluation.changes import CEILING, Change, what_got_worse
from preflexor_pl.evaluation.facts import STRATA
from preflexor_pl.evaluation.intervals import Estimate
from preflexor_pl.evaluation.significance import paired_difference

INTEGRATED = "integrated"
ENDS = ("0", INTEGRATED)  # stages that are compared with the base
ANSWERED = "answers"  # key of the held-out questions among the documents of an evaluation

Documents = Mapping[str, Sequence[str]]
Column = tuple[str, bool, int]  # heading, whether it is a share, which side is better

_NO_DOCUMENTS: Documents = MappingProxyType({})

WRITTEN = "facts/written"

_ANSWERS = {  # measure -> heading, whether it is a share, which side is better (0: neither)
    "format_rate": ("in its form", True, 1),
    "unasked_thinking": ("thinks without being asked", True, -1),
    "finished_for_it": ("had to be asked for an answer", True, -1),
    "looped": ("ended in a loop", True, -1),
    "answered": ("answered", True, 1),
    "on_topic": ("nearest to its own question of all", True, 1),
    "distinct": ("distinct", True, 1),
    "repetition": ("repeated 4-grams, thinking and loops included", True, -1),
    "f1": ("F1 with the teacher", False, 1),
    "similarity": ("similarity to the teacher", False, 1),
    "words": ("words", False, 0),
    "tokens": ("tokens drawn", False, 0),
    "wins_over_base": ("wins over the first row (judge)", True, 0),
    "wins_over_first": ("wins over its first answer (judge)", True, 0),
}
_LIKELIHOODS = {
    "teacher_logp": ("log-prob of the teacher's answer, nats a token", False, 1),
    "prefers_chosen": ("chosen likelier than rejected", True, 1),
    "prefers_matched": ("chosen likelier than other questions' (chance: 50 %)", True, 1),
    "margin_matched": ("by how much, nats a token", False, 1),
}
_FACTS = {WRITTEN: ("all in writing", True, 1)} | {
    f"facts/{stratum}/{way}": (f"{stratum}: {heading}", True, 1)
    for stratum in STRATA
    for way, heading in (
        ("likelihood", "likeliest of four"),
        ("choice", "letter chosen"),
        ("short", "written"),
    )
}


@dataclass
class Row:
    """Measures of one model at one stage of its reasoning.

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
    def from_dict(cls, record: Mapping[str, Any]) -> "Row":
        """A row from what ``to_dict`` gave."""
        measures = {name: Estimate.from_dict(v) for name, v in record["measures"].items()}
        return cls(record["model"], record["variant"], record["stage"], measures)


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
    """The results of one model: its rows, and its answers for a judge."""

    label: str
    name: str
    rows: list[Row]
    answers: list[Answers] = field(default_factory=list)


def tables(
    rows: Sequence[Row],
    control: Mapping[str, Estimate],
    questions: int,
    documents: Documents = _NO_DOCUMENTS,
) -> str:
    """The whole evaluation in Markdown, changes for the worse first.

    Args:
        rows: in order; of rows with one label only the first is shown, as both variants of a
            recursion begin with the same answers.
        control: reliability of the judge; empty without a judge.
        questions: number of held-out questions.
        documents: the document of each question, by measure; those of ``ANSWERED`` hold for all
            other measures.
    """
    rows = [row for i, row in enumerate(rows) if row.label not in {r.label for r in rows[:i]}]
    first = [row for row in rows if row.stage == "0"]
    against = f"Against {rows[0].label}" if rows else "Against the base"
    parts = [
        what_got_worse(_changes(rows, documents), against),
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
        "and win rates. Whether models differ is not read from them but from paired differences, "
        "as under the first heading: by document for intervals, McNemar's p for shares. "
        f"Nearest to its own question of all: {_chance(questions)} by chance. How to read this: "
        "docs/evaluation.md."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def trust(control: Mapping[str, Estimate]) -> str:
    """How reliable the judge is by its controls, in a sentence."""
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


def _chance(questions: int) -> str:
    return f"{100 / questions:.0f} %" if questions else "-"


def _changes(rows: Sequence[Row], documents: Documents) -> list[Change]:
    """Changes from the first answers of the first row to first and integrated answers of others."""
    changed: list[Change] = []
    columns = _ANSWERS | _LIKELIHOODS | _FACTS
    for row in rows[1:]:
        for name, (heading, is_share, better) in columns.items():
            before, after = rows[0].measures.get(name), row.measures.get(name)
            if not (better and before and after and row.stage in ENDS):
                continue
            names = documents.get(name, documents.get(ANSWERED, ()))
            if len(before.values) == len(after.values) == len(names) > 0:
                sides = (_numbers(before.values), _numbers(after.values))
                difference = paired_difference(*sides, names)
                changed.append(Change(f"{row.label}: {heading}", difference, better, is_share))
    return changed


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _table(rows: Sequence[Row], columns: Mapping[str, Column]) -> str:
    used = {n: c for n, c in columns.items() if any(n in row.measures for row in rows)}
    if not used:
        return "Not measured."
    headings = [
        f"{heading} ({CEILING})" if _at_ceiling(rows, name, is_share, better) else heading
        for name, (heading, is_share, better) in used.items()
    ]
    lines = ["| | " + " | ".join(headings) + " |", "|---" * (len(used) + 1) + "|"]
    for row in rows:
        cells = [
            row.measures[name].shown(is_share) if name in row.measures else ""
            for name, (_, is_share, _) in used.items()
        ]
        if any(cells):
            lines.append(f"| {row.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _at_ceiling(rows: Sequence[Row], name: str, is_share: bool, better: int) -> bool:
    """Whether the base, which is the first row, has the best possible value of a share."""
    base = rows[0].measures.get(name)
    best = 1.0 if better > 0 else 0.0
    return bool(len(rows) > 1 and base and is_share and better and base.value == best)
