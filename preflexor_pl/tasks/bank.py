"""A task whose questions with known answers come from a file: docs/tasks.md has its columns."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import check_value
from preflexor_pl.corpus.data_rows import rows_of
from preflexor_pl.tasks.bank_rows import BankRow, is_kind, read_row
from preflexor_pl.tasks.checkers import KINDS, make_checker
from preflexor_pl.tasks.task import Item, Split, Verdict, WorkedItem
from preflexor_pl.tasks.user_check import UserCheck

KEY = "data.task"


class QuestionBank:
    """Questions with known answers of one's own.

    Args:
        source: a .jsonl, .json or .parquet file, a folder of such files or one that ``datasets``
            saved, the hub id of a data set; in Python also rows themselves.
        held_out: share of the groups that are held out, in (0, 1); at least one is, and one not.
        checker: the kind of rows that name none: a built-in one, or ``module:function``.
        worked: how many rows with ``thinking`` show the teacher what is wanted: the first ones of
            those to train on, which are then in neither split.
        seed: of the split and the order. Not the run's: all phases hold out the same.

    Raises:
        ConfigError: there is no such source or check, or too little to split.
        CorpusError: a row is no question; names it.
    """

    def __init__(
        self,
        source: str | list[Any],
        held_out: float = 0.2,
        checker: str = "exact",
        worked: int = 0,
        seed: int = 0,
    ) -> None:
        check_value(0 < held_out < 1, f"{KEY}.held_out", held_out, "in (0, 1)")
        rule = f"{', '.join(KINDS)} or module:function"
        check_value(is_kind(checker), f"{KEY}.checker", checker, rule)
        check_value(worked >= 0, f"{KEY}.worked", worked, ">= 0")
        rows = read_bank(source, checker)
        self._identity = _identity(rows, held_out, worked, seed)
        held = _held_out([row.item.group for row in rows], held_out, seed)
        train = [row for row in rows if row.item.group not in held]
        self._worked = _first_worked(train, worked)
        shown = {one.item.id for one in self._worked}
        splits: dict[Split, list[Item]] = {
            "train": [row.item for row in train if row.item.id not in shown],
            "held_out": [row.item for row in rows if row.item.group in held],
        }
        self._items: dict[tuple[Split, int], list[Item]] = {}
        for split, items in splits.items():
            for item in sorted(items, key=lambda item: derive_seed(seed, "order", item.id)):
                self._items.setdefault((split, item.level), []).append(item)
        self._checks = {kind: UserCheck(kind) for kind in _kinds(rows) - set(KINDS)}
        for check in self._checks.values():
            check.start()

    @property
    def identity(self) -> str:
        """All that its items follow from, as a hash."""
        return self._identity

    @property
    def levels(self) -> Sequence[int]:
        """The levels of the items; not every level need be in both splits."""
        return sorted({level for _, level in self._items})

    @property
    def worked(self) -> Sequence[WorkedItem]:
        """The rows that show the teacher what is wanted."""
        return self._worked

    def items(self, split: Split, level: int, start: int, count: int) -> list[Item]:
        """Items of a level, in an order that the seed draws."""
        return self._items.get((split, level), [])[start : start + count]

    def check(self, item: Item, answer: str) -> Verdict:
        """Whether an answer is right, by the item's kind."""
        kind = item.details["kind"]
        if kind in self._checks:
            return self._checks[kind].check(answer, item)
        return make_checker(kind, item.answer, item.details).check(answer)

    def check_thinking(self, item: Item, thinking: str) -> Verdict | None:
        """Always None: whether thinking is right cannot be told."""
        return None


def read_bank(source: str | list[Any], usual_kind: str) -> list[BankRow]:
    """The rows of a bank.

    Raises:
        ConfigError: there is no such source.
        CorpusError: it has no rows, or one is no question; names it.
    """
    is_rows = isinstance(source, Iterable) and not isinstance(source, Mapping)
    check_value(is_rows, f"{KEY}.source", type(source).__name__, "a file, a folder or a data set")
    rows: list[BankRow] = []
    places: dict[str, str] = {}
    for place, row in rows_of(source, KEY):
        try:
            read = read_row(row, usual_kind)
        except ValueError as error:
            raise CorpusError(f"{KEY}: {place} is no question: {error}") from error
        first = places.setdefault(read.item.id, place)
        if first != place:
            raise CorpusError(
                f"{KEY}: {place} has the id {read.item.id} of {first}: give each row an id of its "
                "own (a row without one has its question's)"
            )
        rows.append(read)
    if not rows:
        raise CorpusError(f"{KEY}: there is not one row in {source}")
    return rows


def _held_out(groups: Sequence[str], share: float, seed: int) -> set[str]:
    names = sorted(set(groups), key=lambda name: (derive_seed(seed, "held out", name), name))
    if len(names) < 2:
        raise ConfigError(
            f"{KEY}: all rows are of the group {names[0]!r}, so none can be held out: "
            "give rows of two groups or more"
        )
    count = min(max(1, round(share * len(names))), len(names) - 1)
    return set(names[:count])


def _first_worked(train: Sequence[BankRow], count: int) -> list[WorkedItem]:
    worked = [WorkedItem(row.item, row.thinking) for row in train if row.thinking.strip()][:count]
    if len(worked) < count:
        raise ConfigError(
            f"{KEY}.worked: {count} are wanted, but {len(worked)} of the rows to train on have "
            "thinking: lower it, or give more rows their thinking"
        )
    if len(worked) == len(train):
        raise ConfigError(f"{KEY}.worked: {count} leaves no row to train on: lower it")
    return worked


def _kinds(rows: Sequence[BankRow]) -> set[str]:
    return {row.item.details["kind"] for row in rows}


def _identity(rows: Sequence[BankRow], *settings: object) -> str:
    read = [[vars(row.item), row.thinking] for row in rows]
    text = json.dumps([read, *settings], sort_keys=True)
    return f"QuestionBank {hashlib.sha256(text.encode()).hexdigest()[:16]}"
