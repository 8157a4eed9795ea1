"""Makes the pairs of one round: question, thinking, answer, rejected answer, batched stage by stage.

A candidate is a draw of chunks from the graph. It passes the stages or is dropped with a reason; dropped
ones are made up for until the round is full or the candidates run out.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.inert import make_inert
from preflexor_pl.core.markers import TRIGGER
from preflexor_pl.core.progress import Stage, stage
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import Sampling, TeacherSettings, ThinkingSettings
from preflexor_pl.corpus.library import Library
from preflexor_pl.pairs import prompts
from preflexor_pl.pairs.generator import Completion, Generator, Request
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.prompts import Prompt

SPARE = 4  # one spare question for this many that are needed: most drops happen there


@dataclass(frozen=True)
class PairSettings:
    """What the pairs are made of; see ``PreferenceDataModule`` for each field."""

    topics: int | list[str]
    questions_per_topic: int
    chunks_per_context: int
    enrich_chunks: int
    rejected: Literal["policy", "teacher"]
    rejected_sampling: Sampling
    system_prompt: str | None
    teacher: TeacherSettings
    thinking: ThinkingSettings


@dataclass
class _Item:
    id: str
    topic: str
    chunk_ids: list[str]
    question: str = ""
    blocks: dict[str, str] = field(default_factory=dict)
    answer: str = ""

    def ordered_blocks(self, categories: Collection[str]) -> dict[str, str]:
        """The blocks in the order of the categories, whichever came first."""
        return {name: self.blocks[name] for name in categories}


@dataclass(frozen=True)
class _Ask:
    """One thing asked about one item; ``accept`` keeps the reply or says why not."""

    item: _Item
    part: str
    prompt: Prompt
    accept: Callable[[_Item, str], str]

    def call(self, name: str, attempt: int) -> str:
        return "/".join(filter(None, (name, self.item.id, self.part, str(attempt))))


class PairMaker:
    """Makes rounds of pairs.

    Args:
        settings: what the pairs are made of.
        library: chunks and their graph.
        teacher: writes questions, thinking and answers.
        policy: the model in training; writes the rejected answers.
        count_tokens: tokens of a text, in the policy's tokenizer.
        forbidden: strings that must stay inert in whatever the teacher writes.
        seed: of the run.
    """

    def __init__(
        self,
        settings: PairSettings,
        library: Library,
        teacher: Generator,
        policy: Generator,
        count_tokens: Callable[[str], int],
        forbidden: Collection[str],
        seed: int,
    ) -> None:
        self.settings = settings
        self.library = library
        self.teacher = teacher
        self.policy = policy
        self.count_tokens = count_tokens
        self.forbidden = forbidden
        self.seed = seed

    def make(
        self,
        folder: Path,
        round_index: int,
        wanted: int,
        within: Collection[str],
        asked: Collection[str] = (),
        policy_step: int = 0,
    ) -> list[PreferencePair]:
        """Make a round, or what is missing of it, and return its pairs.

        Args:
            folder: of the round.
            round_index: -1 for the held-out set.
            wanted: how many pairs.
            within: ids of the chunks that may be used.
            asked: questions of earlier rounds, not to be asked again.
            policy_step: optimiser steps made so far, for the record.

        Raises:
            CorpusError: not one pair came out; gives the histogram of reasons.
        """
        journal = Journal(folder)
        if journal.is_complete:
            return journal.pairs()
        fingerprint = str(derive_seed(repr(self.settings), wanted, *sorted(within)))
        plan = journal.plan(fingerprint, lambda: self._plan(round_index, wanted, within))
        work = _Round(self, journal, round_index, policy_step, within, asked)
        pairs = work.run([_Item(**item) for item in plan], wanted)
        if not pairs:
            reasons = Counter(drop["reason"] for drop in work.drops)
            told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
            raise CorpusError(f"{folder}: no pair came out of {len(plan)} tries: {told}")
        facts = {"round": round_index, "wanted": wanted, "policy_step": policy_step}
        journal.finish(pairs, work.drops, facts)
        return pairs

    def _plan(self, round_index: int, wanted: int, within: Collection[str]) -> list[dict[str, Any]]:
        topics = self.settings.topics
        draws: Sequence[str] = [""] * topics if isinstance(topics, int) else topics
        items = []
        for place in range(len(draws) * self.settings.questions_per_topic):
            topic = draws[place // self.settings.questions_per_topic]
            seed = derive_seed(
                self.seed, round_index, place // self.settings.questions_per_topic, "context"
            )
            k = self.settings.chunks_per_context
            chunks = (
                self.library.search(topic, k, within)
                if topic
                else self.library.context(k, seed, within)
            )
            name = f"{round_index:04d}" if round_index >= 0 else "held"
            ids = [chunk.id for chunk in chunks]
            items.append({"id": f"{name}-{place:04d}", "topic": topic, "chunk_ids": ids})
        return items


class _Round:
    """The state of one round while it is made."""

    def __init__(
        self,
        maker: PairMaker,
        journal: Journal,
        index: int,
        step: int,
        within: Collection[str],
        asked: Collection[str],
    ) -> None:
        self.maker = maker
        self.settings = maker.settings
        self.journal = journal
        self.index = index
        self.step = step
        self.within = within
        self.asked = {_key(question) for question in asked}
        self.drops: list[dict[str, str]] = []

    def run(self, candidates: list[_Item], wanted: int) -> list[PreferencePair]:
        pairs: list[PreferencePair] = []
        questions: list[_Item] = []
        while len(pairs) < wanted and (questions or candidates):
            missing = wanted - len(pairs)
            ask = max(0, missing + -(-missing // SPARE) - len(questions))
            asking, candidates = candidates[:ask], candidates[ask:]
            questions += self._questions(asking)
            items, questions = questions[:missing], questions[missing:]
            pairs += self._rejected(self._answers(self._thinking(items)))
        return pairs

    def _questions(self, items: list[_Item]) -> list[_Item]:
        def accept(item: _Item, text: str) -> str:
            item.question, reason = prompts.read_question(text)
            if not reason and _key(item.question) in self.asked:
                reason = "question_asked_before"
            if not reason:
                self.asked.add(_key(item.question))
            return reason

        asks = [
            _Ask(item, "", prompts.ask_question(self._texts(item.chunk_ids), item.topic), accept)
            for item in items
        ]
        return self._ask("question", asks, self.settings.teacher.question, may_be_cut=True)

    def _thinking(self, items: list[_Item]) -> list[_Item]:
        for item in items:
            self._enrich(item)
        asks = []
        for item in items:
            texts = self._texts(item.chunk_ids)
            for name, wanted in self.settings.thinking.categories.items():

                def accept(item: _Item, text: str, name: str = name) -> str:
                    item.blocks[name] = text.strip()
                    return "" if item.blocks[name] else "empty_category"

                prompt = prompts.ask_category(texts, item.question, wanted)
                asks.append(_Ask(item, name, prompt, accept))
        kept = self._ask("thinking", asks, self.settings.thinking.sampling)
        return [item for item in kept if self._long_enough(item)]

    def _answers(self, items: list[_Item]) -> list[_Item]:
        def accept(item: _Item, text: str) -> str:
            item.answer = text.strip()
            return "" if item.answer else "empty_answer"

        asks = []
        for item in items:
            thinking = prompts.thinking_text(item.ordered_blocks(self.settings.thinking.categories))
            prompt = prompts.ask_answer(self._texts(item.chunk_ids), item.question, thinking)
            asks.append(_Ask(item, "", prompt, accept))
        return self._ask("answer", asks, self.settings.teacher.answer)

    def _rejected(self, items: list[_Item]) -> list[PreferencePair]:
        from_policy = self.settings.rejected == "policy"
        source = self.maker.policy if from_policy else self.maker.teacher
        requests = {}
        for item in items:
            seed = self._seed(item, "rejected", 0)
            if from_policy:
                asked, system = Prompt(item.question), self.settings.system_prompt
            else:
                asked = prompts.ask_wrong_answer(self._texts(item.chunk_ids), item.question)
                system = self.settings.teacher.system_prompt
            requests[f"rejected/{item.id}"] = Request(
                asked.text, system, self.settings.rejected_sampling, seed, asked.examples
            )
        made = self._complete("rejected", requests, source)
        pairs = []
        for item, (call, request) in zip(items, requests.items(), strict=True):
            pair = self._pair(item, made[call], request.seed, source.name)
            if not pair.rejected.strip():
                self._drop(item, "rejected_empty", pair.rejected)
            elif pair.rejected.strip() in (pair.chosen.strip(), item.answer):
                self._drop(item, "rejected_equals_chosen", pair.rejected)
            else:
                pairs.append(pair)
        return pairs

    def _pair(self, item: _Item, rejected: Completion, seed: int, source: str) -> PreferencePair:
        return PreferencePair(
            id=item.id,
            prompt=item.question + TRIGGER,
            chosen=prompts.chosen_response(
                item.ordered_blocks(self.settings.thinking.categories), item.answer
            ),
            rejected=rejected.text,
            round=self.index,
            topic=item.topic,
            chunk_ids=item.chunk_ids,
            teacher=self.maker.teacher.name,
            rejected_source=source,
            policy_step=self.step,
            seed=seed,
            finish_reason=rejected.finish_reason,
        )

    def _ask(
        self, name: str, asks: list["_Ask"], sampling: Sampling, may_be_cut: bool = False
    ) -> list[_Item]:
        """Ask the teacher, once more where the reply cannot be used, then drop the item.

        Returns:
            The items whose every reply was accepted, in order.
        """
        items = {ask.item.id: ask.item for ask in asks}
        failed: dict[str, tuple[str, str]] = {}
        for attempt in (0, 1):
            if attempt:  # a second try at the same low temperature would say the same again
                sampling = replace(sampling, temperature=max(0.7, sampling.temperature))
            requests = {
                ask.call(name, attempt): self._request(ask, name, attempt, sampling) for ask in asks
            }
            made = self._complete(name, requests, self.maker.teacher)
            again = []
            for ask, call in zip(asks, requests, strict=True):
                text = make_inert(made[call].text, self.maker.forbidden)
                cut = made[call].finish_reason == "length" and not may_be_cut
                reason = f"{name}_cut" if cut else ask.accept(ask.item, text)
                if reason:
                    again.append(ask)
                    failed[ask.item.id] = reason, made[call].text
            asks = again
            if not attempt:
                failed.clear()
        for item_id, (reason, text) in failed.items():
            self._drop(items[item_id], reason, text)
        return [item for item_id, item in items.items() if item_id not in failed]

    def _request(self, ask: "_Ask", name: str, attempt: int, sampling: Sampling) -> Request:
        seed = self._seed(ask.item, f"{name}/{ask.part}", attempt)
        system = self.settings.teacher.system_prompt
        return Request(ask.prompt.text, system, sampling, seed, ask.prompt.examples)

    def _complete(
        self, name: str, requests: dict[str, Request], source: Generator
    ) -> dict[str, Completion]:
        if not requests:
            return {}
        calls = list(requests)
        made: dict[str, Completion] = {}
        with stage(f"{self._title} · {name}", len(calls)) as progress:
            for batch in source.batches(list(requests.values())):
                self._batch([calls[i] for i in batch], requests, source, made, progress)
        return made

    def _batch(
        self,
        calls: list[str],
        requests: dict[str, Request],
        source: Generator,
        made: dict[str, Completion],
        progress: Stage,
    ) -> None:
        # An interrupted batch is made again whole: in bfloat16 a text depends on its batch.
        kept = [self.journal.recall(call, requests[call], source.name) for call in calls]
        if any(completion is None for completion in kept):
            kept = list(source.complete([requests[call] for call in calls]))
            triples = [(c, requests[c], k) for c, k in zip(calls, kept, strict=True) if k]
            self.journal.record(triples, source.name)
        made.update((call, done) for call, done in zip(calls, kept, strict=True) if done)
        progress.advance(len(calls), dropped=len(self.drops))

    @property
    def _title(self) -> str:
        return "held-out questions" if self.index < 0 else f"round {self.index}"

    def _enrich(self, item: _Item) -> None:
        """Add the chunks nearest to the question that are not in its context yet."""
        reach = self.settings.enrich_chunks + len(item.chunk_ids)
        near = self.maker.library.search(item.question, reach, self.within)
        new = [chunk.id for chunk in near if chunk.id not in item.chunk_ids]
        item.chunk_ids = item.chunk_ids + new[: self.settings.enrich_chunks]

    def _long_enough(self, item: _Item) -> bool:
        text = prompts.thinking_text(item.blocks)
        if self.maker.count_tokens(text) >= self.settings.thinking.min_tokens:
            return True
        self._drop(item, "thinking_too_short", text)
        return False

    def _texts(self, chunk_ids: list[str]) -> list[str]:
        """The chunks under their documents' titles: a sentence seldom names what it is about."""
        chunks = [self.maker.library.chunks[chunk_id] for chunk_id in chunk_ids]
        return [make_inert(f"{c.title}\n{c.text}", self.maker.forbidden) for c in chunks]

    def _seed(self, item: _Item, name: str, attempt: int) -> int:
        return derive_seed(self.maker.seed, self.index, item.id, name, attempt)

    def _drop(self, item: _Item, reason: str, text: str) -> None:
        self.drops.append(
            {"id": item.id, "reason": reason, "question": item.question, "text": text}
        )


def _key(question: str) -> str:
    return " ".join(question.lower().split())
