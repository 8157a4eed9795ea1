"""Which items of a task a round asks: new ones of all levels in turn, or those at the frontier.

``random``     every level alike, each item once before any is asked again
``frontier``   mostly the lowest level that is not passed yet: first what the policy answered now
               right, now wrong, then new items (a curriculum by measured pass rates)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle

from preflexor_pl.tasks.task import Item, Split, Task

PASSED = 0.8  # of the tries at a level, from which on the next one is the frontier
OTHERS = 4  # one item in so many is of another level that has been reached, so that it stays
AGAIN = 0.5  # share of the frontier's items that may have been asked before
BLOCK = 64  # items that a task is asked for together


@dataclass(frozen=True)
class ItemTries:
    """What came of one item in a round.

    Attributes:
        item: its id.
        level: its level.
        round: in which it was asked.
        tries: of the policy.
        right: of these, how many were right.
    """

    item: str
    level: int
    round: int
    tries: int
    right: int

    @property
    def pass_rate(self) -> float:
        """Share of the tries that were right."""
        return self.right / self.tries


def choose_items(
    task: Task, split: Split, wanted: int, history: Sequence[ItemTries] = (), frontier: bool = False
) -> list[Item]:
    """The items of a round, in the order in which they are asked.

    Args:
        task: that has them.
        split: of the task.
        wanted: how many; fewer come only from a task that has fewer.
        history: of the rounds before.
        frontier: whether the levels follow the pass rates.
    """
    asked = {one.item for one in history}
    streams = {level: _stream(task, split, level, asked) for level in task.levels}
    if not frontier:
        return _take(cycle(task.levels), streams, wanted)
    rates = level_rates(history)
    place = next(
        (n for n, level in enumerate(task.levels) if rates.get(level, 0.0) < PASSED),
        len(task.levels) - 1,
    )
    level, reached = task.levels[place], task.levels[:place]
    streams[level] = _middling_first(task, split, level, history, streams[level], wanted)
    others = cycle(reached or [level])
    turns = (next(others) if n % OTHERS == OTHERS - 1 else level for n in count())
    return _take(turns, {name: streams[name] for name in {level, *reached}}, wanted)


def level_rates(history: Sequence[ItemTries]) -> dict[int, float]:
    """The pass rate of each level in the last round that asked items of it."""
    rates: dict[int, float] = {}
    for level in sorted({one.level for one in history}):
        last = max(one.round for one in history if one.level == level)
        tries = [one for one in history if one.level == level and one.round == last]
        rates[level] = sum(one.right for one in tries) / sum(one.tries for one in tries)
    return rates


def _take(levels: Iterator[int], streams: dict[int, Iterator[Item]], wanted: int) -> list[Item]:
    """Items by the turns of the levels; a level that has no more is passed over."""
    taken: dict[str, Item] = {}
    left = set(streams)
    while len(taken) < wanted and left:
        level = next(levels)
        item = next(streams[level], None)
        if item is None:
            left.discard(level)
        else:
            taken.setdefault(item.id, item)
    return list(taken.values())


def _stream(task: Task, split: Split, level: int, asked: set[str]) -> Iterator[Item]:
    """The items of a level that were not asked yet, then the others."""
    again = []
    for start in count(0, BLOCK):
        items = task.items(split, level, start, BLOCK)
        again += [item for item in items if item.id in asked]
        yield from (item for item in items if item.id not in asked)
        if len(items) < BLOCK:
            break
    yield from again


def _middling_first(
    task: Task,
    split: Split,
    level: int,
    history: Sequence[ItemTries],
    new: Iterator[Item],
    wanted: int,
) -> Iterator[Item]:
    last = {one.item: one for one in history if one.level == level}
    middling = [one for one in last.values() if 0 < one.right < one.tries]
    middling.sort(key=lambda one: (abs(one.pass_rate - 0.5), one.item))
    ids = {one.item for one in middling[: int(AGAIN * wanted)]}
    known: list[Item] = []
    for start in count(0, BLOCK):
        items = task.items(split, level, start, BLOCK)
        known += [item for item in items if item.id in ids]
        if len(known) == len(ids) or len(items) < BLOCK:
            break
    yield from known
    yield from new
