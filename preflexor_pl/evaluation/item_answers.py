"""A model's greedy answers to a task's held-out items, each checked.

A line of ``samples/items-0000.jsonl``: the item's ``id``, ``level`` and ``group``, the response,
and what came of checking it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.evaluation.held_out import answer_questions
from preflexor_pl.evaluation.question_values import BY_LEVEL, PASS, VERIFIED
from preflexor_pl.pairs.verification import (
    Outcome,
    check_response,
    is_right_answer,
    is_verified,
)
from preflexor_pl.policy.language_model import LanguageModel
from preflexor_pl.tasks.task import Item, Task


@dataclass(frozen=True)
class ItemAnswer:
    """A response to one item, checked.

    Attributes:
        id: of the item.
        level: of the item.
        group: of the item; "" where it has none.
        outcome: of the response.
        thinks: whether it has a thinking section.
        thinking_is_right: None where there is none, or where it cannot be checked.
        tokens: of the response.
        text: the response.
    """

    id: str
    level: int
    group: str
    outcome: Outcome
    thinks: bool
    thinking_is_right: bool | None
    tokens: int
    text: str

    @property
    def is_right(self) -> bool:
        """Whether the answer is right, whatever led to it."""
        return is_right_answer(self.outcome)

    @property
    def is_verified(self) -> bool:
        """Whether the answer is right, and follows thinking that is right, or cannot be checked."""
        return is_verified(self.outcome, self.thinks)


def answer_items(
    policy: LanguageModel,
    task: Task,
    items: Sequence[Item],
    system_prompt: str | None,
    has_trigger: bool,
    limit: int,
    batch_size: int,
) -> list[ItemAnswer]:
    """Greedy responses to ``items``, checked.

    Args:
        policy: the model, as it is now.
        task: of the items.
        items: to be answered.
        system_prompt: as in training.
        has_trigger: whether the policy is asked to think.
        limit: tokens of a response.
        batch_size: texts generated together.
    """
    prompts = [item_prompt(policy, item, has_trigger) for item in items]
    answers = answer_questions(policy, prompts, system_prompt, limit, batch_size)
    return [
        checked_answer(
            task,
            item,
            answer.completion.text,
            answer.completion.tokens,
            has_trigger,
            policy.strings,
        )
        for item, answer in zip(items, answers, strict=True)
    ]


def item_prompt(model: LanguageModel, item: Item, has_trigger: bool) -> str:
    """What a model is asked."""
    question = escape_special_tokens(item.prompt, model.special_strings)
    return question + model.strings.suffix * has_trigger


def checked_answer(
    task: Task,
    item: Item,
    text: str,
    tokens: int,
    is_asked_to_think: bool,
    markers: MarkerStrings = DEFAULT,
) -> ItemAnswer:
    """A response to an item, checked; see ``check_response``."""
    checked = check_response(task, item, text, is_asked_to_think, markers)
    return ItemAnswer(
        item.id,
        item.level,
        item.group,
        checked.outcome,
        checked.thinks,
        checked.thinking_is_right,
        tokens,
        text,
    )


def item_metrics(answers: Sequence[ItemAnswer]) -> dict[str, float]:
    """Means over items.

    Returns:
        ``pass_at_1``: share of right answers, over all and by level; ``verified``: share of answers
        that are right with right thinking, or with any where it cannot be checked; ``thinks``:
        share with a thinking section; ``response_tokens``: mean length.
    """
    found = {
        PASS: _mean([one.is_right for one in answers]),
        VERIFIED: _mean([one.is_verified for one in answers]),
        "thinks": _mean([one.thinks for one in answers]),
        "response_tokens": _mean([one.tokens for one in answers]),
    }
    for level in sorted({one.level for one in answers}):
        of_level = [one.is_right for one in answers if one.level == level]
        found[f"{BY_LEVEL}{level}"] = _mean(of_level)
    return found


def write_item_answers(path: Path, answers: Sequence[ItemAnswer]) -> None:
    """One line an item."""
    write_atomically(path, "".join(json.dumps(asdict(one)) + "\n" for one in answers))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
