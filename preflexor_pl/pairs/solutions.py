"""The teacher's solutions of a task's items: several are drawn, and a right one is taken.

The teacher sees the item's own source, where the policy has to find it among other things. Where
none of its solutions is right it is told the answer, and what it says then is checked again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.call_key import HINTED, SOLUTION, CallKey
from preflexor_pl.pairs.journaled_client import JournaledClient, PairDraft
from preflexor_pl.pairs.prompts import Prompt, Prompts
from preflexor_pl.pairs.reply_checks import copies_example
from preflexor_pl.tasks.task import ANSWER_LINE, Item, Task, worked_of

HINT = "The answer is {}."
_ANSWER = re.compile(rf"^[\s*_#>]*{ANSWER_LINE}[*_]*", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Solution:
    """What the teacher says about an item.

    Attributes:
        thinking: that leads to the answer; inert.
        answer: inert.
        is_hinted: whether the teacher was told the answer.
    """

    thinking: str
    answer: str
    is_hinted: bool = False


def read_solution(text: str) -> Solution | None:
    """Thinking and answer of a reply; None where it lacks one of them."""
    marks = list(_ANSWER.finditer(text))
    if not marks:
        return None
    thinking, answer = text[: marks[-1].start()].strip(), text[marks[-1].end() :].strip()
    return Solution(thinking, answer) if thinking and answer else None


def solution_prompt(prompts: Prompts, task: Task, item: Item, stage: str) -> Prompt:
    """What the teacher is asked, after the task's examples of the level.

    Args:
        prompts: of which the solution's is used.
        task: of the item.
        item: to be solved.
        stage: ``HINTED`` tells the answer, ``SOLUTION`` does not.
    """
    worked = worked_of(task, item.level)
    return prompts.ask_solution(item, worked, HINT.format(item.answer) if stage == HINTED else "")


class Solver:
    """Has the teacher solve items.

    Args:
        task: of the items.
        prompts: of which the solution's is used.
        client: of the round.
        sampling: of a solution.
        candidates: solutions that are drawn for each item, and as many again with the answer told.
    """

    def __init__(
        self,
        task: Task,
        prompts: Prompts,
        client: JournaledClient,
        sampling: Sampling,
        candidates: int,
    ) -> None:
        self.task = task
        self.prompts = prompts
        self.client = client
        self.sampling = sampling
        self.candidates = candidates

    def solve(self, drafts: Sequence[tuple[PairDraft, Item]]) -> dict[str, Solution]:
        """The shortest right solution of each item that has one, by its draft's id."""
        found = self._solved(SOLUTION, drafts)
        missing = [(draft, item) for draft, item in drafts if draft.id not in found]
        return found | self._solved(HINTED, missing)

    def _solved(self, stage: str, drafts: Sequence[tuple[PairDraft, Item]]) -> dict[str, Solution]:
        draws = [(*one, number) for one in drafts for number in range(self.candidates)]
        keys = [str(CallKey(stage, draft.id, number=number)) for draft, _, number in draws]
        requests = {key: self._request(stage, *draw) for key, draw in zip(keys, draws, strict=True)}
        made = self.client.complete(stage, requests, self.client.teacher)
        found: dict[str, Solution] = {}
        for key, (draft, item, _) in zip(keys, draws, strict=True):
            was_cut = made[key].finish_reason != "stop"
            if was_cut or made[key].problem or copies_example(made[key].text, requests[key]):
                continue
            text = escape_special_tokens(made[key].text, self.client.special_tokens)
            solution = self._right(item, text, stage == HINTED)
            best = found.get(draft.id)
            if solution and (best is None or len(solution.thinking) < len(best.thinking)):
                found[draft.id] = solution
        return found

    def _right(self, item: Item, text: str, is_hinted: bool) -> Solution | None:
        solution = read_solution(text)
        if solution is None or self.task.check(item, solution.answer) != "right":
            return None
        if self.task.check_thinking(item, solution.thinking) not in (None, "right"):
            return None
        return Solution(solution.thinking, solution.answer, is_hinted)

    def _request(self, stage: str, draft: PairDraft, item: Item, number: int) -> Request:
        prompt = solution_prompt(self.prompts, self.task, item, stage)
        asked = prompt.inert(self.client.special_tokens)
        seed = self.client.seed_of(draft, stage, number)
        return Request(
            asked.text, self.client.system_prompt, self.sampling, seed, asked.examples, asked.stop
        )
