"""The rounds of one run: makes what is missing on disk, reads what is there, and tokenises it.

runs/<name>/held_out/            asked about the held-out documents, fixed before the first step
runs/<name>/rounds/round-0000/   the pairs of a round, and the policy that they were made with
runs/<name>/preview/             pairs that were only looked at
"""

import json
import random
import shutil
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.chat import encode
from preflexor_pl.core.errors import ConfigError, CorpusError, PreflexorError
from preflexor_pl.core.generator import Generator, special_strings
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.pairs.call_key import REJECTED, TRY
from preflexor_pl.pairs.journal import Journal, without_calls
from preflexor_pl.pairs.maker import Order, PairMaker
from preflexor_pl.pairs.notes import notes_of
from preflexor_pl.pairs.own_pairs import OwnSet
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.questions import EmbeddingCache
from preflexor_pl.pairs.round_folders import is_complete, round_folder
from preflexor_pl.pairs.round_order import held_out_order, held_out_settings, round_order
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.task_maker import TaskPairMaker
from preflexor_pl.pairs.writers import Measures, Writers
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import LanguageModel
from preflexor_pl.policy.policy import Policy
from preflexor_pl.rounds.coverage import Growth
from preflexor_pl.rounds.history import keep_margins, pairs_before, past_of, tries_before
from preflexor_pl.rounds.margins import margins, rejected_logps
from preflexor_pl.rounds.text_sources import TextSources
from preflexor_pl.rounds.tokenize import PairTokenizer
from preflexor_pl.tasks.task import Task

PREVIEW = "preview"  # in a run's folder


class Rounds:
    """The rounds of one run.

    Args:
        run: the run's folder.
        library: chunks and their graph.
        split: ids of the chunks to train on, and of those held out.
        settings: what the pairs are made of.
        policy: the model in training.
        sources: who writes the teacher's texts, and who judges.
        collator: pairs to tensors.
        token_budget: padded tokens in one forward pass.
        batch_size: texts generated together.
        seed: of the run.
        own: the pairs of the user's own, if there are any.
        task: whose items the pairs are made of, in the place of the library's chunks.

    Attributes:
        teacher: writes questions, thinking and chosen answers; its texts hold no thoughts of its
            own.
        writer: the policy, writing rejected answers.
        special_strings: what must stay inert in what the teacher writes.
        tokenizer: of the pairs.
    """

    def __init__(
        self,
        run: Path,
        library: CorpusIndex,
        split: tuple[list[str], list[str]],
        settings: PairSettings,
        policy: Policy,
        sources: TextSources,
        collator: PairCollator,
        token_budget: int,
        batch_size: int,
        seed: int,
        own: OwnSet | None = None,
        task: Task | None = None,
    ) -> None:
        self.run = run
        self.library = library
        self.split = split
        self.settings = replace(settings, markers=policy.strings)
        self.policy = policy
        self.sources = sources
        self.identity = json.dumps([policy.identity, library.embedder.identity])
        teacher = sources.teacher_of(policy)
        self.special_strings = special_strings(policy, teacher)
        if isinstance(teacher, LanguageModel):
            if teacher is not policy:
                self.identity += teacher.source.sha256 or teacher.source.name
            teacher = sources.local_teacher(teacher, batch_size)
        self.teacher: Generator = teacher
        self.writer: Generator = LocalGenerator(policy, "policy", batch_size)
        self.collator = collator
        self.tokenizer = PairTokenizer(policy, collator, token_budget)
        self.seed = seed
        self.own = own
        self.task = task
        self.growth = Growth(run, library, split[0], seed)
        self.embeddings = EmbeddingCache(library.embedder.encode)

    def folder(self, index: int) -> Path:
        """Where the files of a round are."""
        return round_folder(self.run, index)

    def make(self, index: int, wanted: int, policy_step: int) -> list[PreferencePair]:
        """The pairs of a round, made by the policy as it is unless they are there.

        Args:
            index: of the round.
            wanted: how many pairs; a shortfall is told.
            policy_step: optimiser steps made so far, for the record.
        """
        folder = self.folder(index)
        is_made = is_complete(folder)
        if self.policy.settings.lora and not is_made:
            self.policy.save_adapter(folder / "policy")
        if index and not is_made and self.settings.ask_about == "uncertain":
            system = self.settings.system_prompt
            keep_margins(self.run, index, partial(margins, self.policy, system_prompt=system))
        pairs = self._make(folder, index, wanted, policy_step)
        if len(pairs) < wanted:
            log_line(f"  round {index}: {len(pairs)} pairs of {wanted} wanted")
        if self.library.chunks and (not is_made or not self.growth.is_kept(index)):
            self.growth.keep(
                index, notes_of(pairs_before(self.run, index + 1), self.settings.markers)
            )
        return pairs

    def prepare(self, index: int, wanted: int) -> None:
        """Make what of a round does not depend on the policy; ``make`` then finds it on record.

        Args:
            index: of the round; those before it are complete.
            wanted: how many pairs.
        """
        self._maker(self.settings).prepare(self.folder(index), self._order(index, wanted, 0))

    def older(self, index: int, count: int, reference: bool) -> list[TokenizedPair]:
        """Pairs of the rounds before ``index``, drawn by the run's seed, as ids.

        Args:
            index: of the round that trains on them once more.
            count: how many; all where there are not so many.
            reference: whether the loss needs the reference's log-probs.
        """
        folders = [self.folder(number) for number in range(index)]
        rng = random.Random(derive_seed(self.seed, index, "replay"))
        return self.tokenizer.drawn(folders, count, rng, reference)

    def held_out(self, wanted: int) -> list[PreferencePair]:
        """Questions about the held-out documents; their rejected answers are fixed at round 0.

        Raises:
            CorpusError: fewer than two pairs came out.
        """
        folder = self.run / "held_out"
        maker = self._maker(held_out_settings(self.settings, wanted))
        pairs = maker.make(folder, held_out_order(wanted, self.split[1], self.own))
        if len(pairs) < 2:
            key = "held_out_questions" if self.own and self.own.settings.alone else "held_out"
            raise CorpusError(f"{folder}: one held-out pair is too few: raise data.{key}")
        return pairs

    def preview(self, wanted: int) -> list[PreferencePair]:
        """The first pairs of a round 0, made by the policy as it is, for no training to find.

        They are planned anew each time, so they are those of the settings as they are; what was
        said for an earlier preview, and is asked again, is read from the journal.
        """
        folder = self.run / PREVIEW
        Journal(folder).forget_plan()
        return self._make(folder, 0, wanted, 0)

    def reproduce(self, index: int, wanted: int, policy_step: int) -> list[PreferencePair]:
        """The pairs of a round with its rejected answers drawn anew by the policy as it is.

        The teacher's part is read from the round's journal. Every batch is the one that was drawn
        then, so the policy of that round gives the same texts.

        Raises:
            ConfigError: the run has no such round, or made it with other settings.
        """
        folder = self.folder(index)
        if not is_complete(folder):
            raise ConfigError(f"{folder} is no complete round")
        if self.settings.rejected == "teacher" or self.sources.judges_apart:
            raise ConfigError(
                f"{folder}: its rejected answers hang on a teacher, or on a judge of its own, "
                "which would be asked again; only those of the policy alone can be drawn anew"
            )
        with tempfile.TemporaryDirectory() as name:
            again = Path(name)
            shutil.copy(folder / "plan.json", again)
            without_calls(folder / "calls.jsonl", (REJECTED, TRY), again / "calls.jsonl")
            try:
                return self._make(again, index, wanted, policy_step)
            except ConfigError as error:
                if name not in str(error):  # of the copy of the plan
                    raise
                raise ConfigError(
                    f"{folder} was made with another corpus, another model to start from, other "
                    "prompts or other settings: give the run's own config, without changes"
                ) from error
            except PreflexorError as error:
                raise type(error)(str(error).replace(name, str(folder))) from error

    def _make(
        self, folder: Path, index: int, wanted: int, policy_step: int
    ) -> list[PreferencePair]:
        order = self._order(index, wanted, policy_step)
        return self._maker(self.settings).make(folder, order)

    def _order(self, index: int, wanted: int, policy_step: int) -> Order:
        past = partial(past_of, self.run, index, self.settings.grow, self.settings.markers)
        return round_order(index, wanted, self.split[0], past, policy_step, self.own)

    def _maker(self, settings: PairSettings) -> PairMaker | TaskPairMaker:
        tokenizer, system = self.policy.tokenizer, settings.system_prompt
        judge = self.sources.judge_with(self.teacher, self.special_strings)
        writers = Writers(self.teacher, self.writer, judge, self.special_strings)
        measures = Measures(
            lambda text: len(encode(tokenizer, text)),
            self.collator.problem,
            lambda pairs: rejected_logps(self.policy, pairs, system),
        )
        seed, identity = self.seed, self.identity
        if self.task:
            history = partial(tries_before, self.run)
            return TaskPairMaker(self.task, settings, writers, measures, history, seed, identity)
        return PairMaker(settings, self.library, self.embeddings, writers, measures, seed, identity)
