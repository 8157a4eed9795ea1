"""Which round an epoch belongs to, which epochs will come, and how many steps a run has."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Position:
    """Where a run is, and where it ends.

    Attributes:
        epoch: the current one, from 0.
        step: optimiser steps made so far.
        max_epochs: epochs of the run; None or a negative number: no limit.
        max_steps: optimiser steps of the run; negative: no limit.
    """

    epoch: int
    step: int
    max_epochs: int | None
    max_steps: int

    def reaches(self, epoch: int, steps_per_epoch: int = 0) -> bool:
        """Whether the run will begin ``epoch``, as far as is known.

        Args:
            epoch: a later one.
            steps_per_epoch: steps that each epoch before it still makes; 0 where the current epoch
                has ended and ``epoch`` follows it.
        """
        step = self.step + (epoch - self.epoch) * steps_per_epoch
        has_epochs = self.max_epochs is None or self.max_epochs < 0 or epoch < self.max_epochs
        return has_epochs and not 0 <= self.max_steps <= step


def round_of(epoch: int, epochs_per_round: int) -> int:
    """The round that an epoch trains on."""
    return epoch // epochs_per_round


def begins_round(epoch: int, epochs_per_round: int) -> bool:
    """Whether an epoch is the first of its round."""
    return epoch % epochs_per_round == 0


def planned_steps(pairs: Iterable[int], pairs_per_step: int, max_steps: int) -> int:
    """Optimiser steps of a run whose end is known, by its epochs or by ``max_steps``.

    Args:
        pairs: of each epoch; empty where the number of epochs has no limit.
        pairs_per_step: pairs of one step; the last step of an epoch may have fewer.
        max_steps: of the run; negative: no limit.
    """
    steps = sum(ceil(count / pairs_per_step) for count in pairs)
    return min((limit for limit in (steps, max_steps) if limit > 0), default=0)
