"""Makes the pairs of one round: question, thinking, answer, rejected answer, stage by stage.

A candidate is a draw of chunks from the graph. It passes the stages or is dropped with a reason;
dropped ones are made up for until the round is full or the candidates run out.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.inert import make_inert
from preflexor_pl.core.markers import THINK_START, TRIGGER
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import Sampling, TeacherSettings, ThinkingSettings
from preflexor_pl.corpus.library import Library
from preflexor_pl.pairs import prompts
from preflexor_pl.pairs.asking import Ask, Asker, Item
from preflexor_pl.pairs.generator import Completion, Generator, Request
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.prompts import Prompt

REJECTED_TRIES = 3  # all else of a pair is made by then, and costs more than another draw
REFLECTED = (3, 2)  # of three items that a small teacher criticises, two stay, until more is known
MOST_AGAIN = 3  # times what is missing: what comes out beyond it is thrown away
SPARE = 4  # one spare question for this many that are needed: most drops happen there


@dataclass(frozen=True)
class PairSettings:
    """What the pairs are made of; see ``PreferenceDataModule`` for each field."""

    topics: int | list[str]
    questions_per_topic: int
    chunks_per_context: int
    enrich_chunks: int
    rejected: Literal["policy", "teacher"]
    rejected_trigger: bool
    rejected_sampling: Sampling
    reflection: bool
    system_prompt: str | None
    teacher: TeacherSettings
    thinking: ThinkingSettings


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
        problem: why a pair cannot be trained on, as a slug; "" where it can.
        identity: of the weights that the policy begins with; a plan belongs to them.
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
        problem: Callable[[PreferencePair], str],
        identity: str = "",
    ) -> None:
        self.settings = settings
        self.library = library
        self.teacher = teacher
        self.policy = policy
        self.count_tokens = count_tokens
        self.forbidden = forbidden
        self.seed = seed
        self.problem = problem
        self.identity = identity

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
        seeds = repr(self.settings), self.identity, str(wanted), *sorted(within)
        fingerprint = str(derive_seed(*seeds))
        plan = journal.plan(fingerprint, lambda: self._plan(round_index, wanted, within))
        asker = Asker(
            journal,
            self.teacher,
            self.settings.teacher.system_prompt,
            self.forbidden,
            "held-out questions" if round_index < 0 else f"round {round_index}",
            self.seed,
            round_index,
        )
        work = _Round(self, asker, within, asked, policy_step)
        pairs = work.run([Item(**item) for item in plan], wanted)
        if not pairs:
            reasons = Counter(drop["reason"] for drop in asker.drops)
            told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
            raise CorpusError(f"{folder}: no pair came out of {len(plan)} tries: {told}")
        facts = {
            "round": round_index,
            "wanted": wanted,
            "policy_step": policy_step,
            "rejected_no_thinking": sum(THINK_START not in pair.rejected for pair in pairs),
        }
        journal.finish(pairs, asker.drops, facts)
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
    """The stages of one round; each takes items and gives those that passed."""

    def __init__(
        self,
        maker: PairMaker,
        asker: Asker,
        within: Collection[str],
        asked: Collection[str],
        policy_step: int,
    ) -> None:
        self.maker = maker
        self.asker = asker
        self.settings = maker.settings
        self.within = within
        self.asked = {_key(question) for question in asked}
        self.policy_step = policy_step

    def run(self, candidates: list[Item], wanted: int) -> list[PreferencePair]:
        pairs: list[PreferencePair] = []
        questions: list[Item] = []
        tried, kept = REFLECTED if self.settings.reflection else (0, 0)
        while len(pairs) < wanted and (questions or candidates):
            missing = wanted - len(pairs)
            # With as many more as are lost on the way: small batches are slow.
            goal = min(-(-missing * max(tried, 1) // max(kept, 1)), MOST_AGAIN * missing)
            ask = max(0, goal + -(-goal // SPARE) - len(questions))
            asking, candidates = candidates[:ask], candidates[ask:]
            questions += self._questions(asking)
            items, questions = questions[:goal], questions[goal:]
            made = self._rejected(self._answers(self._reflections(self._thinking(items))))
            tried, kept = tried + len(items), kept + len(made)
            pairs += made
        return pairs[:wanted]

    def _questions(self, items: list[Item]) -> list[Item]:
        def accept(item: Item, text: str) -> str:
            item.question, reason = prompts.read_question(text)
            if not reason and _key(item.question) in self.asked:
                reason = "question_asked_before"
            if not reason:
                self.asked.add(_key(item.question))
            return reason

        asks = [
            Ask(item, "", prompts.ask_question(self._texts(item.chunk_ids), item.topic), accept)
            for item in items
        ]
        return self.asker.ask("question", asks, self.settings.teacher.question, may_be_cut=True)

    def _thinking(self, items: list[Item]) -> list[Item]:
        asks = []
        for item in items:
            texts = self._texts(item.chunk_ids)
            for name, wanted in self.settings.thinking.categories.items():

                def accept(item: Item, text: str, name: str = name) -> str:
                    item.blocks[name], reason = prompts.read_sentence(text)
                    return reason

                prompt = prompts.ask_category(texts, item.question, wanted)
                asks.append(Ask(item, name, prompt, accept))
        kept = self.asker.ask("thinking", asks, self.settings.thinking.sampling)
        return [item for item in kept if self._long_enough(item)]

    def _reflections(self, items: list[Item]) -> list[Item]:
        """The teacher's criticism of the thinking, where this phase has any."""
        if not self.settings.reflection:
            return items

        def accept(item: Item, text: str) -> str:
            item.reflection, reason = prompts.read_critique(text, self._thinking_of(item))
            return reason

        asks = []
        for item in items:
            texts, thinking = self._texts(item.chunk_ids), self._thinking_of(item)
            prompt = prompts.ask_critique(texts, item.question, thinking)
            asks.append(Ask(item, "", prompt, accept))
        return self.asker.ask("reflection", asks, self.settings.teacher.critique)

    def _answers(self, items: list[Item]) -> list[Item]:
        def accept(item: Item, text: str) -> str:
            item.answer, reason = prompts.read_answer(text)
            return reason

        asks = []
        for item in items:
            self._enrich(item)
            thinking = "\n\n".join(filter(None, (self._thinking_of(item), item.reflection)))
            prompt = prompts.ask_answer(self._texts(item.chunk_ids), item.question, thinking)
            asks.append(Ask(item, "", prompt, accept))
        return self.asker.ask("answer", asks, self.settings.teacher.answer)

    def _rejected(self, items: list[Item]) -> list[PreferencePair]:
        """Pairs in the order of ``items``; a rejected answer of no use is drawn again."""
        from_policy = self.settings.rejected == "policy"
        source = self.maker.policy if from_policy else self.maker.teacher
        pairs: dict[str, PreferencePair] = {}
        failed: dict[str, tuple[str, str]] = {}
        for attempt in range(REJECTED_TRIES):
            missing = [item for item in items if item.id not in pairs]
            requests = {
                "/".join(filter(None, ("rejected", item.id, str(attempt or "")))): (
                    self._request_rejected(item, attempt)
                )
                for item in missing
            }
            made = self.asker.complete("rejected", requests, source)
            for item, (call, request) in zip(missing, requests.items(), strict=True):
                pair = self._pair(item, made[call], request.seed, source.name)
                reason = made[call].problem or self._why_not(item, pair)
                if reason:
                    failed[item.id] = reason, pair.rejected
                else:
                    pairs[item.id] = pair
        for item in items:
            if item.id not in pairs:
                self.asker.drop(item, *failed[item.id])
        return [pairs[item.id] for item in items if item.id in pairs]

    def _request_rejected(self, item: Item, attempt: int) -> Request:
        settings = self.settings
        if settings.rejected == "policy":
            trigger = TRIGGER if settings.rejected_trigger else ""
            asked, system = Prompt(item.question + trigger), settings.system_prompt
        else:
            asked = prompts.ask_wrong_answer(self._texts(item.chunk_ids), item.question)
            system = settings.teacher.system_prompt
        seed = self.asker.seed_of(item, "rejected", attempt)
        return Request(asked.text, system, settings.rejected_sampling, seed, asked.examples)

    def _why_not(self, item: Item, pair: PreferencePair) -> str:
        """Why a pair is of no use; "" where it is."""
        if not pair.rejected.strip():
            return "rejected_empty"
        if pair.rejected.strip() in (pair.chosen.strip(), item.answer):
            return "rejected_equals_chosen"
        return self.maker.problem(pair)

    def _pair(self, item: Item, rejected: Completion, seed: int, source: str) -> PreferencePair:
        text = rejected.text
        # The policy's own text keeps the markers that it emitted.
        if self.settings.rejected == "teacher":
            text = make_inert(text, self.maker.forbidden)
        return PreferencePair(
            id=item.id,
            prompt=item.question + TRIGGER,
            chosen=prompts.chosen_response(
                item.ordered_blocks(self.settings.thinking.categories), item.answer, item.reflection
            ),
            rejected=text,
            round=self.asker.index,
            topic=item.topic,
            chunk_ids=item.chunk_ids,
            teacher=self.maker.teacher.name,
            rejected_source=source,
            policy_step=self.policy_step,
            seed=seed,
            finish_reason=rejected.finish_reason,
        )

    def _thinking_of(self, item: Item) -> str:
        return prompts.thinking_text(item.ordered_blocks(self.settings.thinking.categories))

    def _enrich(self, item: Item) -> None:
        """Add the chunks nearest to the question that are not in its context yet."""
        reach = self.settings.enrich_chunks + len(item.chunk_ids)
        near = self.maker.library.search(item.question, reach, self.within)
        new = [chunk.id for chunk in near if chunk.id not in item.chunk_ids]
        item.chunk_ids = item.chunk_ids + new[: self.settings.enrich_chunks]

    def _long_enough(self, item: Item) -> bool:
        text = self._thinking_of(item)
        if self.maker.count_tokens(text) >= self.settings.thinking.min_tokens:
            return True
        self.asker.drop(item, "thinking_too_short", text)
        return False

    def _texts(self, chunk_ids: list[str]) -> list[str]:
        """The chunks under their documents' titles: a sentence seldom names what it is about."""
        chunks = [self.maker.library.chunks[chunk_id] for chunk_id in chunk_ids]
        return [make_inert(f"{c.title}\n{c.text}", self.maker.forbidden) for c in chunks]


def _key(question: str) -> str:
    return " ".join(question.lower().split())
