"""A round rehearsed: its own stages with its real prompts, and nobody is asked.

The journal of a rehearsal recalls a text for whatever is asked: of the length, and as often of no
use, as its stage's habit says. So what is counted is what the round itself would ask for.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.generator import Completion, Request, Watch
from preflexor_pl.estimation.recorded import ANSWER, JUDGING, StageStatistics, read_call
from preflexor_pl.pairs.correctness import Case, Verdict
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.journaled_client import JournaledClient
from preflexor_pl.pairs.maker import Order, PairMaker
from preflexor_pl.pairs.pair import PreferencePair
from preflexor_pl.pairs.question_reply import read_question
from preflexor_pl.pairs.questions import QuestionDeduplicator
from preflexor_pl.pairs.reply_parsing import MIN_WORDS
from preflexor_pl.pairs.stages import Stages

ASSUMED_LENGTH = 0.5  # of its limit, a text whose stage has no habit; it is of use then
_LONG_WORD = re.compile(r"[^\W\d_]{6,}")  # none of those that point to a source


@dataclass(frozen=True)
class Cost:
    """What calls cost.

    Attributes:
        calls: how many.
        prompt: tokens of the prompts.
        completion: tokens of the texts, as expected.
        most: tokens of the texts where each is as long as it may be.
    """

    calls: int = 0
    prompt: int = 0
    completion: float = 0
    most: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.calls + other.calls,
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.most + other.most,
        )

    def __mul__(self, times: int) -> "Cost":
        return Cost(
            self.calls * times, self.prompt * times, self.completion * times, self.most * times
        )


@dataclass(frozen=True)
class Unasked:
    """Stands for whoever would be asked."""

    name: str

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """One batch."""
        return [list(range(len(requests)))] if requests else []

    def complete(self, requests: Sequence[Request], watch: Watch | None = None) -> list[Completion]:
        """Nothing is asked in a rehearsal."""
        raise RuntimeError("a rehearsal asks nobody")


class DryRun(Journal):
    """The journal of a round that is only rehearsed; nothing of it is on disk.

    Args:
        folder: where the round would be, to name it in an error.
        habits: by stage; a text of any other has an assumed length and is of use.
        tokenizer: of the policy.

    Attributes:
        costs: by (source, stage).
    """

    def __init__(self, folder: Path, habits: Mapping[str, StageStatistics], tokenizer: Any) -> None:
        self.folder = folder
        self.habits = habits
        self.tokenizer = tokenizer
        self.costs: defaultdict[tuple[str, str], Cost] = defaultdict(Cost)
        self._owed: defaultdict[tuple[str, int], float] = defaultdict(float)
        self._failed: dict[tuple[str, str, int], bool] = {}

    @property
    def is_complete(self) -> bool:
        """Never."""
        return False

    def plan(self, fingerprint: str, make: Any) -> list[dict[str, Any]]:
        """A new plan."""
        return make()

    def recall(self, call: str, request: Request, source: str) -> Completion:
        """A text as it may well come out, and counted as asked for."""
        stage, item, attempt = read_call(call)
        sampling = request.sampling
        habit = self.habits.get(stage) or StageStatistics(0.0)
        tokens = habit.tokens or ASSUMED_LENGTH * sampling.max_new_tokens
        tokens = min(tokens, sampling.max_new_tokens)
        ids = chat_ids(self.tokenizer, request.prompt, request.system, request.examples)
        self.costs[source, stage] += Cost(1, len(ids), tokens, sampling.max_new_tokens)
        if stage == JUDGING:
            return Completion(f"{self.ruling()}.", "stop", round(tokens))
        drawn = stage, item, attempt  # of candidates for one answer all fail, or none counts
        if drawn not in self._failed or stage != ANSWER:
            self._failed[drawn] = self._fails(stage, attempt, habit.fails_at(attempt))
        if self._failed[drawn]:
            return Completion("", "stop", 0)
        return Completion(self._text(stage, request, round(tokens)), "stop", round(tokens))

    def ruling(self) -> Verdict:
        """What is said of a rejected answer: wrong, as often as habit has it."""
        habit = self.habits.get(JUDGING) or StageStatistics(0.0)
        return "right" if self._fails(JUDGING, 0, habit.fails_at(0)) else "wrong"

    def _fails(self, stage: str, attempt: int, share: float) -> bool:
        """Whether this text is of no use, so that ``share`` of them are, evenly spread."""
        owed = self._owed[stage, attempt] + share
        failed = owed >= 0.5
        self._owed[stage, attempt] = owed - failed
        return failed

    def _text(self, stage: str, request: Request, tokens: int) -> str:
        if stage != "question":
            # Words of its own, so that no stage only says again what another has said.
            words = [stage[0] + letter for letter in ascii_lowercase]
            text = self._cut(" ".join(words * (1 + tokens // len(words))), tokens)
            text = text if len(text.split()) > MIN_WORDS else " ".join(words[: MIN_WORDS + 1])
            return f"{text}."  # else one that ends in "an" would be unfinished
        number = sum(cost.calls for cost in self.costs.values())  # asked once, as every question
        about = self._cut(" ".join(_LONG_WORD.findall(request.prompt)), max(1, tokens - 6))
        question = f"How does {about} {number}?"  # of the chunk's words: it finds others like it
        return f"How does it go on after {number}?" if read_question(question)[1] else question

    def _cut(self, text: str, tokens: int) -> str:
        return self.tokenizer.decode(encode(self.tokenizer, text)[:tokens])

    def keep_drops(self, drops: Sequence[dict[str, str]]) -> None:
        """Nothing is kept."""

    def finish(
        self,
        pairs: Sequence[PreferencePair],
        drops: Sequence[dict[str, str]],
        facts: dict[str, Any],
    ) -> None:
        """Nothing is kept."""


class DryRunPairMaker(PairMaker):
    """Makes rounds in the journals of rehearsals."""

    def stages(self, journal: Journal, order: Order, title: str) -> Stages:
        """As in a round, but questions are known again by their words alone.

        To an embedder the stand-ins for questions about one chunk would mean the same, and those
        for answers stand in no chunk.
        """
        stages = super().stages(journal, order, title)
        stages.min_grounding = 0.0
        stages.asked = QuestionDeduplicator(order.past().questions, None)
        return stages


class DryRunJudge:
    """Decides as the journal of a rehearsal has it, where the round itself asks nobody.

    Args:
        journal: of the rehearsal.
    """

    name = "a rehearsal"

    def __init__(self, journal: DryRun) -> None:
        self.journal = journal

    def rule(self, cases: dict[str, Case], asker: JournaledClient) -> dict[str, Verdict]:
        """A ruling on each."""
        return {name: self.journal.ruling() for name in cases}
