"""One round of a task: the policy's tries at its items, and the pairs that come of them.

Where some tries at an item are right and some are not, the shortest right one is chosen; where none
is right, the teacher's solution is, if it is right. An item whose tries are all right teaches
nothing and is left. The rejected response is a try that is not right.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.responses import answer_of
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.call_key import TRY, CallKey
from preflexor_pl.pairs.correctness import token_f1
from preflexor_pl.pairs.item_choice import ItemTries, pass_rate
from preflexor_pl.pairs.journaled_client import JournaledClient, PairDraft
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.rejection import has_trigger
from preflexor_pl.pairs.reply_parsing import thought_response
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.solutions import Solution, Solver
from preflexor_pl.pairs.verification import OUTCOMES, Outcome, check_response
from preflexor_pl.pairs.writers import Measures, Writers
from preflexor_pl.tasks.task import Item, Task

ORDER: tuple[Outcome, ...] = ("wrong", "unreadable", "lucky")  # a rejected response, best first


@dataclass(frozen=True)
class Try:
    """A response of the policy to an item, and what came of checking it."""

    completion: Completion
    seed: int
    outcome: Outcome

    @property
    def is_right(self) -> bool:
        """Whether it can be chosen: right, and ended by itself."""
        return self.outcome == "right" and self.completion.finish_reason == "stop"


class TaskRound:
    """What one round has so far.

    Args:
        task: of the items.
        settings: how the policy is asked, and what is taken.
        client: of the round.
        writers: of which the policy tries; the teacher is the client's.
        measures: whether a pair can be trained on, and how likely a rejected response is.
        order: of the round.

    Attributes:
        pairs: that were made.
        tries: what came of each item.
    """

    def __init__(
        self,
        task: Task,
        settings: PairSettings,
        client: JournaledClient,
        writers: Writers,
        measures: Measures,
        order: Order,
    ) -> None:
        self.task = task
        self.settings = settings
        self.measures = measures
        self.policy = writers.policy
        self.client = client
        self.order = order
        teacher = settings.teacher
        self.solver = Solver(task, settings.prompts, client, teacher.answer, teacher.candidates)
        self.pairs: list[PreferencePair] = []
        self.tries: list[ItemTries] = []
        self.outcomes: Counter[str] = Counter()

    def add(self, items: Sequence[tuple[PairDraft, Item]]) -> None:
        """Have the items tried and, where no try is right, solved; keep the pairs."""
        tries = self._tries(items)
        unsolved = [one for one in items if _needs_solution(tries[one[0].id])]
        solved = self.solver.solve(unsolved)
        for draft, item in items:
            own = tries[draft.id]
            right = sum(one.outcome == "right" for one in own)
            self.tries.append(ItemTries(item.id, item.level, self.order.index, len(own), right))
            self.outcomes.update(one.outcome for one in own)
            self._keep(draft, item, own, solved.get(draft.id))

    def facts(self, pairs: Sequence[PreferencePair]) -> dict[str, Any]:
        """The round's numbers, for its manifest."""
        reasons = Counter(drop["reason"] for drop in self.client.drops)
        by_level = {
            level: [one for one in self.tries if one.level == level]
            for level in sorted({one.level for one in self.tries})
        }
        return {
            "items": len(self.tries),
            "tries": {name: self.outcomes[name] for name in OUTCOMES},
            "pass_rate": {
                str(level): round(pass_rate(tries), 4) for level, tries in by_level.items()
            },
            "chosen": dict(Counter(pair.teacher for pair in pairs)),
            "all_right": reasons["all_tries_right"],
            "unsolved": reasons["never_right"],
        }

    def _keep(
        self, draft: PairDraft, item: Item, tries: Sequence[Try], solution: Solution | None
    ) -> None:
        right = [one for one in tries if one.is_right]
        failed = [one for one in tries if one.outcome != "right"]
        if not failed:
            reason = "all_tries_right" if right else "right_but_cut"
            self.client.drop(draft, reason, tries[0].completion.text)
            return
        if right:
            best = min(right, key=lambda one: len(one.completion.text))
            chosen, source = best.completion.text, self.policy.name
        elif solution:
            chosen, source = self._response(draft, solution), self.client.teacher.name
            source += " (told the answer)" * solution.is_hinted
        else:
            self.client.drop(draft, "never_right", failed[0].completion.text)
            return
        pairs = [self._pair(draft, item, chosen, source, one) for one in failed]
        usable = [(one, pair) for one, pair in zip(failed, pairs, strict=True) if self._fits(pair)]
        if not usable:
            reason = self.measures.problem(pairs[0]) or "rejected_empty"
            self.client.drop(draft, reason, pairs[0].rejected)
            return
        self.pairs.append(self._hardest(usable))

    def _fits(self, pair: PreferencePair) -> bool:
        return bool(pair.rejected.strip()) and not self.measures.problem(pair)

    def _hardest(self, usable: Sequence[tuple[Try, PreferencePair]]) -> PreferencePair:
        """Of the worst outcome there is, the pair by ``rejected_choice``, the first of equals."""
        outcome = min((one.outcome for one, _ in usable), key=ORDER.index)
        pairs = [pair for one, pair in usable if one.outcome == outcome]
        if self.settings.rejected_choice == "closest":
            markers = self.settings.markers
            scores = [
                token_f1(answer_of(pair.rejected, markers), answer_of(pair.chosen, markers))
                + token_f1(pair.rejected, pair.chosen)
                for pair in pairs
            ]
        elif self.settings.rejected_choice == "likeliest":
            scores = self.measures.likelihood(pairs)
        else:
            return pairs[0]
        return max(zip(scores, pairs, strict=True), key=lambda scored: scored[0])[1]

    def _tries(self, items: Sequence[tuple[PairDraft, Item]]) -> dict[str, list[Try]]:
        each = range(self.settings.rejected_candidates)
        draws = [(draft, item, number) for draft, item in items for number in each]
        keys = [str(CallKey(TRY, draft.id, number=number)) for draft, _, number in draws]
        requests = {
            key: self._request(draft, number)
            for key, (draft, _, number) in zip(keys, draws, strict=True)
        }
        made = self.client.complete(TRY, requests, self.policy)
        tries: dict[str, list[Try]] = {draft.id: [] for draft, _ in items}
        for key, (draft, item, _) in zip(keys, draws, strict=True):
            asked = has_trigger(draft, self.settings.untriggered_share)
            text, markers = made[key].text, self.settings.markers
            outcome = check_response(self.task, item, text, asked, markers).outcome
            tries[draft.id].append(Try(made[key], requests[key].seed, outcome))
        return tries

    def _request(self, draft: PairDraft, number: int) -> Request:
        settings, seed = self.settings, self.client.seed_of(draft, TRY, number)
        return Request(
            self._prompt(draft), settings.system_prompt, settings.rejected_sampling, seed
        )

    def _prompt(self, draft: PairDraft) -> str:
        trigger = has_trigger(draft, self.settings.untriggered_share)
        question = escape_special_tokens(draft.question, self.client.special_tokens)
        return question + self.settings.markers.suffix * trigger

    def _response(self, draft: PairDraft, solution: Solution) -> str:
        """The teacher's solution as a response."""
        if not has_trigger(draft, self.settings.untriggered_share):
            return solution.answer
        markers = self.settings.markers
        return thought_response(solution.thinking, solution.answer, markers=markers)

    def _pair(
        self, draft: PairDraft, item: Item, chosen: str, source: str, rejected: Try
    ) -> PreferencePair:
        return PreferencePair(
            id=draft.id,
            prompt=self._prompt(draft),
            chosen=chosen,
            rejected=rejected.completion.text,
            round=self.order.index,
            topic=draft.topic,
            chunk_ids=[],
            teacher=source,
            rejected_source=self.policy.name,
            policy_step=self.order.policy_step,
            seed=rejected.seed,
            finish_reason=rejected.completion.finish_reason,
            item=item.id,
        )


def _needs_solution(tries: Sequence[Try]) -> bool:
    """Whether something can be rejected, and nothing chosen."""
    is_wrong = any(one.outcome != "right" for one in tries)
    return is_wrong and not any(one.is_right for one in tries)
