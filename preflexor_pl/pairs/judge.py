"""Which of two answers is better, said by any Generator and asked in both orders.

A judge, above all a small one, prefers a place to a text: an answer wins only where it wins in
both places, and everything else is a tie. Replies are kept, so that a verdict can be read.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from preflexor_pl.core.generator import Completion, Generator, Request, by_batch, special_strings
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.pairs.prompt_files import CONCRETE, RUBBER
from preflexor_pl.pairs.prompts import NO_ANSWER

SYSTEM = "You are a strict examiner of materials science. You judge what an answer says."
SAMPLING = Sampling(max_new_tokens=48, temperature=0)

_CHOICE = re.compile(  # "A good answer says" is no choice, "A is wrong" not that of A
    r"[\W_]*(?:(?:better|best|answer|verdict|winner|it|is|the)[\W_]+){0,4}"
    r"(?:a\s+(?=tie))?(a|b|tie)"
    r"(?=[\W_]*$|['\u2019_]*(?:\s*[^\w\s'\u2019]|\s*\n|\s+(?:because|wins|as|since|is\s+(?:the\s+)?"
    r"(?:better|best|more|right|correct|stronger|clearer|winner))\b))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class AnswerPair:
    """Two answers to one question."""

    question: str
    first: str
    second: str


@dataclass(frozen=True)
class PairwiseVerdict:
    """What the judge said of a contest.

    Attributes:
        places: its choice in each order, as the place that it chose: ``A``, ``B``, ``tie``, or ""
            where its reply has no choice in it.
        replies: its replies, with its reasons.
        tokens: drawn.
    """

    places: tuple[str, str]
    replies: tuple[str, str]
    tokens: int

    @property
    def score(self) -> float:
        """Of the first answer: 1 where it wins in both orders, 0 where the other does, else 1/2."""
        return {("A", "B"): 1.0, ("B", "A"): 0.0}.get(self.places, 0.5)

    @property
    def is_readable(self) -> bool:
        """Whether both replies hold a choice."""
        return all(self.places)

    @property
    def agrees(self) -> bool:
        """Whether both orders name the same answer, or both name none."""
        return self.places in (("A", "B"), ("B", "A"), ("tie", "tie"))


class PairwiseJudge:
    """Compares answers.

    Args:
        generator: who judges.
        seed: of its draws, where ``sampling`` draws.
        sampling: of its replies.
    """

    def __init__(self, generator: Generator, seed: int = 0, sampling: Sampling = SAMPLING) -> None:
        self.generator = generator
        self.seed = seed
        self.sampling = sampling
        self.special_tokens = special_strings(generator)

    def compare(self, contests: Sequence[AnswerPair]) -> list[PairwiseVerdict]:
        """A verdict on each contest, in order; two calls each."""
        asked = [
            request
            for contest in contests
            for request in (
                self._request(contest.question, contest.first, contest.second),
                self._request(contest.question, contest.second, contest.first),
            )
        ]
        made: dict[int, Completion] = {}
        for done in by_batch(self.generator, asked):
            made |= done
        verdicts = []
        for i in range(0, len(asked), 2):
            pair = made[i], made[i + 1]
            replies = (
                escape_special_tokens(pair[0].text).strip(),
                escape_special_tokens(pair[1].text).strip(),
            )
            places = read_choice(replies[0]), read_choice(replies[1])
            verdicts.append(PairwiseVerdict(places, replies, pair[0].tokens + pair[1].tokens))
        return verdicts

    def _request(self, question: str, first: str, second: str) -> Request:
        good, other = (CONCRETE, RUBBER)
        examples = (
            (
                _contest(good.question, good.answer, good.wrong),
                "A, because the other answer contradicts what steel bars are for.",
            ),
            (
                _contest(other.question, other.wrong, other.answer),
                "B, because sulfur forms bridges and does not evaporate.",
            ),
        )
        seed = derive_seed(self.seed, question, first, second)
        texts = [
            escape_special_tokens(text, self.special_tokens) for text in (question, first, second)
        ]
        return Request(_contest(*texts), SYSTEM, self.sampling, seed, examples)


def read_choice(reply: str) -> str:
    """``A``, ``B`` or ``tie`` at the beginning of a reply; "" where none stands there."""
    found = _CHOICE.match(reply)
    if not found:
        return ""
    choice = found.group(1).lower()
    return choice if choice == "tie" else choice.upper()


def _contest(question: str, first: str, second: str) -> str:
    asked, *shown = [" ".join(text.split()) for text in (question, first, second)]
    a, b = [text or NO_ANSWER for text in shown]
    return (
        f"Question: {asked}\n\nAnswer A: {a}\n\nAnswer B: {b}\n\n"
        "Which answer is better? Begin with A, B or tie, then give the reason."
    )
