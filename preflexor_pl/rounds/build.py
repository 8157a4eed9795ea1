"""What the rounds of a run need, made from its settings: corpus, own pairs, teacher, collator."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property

from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.core.chat_date import pin_date
from preflexor_pl.core.markers import DEFAULT
from preflexor_pl.core.progress import log_line, stages
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.corpus.graph import CorpusGraph
from preflexor_pl.corpus.seen_documents import Lineage, names_of
from preflexor_pl.pairs.own_pairs import OwnSet, stand_alone
from preflexor_pl.policy.language_model import LanguageModel
from preflexor_pl.policy.policy import Policy
from preflexor_pl.policy.previous_phase import lineage_of, markers_of, read_previous_phase
from preflexor_pl.rounds.data_settings import DataSettings
from preflexor_pl.rounds.rounds import Rounds
from preflexor_pl.rounds.text_sources import TextSources
from preflexor_pl.tasks import Task, task_of

CATEGORY_TOKENS = 12  # of a block's name, its asterisks and its blank line, or of two markers


class RunData(DataSettings):
    """The settings of a run's data, and what is made from them: each on first use, and once."""

    @property
    def is_own_alone(self) -> bool:
        """Whether every pair is the user's own."""
        return stand_alone(self.own_pairs)

    @property
    def needs_corpus(self) -> bool:
        """Whether pairs rest on chunks of a corpus."""
        return not self.is_own_alone and self.task is None

    @cached_property
    def library(self) -> CorpusIndex:
        """Chunks and their graph, kept in the run's folder; empty where no pair rests on them."""
        folder, index = self.run / "graph", self.index
        if not self.needs_corpus:
            return CorpusIndex({}, CorpusGraph(dim=1), Embedder(self.embedder), [])
        if index:
            library = CorpusIndex.load(index, self.embedder) if isinstance(index, str) else index
            library.keep(folder)
            return library
        log_line(f"Reading {self.corpus}")
        with stages() as progress:
            return CorpusIndex.open(
                self.corpus or "",
                self.embedder,
                self.chunk_tokens,
                self.chunk_overlap,
                folder,
                seed=self.seed,
                progress=progress,
                text_column=self.text_column,
            )

    @cached_property
    def split(self) -> tuple[list[str], list[str]]:
        """Ids of the chunks to train on, and of those held out, by whole documents."""
        if not self.needs_corpus:
            return [], []
        seed = derive_seed(self.seed, "held out")
        return self.library.hold_out(self.held_out, seed, self.earlier)

    @cached_property
    def own_set(self) -> OwnSet | None:
        """The pairs of the user's own, in the markers of the policy."""
        if self.own_pairs is None:
            return None
        system = self.pair_settings.system_prompt
        policy = self.policy_settings or PolicySettings()
        previous = read_previous_phase(policy.start_from) if policy.start_from else None
        markers = markers_of(policy, previous) or DEFAULT
        own = OwnSet(self.own_pairs, self.held_out_questions, system, self.seed, markers)
        own.without({self.library.chunks[id].document for id in self.split[1]})
        return own

    @cached_property
    def task_object(self) -> Task | None:
        """The task, read where it is the file of a bank."""
        return None if self.task is None else task_of(self.task)

    @cached_property
    def earlier(self) -> Lineage:
        """The documents that the phases before trained on and held out."""
        return lineage_of(self.policy_settings or PolicySettings())

    @property
    def lineage(self) -> Lineage:
        """The same with this phase's own documents; what own pairs are about is not known."""
        chunks, hashes = self.library.chunks, self.library.hashes
        trained, held = ({hashes[chunks[id].document] for id in ids} for ids in self.split)
        known = self.own_pairs is None and self.task is None
        return self.earlier.then(trained, held, known=known)

    @cached_property
    def sources(self) -> TextSources:
        """Who writes the teacher's texts, and who judges."""
        return TextSources(self.pair_settings, self.own_teacher, self.own_judge)

    def rounds_of(self, policy: Policy) -> Rounds:
        """The rounds of this run, made by ``policy``."""
        return Rounds(
            self.run,
            self.library,
            self.split,
            self.pair_settings,
            policy,
            self.sources,
            self.collator_of(policy),
            self.tokens_per_micro_batch,
            self.generation_batch_size,
            self.seed,
            self.own_set,
            self.task_object,
        )

    def collator_of(self, model: LanguageModel) -> PairCollator:
        """Pairs to tensors, for the tokenizer of ``model``; templates state the run's date."""
        pin_date(self.run)
        return PairCollator(
            model.tokenizer,
            model.markers,
            model.end_id,
            self.masking,
            self.pair_settings.system_prompt,
            min(self.max_length, model.max_positions),
            self.max_prompt_length,
            self.seed,
            self.batching,
        )

    @property
    def longest_response(self) -> int:
        """Tokens that a response may have in evaluation: as many as the longest chosen one."""
        thinking, teacher = self.pair_settings.thinking, self.pair_settings.teacher
        if self.task:
            taught = teacher.answer.max_new_tokens + CATEGORY_TOKENS
            own = self.pair_settings.rejected_sampling.max_new_tokens
            return min(max(taught, own), self.max_length - self.max_prompt_length)
        longest = len(thinking.categories) * (thinking.sampling.max_new_tokens + CATEGORY_TOKENS)
        longest += teacher.answer.max_new_tokens
        if self.pair_settings.reflection:
            longest += teacher.critique.max_new_tokens + CATEGORY_TOKENS
        return min(longest, self.max_length - self.max_prompt_length)

    def description(self) -> Iterator[str]:
        """What the pairs are made of, in lines for the screen."""
        library, own, task = self.library, self.own_set, self.task_object
        if task:
            levels = ", ".join(map(str, task.levels))
            yield f"Items of levels {levels}; no corpus is read"
            return
        if own and self.is_own_alone:
            told = f"{len(own.train)} pairs to train on, {len(own.held)} held out"
            yield f"{told}; every round is of these, and no corpus is read"
            return
        yield (
            f"{len(library.documents)} documents, {len(library.chunks)} chunks in the graph; "
            f"{self._held_out_line()}"
        )
        copies = sum(name != first for name, first in library.near_copies.items())
        if copies:
            told = "each group is held out or trained on as a whole"
            yield f"  near-copies of other documents: {copies}; {told}"
        reasons = Counter(skipped.reason for skipped in library.skipped)
        if reasons:
            yield "  skipped: " + ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())

    def _held_out_line(self) -> str:
        hashes, earlier, ids = self.library.hashes, self.earlier, self.split[1]
        held = {self.library.chunks[id].document for id in ids}
        told = f"{len(ids)} chunks of {len(held)} documents held out"
        kept = held.intersection(names_of(hashes, earlier.held_out))
        seen = names_of(hashes, earlier.trained)
        if kept or seen:
            told += (
                f", {len(kept)} of them by the phases before, which trained on {len(seen)} of all"
            )
        if not earlier.complete:
            told += "; it is not known what all phases before trained on, perhaps on these too"
        return told
