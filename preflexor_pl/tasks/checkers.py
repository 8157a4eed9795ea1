"""Checkers: what decides whether an answer is right, one small class for each kind of question.

Each takes what is expected at construction, and an answer in ``check``: right, wrong, or unreadable
where the answer says nothing of its kind. ``check`` never raises, whatever the answer, and takes
time in proportion to its length; an answer of more than ``MAX_CHARS`` characters is unreadable. A
function of the user's own is run by ``user_check``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from preflexor_pl.tasks.answer_text import LETTERS, bare, contains, folded, read_option
from preflexor_pl.tasks.quantities import Quantity, converted, parsed, quantities
from preflexor_pl.tasks.task import Verdict

MAX_CHARS = 50_000
ROUNDING = 1e-9  # relative: of a conversion between units


class Checker(Protocol):
    """What decides about the answers to one question."""

    def check(self, answer: str) -> Verdict:
        """Whether an answer is right."""


@dataclass(frozen=True)
class OneOf:
    """Right is what says the same as one of the ``accepted`` answers, and nothing else.

    Not minded are case, white space, punctuation at the end, and quotes or emphasis around all.
    """

    accepted: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_text(self.accepted)

    def check(self, answer: str) -> Verdict:
        """Whether an answer is right."""
        said = bare(answer) if len(answer) <= MAX_CHARS else ""
        return _verdict(said in map(bare, self.accepted)) if said else "unreadable"


@dataclass(frozen=True)
class Contains:
    """Right is what has one of the ``accepted`` strings in it, as whole words and numbers."""

    accepted: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_text(self.accepted)

    def check(self, answer: str) -> Verdict:
        """Whether an answer is right."""
        if len(answer) > MAX_CHARS or not bare(answer):
            return "unreadable"
        return _verdict(any(contains(answer, one) for one in self.accepted))


@dataclass(frozen=True)
class Choice:
    """Right is what names an option by its letter at the start, or by its whole text.

    Attributes:
        options: the texts, lettered from A on: 2 to 26 that differ.
        right: index of the right one.
    """

    options: tuple[str, ...]
    right: int

    def __post_init__(self) -> None:
        _require_text(self.options)
        if not 2 <= len(set(map(folded, self.options))) == len(self.options) <= len(LETTERS):
            raise ValueError(f"a choice needs 2 to {len(LETTERS)} options that differ")

    def check(self, answer: str) -> Verdict:
        """Whether an answer is right."""
        if len(answer) > MAX_CHARS:
            return "unreadable"
        texts = [bare(option) for option in self.options]
        said = bare(answer)
        named = texts.index(said) if said in texts else read_option(answer, self.options)
        return "unreadable" if named is None else _verdict(named == self.right)


@dataclass(frozen=True)
class Number:
    """Right is a number near the expected one.

    Of several numbers the last one counts; where a unit is asked, the last one that has a unit of
    its dimension, if there is one. A number without a unit is taken to be in the unit asked.

    Attributes:
        expected: in ``unit``.
        unit: one that ``pint`` reads; "" where the unit does not matter.
        tolerance: how far off is still right, in ``unit``.
        relative_tolerance: the same as a share of ``expected``; the larger of the two counts.
    """

    expected: float
    unit: str = ""
    tolerance: float = 0.0
    relative_tolerance: float = 0.0

    def __post_init__(self) -> None:
        for name in ("tolerance", "relative_tolerance"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}, must be >= 0")

    def check(self, answer: str) -> Verdict:
        """Whether an answer is right."""
        found = quantities(answer, self.unit) if len(answer) <= MAX_CHARS else []
        if not found:
            return "unreadable"
        fitting = [one for one in found if one.unit and self._of(one) is not None]
        value = self._of((fitting or found)[-1])
        relative = max(self.relative_tolerance, ROUNDING)
        allowed = max(self.tolerance, relative * abs(self.expected))
        return _verdict(value is not None and abs(value - self.expected) <= allowed)

    def _of(self, quantity: Quantity) -> float | None:
        return converted(quantity, self.unit)


def make_checker(kind: str, expected: str, details: Mapping[str, Any]) -> Checker:
    """The checker of a question.

    Args:
        kind: one of ``KINDS``.
        expected: the right answer.
        details: what else it needs: ``accept`` (further right answers), ``options`` and the index
            of the ``right`` one, ``unit``, ``tolerance`` and ``relative_tolerance``.

    Raises:
        ValueError: what of it makes no sense.
    """
    return KINDS[kind](expected, details)


def _exact(expected: str, details: Mapping[str, Any]) -> Checker:
    return OneOf((expected,))


def _one_of(expected: str, details: Mapping[str, Any]) -> Checker:
    return OneOf((expected, *details.get("accept", ())))


def _contains(expected: str, details: Mapping[str, Any]) -> Checker:
    return Contains((expected, *details.get("accept", ())))


def _choice(expected: str, details: Mapping[str, Any]) -> Checker:
    return Choice(tuple(details["options"]), details["right"])


def _number(expected: str, details: Mapping[str, Any]) -> Checker:
    unit = details.get("unit", "")
    if unit:
        parsed(unit)
    found = quantities(expected, unit)
    if not found:
        raise ValueError(f"the answer {expected!r} holds no number")
    unit = unit or found[-1].unit
    value = converted(found[-1], unit)
    if value is None:
        raise ValueError(f"the answer {expected!r} cannot be given in {unit}")
    tolerances = {name: details.get(name, 0.0) for name in ("tolerance", "relative_tolerance")}
    return Number(value, unit, **tolerances)


KINDS: dict[str, Callable[[str, Mapping[str, Any]], Checker]] = {
    "exact": _exact,
    "one_of": _one_of,
    "choice": _choice,
    "number": _number,
    "contains": _contains,
}


def _verdict(right: bool) -> Verdict:
    return "right" if right else "wrong"


def _require_text(texts: tuple[str, ...]) -> None:
    empty = [text for text in texts if not bare(text)]
    if empty:
        raise ValueError(f"{empty[0]!r} says nothing that an answer could be compared with")
