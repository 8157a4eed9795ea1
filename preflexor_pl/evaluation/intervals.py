"""Numbers with their 95 % interval: Wilson's for rates, a bootstrap over questions for means."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from preflexor_pl.evaluation.text_metrics import wilson_interval

DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval over ``n`` questions; nan without any.

    ``values`` has one value a question, None where there is none, for paired differences; empty
    where they are not kept.
    """

    value: float
    low: float
    high: float
    n: int
    values: tuple[float | None, ...] = field(default=(), compare=False)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Estimate":
        """An estimate from what ``asdict`` gave."""
        return cls(**{**record, "values": tuple(record.get("values", ()))})

    def shown(self, percent: bool = False, digits: int = 2) -> str:
        """As text: ``0.41 [0.32, 0.50]``, or in per cent; a dash where nothing was measured.

        An interval of width 0 is left out.
        """
        if not self.n or not math.isfinite(self.value):
            return "-"
        scale, digits = (100, 0) if percent else (1, digits)
        value, low, high = (
            f"{scale * number:.{digits}f}" for number in (self.value, self.low, self.high)
        )
        unit = " %" if percent else ""
        return f"{value}{unit} [{low}, {high}]" if self.low < self.high else f"{value}{unit}"


def rate(hits: Sequence[bool]) -> Estimate:
    """The share of hits, with Wilson's interval."""
    n = len(hits)
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    values = tuple(map(float, hits))
    return Estimate(sum(hits) / n, *wilson_interval(sum(hits), n), n, values)


def mean(values: Sequence[float], seed: int) -> Estimate:
    """The mean, with the percentile interval of a bootstrap (Efron, 1979).

    Args:
        values: one a question; those that are not finite are left out.
        seed: of the draws.
    """
    every = tuple(float(value) if math.isfinite(value) else None for value in values)
    kept = np.array([value for value in every if value is not None], dtype=np.float64)
    if not len(kept):
        return Estimate(math.nan, math.nan, math.nan, 0)
    draws = np.random.default_rng(seed).integers(0, len(kept), (DRAWS, len(kept)))
    low, high = np.quantile(kept[draws].mean(1), [0.025, 0.975])
    return Estimate(float(kept.mean()), float(low), float(high), len(kept), every)
