"""Asks about many items at once through the journal: batch by batch, or text by text as they come.

A reply that cannot be used is asked for once more; then its item is dropped with the reason.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from preflexor_pl.core.generator import (
    Completion,
    ConcurrentGenerator,
    Generator,
    Request,
    journal_name,
)
from preflexor_pl.core.progress import Stage, stage
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.call_key import CallKey
from preflexor_pl.pairs.grounding_score import Grounding
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.prompts import Prompt
from preflexor_pl.pairs.reply_checks import copies_example

SECOND_TEMPERATURE = 0.7  # a second try at a low temperature would say the same again


@dataclass
class PairDraft:
    """A pair in the making: a draw of chunks, and what has been said about it so far.

    ``retrieved``: those of ``chunk_ids`` that were found with the question; ``quote``: the sentence
    that is to be the answer, "" where the teacher writes it.
    """

    id: str
    topic: str
    chunk_ids: list[str]
    question: str = ""
    blocks: dict[str, str] = field(default_factory=dict)
    reflection: str = ""
    answer: str = ""
    retrieved: list[str] = field(default_factory=list)
    quote: str = ""
    grounding: Grounding | None = None

    def ordered_blocks(self, categories: Collection[str]) -> dict[str, str]:
        """The blocks in the order of the categories, whichever came first."""
        return {name: self.blocks[name] for name in categories}


@dataclass(frozen=True)
class DraftRequest:
    """One thing asked about one item; ``accept`` keeps the reply, or says why it cannot."""

    item: PairDraft
    part: str
    prompt: Prompt
    accept: Callable[[PairDraft, str], str]

    def call(self, name: str, attempt: int) -> str:
        """Key of this call in the journal."""
        return str(CallKey(name, self.item.id, self.part, attempt))


@dataclass(frozen=True)
class RoundLabel:
    """Which round it is.

    Attributes:
        index: of the round; -1 for the held-out set.
        seed: of the run.
        title: on the screen; "" shows no progress.
    """

    index: int
    seed: int
    title: str = ""


class JournaledClient:
    """Asks on behalf of one round.

    Args:
        journal: of the round.
        teacher: who is asked.
        system_prompt: the teacher's role.
        special_tokens: strings that must stay inert in what the teacher writes.
        label: of the round.

    Attributes:
        drops: one record for each item that was dropped.
    """

    def __init__(
        self,
        journal: Journal,
        teacher: Generator,
        system_prompt: str,
        special_tokens: Collection[str],
        label: RoundLabel,
    ) -> None:
        self.journal = journal
        self.teacher = teacher
        self.system_prompt = system_prompt
        self.special_tokens = special_tokens
        self.title = label.title
        self.seed = label.seed
        self.index = label.index
        self.drops: list[dict[str, str]] = []

    def ask(
        self,
        name: str,
        asks: list[DraftRequest],
        sampling: Sampling,
        before_cut: Callable[[str], str] = lambda text: "",
        first: Callable[[list[str]], None] = lambda texts: None,
        one_will_do: bool = False,
    ) -> list[PairDraft]:
        """Ask the teacher.

        Args:
            name: of the stage.
            asks: an item may be asked about several times.
            sampling: of the first attempt.
            before_cut: what can be used of a reply that did not end by itself; "" where nothing.
            first: takes the texts of an attempt together, before they are accepted one by one.
            one_will_do: whether an item needs one accepted reply, and not all of them.

        Returns:
            The items that have their replies, in order.
        """
        items = {ask.item.id: ask.item for ask in asks}
        failed: dict[str, tuple[str, str]] = {}
        for attempt in (0, 1):
            if attempt:
                warmer = max(SECOND_TEMPERATURE, sampling.temperature)
                sampling = replace(sampling, temperature=warmer)
            requests = {
                a.call(name, attempt): self._request(a, name, attempt, sampling) for a in asks
            }
            made = self.complete(name, requests, self.teacher)
            texts = [self._usable(made[call], before_cut) for call in requests]
            first(texts)
            again, failed, done = [], {}, set()
            for ask, (call, request), text in zip(asks, requests.items(), texts, strict=True):
                lost = "copies_example" if copies_example(text, request) else ""
                if not text and made[call].finish_reason == "length":
                    lost = f"{name}_cut"
                reason = made[call].problem or lost or ask.accept(ask.item, text)
                if reason:
                    again.append(ask)
                    failed[ask.item.id] = reason, made[call].text
                elif one_will_do:
                    done.add(ask.item.id)
            asks = [ask for ask in again if ask.item.id not in done]
            failed = {i: why for i, why in failed.items() if i not in done}
        for item_id, (reason, text) in failed.items():
            self.drop(items[item_id], reason, text)
        return [item for item_id, item in items.items() if item_id not in failed]

    def complete(
        self, name: str, requests: dict[str, Request], source: Generator
    ) -> dict[str, Completion]:
        """Completions by call: from the journal, or made and recorded.

        Args:
            name: of the stage.
            requests: by call.
            source: who makes what is missing.
        """
        made: dict[str, Completion] = {}
        calls = list(requests)
        if calls:
            with stage(f"{self.title} · {name}", len(calls), not self.title) as progress:
                for batch in source.batches(list(requests.values())):
                    made |= self._batch(
                        {calls[i]: requests[calls[i]] for i in batch}, source, progress
                    )
        return made

    def drop(self, item: PairDraft, reason: str, text: str) -> None:
        """Note that an item leaves the round, and why."""
        self.drops.append(
            {"id": item.id, "reason": reason, "question": item.question, "text": text}
        )

    def seed_of(self, item: PairDraft, name: str, attempt: int = 0) -> int:
        """Seed of one text."""
        return derive_seed(self.seed, self.index, item.id, name, attempt)

    def _request(self, ask: DraftRequest, name: str, attempt: int, sampling: Sampling) -> Request:
        seed = self.seed_of(ask.item, f"{name}/{ask.part}", attempt)
        prompt = ask.prompt.inert(self.special_tokens)
        return Request(
            prompt.text, self.system_prompt, sampling, seed, prompt.examples, prompt.stop
        )

    def _usable(self, completion: Completion, before_cut: Callable[[str], str]) -> str:
        """What can be used of a reply, escaped."""
        text = escape_special_tokens(completion.text, self.special_tokens)
        return before_cut(text) if completion.finish_reason == "length" else text

    def _batch(
        self, requests: dict[str, Request], source: Generator, progress: Stage
    ) -> dict[str, Completion]:
        known = journal_name(source)
        kept = {call: self.journal.recall(call, r, known) for call, r in requests.items()}
        made = {call: completion for call, completion in kept.items() if completion is not None}
        missing = [call for call in requests if call not in made]
        if missing and isinstance(source, ConcurrentGenerator):

            def keep(place: int, completion: Completion) -> None:
                call = missing[place]
                self.journal.record([(call, requests[call], completion)], known)
                made[call] = completion
                progress.advance(1, dropped=len(self.drops))

            progress.advance(len(made), dropped=len(self.drops))
            source.complete_each([requests[call] for call in missing], keep)
            return made
        if missing:
            # Made again whole: in bfloat16 a text depends on its batch.
            completions = source.complete(list(requests.values()))
            triples = [(c, r, k) for (c, r), k in zip(requests.items(), completions, strict=True)]
            self.journal.record(triples, known)
            made = dict(zip(requests, completions, strict=True))
        progress.advance(len(requests), dropped=len(self.drops))
        return made
