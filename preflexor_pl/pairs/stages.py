"""The teacher's part of a round, stage by stage: question, thinking, reflection, answer.

What is retrieved with the question is there from thinking on.

Each stage takes items and gives those that passed; what of a pair does not depend on the policy is
made here, so it can be made while the policy still trains.
"""

from collections.abc import Callable, Collection

from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.core.teacher_settings import BACKGROUND, TeacherSettings
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.earlier_answers import Notes
from preflexor_pl.pairs import reply_parsing as reading
from preflexor_pl.pairs.call_key import ANSWER, QUESTION, REFLECTION, THINKING
from preflexor_pl.pairs.grounding_score import Grounding, grounding
from preflexor_pl.pairs.journaled_client import DraftRequest, JournaledClient, PairDraft
from preflexor_pl.pairs.notes import HEADING, says_again
from preflexor_pl.pairs.planning import EarlierRounds
from preflexor_pl.pairs.prompts import Prompt
from preflexor_pl.pairs.question_reply import asked_before_cut, read_question
from preflexor_pl.pairs.questions import EmbeddingCache, QuestionDeduplicator
from preflexor_pl.pairs.quotes import Quotes
from preflexor_pl.pairs.settings import PairSettings

REFLECTED = (3, 2)  # of three items that a small teacher criticises, two stay, until more is known
MOST_AGAIN = 3  # times what is missing: what comes out beyond it is thrown away
SPARE = 4  # one spare question for this many that are needed: most drops happen there


class Stages:
    """The stages of one round.

    Args:
        settings: what the pairs are made of.
        library: chunks and their graph.
        client: of the round.
        within: ids of the chunks that may be used.
        past: questions asked before, and earlier pairs that an answer may rest on.
        embeddings: of texts.
        count_tokens: tokens of a text, in the policy's tokenizer.
        candidates: the round's plan.
    """

    def __init__(
        self,
        settings: PairSettings,
        library: CorpusIndex,
        client: JournaledClient,
        within: Collection[str],
        past: EarlierRounds,
        embeddings: EmbeddingCache,
        count_tokens: Callable[[str], int],
        candidates: list[PairDraft],
    ) -> None:
        self.settings = settings
        self.prompts = settings.prompts
        self.teacher: TeacherSettings = settings.teacher
        self.library = library
        self.client = client
        self.within = frozenset(within)  # of which the graph prepares a search but once
        self.embeddings = embeddings
        self.asked = QuestionDeduplicator(past.questions, self.embeddings)
        self.quotes = Quotes(library, client, embeddings)
        self.count_tokens = count_tokens
        self.candidates = candidates
        self.notes = Notes(past.notes, self.embeddings, client.seed)
        self.min_grounding = settings.min_grounding
        self._questions: list[PairDraft] = []  # asked, and not gone further
        self._tried, self._kept = REFLECTED if settings.reflection else (0, 0)

    @property
    def is_exhausted(self) -> bool:
        """Whether there is nothing left to make a pair from."""
        return not self._questions and not self.candidates

    def wave(self, missing: int) -> list[PairDraft]:
        """Answered items, as many as it probably takes to make ``missing`` pairs."""
        # With as many more as are lost on the way: small batches are slow.
        goal = min(-(-missing * max(self._tried, 1) // max(self._kept, 1)), MOST_AGAIN * missing)
        ask = max(0, goal + -(-goal // SPARE) - len(self._questions))
        asking, self.candidates = self.candidates[:ask], self.candidates[ask:]
        if self.settings.answers == "quoted":
            asking = self.quotes.give(asking)
        self._questions += self._ask_questions(asking)
        items, self._questions = self._questions[:goal], self._questions[goal:]
        self._tried += len(items)
        for item in items:
            self._enrich(item)
        return self._answers(self._reflections(self._thinking(items)))

    def note_kept(self, pairs: int) -> None:
        """Have the next wave reckon with how many pairs the last one made."""
        self._kept += pairs

    def texts(self, chunk_ids: list[str]) -> list[str]:
        """The chunks under their documents' titles: a sentence seldom names what it is about.

        A note stands under a heading that says what it is.
        """
        return [
            escape_special_tokens(self._text(id), self.client.special_tokens) for id in chunk_ids
        ]

    def _text(self, id: str) -> str:
        note = self.notes.by_id.get(id)
        if note:
            return f"{HEADING}\n{note.text}"
        chunk = self.library.chunks[id]
        return f"{chunk.title}\n{chunk.text}"

    def _ask_questions(self, items: list[PairDraft]) -> list[PairDraft]:
        def accept(item: PairDraft, text: str) -> str:
            item.question, reason = read_question(text)
            if not reason and not self.embeddings.has(item.question):
                reason = "question_without_vector"
            if not reason and item.quote and not self.quotes.is_asked_about(item):
                reason = "question_not_of_its_quote"
            if not reason and not self.asked.add(item.question):
                reason = "question_asked_before"
            return reason

        asks = [DraftRequest(item, "", self._question_prompt(item), accept) for item in items]
        sampling = self.teacher.question
        return self.client.ask(
            QUESTION, asks, sampling, before_cut=asked_before_cut, first=self._understand
        )

    def _question_prompt(self, item: PairDraft) -> Prompt:
        if not item.quote:
            return self.prompts.ask_question(self.texts(item.chunk_ids), item.topic)
        title = self.library.chunks[item.chunk_ids[0]].title
        return self.prompts.ask_quoted_question(title, item.quote)

    def _understand(self, texts: list[str]) -> None:
        """Embed the questions in some replies together; they are compared and searched with."""
        questions = [question for question, reason in map(read_question, texts) if not reason]
        if questions:
            self.embeddings(questions)

    def _thinking(self, items: list[PairDraft]) -> list[PairDraft]:
        asks = []
        for item in items:
            for name, wanted in self.settings.thinking.categories.items():
                facts = self.texts(item.retrieved if name == BACKGROUND else item.chunk_ids)

                def accept(item: PairDraft, text: str, name: str = name) -> str:
                    item.blocks[name], reason = reading.read_block(text, name)
                    return reason

                prompt = self.prompts.ask_category(facts, item.question, wanted)
                asks.append(DraftRequest(item, name, prompt, accept))
        kept = self.client.ask(THINKING, asks, self.settings.thinking.sampling)
        return [item for item in kept if self._long_enough(item)]

    def _reflections(self, items: list[PairDraft]) -> list[PairDraft]:
        """The teacher's criticism of the thinking, where this phase has any."""
        if not self.settings.reflection:
            return items

        def accept(item: PairDraft, text: str) -> str:
            item.reflection, reason = reading.read_critique(text, self._thinking_of(item))
            return reason

        asks = []
        for item in items:
            texts, thinking = self.texts(item.chunk_ids), self._thinking_of(item)
            prompt = self.prompts.ask_critique(texts, item.question, thinking)
            asks.append(DraftRequest(item, "", prompt, accept))
        return self.client.ask(REFLECTION, asks, self.teacher.critique)

    def _answers(self, items: list[PairDraft]) -> list[PairDraft]:
        """Of each item's candidates the one that stands best in its chunks, or its quote."""
        if self.settings.answers == "quoted":
            for item in items:
                item.answer, item.grounding = item.quote, self._grounding(item, item.quote)
            return items

        def accept(item: PairDraft, text: str) -> str:
            answer, reason = reading.read_answer(text)
            notes = [self.notes.by_id[id] for id in item.chunk_ids if id in self.notes.by_id]
            if not reason and any(says_again(answer, note) for note in notes):
                reason = "repeats_earlier_answer"
            if reason:
                return reason
            found = self._grounding(item, answer)
            if found.score < self.min_grounding:
                return "not_grounded"
            if item.grounding is None or found.rank > item.grounding.rank:
                item.answer, item.grounding = answer, found
            return ""

        asks = []
        for item in items:
            thinking = "\n\n".join(filter(None, (self._thinking_of(item), item.reflection)))
            prompt = self.prompts.ask_answer(self.texts(item.chunk_ids), item.question, thinking)
            parts = [str(number or "") for number in range(self.teacher.candidates)]
            asks += [DraftRequest(item, part, prompt, accept) for part in parts]
        return self.client.ask(ANSWER, asks, self.teacher.answer, one_will_do=True)

    def _grounding(self, item: PairDraft, answer: str) -> Grounding:
        """How far an answer stands in the corpus; an earlier pair is no source."""
        chunks = [id for id in item.chunk_ids if id not in self.notes.by_id]
        return grounding(answer, self.texts(chunks), item.question)

    def _enrich(self, item: PairDraft) -> None:
        """Add the chunks nearest to the question that are not in its context yet.

        An earlier pair takes the place of the last one where it is nearer: one at most, so that
        answers go on resting on source text.
        """
        count = self.settings.enrich_chunks
        [vector] = self.embeddings([item.question])
        near = self.library.ranked(vector, count + len(item.chunk_ids), self.within)
        new = [(chunk.id, cosine) for chunk, cosine in near if chunk.id not in item.chunk_ids]
        note = self.notes.nearest(item.question)
        new = sorted([*new, *([note] if note else [])], key=lambda found: -found[1])
        item.retrieved = [id for id, _ in new[:count]]
        item.chunk_ids = item.chunk_ids + item.retrieved

    def _thinking_of(self, item: PairDraft) -> str:
        return reading.thinking_text(item.ordered_blocks(self.settings.thinking.categories))

    def _long_enough(self, item: PairDraft) -> bool:
        text = self._thinking_of(item)
        if self.count_tokens(text) >= self.settings.thinking.min_tokens:
            return True
        self.client.drop(item, "thinking_too_short", text)
        return False
