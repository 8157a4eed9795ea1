"""What the pairs of a run are made of: everything that a round's plan belongs to."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.settings import Sampling, check_value
from preflexor_pl.core.teacher_settings import (
    BACKGROUND,
    JudgeSettings,
    TeacherSettings,
    ThinkingSettings,
)
from preflexor_pl.pairs.prompt_files import BUILT_IN, TOPIC
from preflexor_pl.pairs.prompts import Prompts

AskAbout = Literal["random", "coverage", "uncertain", "frontier"]
Contexts = Literal["neighbours", "walk"]
RejectedChoice = Literal["random", "closest", "likeliest", "judged"]
RejectedFrom = Literal["policy", "teacher"]
Answers = Literal["written", "quoted"]
JUDGES = "null where neither data.only_wrong nor data.rejected_choice: judged asks it"
MODES = {
    "answers": Answers,
    "ask_about": AskAbout,
    "contexts": Contexts,
    "rejected": RejectedFrom,
    "rejected_choice": RejectedChoice,
}
COUNTS = "questions_per_topic", "chunks_per_context", "rejected_candidates"

Made = TypeVar("Made")


def null_is(make: Callable[[], Made]) -> Made:
    """A dataclass field whose None, null in a config, is replaced by what ``make`` gives."""
    made: Any = field(default=None, metadata={"null": make})
    return made


def _draws() -> Sampling:
    return Sampling(max_new_tokens=128, min_new_tokens=16, temperature=1.0)


@dataclass(frozen=True)
class PairSettings:
    """What the pairs are made of: ``data.*`` keys, which ``PreferenceDataModule`` passes on.

    A round's plan belongs to their ``repr``: a field that is renamed or moved makes older runs
    refuse to resume.

    Attributes:
        topics: a list of topics to ask about, or how many random draws from the graph a round may
            make.
        questions_per_topic: questions to each topic or draw.
        chunks_per_context: chunks that a question rests on.
        enrich_chunks: further chunks, found with the question, that thinking and answer rest on.
        rejected: who writes the rejected answer: the policy in training, or the teacher.
        rejected_trigger: whether the policy is asked with the trigger, and so has thinking of its
            own in it.
        rejected_sampling: how it is drawn.
        reflection: whether the chosen response criticises its thinking before it answers.
        system_prompt: the policy's system turn; null keeps the chat template's own.
        teacher: who asks, thinks and answers.
        thinking: the structure of the thinking section.
        ask_about: where draws begin: ``random`` chunks; ``coverage``, those that the fewest pairs
            rest on so far; ``uncertain``, those around the pairs that the policy tells apart worst.
            Of a task's items ``frontier``: mostly those of the lowest level that is not passed yet.
        contexts: the chunks of a question are a node of the graph and its nearest ``neighbours``,
            or lie on a short ``walk`` over the graph, which joins what lies apart.
        rejected_candidates: how many are drawn for each question; one is taken.
        rejected_choice: which: ``random``; the ``closest`` to the chosen answer (F1 of words); the
            ``likeliest`` under the policy; or ``judged``, the closest of those that are wrong.
        only_wrong: take a rejected answer only where it is judged wrong; it is drawn up to three
            times.
        judge: who judges whether an answer is right.
        prompts: what the teacher and the judge are asked.
        grow: whether one of the ``enrich_chunks`` may be an earlier round's question with its
            answer, so that later rounds build on earlier ones, and on their mistakes: off, as a
            small teacher makes many.
        untriggered_share: share of a round's pairs that are asked without the trigger and whose
            chosen response is the teacher's answer without thinking, so that the policy thinks only
            where it is asked to; 0 leaves every pair with its trigger. Held-out pairs all have it,
            unless no pair has it: 1 teaches to answer alone.
        min_grounding: share of a chosen answer's words and numbers that must stand in its chunks;
            below it the answer is drawn once more, then its question is dropped.
        answers: who says the chosen answer: ``written`` by the teacher; or ``quoted``, a sentence
            of the chunk that is drawn first, of which the teacher then asks the question, for
            teachers too weak to be trusted with an answer.
        markers: of the policy, to whose identity a plan belongs besides.
    """

    topics: int | list[str] = 64
    questions_per_topic: int = 1
    chunks_per_context: int = 1
    enrich_chunks: int = 1
    rejected: RejectedFrom = "policy"
    rejected_trigger: bool = False
    rejected_sampling: Sampling = null_is(_draws)  # noqa: RUF009
    reflection: bool = False
    system_prompt: str | None = None
    teacher: TeacherSettings = null_is(TeacherSettings)  # noqa: RUF009
    thinking: ThinkingSettings = null_is(ThinkingSettings)  # noqa: RUF009
    ask_about: AskAbout = "random"
    contexts: Contexts = "neighbours"
    rejected_candidates: int = 1
    rejected_choice: RejectedChoice = "random"
    only_wrong: bool = False
    judge: JudgeSettings | None = None
    prompts: Prompts = BUILT_IN  # their texts: a plan belongs to what is asked, not to a folder
    grow: bool = False
    untriggered_share: float = 0.0
    min_grounding: float = 0.0
    answers: Answers = field(default="written", repr=False)
    markers: MarkerStrings = field(default=DEFAULT, repr=False)

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) is None and "null" in each.metadata:
                object.__setattr__(self, each.name, each.metadata["null"]())
        self._check_counts()
        self._check_modes()
        self._check_rejected()

    def _check_counts(self) -> None:
        for name in COUNTS:
            check_value(getattr(self, name) >= 1, *self._told(name), ">= 1")
        check_value(self.draws >= 1, *self._told("topics"), ">= 1, or a list that is not empty")
        check_value(self.enrich_chunks >= 0, *self._told("enrich_chunks"), ">= 0")
        check_value(
            not self.grow or self.enrich_chunks > 0,
            *self._told("grow"),
            "false with enrich_chunks 0",
        )
        check_value(
            BACKGROUND not in self.thinking.categories or self.enrich_chunks > 0,
            *self._told("enrich_chunks"),
            f">= 1 where data.thinking.categories has {BACKGROUND}: its facts are those retrieved",
        )
        check_value(
            self.answers == "written" or self.teacher.candidates == 1,
            "data.teacher.candidates",
            self.teacher.candidates,
            "1 where data.answers is quoted: nothing is drawn",
        )
        check_value(0 <= self.min_grounding <= 1, *self._told("min_grounding"), "0 to 1")
        check_value(0 <= self.untriggered_share <= 1, *self._told("untriggered_share"), "0 to 1")

    def _check_modes(self) -> None:
        for name, modes in MODES.items():
            check_value(getattr(self, name) in get_args(modes), *self._told(name), _listed(modes))
        check_value(
            self.ask_about == "random" or isinstance(self.topics, int),
            *self._told("ask_about"),
            "random where data.topics is a list",
        )
        check_value(
            isinstance(self.topics, int) or TOPIC in self.prompts.question.places,
            *self._told("topics"),
            "a number where question.txt in data.prompts has no {{topic}}",
        )
        check_value(
            self.contexts == "neighbours" or self.chunks_per_context > 1,
            *self._told("contexts"),
            "neighbours where data.chunks_per_context is 1",
        )

    def _check_rejected(self) -> None:
        check_value(
            self.rejected_choice == "random" or self.rejected_candidates > 1,
            *self._told("rejected_choice"),
            "random where data.rejected_candidates is 1",
        )
        check_value(
            self.rejected_candidates == 1 or self.only_wrong or self.rejected_choice != "random",
            *self._told("rejected_candidates"),
            "1 where data.rejected_choice is random and data.only_wrong is not set: it takes the "
            "first",
        )
        check_value(self.judge is None or self.needs_ruling, *self._told("judge"), JUDGES)

    def _told(self, name: str) -> tuple[str, object]:
        return f"data.{name}", getattr(self, name)

    @property
    def draws(self) -> int:
        """How many topics there are, or draws from the graph."""
        return self.topics if isinstance(self.topics, int) else len(self.topics)

    @property
    def needs_ruling(self) -> bool:
        """Whether rejected answers are judged before one is taken."""
        return self.only_wrong or self.rejected_choice == "judged"


def _listed(modes: Any) -> str:
    return " or ".join(get_args(modes))
