"""A row of a question bank, made an item; docs/tasks.md has the columns."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.tasks.answer_text import LETTERS, with_options
from preflexor_pl.tasks.checkers import KINDS, make_checker
from preflexor_pl.tasks.task import Item
from preflexor_pl.tasks.user_check import PATH

ALIASES = {"short": "contains"}  # as facts/items.jsonl has it
COLUMNS = (  # that say what an item is; the others are for a check of the user's own
    *("id", "question", "answer", "kind", "shown", "source", "context", "level", "group"),
    *("document", "thinking"),
)


class BankRow(NamedTuple):
    """An item, and the thinking that leads to its answer; "" where the row has none."""

    item: Item
    thinking: str


def read_row(row: Any, usual_kind: str) -> BankRow:
    """The item of a row.

    Args:
        row: of the bank.
        usual_kind: of a row that names none.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"it is a {type(row).__name__}, not an object with columns")
    row = {name: value for name, value in row.items() if value is not None}
    question, answer = _text(row, "question"), _text(row, "answer")
    for name, text in (("question", question), ("answer", answer)):
        if not text.strip():
            raise ValueError(f"it has no {name}")
    id = _text(row, "id") or hashlib.blake2b(question.encode(), digest_size=8).hexdigest()
    kind = _text(row, "kind") or usual_kind
    kind = ALIASES.get(kind, kind)
    if not is_kind(kind):
        raise ValueError(f"kind is {kind!r}, must be {', '.join(KINDS)} or module:function")
    details = _details(row, kind)
    if kind == "choice":
        question, answer, details = _choice(id, question, answer, row)
    if kind in KINDS:
        make_checker(kind, answer, details)
    item = Item(
        id=id,
        question=question,
        answer=answer,
        shown=_text(row, "shown"),
        source=_text(row, "source") or _text(row, "context"),
        level=_level(row.get("level", 1)),
        group=_text(row, "group") or _text(row, "document") or id,
        details={"kind": kind, **details},
    )
    return BankRow(item, _text(row, "thinking"))


def is_kind(kind: str) -> bool:
    """Whether there is such a kind of row, or it is the path of a function."""
    return kind in KINDS or PATH.fullmatch(kind) is not None


def _details(row: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What the checker of a kind needs besides the answer."""
    if kind not in KINDS:
        others = {str(name): value for name, value in row.items() if name not in COLUMNS}
        return dict(json.loads(json.dumps(others, default=str)))
    if kind in ("one_of", "contains"):
        return {"accept": _texts(row, "accept")}
    if kind == "number":
        names = [name for name in ("tolerance", "relative_tolerance") if name in row]
        return {"unit": _text(row, "unit"), **{name: _number(row, name) for name in names}}
    return {}


def _choice(
    id: str, question: str, answer: str, row: Mapping[str, Any]
) -> tuple[str, str, dict[str, Any]]:
    """Question, answer and details of a choice, the right option in a place that its id draws."""
    options = _texts(row, "options") or [answer, *_texts(row, "distractors")]
    if answer not in options and answer in list(LETTERS[: len(options)]):
        answer = options[LETTERS.index(answer)]
    if answer not in options:
        raise ValueError(f"the answer {answer!r} is none of its options")
    others = [option for option in options if option != answer]
    right = derive_seed("place of the right option", id) % (len(others) + 1)
    options = [*others[:right], answer, *others[right:]]
    shown = with_options(question, options)
    return shown, f"{LETTERS[right]}: {answer}", {"options": options, "right": right}


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name, "")
    if isinstance(value, int | float) and not isinstance(value, bool) and name in ("id", "answer"):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, must be a text")
    return value


def _texts(row: Mapping[str, Any], name: str) -> list[str]:
    values = row.get(name, [])
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    if not is_list or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} is {values!r}, must be a list of texts")
    return list(values)


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}, must be a number")
    return float(value)


def _level(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value % 1:
        raise ValueError(f"level is {value!r}, must be a whole number from 1 on")
    return int(value)
