"""Questions whose answers can be checked: one item, and the task that draws and checks items.

A task is a small object. What it needs is in ``Task``; ``MultiHop`` makes its items,
``QuestionBank`` reads them from a file, and a class of your own is named by its path in
``data.task``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Verdict = Literal["right", "wrong", "unreadable"]
Split = Literal["train", "held_out"]

ANSWER_LINE = "Answer:"  # begins the line of a solution that holds its answer


@dataclass(frozen=True)
class Item:
    """One question with a known answer.

    Attributes:
        id: unique in its task.
        question: that is asked, without the trigger.
        answer: the right one, as a good answer says it.
        shown: what the policy reads before the question, such as facts of which few matter; "" for
            nothing.
        source: what the answer rests on; only the teacher sees it, in the place of ``shown``. ""
            where there is nothing else.
        level: how hard the question is, from 1 on.
        group: items of one group are held out together, and count as one in statistics.
        details: what the checker needs besides.
    """

    id: str
    question: str
    answer: str
    shown: str = ""
    source: str = ""
    level: int = 1
    group: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """What the policy is asked."""
        return "\n\n".join(filter(None, (self.shown, self.question)))


@dataclass(frozen=True)
class WorkedItem:
    """An item with the thinking that leads to its answer: shows a teacher what is wanted."""

    item: Item
    thinking: str

    @property
    def reply(self) -> str:
        """How it is said: the thinking, and the answer on a line of its own."""
        return f"{self.thinking}\n{ANSWER_LINE} {self.item.answer}"


@runtime_checkable
class Task(Protocol):
    """A source of items, and what decides whether an answer to one is right."""

    @property
    def identity(self) -> str:
        """All that its items follow from: a round's plan belongs to it."""

    @property
    def levels(self) -> Sequence[int]:
        """The levels that there are items of, the easiest first."""

    @property
    def worked(self) -> Sequence[WorkedItem]:
        """Examples for the teacher, in no split; none where a teacher needs none."""

    def items(self, split: Split, level: int, start: int, count: int) -> list[Item]:
        """Items number ``start`` to ``start + count`` of a level, in an order that never changes.

        Args:
            split: to train on, or held out; no item, and no group, is in both.
            level: one of ``levels``.
            start: from 0.
            count: how many; fewer come where there are no more.
        """

    def check(self, item: Item, answer: str) -> Verdict:
        """Whether an answer is right; never raises, whatever the answer."""

    def check_thinking(self, item: Item, thinking: str) -> Verdict | None:
        """Whether the thinking is right, None where that cannot be told; never raises."""


def worked_of(task: Task, level: int) -> list[WorkedItem]:
    """The worked examples of a level."""
    return [one for one in task.worked if one.item.level == level]
