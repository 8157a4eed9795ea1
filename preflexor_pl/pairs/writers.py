"""Who writes the texts of a round, and how they are measured: carriers of what a round needs."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from preflexor_pl.core.generator import Generator
from preflexor_pl.pairs.correctness import CorrectnessJudge
from preflexor_pl.pairs.pair import PreferencePair

Likelihood = Callable[[Sequence[PreferencePair]], list[float]]  # mean log-probs of the rejected


@dataclass(frozen=True)
class Writers:
    """Who writes the texts of a round, and who judges them.

    Attributes:
        teacher: writes questions, thinking and answers.
        policy: the model in training; writes the rejected answers.
        judge: decides whether a rejected answer is right, where that is asked.
        special_tokens: strings that must stay inert in whatever the teacher writes.
    """

    teacher: Generator
    policy: Generator
    judge: CorrectnessJudge
    special_tokens: Collection[str] = ()


@dataclass(frozen=True)
class Measures:
    """What is measured of texts and pairs, by the policy and its tokenizer.

    Attributes:
        count_tokens: tokens of a text.
        problem: why a pair cannot be trained on, as a slug; "" where it can.
        likelihood: mean log-probs of rejected answers under the policy, in nats a token.
    """

    count_tokens: Callable[[str], int]
    problem: Callable[[PreferencePair], str]
    likelihood: Likelihood
