"""Whether a response to a task's item is right: its answer, and its thinking where that is checked.

``right``        the answer is right, and so is the thinking
``lucky``        the answer is right, and the thinking is wrong or is not there
``wrong``        the answer is wrong
``unreadable``   there is no answer that can be read
"""

from dataclasses import dataclass
from typing import Literal

from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.responses import parse_response
from preflexor_pl.tasks.task import Item, Task

Outcome = Literal["right", "lucky", "wrong", "unreadable"]
OUTCOMES: tuple[Outcome, ...] = ("right", "lucky", "wrong", "unreadable")


def is_right_answer(outcome: Outcome) -> bool:
    """Whether the answer is right, whatever led to it."""
    return outcome in ("right", "lucky")


def is_verified(outcome: Outcome, thinks: bool) -> bool:
    """Whether the answer is right, and follows thinking that is right, or cannot be checked."""
    return outcome == "right" and thinks


@dataclass(frozen=True)
class Checked:
    """A response with what came of checking it.

    Attributes:
        outcome: of the response as a whole.
        thinks: whether it has a thinking section that is closed and not empty.
        thinking_is_right: of the thinking; None where there is none, or where it cannot be checked.
    """

    outcome: Outcome
    thinks: bool
    thinking_is_right: bool | None


def check_response(
    task: Task,
    item: Item,
    response: str,
    is_asked_to_think: bool = True,
    markers: MarkerStrings = DEFAULT,
) -> Checked:
    """Check a response.

    Args:
        task: of the item.
        item: that was asked.
        response: whole, as the model wrote it.
        is_asked_to_think: whether a response without thinking lacks something.
        markers: of the response.
    """
    parsed = parse_response(response, markers)
    thinks = bool(parsed.thinking) and parsed.answer is not None
    verdict = task.check(item, parsed.answer) if parsed.answer else "unreadable"
    ruling = task.check_thinking(item, parsed.thinking) if thinks and parsed.thinking else None
    if verdict != "right":
        outcome: Outcome = verdict
    else:
        formed = set(parsed.problems) == (set() if is_asked_to_think else {"no_thinking"})
        outcome = "right" if formed and ruling in (None, "right") else "lucky"
    return Checked(outcome, thinks, None if ruling is None else ruling == "right")
