"""The rejected answer of each pair: candidates are drawn and judged, and one is taken.

Where none is of use more are drawn, a bounded number of times. With several candidates and a stated
choice this is rejection sampling:

``random``     the first that is of use
``closest``    the one that shares most words with the chosen answer (F1): the hardest to tell apart
``likeliest``  the one with the highest mean log-prob under the policy: its most ingrained mistake
``judged``     the closest of those that are ruled wrong, of all of them where none is
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from preflexor_pl.core.errors import TeacherError
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.markers import MarkerStrings
from preflexor_pl.core.responses import answer_of
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.call_key import REJECTED, CallKey
from preflexor_pl.pairs.correctness import Case, CorrectnessVerdict, token_f1
from preflexor_pl.pairs.journaled_client import JournaledClient, PairDraft
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.prompts import Prompt
from preflexor_pl.pairs.reply_checks import copies_example, refuses
from preflexor_pl.pairs.reply_parsing import chosen_response
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.writers import Measures, Writers

STRANGE = 16  # so many replies without a ruling: it is no judge
GOLDEN = (5**0.5 - 1) / 2
TRIES = 3  # all else of a pair is made by then, and costs more than another draw


@dataclass(frozen=True)
class Candidate:
    """A rejected answer that may be taken.

    Attributes:
        item: whose it is.
        name: in the round's journal.
        pair: that it would make.
        ruling: of the judge; "" where there is none.
    """

    item: PairDraft
    name: str
    pair: PreferencePair
    ruling: CorrectnessVerdict = ""


class Rejection:
    """Finds the rejected answers of one round.

    Args:
        settings: who writes them, how many, and which is taken.
        client: of the round.
        writers: the policy or the teacher writes them, the judge decides whether one is right.
        measures: whether a pair can be trained on, and how likely a rejected answer is.
        texts: the texts of chunks, inert, by their ids.
        policy_step: optimiser steps made so far, for the record.

    Attributes:
        counts: of candidates ``drawn``, of ``use``, and ruled ``right``, ``wrong`` or ``unclear``.
    """

    def __init__(
        self,
        settings: PairSettings,
        client: JournaledClient,
        writers: Writers,
        measures: Measures,
        texts: Callable[[list[str]], list[str]],
        policy_step: int,
    ) -> None:
        self.settings = settings
        self.client = client
        self.writer = writers.policy if settings.rejected == "policy" else writers.teacher
        self.judge = writers.judge
        self.measures = measures
        self.texts = texts
        self.policy_step = policy_step
        self.counts: Counter[str] = Counter()

    def pairs(self, items: list[PairDraft]) -> list[PreferencePair]:
        """Pairs in the order of ``items``; items without a rejected answer of use are dropped."""
        taken: dict[str, PreferencePair] = {}
        failed: dict[str, tuple[str, str]] = {}
        for attempt in range(TRIES):
            missing = [item for item in items if item.id not in taken]
            found = self._candidates(missing, attempt, failed)
            if self.settings.needs_ruling:
                found = self._judged(found, failed)
            taken |= self._choose(found)
        for item in items:
            if item.id not in taken:
                self.client.drop(item, *failed[item.id])
        return [taken[item.id] for item in items if item.id in taken]

    @property
    def told(self) -> str:
        """What came of the rulings, in one line."""
        counts = self.counts
        return (
            f"{counts['wrong']} of {counts['of_use']} rejected answers ruled wrong, "
            f"{counts['right']} right, {counts['unclear']} unclear, by {self.judge.name}"
        )

    def _candidates(
        self, items: list[PairDraft], attempt: int, failed: dict[str, tuple[str, str]]
    ) -> list[Candidate]:
        """Those of use; why an item's others are not goes into ``failed``."""
        each = self.settings.rejected_candidates
        draws = [(item, attempt * each + n) for item in items for n in range(each)]
        keys = [CallKey(REJECTED, item.id, number=number) for item, number in draws]
        requests = {str(key): self._request(*draw) for key, draw in zip(keys, draws, strict=True)}
        made = self.client.complete(REJECTED, requests, self.writer)
        found: list[Candidate] = []
        for (item, _), key in zip(draws, keys, strict=True):
            completion, request = made[str(key)], requests[str(key)]
            pair = self._pair(item, completion, request.seed)
            reason = completion.problem or self._why_not(item, pair)
            if not reason and copies_example(pair.rejected, request):
                reason = "rejected_copies_example"
            if reason:
                failed[item.id] = reason, pair.rejected
            else:
                found.append(Candidate(item, key.draw, pair))
        self.counts.update(drawn=len(draws), of_use=len(found))
        return found

    def _judged(
        self, candidates: list[Candidate], failed: dict[str, tuple[str, str]]
    ) -> list[Candidate]:
        """The candidates with their rulings; with ``only_wrong``, those that are wrong."""
        cases = {
            one.name: Case(
                tuple(self.texts(one.item.chunk_ids)),
                one.item.question,
                one.item.answer,
                one.pair.rejected,
                self.settings.markers,
            )
            for one in candidates
        }
        rulings = self.judge.rule(cases, self.client)
        if len(rulings) >= STRANGE and not any(rulings.values()):
            raise TeacherError(
                f"data.judge: of {len(rulings)} answers {self.judge.name} called none right or "
                "wrong: its replies must begin so and be no worked example; a model that thinks "
                "first needs its thinking off, or a larger data.judge.sampling.max_new_tokens"
            )
        ruled = [replace(one, ruling=rulings[one.name]) for one in candidates]
        self.counts.update(one.ruling or "unclear" for one in ruled)
        if not self.settings.only_wrong:
            return ruled
        for one in ruled:
            if one.ruling != "wrong":
                failed[one.item.id] = f"rejected_{one.ruling or 'unclear'}", one.pair.rejected
        return [one for one in ruled if one.ruling == "wrong"]

    def _choose(self, candidates: list[Candidate]) -> dict[str, PreferencePair]:
        """One for each item that has any, the first among equals."""
        choice = self.settings.rejected_choice
        if choice == "likeliest":
            scores = self.measures.likelihood([one.pair for one in candidates])
        elif choice in ("closest", "judged"):
            wrong = [choice == "judged" and one.ruling == "wrong" for one in candidates]
            scores = [
                w + _closeness(one, self.settings.markers)
                for one, w in zip(candidates, wrong, strict=True)
            ]
        else:
            scores = [0.0] * len(candidates)
        best: dict[str, tuple[float, PreferencePair]] = {}
        for one, score in zip(candidates, scores, strict=True):
            if one.item.id not in best or score > best[one.item.id][0]:
                best[one.item.id] = score, one.pair
        return {item_id: pair for item_id, (_, pair) in best.items()}

    def _request(self, item: PairDraft, number: int) -> Request:
        settings = self.settings
        if settings.rejected == "policy":
            wanted = settings.rejected_trigger and has_trigger(item, settings.untriggered_share)
            trigger = settings.markers.suffix if wanted else ""
            asked, system = Prompt(item.question + trigger), settings.system_prompt
        else:
            asked = settings.prompts.ask_wrong_answer(self.texts(item.chunk_ids), item.question)
            asked = asked.inert(self.client.special_tokens)
            system = settings.teacher.system_prompt
        seed = self.client.seed_of(item, "rejected", number)
        return Request(
            asked.text, system, settings.rejected_sampling, seed, asked.examples, asked.stop
        )

    def _why_not(self, item: PairDraft, pair: PreferencePair) -> str:
        """Why a pair is of no use; "" where it is."""
        if not pair.rejected.strip():
            return "rejected_empty"
        if pair.rejected.strip() in (pair.chosen.strip(), item.answer):
            return "rejected_equals_chosen"
        if self.settings.rejected == "teacher" and refuses(pair.rejected):
            return "rejected_refusal"
        return self.measures.problem(pair)

    def _pair(self, item: PairDraft, rejected: Completion, seed: int) -> PreferencePair:
        text = rejected.text
        # The policy's own text keeps the markers that it emitted.
        if self.settings.rejected == "teacher":
            text = escape_special_tokens(text, self.client.special_tokens)
        prompt, chosen = item.question, item.answer
        if has_trigger(item, self.settings.untriggered_share):
            prompt += self.settings.markers.suffix
            blocks = item.ordered_blocks(self.settings.thinking.categories)
            chosen = chosen_response(blocks, item.answer, item.reflection, self.settings.markers)
        return PreferencePair(
            id=item.id,
            prompt=prompt,
            chosen=chosen,
            rejected=text,
            round=self.client.index,
            topic=item.topic,
            chunk_ids=item.chunk_ids,
            teacher=self.client.teacher.name,
            rejected_source=self.writer.name,
            policy_step=self.policy_step,
            seed=seed,
            finish_reason=rejected.finish_reason,
            grounding=round(item.grounding.score, 4) if item.grounding else None,
            invented_numbers=len(item.grounding.invented) if item.grounding else None,
        )


def has_trigger(item: PairDraft, untriggered_share: float) -> bool:
    """Whether an item's pair has the trigger.

    Multiples of the golden ratio spread those without it evenly over a plan, whatever the period of
    its topics.
    """
    place = int(item.id.rsplit("-", 1)[-1])
    return place * GOLDEN % 1 >= untriggered_share


def _closeness(one: Candidate, markers: MarkerStrings) -> float:
    return token_f1(answer_of(one.pair.rejected, markers), one.item.answer)
