"""What the pairs of a run are made of: everything that a round's plan belongs to."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

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

AskAbout = Literal["random", "coverage", "uncertain"]
Contexts = Literal["neighbours", "walk"]
RejectedChoice = Literal["random", "closest", "likeliest", "judged"]
RejectedFrom = Literal["policy", "teacher"]
JUDGES = "null where neither data.only_wrong nor data.rejected_choice: judged asks it"
MODES = {
    "ask_about": AskAbout,
    "contexts": Contexts,
    "rejected": RejectedFrom,
    "rejected_choice": RejectedChoice,
}


@dataclass(frozen=True)
class PairSettings:
    """What the pairs are made of; see ``PreferenceDataModule`` for each field.

    ``markers`` are those of the policy, to whose identity a plan belongs besides.
    """

    topics: int | list[str]
    questions_per_topic: int
    chunks_per_context: int
    enrich_chunks: int
    rejected: RejectedFrom
    rejected_trigger: bool
    rejected_sampling: Sampling
    reflection: bool
    system_prompt: str | None
    teacher: TeacherSettings
    thinking: ThinkingSettings
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
    markers: MarkerStrings = field(default=DEFAULT, repr=False)

    def __post_init__(self) -> None:
        for name, modes in MODES.items():
            check_value(getattr(self, name) in get_args(modes), *self._told(name), _listed(modes))
        check_value(0 <= self.min_grounding <= 1, *self._told("min_grounding"), "0 to 1")
        check_value(
            BACKGROUND not in self.thinking.categories or self.enrich_chunks > 0,
            "data.enrich_chunks",
            self.enrich_chunks,
            f">= 1 where data.thinking.categories has {BACKGROUND}: its facts are those retrieved",
        )
        check_value(self.rejected_candidates >= 1, *self._told("rejected_candidates"), ">= 1")
        check_value(
            0 <= self.untriggered_share < 1,
            *self._told("untriggered_share"),
            "0 or more and below 1: some pairs must teach thinking",
        )
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
        check_value(
            self.judge is None or self.needs_ruling,
            *self._told("judge"),
            JUDGES,
        )

    def _told(self, name: str) -> tuple[str, object]:
        return f"data.{name}", getattr(self, name)

    @property
    def needs_ruling(self) -> bool:
        """Whether rejected answers are examined before one is taken."""
        return self.only_wrong or self.rejected_choice == "judged"


def _listed(modes: Any) -> str:
    return " or ".join(get_args(modes))
