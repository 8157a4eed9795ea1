"""Which items of a task a round asks: new ones of all levels in turn, or those at the frontier.

``random``     every level alike, each item once before any is asked again
``frontier``   mostly the lowest level that is not passed yet: new items, and between them those
               that the policy answered now right, now wrong (a curriculum by measured pass rates)
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice

from preflexor_pl.tasks.task import Item, Split, Task

PASSED = 0.8  # of the tries at a level, from which on the next one is the frontier
OTHERS = 4  # one item in so many is of another level that has been reached, so that it stays
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


def pass_rate(items: Sequence[ItemTries]) -> float:
    """Share of the tries at some items that were right."""
    return sum(one.right for one in items) / sum(one.tries for one in items)


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
    levels = [level for level in task.levels if task.items(split, level, 0, 1)]
    streams = {level: _stream(task, split, level, history) for level in levels}
    if not frontier or not levels:
        return _take(cycle(levels), streams, wanted)
    rates = level_rates(history)
    place = next(
        (n for n, level in enumerate(levels) if rates.get(level, 0.0) < PASSED), len(levels) - 1
    )
    level, reached = levels[place], levels[:place]
    streams[level] = _with_middling(task, split, level, history, streams[level])
    others = cycle(reached or [level])
    turns = (next(others) if n % OTHERS == OTHERS - 1 else level for n in count())
    return _take(turns, {name: streams[name] for name in {level, *reached}}, wanted)


def level_rates(history: Sequence[ItemTries]) -> dict[int, float]:
    """The pass rate of each level in the last round that asked items of it.

    Of items that were new in that round, where there are any: the others were chosen because the
    policy was unsure of them.
    """
    first: dict[str, int] = {}
    for one in history:
        first[one.item] = min(one.round, first.get(one.item, one.round))
    rates: dict[int, float] = {}
    for level in sorted({one.level for one in history}):
        last = max(one.round for one in history if one.level == level)
        tries = [one for one in history if one.level == level and one.round == last]
        counted = [one for one in tries if first[one.item] == last] or tries
        rates[level] = pass_rate(counted)
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


def _stream(task: Task, split: Split, level: int, history: Sequence[ItemTries]) -> Iterator[Item]:
    """The items of a level that were not asked yet, then those asked least often, longest ago."""
    times = Counter(one.item for one in history)
    rounds = {one.item: one.round for one in history}
    again = []
    for start in count(0, BLOCK):
        items = task.items(split, level, start, BLOCK)
        again += [item for item in items if item.id in times]
        yield from (item for item in items if item.id not in times)
        if len(items) < BLOCK:
            break
    yield from sorted(again, key=lambda item: (times[item.id], rounds[item.id]))


def _with_middling(
    task: Task, split: Split, level: int, history: Sequence[ItemTries], new: Iterator[Item]
) -> Iterator[Item]:
    """Every second item one that was answered now right, now wrong, until there are no more."""
    last = {one.item: one for one in history if one.level == level}
    rates = {id: pass_rate([one]) for id, one in last.items() if 0 < one.right < one.tries}
    asked = task.items(split, level, 0, len(last))  # in this order, so these are all
    known = [item for item in asked if item.id in rates]
    for item in sorted(known, key=lambda item: abs(rates[item.id] - 0.5)):
        yield item
        yield from islice(new, 1)
    yield from new
