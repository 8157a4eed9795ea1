"""The user's own pairs in a round: made inert, completed by the policy in training, and checked."""

from collections.abc import Callable, Collection, Sequence

from preflexor_pl.core.generator import Completion, Generator, Request
from preflexor_pl.core.responses import parse_response
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.call_key import REJECTED, CallKey
from preflexor_pl.pairs.journaled_client import JournaledClient, PairDraft
from preflexor_pl.pairs.own_pair import OwnPair
from preflexor_pl.pairs.pair import PreferencePair, inert_but_markers
from preflexor_pl.pairs.rejection import TRIES
from preflexor_pl.pairs.settings import PairSettings

OWN = "own"  # who wrote it, in the pairs' records


class OwnRound:
    """Turns the own pairs of one round into pairs to train on.

    Args:
        settings: how the policy is asked for a rejected answer.
        client: of the round; takes the drops.
        policy: the model in training.
        problem: why a pair cannot be trained on, as a slug; "" where it can.
        chunks: of the corpus, by id: those that a pair says it rests on are kept if they are here.
        policy_step: optimiser steps made so far, for the record.
    """

    def __init__(
        self,
        settings: PairSettings,
        client: JournaledClient,
        policy: Generator,
        problem: Callable[[PreferencePair], str],
        chunks: Collection[str],
        policy_step: int,
    ) -> None:
        self.settings = settings
        self.client = client
        self.policy = policy
        self.problem = problem
        self.chunks = chunks
        self.policy_step = policy_step

    def pairs(self, own: Sequence[OwnPair]) -> list[PreferencePair]:
        """Those of ``own`` that can be trained on, in their order; the others are dropped."""
        index = self.client.index
        name = f"{index:04d}" if index >= 0 else "held"
        made = [self._pair(pair, f"{name}-own-{n:04d}") for n, pair in enumerate(own)]
        missing = {pair.id for pair, given in zip(made, own, strict=True) if given.rejected is None}
        reasons = {pair.id: self._why_not(pair) for pair in made if pair.id not in missing}
        for attempt in range(TRIES):
            made = self._completed(made, missing, attempt)
            reasons |= {pair.id: self._why_not(pair) for pair in made if pair.id in missing}
            missing = {id for id in missing if reasons[id]}
        for pair in made:
            if reasons[pair.id]:
                item = PairDraft(pair.id, pair.topic, [], pair.prompt)
                self.client.drop(item, reasons[pair.id], pair.rejected)
        return [pair for pair in made if not reasons[pair.id]]

    def _completed(
        self, pairs: Sequence[PreferencePair], missing: Collection[str], attempt: int
    ) -> list[PreferencePair]:
        """The pairs with rejected answers that the policy wrote for those that miss one."""
        requests = {pair.id: self._request(pair, attempt) for pair in pairs if pair.id in missing}
        keys = {id: str(CallKey(REJECTED, id, number=attempt)) for id in requests}
        calls = {keys[id]: request for id, request in requests.items()}
        made = self.client.complete(REJECTED, calls, self.policy)
        written = {id: made[keys[id]] for id in requests}
        return [
            self._written(pair, written[pair.id], requests[pair.id]) if pair.id in written else pair
            for pair in pairs
        ]

    def _request(self, pair: PreferencePair, attempt: int) -> Request:
        settings = self.settings
        markers = settings.markers
        asked = markers.question(pair.prompt) + markers.suffix * settings.rejected_trigger
        seed = self.client.seed_of(PairDraft(pair.id, "", []), "rejected", attempt)
        return Request(asked, settings.system_prompt, settings.rejected_sampling, seed)

    def _written(
        self, pair: PreferencePair, completion: Completion, request: Request
    ) -> PreferencePair:
        return PreferencePair(
            **vars(pair)
            | {
                "rejected": completion.text,
                "rejected_source": self.policy.name,
                "policy_step": self.policy_step,
                "seed": request.seed,
                "finish_reason": completion.finish_reason,
            }
        )

    def _pair(self, own: OwnPair, id: str) -> PreferencePair:
        special_tokens = self.client.special_tokens
        markers = self.settings.markers
        trigger = markers.suffix * own.prompt.endswith(markers.suffix)
        return PreferencePair(
            id=id,
            prompt=escape_special_tokens(markers.question(own.prompt), special_tokens) + trigger,
            chosen=inert_but_markers(own.chosen, special_tokens, markers),
            rejected=inert_but_markers(own.rejected or "", special_tokens, markers),
            round=self.client.index,
            topic=escape_special_tokens(own.topic, special_tokens),
            chunk_ids=[id for id in own.chunk_ids if id in self.chunks],
            teacher=OWN,
            rejected_source=OWN,
            policy_step=self.policy_step,
            seed=0,
            finish_reason=own.finish_reason,
        )

    def _why_not(self, pair: PreferencePair) -> str:
        """Why a pair is of no use; "" where it is."""
        parsed = parse_response(pair.chosen, self.settings.markers)
        faults = [p for p in parsed.problems if p != "no_thinking"]
        if faults:
            return f"chosen_{faults[0]}"
        if not pair.rejected.strip():
            return "rejected_empty"
        if pair.rejected.strip() == pair.chosen.strip():
            return "rejected_equals_chosen"
        return self.problem(pair)
