"""Whether an answer is right, given the facts and a reference answer.

A judge is asked; where none is configured, shared words serve. That check is cheap and
deterministic, and knows nothing of what an answer means: it takes one for right that says mostly
the words of the reference.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, runtime_checkable

from preflexor_pl.core.generator import Generator, Request
from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.responses import answer_of
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.core.teacher_settings import JudgeSettings
from preflexor_pl.pairs.call_key import JUDGING, CallKey
from preflexor_pl.pairs.journaled_client import JournaledClient
from preflexor_pl.pairs.prompt_files import BUILT_IN
from preflexor_pl.pairs.prompts import Prompts
from preflexor_pl.pairs.reply_checks import copies_example
from preflexor_pl.pairs.reply_parsing import CorrectnessVerdict, read_verdict

RIGHT_F1 = 0.6  # of words shared with the reference answer, from which on an answer counts as right


@dataclass(frozen=True)
class Case:
    """An answer to be examined.

    Attributes:
        facts: that the question rests on, as texts that are inert.
        question: without its trigger.
        reference: the teacher's answer.
        response: whole, as the policy wrote it; only its answer is examined.
        markers: of the response.
    """

    facts: tuple[str, ...]
    question: str
    reference: str
    response: str
    markers: MarkerStrings = DEFAULT

    @cached_property
    def answer(self) -> str:
        """The answer in the response; "" where it ends before there is one."""
        return answer_of(self.response, self.markers)


@runtime_checkable
class CorrectnessJudge(Protocol):
    """Decides whether answers are right."""

    @property
    def name(self) -> str:
        """What the records call it."""

    def rule(self, cases: dict[str, Case], asker: JournaledClient) -> dict[str, CorrectnessVerdict]:
        """A ruling on each case.

        Args:
            cases: by a name that tells them apart in the round's journal.
            asker: the client of the round.
        """


class WordOverlapJudge:
    """Takes an answer for right that shares most of its words with the reference answer."""

    name = f"shared words (F1 from {RIGHT_F1} on is right): no judge is configured"

    def rule(self, cases: dict[str, Case], asker: JournaledClient) -> dict[str, CorrectnessVerdict]:
        """``right`` or ``wrong``; it asks nobody."""
        scores = {name: token_f1(case.answer, case.reference) for name, case in cases.items()}
        return {name: "right" if f1 >= RIGHT_F1 else "wrong" for name, f1 in scores.items()}


class LLMCorrectnessJudge:
    """Asks a generator, whose replies are recorded with the round's.

    Args:
        settings: role and sampling.
        generator: who is asked.
        special_tokens: strings that must stay inert in what is shown to it.
        prompts: of which the ruling's is its.
    """

    def __init__(
        self,
        settings: JudgeSettings,
        generator: Generator,
        special_tokens: Collection[str] = (),
        prompts: Prompts = BUILT_IN,
    ) -> None:
        self.settings = settings
        self.generator = generator
        self.special_tokens = special_tokens
        self.prompts = prompts

    @property
    def name(self) -> str:
        """The generator's."""
        return self.generator.name

    def rule(self, cases: dict[str, Case], asker: JournaledClient) -> dict[str, CorrectnessVerdict]:
        """What each reply begins with, "" where that is no ruling, or one of a worked example.

        No answer is a wrong one.
        """
        asked = {name: case for name, case in cases.items() if case.answer}
        keys = {name: str(CallKey(JUDGING, name)) for name in asked}
        requests = {keys[name]: self._request(name, case) for name, case in asked.items()}
        made = asker.complete(JUDGING, requests, self.generator)
        replies = {name: made[keys[name]].text for name in asked}
        rulings: dict[str, CorrectnessVerdict] = {
            name: "" if copies_example(text, requests[keys[name]]) else read_verdict(text)
            for name, text in replies.items()
        }
        return {name: rulings.get(name, "wrong") for name in cases}

    def _request(self, name: str, case: Case) -> Request:
        answer = escape_special_tokens(case.answer, self.special_tokens)
        asked = self.prompts.ask_ruling(case.facts, case.question, case.reference, answer)
        asked = asked.inert(self.special_tokens)
        sampling, system = self.settings.sampling, self.settings.system_prompt
        seed = derive_seed(name, case.answer)
        return Request(asked.text, system, sampling, seed, asked.examples, asked.stop)


@lru_cache(maxsize=1024)  # a candidate is ruled on, then ranked, by the same number
def token_f1(answer: str, reference: str) -> float:
    """F1 of the words of two texts, as SQuAD normalises them; 0 where there is no answer."""
    from torchmetrics.functional.text import squad

    if not answer.strip():
        return 0.0
    target: dict[str, Any] = {"answers": {"answer_start": [0], "text": [reference]}, "id": "0"}
    return float(squad([{"prediction_text": answer, "id": "0"}], [target])["f1"]) / 100
