"""What the pairs of a run are made of: everything that a round's plan belongs to."""

from dataclasses import dataclass
from typing import Literal

from preflexor_pl.core.settings import JudgeSettings, Sampling, TeacherSettings, ThinkingSettings

AskAbout = Literal["random", "coverage", "uncertain"]
Contexts = Literal["neighbours", "walk"]
RejectedChoice = Literal["random", "closest", "likeliest", "judged"]


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
    ask_about: AskAbout = "random"
    contexts: Contexts = "neighbours"
    rejected_candidates: int = 1
    rejected_choice: RejectedChoice = "random"
    only_wrong: bool = False
    judge: JudgeSettings | None = None

    @property
    def needs_ruling(self) -> bool:
        """Whether rejected answers are examined before one is taken."""
        return self.only_wrong or self.rejected_choice == "judged"
