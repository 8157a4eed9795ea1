"""What a round costs: calls and tokens, by model and stage."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

TEACHER, POLICY, JUDGE = "teacher", "policy", "judge"
ASSUMED = 0.5  # tokens of a text, as a share of max_new_tokens, where no journal has its stage


class Cost(NamedTuple):
    """Calls, and tokens: of prompts, of completions as expected, and of completions at most."""

    calls: float = 0
    prompt: float = 0
    completion: float = 0
    most: float = 0


@dataclass(frozen=True)
class RoundCost:
    """The cost of a round, or of the held-out pairs, by model and stage.

    Attributes:
        name: of its folder.
        wanted: pairs.
        pairs: at most ``wanted``; fewer where there are too few candidates.
        costs: by model and stage.
    """

    name: str
    wanted: int
    pairs: int
    costs: Mapping[tuple[str, str], Cost]


def total(rounds: Collection[RoundCost], model: str, stage: str | None = None) -> Cost:
    """The cost of a model in some rounds, in one stage or in all, in whole numbers."""
    found = [
        c for r in rounds for (m, s), c in r.costs.items() if m == model and stage in (s, None)
    ]
    return Cost(*(round(sum(counts)) for counts in zip(Cost(), *found, strict=True)))
