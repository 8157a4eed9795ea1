"""The pairs of ids that the training benchmarks step over: seeded lengths, random ids.

Lengths are lognormal around the workload's three medians. They are taken at even quantiles, so that
a few pairs have these medians too. Ids are uniform: the cost of a step does not depend on them.
"""

import json
import math
import random
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import NormalDist

SIGMA = 0.5  # of the logarithm of a length

BASES = {
    "W1": (96, 700, 450),  # like rounds: question; thinking and answer; answer
    "W2": (768, 256, 192),  # with retrieved context in the prompt
    "W3": (128, 256, 256),  # like chat
}
EXACT = {"W2/2": (384, 128, 112)}  # the lengths that the project's target is set for

Pair = dict[str, list[int]]  # prompt_ids, chosen_ids, rejected_ids: TRL's names of its columns


@dataclass(frozen=True)
class Workload:
    """Lengths of pairs.

    Attributes:
        name: ``NAME``, ``NAME/DIVISOR`` or ``PROMPT+CHOSEN+REJECTED``, the last with equal lengths.
        medians: tokens of the prompt, the chosen and the rejected response.
        sigma: standard deviation of the logarithm of a length; 0 makes all pairs alike.
    """

    name: str
    medians: tuple[int, int, int]
    sigma: float = SIGMA

    @classmethod
    def named(cls, name: str) -> "Workload":
        """A workload by its name.

        Raises:
            ValueError: no workload has this name.
        """
        if name in EXACT:
            return cls(name, EXACT[name])
        base, _, divisor = name.partition("/")
        if base in BASES and (not divisor or (divisor.isdecimal() and int(divisor) > 0)):
            prompt, chosen, rejected = (max(1, n // int(divisor or 1)) for n in BASES[base])
            return cls(name, (prompt, chosen, rejected))
        parts = name.split("+")
        if len(parts) == 3 and all(part.isdecimal() and int(part) > 0 for part in parts):
            prompt, chosen, rejected = map(int, parts)
            return cls(name, (prompt, chosen, rejected), sigma=0.0)
        names = ", ".join(BASES)
        raise ValueError(f"workload {name!r}: must be one of {names}, like W1/4, or 384+128+112")

    def lengths(self, pairs: int) -> list[tuple[int, int, int]]:
        """Tokens of prompt, chosen and rejected of each pair; fixed by the number of pairs.

        Each of the three columns has one value for each of ``pairs`` even quantiles, in a random
        order. A smaller number of pairs has other lengths, not the first of these.
        """
        rng = random.Random(self.name)
        logs = [self.sigma * NormalDist().inv_cdf((i + 0.5) / pairs) for i in range(pairs)]
        columns = []
        for median in self.medians:
            rng.shuffle(logs)
            columns.append([max(1, round(median * math.exp(log))) for log in logs])
        prompts, chosen, rejected = columns
        return list(zip(prompts, chosen, rejected, strict=True))

    def draw(self, steps: int, pairs_per_step: int, vocabulary: int) -> list[Pair]:
        """Pairs in the order of the steps, the longest of each step first.

        A peer that makes micro-batches of neighbours pads least in this order. The pairs of a step,
        and so its gradient, do not depend on it.
        """
        rng = random.Random(f"{self.name} ids")
        drawn: list[Pair] = []
        lengths = self.lengths(steps * pairs_per_step)
        for start in range(0, len(lengths), pairs_per_step):
            step = sorted(lengths[start : start + pairs_per_step], key=longest, reverse=True)
            drawn += [
                {
                    f"{part}_ids": [rng.randrange(vocabulary) for _ in range(length)]
                    for part, length in zip(("prompt", "chosen", "rejected"), pair, strict=True)
                }
                for pair in step
            ]
        return drawn


def warmed(pairs: list[Pair], before: int) -> list[Pair]:
    """The pairs with ``before`` of them repeated in front, for the warm-up."""
    return [*islice(cycle(pairs), before), *pairs]


def longest(lengths: tuple[int, int, int]) -> int:
    """Tokens of a pair's longer side, prompt included."""
    prompt, chosen, rejected = lengths
    return prompt + max(chosen, rejected)


def useful_tokens(pairs: list[Pair]) -> int:
    """Tokens that every layout needs: each prompt once, and both responses."""
    return sum(len(ids) for pair in pairs for ids in pair.values())


def write(path: Path, pairs: list[Pair]) -> None:
    """Write one pair per line."""
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")


def read(path: str) -> list[Pair]:
    """Read the pairs that ``write`` wrote."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
