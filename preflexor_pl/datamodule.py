"""The LightningDataModule: holds a round of pairs and makes the next from the policy as it is.

    round = epoch // epochs_per_round

``on_train_epoch_end`` makes the next round where one is due, never after the last epoch; the
checkpoint has been saved by then. ``train_dataloader`` makes a round itself only for round 0 and
for recovery.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property, partial
from math import ceil, isfinite
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule

from preflexor_pl.batches.collate import Batching, PairCollator
from preflexor_pl.batches.steps import StepLoader
from preflexor_pl.batches.thinking import NoMasking, ThinkingMask
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.core.chat_date import pin_date
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.generator import Generator
from preflexor_pl.core.markers import DEFAULT
from preflexor_pl.core.progress import log_line, stages
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import (
    DEFAULT_CHUNK_OVERLAP,
    DEFAULT_CHUNK_TOKENS,
    DEFAULT_EMBEDDER,
    PolicySettings,
    Sampling,
    check_value,
)
from preflexor_pl.core.teacher_settings import JudgeSettings, TeacherSettings, ThinkingSettings
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.corpus.graph import CorpusGraph
from preflexor_pl.corpus.lineage import Lineage, names_of
from preflexor_pl.evaluation.held_out import AnsweredPrompt, answer_questions
from preflexor_pl.pairs.correctness import CorrectnessJudge
from preflexor_pl.pairs.own_pairs import OwnPairs, OwnSet, stand_alone
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.prompt_files import read_prompts
from preflexor_pl.pairs.settings import JUDGES, AskAbout, Contexts, PairSettings, RejectedChoice
from preflexor_pl.pairs.without_thoughts import without_thoughts
from preflexor_pl.policy.language_model import LanguageModel, load_language_model
from preflexor_pl.policy.layout_check import choose_batching
from preflexor_pl.policy.policy import Policy
from preflexor_pl.policy.previous_phase import lineage_of, markers_of, read_previous_phase
from preflexor_pl.rounds.prefetch import RoundPrefetcher
from preflexor_pl.rounds.rounds import Rounds
from preflexor_pl.server.generator import RemoteGenerator

CATEGORY_TOKENS = 12  # of a block's name, its asterisks and its blank line, or of two markers

_POSITIVE = (
    "chunk_tokens",
    "questions_per_topic",
    "chunks_per_context",
    "pairs_per_round",
    "epochs_per_round",
    "pairs_per_step",
    "tokens_per_micro_batch",
    "max_prompt_length",
    "held_out",
    "generation_batch_size",
)


class PreferenceDataModule(LightningDataModule):
    """Preference pairs over a corpus, made anew every round.

    Args:
        corpus: a folder of .md .txt .rst .html .pdf .docx .jsonl .json .csv .tsv .parquet .arrow
            files, one that ``datasets`` saved, or the hub id of a data set with a text column.
        run: the run's folder; graph and rounds are kept there.
        index: a graph that is there already, in the place of ``corpus``: the folder of one that
            ``python -m preflexor_pl.index`` or a run has made with this embedder, or a
            ``CorpusIndex`` (in a config the path of a function that returns one).
        pairs: preference pairs of your own: a file, a folder or a hub id; ``OwnPairs``, which says
            for which rounds and with which share; in Python also a list or a ``Dataset`` of rows.
            Where every round is of these alone no corpus is read.
        embedder: a sentence-transformers model: a hub id, a folder, or ``package:<python
            package>``.
        chunk_tokens: longest chunk, in the embedder's tokens.
        chunk_overlap: tokens that neighbouring chunks may share.
        text_column: the column of records that holds their text, or COLUMN.PART; null takes
            ``text``, or the only column whose name says that it holds text.
        topics: a list of topics to ask about, or how many random draws from the graph a round may
            make.
        questions_per_topic: questions to each topic or draw.
        ask_about: where draws begin: ``random`` chunks; ``coverage``, those that the fewest pairs
            rest on so far; ``uncertain``, those around the pairs that the policy tells apart worst.
        chunks_per_context: chunks that a question rests on.
        contexts: these are a node of the graph and its nearest ``neighbours``, or lie on a short
            ``walk`` over the graph, which joins what lies apart.
        enrich_chunks: further chunks, found with the question, that thinking and answer rest on.
        grow: whether one of these may be an earlier round's question with its answer, so that later
            rounds build on earlier ones, and on their mistakes: off, as a small teacher makes many.
        min_grounding: share of a chosen answer's words and numbers that must stand in its chunks;
            below it the answer is drawn once more, then its question is dropped.
        pairs_per_round: pairs wanted of each round; a shortfall is reported.
        epochs_per_round: epochs that each round is trained for.
        replay: pairs of older rounds that are trained on once more, as a share of pairs_per_round.
        overlap: make what of the next round does not depend on the policy while this one trains,
            where the teacher is a server.
        pairs_per_step: pairs in one optimiser step.
        tokens_per_micro_batch: tokens that one forward pass may hold, padding counted; memory, not
            mathematics.
        batching: how pairs lie in a forward pass: ``packed``, the prompt once and no padding;
            ``padded``, for models that cannot be packed; or ``plain``, the slow way that both are
            tested against. A layout that the model cannot be served by gives way to the next one,
            which is announced.
        max_length: tokens of prompt and response together.
        max_prompt_length: tokens of the prompt.
        held_out: how many whole documents are kept for evaluation, never trained on.
        held_out_questions: how many questions are asked about them.
        masking: which tokens of a response are targets; all of them by default.
        rejected: who writes the rejected answer: the policy in training, or the teacher.
        rejected_trigger: whether the policy is asked with the trigger, and so has thinking of its
            own in it.
        rejected_sampling: how it is drawn.
        rejected_candidates: how many are drawn for each question; one is taken.
        rejected_choice: which: ``random``; the ``closest`` to the chosen answer (F1 of words); the
            ``likeliest`` under the policy; or ``judged``, the closest of those that are wrong.
        only_wrong: take a rejected answer only where it is judged wrong; it is drawn up to three
            times.
        judge: who judges whether an answer is right, or an object that does
            (``CorrectnessJudge``, also by its class path); null goes by the words that
            it shares with the teacher's answer.
        untriggered_share: share of a round's pairs that are asked without the trigger and whose
            chosen response is the teacher's answer without thinking, so that the policy thinks only
            where it is asked to; 0 leaves every pair with its trigger. Held-out pairs all have it.
        reflection: whether the chosen response criticises its thinking before it answers.
        prompts: what the teacher and the judge are asked: the set ``small``, for a small teacher;
            ``large``, for a strong one; or a folder of files that take the place of those in
            ``preflexor_pl/pairs/templates/small``, or in the set that its ``base.txt`` names; null
            is ``small``.
        system_prompt: the policy's system turn; null keeps the chat template's own.
        teacher: who asks, thinks and answers, or an object that does (``Generator``, also by its
            class path).
        thinking: the structure of the thinking section.
        generation_batch_size: texts generated together.
        seed: of splits, plans, draws, order and masks.
    """

    def __init__(
        self,
        corpus: str | None = None,
        run: str = "runs/default",
        embedder: str = DEFAULT_EMBEDDER,
        chunk_tokens: int = DEFAULT_CHUNK_TOKENS,
        chunk_overlap: int = DEFAULT_CHUNK_OVERLAP,
        text_column: str | None = None,
        topics: int | list[str] = 64,
        questions_per_topic: int = 1,
        ask_about: AskAbout = "random",
        chunks_per_context: int = 1,
        contexts: Contexts = "neighbours",
        enrich_chunks: int = 1,
        grow: bool = False,
        min_grounding: float = 0.0,
        pairs_per_round: int = 32,
        epochs_per_round: int = 2,
        replay: float = 0.0,
        overlap: bool = True,
        pairs_per_step: int = 4,
        tokens_per_micro_batch: int = 2048,
        batching: Batching = "packed",
        max_length: int = 512,
        max_prompt_length: int = 128,
        held_out: int = 4,
        held_out_questions: int = 32,
        masking: ThinkingMask | None = None,
        rejected: Literal["policy", "teacher"] = "policy",
        rejected_trigger: bool = False,
        rejected_sampling: Sampling | None = None,
        rejected_candidates: int = 1,
        rejected_choice: RejectedChoice = "random",
        only_wrong: bool = False,
        judge: JudgeSettings | CorrectnessJudge | None = None,
        untriggered_share: float = 0.0,
        reflection: bool = False,
        prompts: str | None = "small",
        system_prompt: str | None = None,
        teacher: TeacherSettings | Generator | None = None,
        thinking: ThinkingSettings | None = None,
        generation_batch_size: int = 32,
        seed: int = 0,
        index: str | CorpusIndex | None = None,
        pairs: str | OwnPairs | list[Any] | None = None,
    ) -> None:
        super().__init__()
        self.own_pairs = _own_pairs(pairs)
        check_value(
            bool(index) or corpus is not None or self._is_own_alone,
            "data.corpus",
            corpus,
            "a folder, or the hub id of a data set",
        )
        for name in _POSITIVE:
            check_value(locals()[name] >= 1, f"data.{name}", locals()[name], ">= 1")
        check_value(
            0 <= chunk_overlap < chunk_tokens,
            "data.chunk_overlap",
            chunk_overlap,
            f">= 0 and below chunk_tokens ({chunk_tokens})",
        )
        check_value(held_out_questions >= 2, "data.held_out_questions", held_out_questions, ">= 2")
        check_value(enrich_chunks >= 0, "data.enrich_chunks", enrich_chunks, ">= 0")
        check_value(not grow or enrich_chunks > 0, "data.grow", grow, "false with enrich_chunks 0")
        check_value(
            max_prompt_length < max_length,
            "data.max_length",
            max_length,
            f"above max_prompt_length ({max_prompt_length})",
        )
        draws = topics if isinstance(topics, int) else len(topics)
        check_value(draws >= 1, "data.topics", topics, ">= 1, or a list that is not empty")
        check_value(
            draws * questions_per_topic >= pairs_per_round,
            "data.pairs_per_round",
            pairs_per_round,
            f"at most topics x questions_per_topic ({draws * questions_per_topic})",
        )
        check_value(isfinite(replay) and replay >= 0, "data.replay", replay, ">= 0")
        self.corpus = corpus
        self.run = Path(run)
        self.index = index
        self.embedder = embedder
        self.chunk_tokens = chunk_tokens
        self.chunk_overlap = chunk_overlap
        self.text_column = text_column
        self.pairs_per_round = pairs_per_round
        self.epochs_per_round = epochs_per_round
        self.replay = replay
        self.overlap = overlap
        self.pairs_per_step = pairs_per_step
        self.tokens_per_micro_batch = tokens_per_micro_batch
        self.batching: Batching = batching
        self.max_length = max_length
        self.max_prompt_length = max_prompt_length
        self.held_out = held_out
        self.held_out_questions = held_out_questions
        self.masking = masking or NoMasking()
        self.generation_batch_size = generation_batch_size
        self.seed = seed
        teaching, self.own_teacher = _apart(teacher, TeacherSettings, Generator, "data.teacher")
        judging, self.own_judge = _apart(judge, JudgeSettings, CorrectnessJudge, "data.judge")
        self.policy_settings: PolicySettings | None = None  # set by the command line, or in setup
        self._rounds: Rounds | None = None
        self._ahead: RoundPrefetcher | None = None
        self.pair_settings = PairSettings(
            topics=topics,
            questions_per_topic=questions_per_topic,
            chunks_per_context=chunks_per_context,
            enrich_chunks=enrich_chunks,
            rejected=rejected,
            rejected_trigger=rejected_trigger,
            rejected_sampling=rejected_sampling
            or Sampling(max_new_tokens=128, min_new_tokens=16, temperature=1.0),
            reflection=reflection,
            system_prompt=system_prompt,
            teacher=teaching or TeacherSettings(),
            thinking=thinking or ThinkingSettings(),
            ask_about=ask_about,
            contexts=contexts,
            rejected_candidates=rejected_candidates,
            rejected_choice=rejected_choice,
            only_wrong=only_wrong,
            judge=judging,
            prompts=read_prompts("small" if prompts is None else prompts),
            grow=grow,
            untriggered_share=untriggered_share,
            min_grounding=min_grounding,
        )
        check_value(
            self.own_judge is None or self.pair_settings.needs_ruling, "data.judge", judge, JUDGES
        )

    # What the run's other parts ask for

    @property
    def policy(self) -> Policy:
        """The model in training."""
        if self.trainer is None:
            raise RuntimeError("the data need a Trainer: rejected answers come from its model")
        module: Any = self.trainer.lightning_module
        return module.policy

    @property
    def round(self) -> int:
        """The round that the current epoch belongs to."""
        assert self.trainer is not None
        return self.trainer.current_epoch // self.epochs_per_round

    @cached_property
    def library(self) -> CorpusIndex:
        """Chunks and their graph, embedded on first use and kept in the run's folder."""
        if self._is_own_alone:
            return CorpusIndex({}, CorpusGraph(dim=1), Embedder(self.embedder), [])
        if self.index:
            given, folder = self.index, self.run / "graph"
            library = CorpusIndex.load(given, self.embedder) if isinstance(given, str) else given
            library.keep(folder)
            return library
        log_line(f"Reading {self.corpus}")
        with stages() as progress:
            return CorpusIndex.open(
                self.corpus or "",
                self.embedder,
                self.chunk_tokens,
                self.chunk_overlap,
                self.run / "graph",
                seed=self.seed,
                progress=progress,
                text_column=self.text_column,
            )

    @property
    def _is_own_alone(self) -> bool:
        """Whether every pair is the user's own."""
        return stand_alone(self.own_pairs)

    @cached_property
    def own_set(self) -> OwnSet | None:
        """The pairs of the user's own, read on first use."""
        if self.own_pairs is None:
            return None
        system = self.pair_settings.system_prompt
        settings = self.policy_settings or PolicySettings()
        start = read_previous_phase(settings.start_from) if settings.start_from else None
        markers = markers_of(settings, start) or DEFAULT
        own = OwnSet(self.own_pairs, self.held_out_questions, system, self.seed, markers)
        own.without({self.library.chunks[id].document for id in self.split[1]})
        return own

    @cached_property
    def split(self) -> tuple[list[str], list[str]]:
        """Ids of the chunks to train on, and of those held out, by whole documents."""
        if self._is_own_alone:
            return [], []
        seed = derive_seed(self.seed, "held out")
        return self.library.hold_out(self.held_out, seed, self.earlier)

    @cached_property
    def earlier(self) -> Lineage:
        """The documents that the phases before trained on and held out."""
        return lineage_of(self.policy_settings or PolicySettings())

    @property
    def lineage(self) -> Lineage:
        """The same with this phase's own documents; what own pairs are about is not known."""
        chunks, hashes = self.library.chunks, self.library.hashes
        trained, held = ({hashes[chunks[id].document] for id in ids} for ids in self.split)
        return self.earlier.then(trained, held, known=self.own_pairs is None)

    @property
    def rounds(self) -> Rounds:
        """The rounds of this run, made by the model in training."""
        if self._rounds is None or self._rounds.policy is not self.policy:
            self._rounds = self.rounds_of(self.policy)
            collator = self._rounds.collator
            collator.batching = choose_batching(self.policy, collator)
            if collator.max_length < self.max_length:
                log_line(
                    f"data.max_length: {collator.max_length} is used, as {self.policy.source.name} "
                    "takes no longer texts in a batch"
                )
        return self._rounds

    def rounds_of(self, policy: Policy) -> Rounds:
        """The rounds of this run, made by ``policy``."""
        return Rounds(
            self.run,
            self.library,
            self.split,
            self.pair_settings,
            policy,
            self._own_reader or self.server_teacher or self._teacher_model(policy),
            self.collator_of(policy),
            self.tokens_per_micro_batch,
            self.generation_batch_size,
            self.seed,
            self.server_judge,
            self.own_judge,
            self.own_set,
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
    def _own_reader(self) -> Generator | None:
        """The teacher object, read without its own thoughts; a server's client reads so itself."""
        tags = self.pair_settings.teacher.thinking_tags
        return self.own_teacher and without_thoughts(self.own_teacher, tags)

    @cached_property
    def server_teacher(self) -> RemoteGenerator | None:
        """The teacher behind a server, where there is one; its budget is that of the command."""
        teacher = self.pair_settings.teacher
        tags = teacher.thinking_tags
        return RemoteGenerator(teacher.server, "", tags) if teacher.server else None

    @cached_property
    def server_judge(self) -> RemoteGenerator | None:
        """The judge behind a server of its own, where there is one."""
        judge = self.pair_settings.judge
        if judge is None or judge.server is None:
            return None
        return RemoteGenerator(judge.server, "", judge.thinking_tags)

    def _teacher_model(self, policy: Policy) -> LanguageModel:
        teacher = self.pair_settings.teacher
        if teacher.model_name is None:
            return policy
        log_line(f"Loading the teacher {teacher.model_name}")
        key = "data.teacher.model_name"
        attention = policy.settings.attn_implementation
        return load_language_model(
            teacher.model_name, key, "auto", attention, teacher.quantization
        ).to(policy.device)

    @property
    def longest_response(self) -> int:
        """Tokens that a response may have in evaluation: as many as the longest chosen one."""
        thinking, teacher = self.pair_settings.thinking, self.pair_settings.teacher
        longest = len(thinking.categories) * (thinking.sampling.max_new_tokens + CATEGORY_TOKENS)
        longest += teacher.answer.max_new_tokens
        if self.pair_settings.reflection:
            longest += teacher.critique.max_new_tokens + CATEGORY_TOKENS
        return min(longest, self.max_length - self.max_prompt_length)

    def answer(self, prompts: Sequence[str]) -> list[AnsweredPrompt]:
        """The policy's greedy responses to ``prompts``, asked as in training."""
        return answer_questions(
            self.policy,
            prompts,
            self.pair_settings.system_prompt,
            self.longest_response,
            self.generation_batch_size,
        )

    def held_out_pairs(self) -> list[PreferencePair]:
        """Questions about the held-out documents; their rejected answers are fixed at round 0."""
        return self.rounds.held_out(self.held_out_questions)

    def tokenized_held_out(self) -> list[TokenizedPair]:
        """The held-out pairs as ids, with the reference's log-probs where the loss needs them."""
        folder = self.run / "held_out"
        return self.rounds.tokenized(self.held_out_pairs(), folder, self._needs_reference)

    @property
    def _needs_reference(self) -> bool:
        assert self.trainer is not None
        module: Any = self.trainer.lightning_module
        return module.loss.needs_reference

    # Lightning's hooks

    def setup(self, stage: str) -> None:
        """Read and embed the corpus, split it, and keep it for the rounds."""
        if self.trainer and self.trainer.world_size > 1:
            raise ConfigError("trainer.devices: one process makes the pairs as yet; set it to 1")
        pin_date(self.run, begins=True)
        if self.trainer:
            module: Any = self.trainer.lightning_module
            self.policy_settings = getattr(module, "settings", None)
            # Who monitors held-out metrics is called when a round is evaluated, not each epoch.
            self.trainer.check_val_every_n_epoch = None
            # With max_steps Lightning, resumed at an epoch's end, would train it once more; it has
            # no public switch.
            self.trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        teacher = self.server_teacher
        for server in filter(None, (teacher, self.server_judge)):
            server.require_ready()  # an error before the work
        if teacher and self.overlap and self.pair_settings.ask_about != "uncertain":
            self._ahead = RoundPrefetcher(
                lambda index: self.rounds.prepare(index, self.pairs_per_round), teacher
            )
        library, own = self.library, self.own_set
        if own and self._is_own_alone:
            told = f"{len(own.train)} pairs to train on, {len(own.held)} held out"
            log_line(f"{told}; every round is of these, and no corpus is read")
            return
        log_line(
            f"{len(library.documents)} documents, {len(library.chunks)} chunks in the graph; "
            f"{self._told_split()}"
        )
        copies = sum(name != first for name, first in library.near_copies.items())
        if copies:
            told = "each group is held out or trained on as a whole"
            log_line(f"  near-copies of other documents: {copies}; {told}")
        reasons = Counter(skipped.reason for skipped in library.skipped)
        if reasons:
            log_line(
                "  skipped: " + ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
            )

    def _told_split(self) -> str:
        chunks, hashes, earlier = self.library.chunks, self.library.hashes, self.earlier
        ids = self.split[1]
        held = {chunks[id].document for id in ids}
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

    def train_dataloader(self) -> StepLoader:
        """Steps of the current epoch. Makes its round where it is missing."""
        assert self.trainer is not None
        module: Any = self.trainer.lightning_module
        if self.pair_settings.reflection and not module.reflection:
            raise ConfigError(
                "data.reflection is true and the module trains no rows for its markers: build "
                "PreferenceModule with reflection=True"
            )
        if self.round == 0:
            self.held_out_pairs()  # before the first step, so that they are the untrained model's
        rounds, epoch = self.rounds, self.trainer.current_epoch
        folder = rounds.folder(self.round)
        pairs = rounds.tokenized(self._round_pairs(self.round), folder, self._needs_reference)
        again = ceil(self.replay * self.pairs_per_round)
        older = rounds.older(self.round, again, self._needs_reference)
        return StepLoader(
            [*pairs, *older],
            partial(rounds.collator, draw=(self.round, epoch)),
            self.pairs_per_step,
            self.tokens_per_micro_batch,
            self.seed,
            epoch,
            rounds.collator.packed,
        )

    def planned_steps(self) -> int:
        """Optimiser steps of the whole run, if no round comes out short.

        Its end must be known, by epochs or by steps.
        """
        trainer: Any = self.trainer
        again = ceil(self.replay * self.pairs_per_round)
        rounds = (epoch // self.epochs_per_round for epoch in range(trainer.max_epochs or -1))
        each = self.pairs_per_round
        if self._is_own_alone and self.own_set:
            each = min(each, len(self.own_set.train))
        pairs = (each + min(again, n * each) for n in rounds)
        steps = sum(ceil(count / self.pairs_per_step) for count in pairs)
        limits = [limit for limit in (steps, trainer.max_steps) if limit > 0]
        return min(limits, default=0)

    def on_train_batch_start(self) -> None:
        """Begin the next round ahead, if there will be one; RegenerateRounds calls this.

        At a step, not at the round's start: the evaluation that comes before it asks the embedder,
        and there is one.
        """
        following = (self.round + 1) * self.epochs_per_round
        if self._ahead and self._comes(following) and not self._ends_before(following):
            self._ahead.begin(self.round + 1)

    def on_train_epoch_end(self) -> None:
        """Make the next round where the next epoch begins one; RegenerateRounds calls this."""
        trainer = self.trainer
        assert trainer is not None
        following = trainer.current_epoch + 1
        stepped_out = 0 <= trainer.max_steps <= trainer.global_step
        if trainer.should_stop or stepped_out or not self._comes(following):
            if self._ahead:
                self._ahead.abandon()
        elif following % self.epochs_per_round == 0:
            if self._ahead:
                self._ahead.finish()
            self._round_pairs(following // self.epochs_per_round)

    def on_exception(self, exception: BaseException) -> None:
        """End what is being made ahead."""
        if self._ahead:
            self._ahead.abandon()

    def _ends_before(self, epoch: int) -> bool:
        """Whether the steps that the run may make are used up before such an epoch."""
        trainer = self.trainer
        assert trainer is not None
        left = (epoch - trainer.current_epoch) * trainer.num_training_batches
        return 0 <= trainer.max_steps <= trainer.global_step + left

    def _comes(self, epoch: int) -> bool:
        """Whether there will be such an epoch, as far as is known."""
        assert self.trainer is not None
        most = self.trainer.max_epochs
        return most is None or most < 0 or epoch < most

    def _round_pairs(self, index: int) -> list[PreferencePair]:
        assert self.trainer is not None
        return self.rounds.make(index, self.pairs_per_round, self.trainer.global_step)


def _own_pairs(given: Any) -> OwnPairs | None:
    """Pairs of the user's own, however they are given."""
    if given is None or isinstance(given, OwnPairs):
        return given
    return OwnPairs(str(given) if isinstance(given, Path) else given)


def _apart(given: Any, settings: type, protocol: type, key: str) -> tuple[Any, Any]:
    """(Settings, object) of a key that takes either; None where there is none."""
    if given is None or isinstance(given, settings):
        return given, None
    wanted = f"{settings.__name__}, or an object with the methods of {protocol.__name__}"
    check_value(isinstance(given, protocol), key, given, wanted)
    own = getattr(given, "settings", None)
    return (own if isinstance(own, settings) else None), given
