"""Makes the pairs of one round: question, thinking, answer, rejected answer, stage by stage.

A candidate is a draw of chunks from the graph. It passes the stages or is dropped with a reason;
dropped ones are made up for until the round is full or the candidates run out.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.pairs.drop_reasons import advice, by_reason
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.journaled_client import JournaledClient, PairDraft, RoundLabel
from preflexor_pl.pairs.own_pair import OwnPair
from preflexor_pl.pairs.own_round import OWN, OwnRound
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.planning import EarlierRounds, plan
from preflexor_pl.pairs.questions import EmbeddingCache
from preflexor_pl.pairs.rejection import Rejection
from preflexor_pl.pairs.round_facts import facts_of, lines_of
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.stages import Stages
from preflexor_pl.pairs.writers import Measures, Writers


@dataclass(frozen=True)
class Order:
    """A round to be made.

    Attributes:
        index: of the round; -1 for the held-out set.
        wanted: how many pairs.
        within: ids of the chunks that may be used.
        past: gives what earlier rounds used; asked only where the round is not complete.
        policy_step: optimiser steps made so far, for the record.
        own: pairs of the user's own that the round begins with.
        alone: whether it has no other pairs.
    """

    index: int
    wanted: int
    within: Collection[str]
    past: Callable[[], EarlierRounds] = EarlierRounds
    policy_step: int = 0
    own: Sequence[OwnPair] = ()
    alone: bool = False

    @property
    def title(self) -> str:
        """On the screen."""
        return f"round {self.index}" if self.index >= 0 else "held-out questions"


class PairMaker:
    """Makes rounds of pairs.

    Args:
        settings: what the pairs are made of.
        library: chunks and their graph.
        embeddings: of texts, in the vectors of its embedder.
        writers: who writes the texts, and who judges them.
        measures: by the policy and its tokenizer.
        seed: of the run.
        identity: of the weights that policy, teacher and embedder begin with; a plan belongs to
            them.
    """

    def __init__(
        self,
        settings: PairSettings,
        library: CorpusIndex,
        embeddings: EmbeddingCache,
        writers: Writers,
        measures: Measures,
        seed: int,
        identity: str = "",
    ) -> None:
        self.settings = settings
        self.library = library
        self.embeddings = embeddings
        self.writers = writers
        self.measures = measures
        self.seed = seed
        self.identity = identity

    def make(self, folder: Path, order: Order) -> list[PreferencePair]:
        """Make a round, or what is missing of it, and return its pairs.

        Args:
            folder: of the round.
            order: which round it is.

        Raises:
            ConfigError: it was begun or made with another corpus, or under other settings.
            CorpusError: not one pair came out; gives the histogram of reasons.
        """
        journal = Journal(folder)
        if journal.is_complete:
            journal.require(self._fingerprint(order))
            return journal.pairs()
        return self.fill(journal, order)

    def fill(self, journal: Journal, order: Order) -> list[PreferencePair]:
        """As :meth:`make`, in the journal of a round that is not complete."""
        stages = self.stages(journal, order, order.title)
        client, tries = stages.client, len(stages.candidates) + len(order.own)
        rejection = self._rejection(stages, order)
        own = OwnRound(
            self.settings,
            client,
            self.writers.policy,
            self.measures.problem,
            self.library.chunks,
            order.policy_step,
        )
        pairs = own.pairs(order.own)
        while len(pairs) < order.wanted and not stages.is_exhausted:
            made = rejection.pairs(stages.wave(order.wanted - len(pairs)))
            stages.note_kept(len(made))
            pairs += made
        pairs = pairs[: order.wanted]
        if not pairs:
            journal.keep_drops(client.drops)
            reasons = [drop["reason"] for drop in client.drops]
            told = f"{by_reason(reasons)}{advice(reasons)}"
            raise CorpusError(f"{journal.folder}: no pair came out of {tries} tries: {told}")
        topics = self.settings.topics
        facts: dict[str, Any] = {
            "round": order.index,
            "wanted": order.wanted,
            "policy_step": order.policy_step,
            "rejected": dict(rejection.counts),
            **facts_of(pairs, [] if isinstance(topics, int) else topics, self.settings.markers),
        }
        if order.own:
            facts["own"] = sum(pair.teacher == OWN for pair in pairs)
        if self.settings.needs_ruling:
            facts["examiner"] = self.writers.judge.name
            log_line(f"  {order.title}: {rejection.told}")
        for line in lines_of({"pairs": len(pairs), **facts}):
            log_line(f"  {order.title}: {line}")
        journal.finish(pairs, client.drops, facts)
        return pairs

    def prepare(self, folder: Path, order: Order) -> None:
        """Put on record what of a round's first wave does not depend on the policy.

        ``make`` then finds it in the journal, and makes the very pairs that it makes without.

        Args:
            folder: of the round.
            order: which round it is; its ``policy_step`` takes no part.
        """
        journal = Journal(folder)
        if not journal.is_complete:
            self.stages(journal, order, "").wave(order.wanted - len(order.own))

    def _fingerprint(self, order: Order) -> str:
        """Of all that a plan follows from."""
        chunks = [(id, self.library.chunks[id].text) for id in sorted(order.within)]
        corpus = hashlib.sha256(repr(chunks).encode("utf-8", "surrogatepass")).hexdigest()
        parts = [repr(self.settings), self.identity, str(order.wanted), corpus]
        if self.settings.answers == "quoted":  # not in the repr: older runs have no such field
            parts.append(repr(self.settings.prompts.quoted_question))
        return str(derive_seed(*parts, *([repr(order.own)] if order.own else [])))

    def stages(self, journal: Journal, order: Order, title: str) -> Stages:
        """The teacher's part of a round; with an empty title it shows no progress."""
        past = order.past()
        planned = journal.plan(
            self._fingerprint(order),
            lambda: self._planned(order, past),
        )
        client = JournaledClient(
            journal,
            self.writers.teacher,
            self.settings.teacher.system_prompt,
            self.writers.special_tokens,
            RoundLabel(order.index, self.seed, title),
        )
        return Stages(
            self.settings,
            self.library,
            client,
            order.within,
            past,
            self.embeddings,
            self.measures.count_tokens,
            [PairDraft(**item) for item in planned],
        )

    def _planned(self, order: Order, past: EarlierRounds) -> list[dict[str, Any]]:
        if order.alone:
            return []
        return plan(self.settings, self.library, order.within, past, self.seed, order.index)

    def _rejection(self, stages: Stages, order: Order) -> Rejection:
        return Rejection(
            self.settings,
            stages.client,
            self.writers,
            self.measures,
            stages.texts,
            order.policy_step,
        )
