"""The settings of a run's data: its corpus, its rounds and its steps."""

from math import isfinite
from pathlib import Path
from typing import Any

from preflexor_pl.batches.collate import Batching
from preflexor_pl.batches.thinking import NoMasking, ThinkingMask
from preflexor_pl.core.generator import Generator
from preflexor_pl.core.markers import DEFAULT
from preflexor_pl.core.settings import (
    DEFAULT_CHUNK_OVERLAP,
    DEFAULT_CHUNK_TOKENS,
    DEFAULT_EMBEDDER,
    PolicySettings,
    check_value,
)
from preflexor_pl.core.teacher_settings import JudgeSettings, TeacherSettings
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.pairs.correctness import CorrectnessJudge
from preflexor_pl.pairs.own_pairs import OwnPairs, stand_alone
from preflexor_pl.pairs.prompt_files import read_prompts
from preflexor_pl.pairs.settings import JUDGES, PairSettings
from preflexor_pl.tasks.task import Task

_COUNTS = (
    "chunk_tokens",
    "pairs_per_round",
    "epochs_per_round",
    "pairs_per_step",
    "tokens_per_micro_batch",
    "max_prompt_length",
    "held_out",
    "generation_batch_size",
)


class DataSettings:
    """The ``data.*`` keys of a run, checked and kept as attributes.

    ``PreferenceDataModule`` inherits them, so that a key is written here alone, or in
    ``PairSettings`` where it says what a pair is made of.

    Args:
        corpus: a folder of .md .txt .rst .html .pdf .docx .jsonl .json .csv .tsv .parquet .arrow
            files, one that ``datasets`` saved, or the hub id of a data set with a text column.
        run: the run's folder; graph and rounds are kept there.
        embedder: a sentence-transformers model: a hub id, a folder, or ``package:<python
            package>``.
        chunk_tokens: longest chunk, in the embedder's tokens.
        chunk_overlap: tokens that neighbouring chunks may share.
        text_column: the column of records that holds their text, or COLUMN.PART; null takes
            ``text``, or the only column whose name says that it holds text.
        pairs_per_round: pairs wanted of each round; a shortfall is reported.
        epochs_per_round: epochs that each round is trained for.
        replay: pairs of older rounds that are trained on once more, as a share of pairs_per_round.
        prefetch: make what of the next round does not depend on the policy while this one trains,
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
        judge: who judges whether an answer is right, or an object that does
            (``CorrectnessJudge``, also by its class path); null goes by the words that
            it shares with the teacher's answer.
        prompts: what the teacher and the judge are asked: the set ``small``, for a small teacher;
            ``large``, for a strong one; or a folder of files that take the place of those in
            ``preflexor_pl/pairs/templates/small``, or in the set that its ``base.txt`` names; null
            is ``small``.
        teacher: who asks, thinks and answers, or an object that does (``Generator``, also by its
            class path).
        generation_batch_size: texts generated together.
        seed: of splits, plans, draws, order and masks.
        index: a graph that is there already, in the place of ``corpus``: the folder of one that
            ``python -m preflexor_pl.index`` or a run has made with this embedder, or a
            ``CorpusIndex`` (in a config the path of a function that returns one).
        task: questions whose answers can be checked, in the place of a corpus: a file of them
            (``QuestionBank``), or an object (``Task``, also by its class path, such as
            ``preflexor_pl.tasks.MultiHop``). Every pair is then made of a right and a wrong
            response. ``topics`` is how many of its items a round may ask, ``held_out`` how many
            held-out ones are measured, ``rejected_candidates`` how often the policy tries each.
        pairs: preference pairs of your own: a file, a folder or a hub id; ``OwnPairs``, which says
            for which rounds and with which share; in Python also a list or a ``Dataset`` of rows.
            Where every round is of these alone no corpus is read.
        pair_settings: the other fields of ``PairSettings``: what the pairs are made of.
    """

    def __init__(
        self,
        corpus: str | None = None,
        run: str = "runs/default",
        embedder: str = DEFAULT_EMBEDDER,
        chunk_tokens: int = DEFAULT_CHUNK_TOKENS,
        chunk_overlap: int = DEFAULT_CHUNK_OVERLAP,
        text_column: str | None = None,
        pairs_per_round: int = 32,
        epochs_per_round: int = 2,
        replay: float = 0.0,
        prefetch: bool = True,
        pairs_per_step: int = 4,
        tokens_per_micro_batch: int = 2048,
        batching: Batching = "packed",
        max_length: int = 512,
        max_prompt_length: int = 128,
        held_out: int = 4,
        held_out_questions: int = 32,
        masking: ThinkingMask | None = None,
        judge: JudgeSettings | CorrectnessJudge | None = None,
        prompts: str | None = "small",
        teacher: TeacherSettings | Generator | None = None,
        generation_batch_size: int = 32,
        seed: int = 0,
        index: str | CorpusIndex | None = None,
        pairs: str | OwnPairs | list[Any] | None = None,
        task: str | Task | None = None,
        **pair_settings: Any,
    ) -> None:
        super().__init__()
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
        self.prefetch = prefetch
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
        self.own_pairs = _own_pairs(pairs)
        self.task = task
        self.policy_settings: PolicySettings | None = None  # set by the command line, or in setup
        self._check()
        teaching, self.own_teacher = _apart(teacher, TeacherSettings, Generator, "data.teacher")
        judging, self.own_judge = _apart(judge, JudgeSettings, CorrectnessJudge, "data.judge")
        self.pair_settings = PairSettings(
            teacher=teaching,
            judge=judging,
            prompts=read_prompts("small" if prompts is None else prompts),
            markers=DEFAULT,
            **pair_settings,
        )
        self._check_pairs()

    def _check(self) -> None:
        check_value(
            bool(self.index or self.task) or self.corpus is not None or stand_alone(self.own_pairs),
            "data.corpus",
            self.corpus,
            "a folder, or the hub id of a data set",
        )
        for name in _COUNTS:
            check_value(getattr(self, name) >= 1, f"data.{name}", getattr(self, name), ">= 1")
        check_value(
            0 <= self.chunk_overlap < self.chunk_tokens,
            "data.chunk_overlap",
            self.chunk_overlap,
            f">= 0 and below chunk_tokens ({self.chunk_tokens})",
        )
        questions, replay = self.held_out_questions, self.replay
        check_value(questions >= 2, "data.held_out_questions", questions, ">= 2")
        check_value(
            self.max_prompt_length < self.max_length,
            "data.max_length",
            self.max_length,
            f"above max_prompt_length ({self.max_prompt_length})",
        )
        check_value(isfinite(replay) and replay >= 0, "data.replay", replay, ">= 0")

    def _check_pairs(self) -> None:
        settings, judge = self.pair_settings, self.own_judge
        most = settings.draws * settings.questions_per_topic
        check_value(
            most >= self.pairs_per_round,
            "data.pairs_per_round",
            self.pairs_per_round,
            f"at most topics x questions_per_topic ({most})",
        )
        check_value(judge is None or settings.needs_ruling, "data.judge", judge, JUDGES)
        if self.task is None:
            rule = "other than frontier without data.task"
            check_value(settings.ask_about != "frontier", "data.ask_about", "frontier", rule)
            share, rule = settings.untriggered_share, "below 1: some pairs must teach thinking"
            check_value(share < 1, "data.untriggered_share", share, rule)
        else:
            self._check_task()

    def _check_task(self) -> None:
        settings = self.pair_settings
        alone = {name: getattr(self, name) for name in ("corpus", "index", "own_pairs")}
        for name, value in alone.items():
            key = f"data.{name.removeprefix('own_')}"
            check_value(value is None, key, value, "left out with data.task, which stands for it")
        for name, usual in (
            ("reflection", False),
            ("grow", False),
            ("only_wrong", False),
            ("rejected", "policy"),
            ("min_grounding", 0.0),
            ("answers", "written"),
        ):
            value = getattr(settings, name)
            check_value(value == usual, f"data.{name}", value, f"{usual} with data.task")
        topics, ask = settings.topics, settings.ask_about
        check_value(isinstance(topics, int), "data.topics", topics, "a number with data.task")
        fits = ask in ("random", "frontier")
        check_value(fits, "data.ask_about", ask, "random or frontier with data.task")
        fits = settings.rejected_choice != "judged"
        rule = "random, closest or likeliest with data.task"
        check_value(fits, "data.rejected_choice", settings.rejected_choice, rule)


def _apart(given: Any, settings: type, protocol: type, key: str) -> tuple[Any, Any]:
    """(Settings, object) of a key that takes either; None where there is none."""
    if given is None or isinstance(given, settings):
        return given, None
    wanted = f"{settings.__name__}, or an object with the methods of {protocol.__name__}"
    check_value(isinstance(given, protocol), key, given, wanted)
    own = getattr(given, "settings", None)
    return (own if isinstance(own, settings) else None), given


def _own_pairs(given: Any) -> OwnPairs | None:
    """Pairs of the user's own, however they are given."""
    if given is None or isinstance(given, OwnPairs):
        return given
    return OwnPairs(str(given) if isinstance(given, Path) else given)
