"""Whether a difference between two measurements of the same questions is more than chance.

The questions are paired: each is measured before and after, or on two models. Questions on one
document are not independent, so the interval resamples whole documents (a cluster bootstrap, Field
and Welsh 2007), and the p-value of a mean flips the signs of whole documents (a randomisation test,
Fisher 1935). The p-value of a share is McNemar's exact one (1947), over questions.

With few documents such an interval is too narrow: of C documents chance alone moves all to one side
once in 2^(C - 1) times. No p-value of a mean is smaller than that, so fewer than six documents
support no finding about a mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000  # of the bootstrap
LEVEL = 0.05
EXACT_DOCUMENTS = 13


@dataclass(frozen=True)
class Difference:
    """A paired difference, second less first.

    Attributes:
        first: mean over the questions; nan without any.
        second: likewise.
        low: of the difference's 95 % interval; nan where there are not two documents.
        high: likewise.
        n: questions measured on both sides.
        documents: that they are about.
        p: two-sided, of no difference.
        is_share: whether every value is 0 or 1.
    """

    first: float
    second: float
    low: float
    high: float
    n: int
    documents: int
    p: float
    is_share: bool

    @property
    def value(self) -> float:
        """Second less first."""
        return self.second - self.first

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the interval excludes 0 and the p-value is below 0.05."""
        return (self.low > 0 or self.high < 0) and self.p < LEVEL


def paired_difference(
    first: Sequence[float], second: Sequence[float], documents: Sequence[str], seed: int = 0
) -> Difference:
    """The mean difference with its interval and p-value.

    Args:
        first: [N] a value for each question; a share's are 0 and 1. Those that are not finite on
            either side are left out.
        second: [N] of the same questions.
        documents: [N] the document that each question is about; "" for a question about none, which
            then stands for itself.
        seed: of the draws.

    Raises:
        ValueError: the three differ in length.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not len(a) == len(b) == len(documents):
        raise ValueError(f"got {len(a)}, {len(b)} values and {len(documents)} documents")
    kept = np.isfinite(a) & np.isfinite(b)
    names = [name or f"\0{i}" for i, name in enumerate(documents) if kept[i]]
    a, b = a[kept], b[kept]
    if not len(a):
        return Difference(math.nan, math.nan, math.nan, math.nan, 0, 0, math.nan, False)
    _, place = np.unique(names, return_inverse=True)
    sums, counts = np.bincount(place, b - a), np.bincount(place)
    means, count = _bootstrap(sums, counts, seed), len(sums)
    low, high = np.quantile(means, [0.025, 0.975]) if count > 1 else (math.nan, math.nan)
    is_share = bool(np.isin([a, b], (0, 1)).all())
    if is_share:
        p = mcnemar(lost=int((a > b).sum()), won=int((a < b).sum()))
    else:
        p = sign_flip(sums, seed)
    sides = float(a.mean()), float(b.mean())
    return Difference(*sides, float(low), float(high), len(a), count, p, is_share)


def _bootstrap(sums: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """[DRAWS] means over the questions of as many documents as there are, drawn with replacement.

    Args:
        sums: [C] sum of the differences of each document.
        counts: [C] questions of each.
        seed: of the draws.
    """
    drawn = np.random.default_rng(seed).integers(0, len(sums), (DRAWS, len(sums)))
    return np.asarray(sums[drawn].sum(1) / counts[drawn].sum(1))


def sign_flip(sums: np.ndarray, seed: int = 0) -> float:
    """The two-sided p-value of no difference: a document's sum is as likely to have either sign.

    Exact, over all 2^C signs, up to 13 documents; above that over random ones and the observed one.

    Args:
        sums: [C] sum of the differences of each document.
        seed: of the random signs.
    """
    count, observed = len(sums), abs(float(sums.sum()))
    if count <= EXACT_DOCUMENTS:
        signs = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    else:
        signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (DRAWS, count))
        signs[0] = 1
    flipped = np.abs(signs @ sums)
    return float((flipped >= observed * (1 - 1e-9)).mean())


def mcnemar(lost: int, won: int) -> float:
    """The exact two-sided p-value of McNemar's test: a fair coin for each question that changed.

    Args:
        lost: questions that were right first and are not second.
        won: the other way round.
    """
    n, less = lost + won, min(lost, won)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(less + 1)) / 2**n)
