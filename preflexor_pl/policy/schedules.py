"""Learning-rate schedules: those of torch, and one that spans the whole run."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import check_value

MakeOptimizer = Callable[[Iterable[Any]], torch.optim.Optimizer]
MakeSchedule = Callable[[torch.optim.Optimizer], LRScheduler]


class WarmupCosine(LRScheduler):
    """Linear warm-up to the optimiser's rate, then half a cosine down, over the whole run.

    Step s of S (from 0) has the peak rate times ``(s + 1) / (W + 1)`` while s < W, then times
    ``floor + (1 - floor) (1 + cos(pi (s - W) / (S - W))) / 2``, where W = round(warmup S).

    Args:
        optimizer: has the peak rate.
        warmup: share of the run's steps in which the rate rises, in [0, 1).
        floor: share of the peak to which the rate falls, in [0, 1].

    Attributes:
        total_steps: S. ``PreferenceModule`` sets it when training starts, also when a resumed run
            has another length; the rate is constant without it.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, warmup: float = 0.1, floor: float = 0.0
    ) -> None:
        check_value(0 <= warmup < 1, "model.lr_scheduler.warmup", warmup, "in [0, 1)")
        check_value(0 <= floor <= 1, "model.lr_scheduler.floor", floor, "in [0, 1]")
        self.warmup = warmup
        self.floor = floor
        self.total_steps = 0
        super().__init__(optimizer)

    def spread_over(self, total_steps: int) -> None:
        """Set the length of the run, from the next step on."""
        self.total_steps = total_steps
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[Any]:
        """The rate of each parameter group in step ``last_epoch``."""
        return [base * self._share(self.last_epoch) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """The state without the length of the run: a resumed run sets its own."""
        state = super().state_dict()
        return {name: value for name, value in state.items() if name != "total_steps"}

    def _share(self, step: int) -> float:
        if not self.total_steps:
            return 1.0
        rising = round(self.warmup * self.total_steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        done = min(1.0, (step - rising) / max(1, self.total_steps - rising))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


def build(key: str, make: Callable[[Any], Any], of: Any) -> Any:
    """Build an optimiser or a schedule.

    Args:
        key: of the config, to name in an error.
        make: makes an optimiser of parameters, or a schedule of an optimiser.
        of: these parameters or this optimiser.

    Raises:
        ConfigError: it cannot be built, or does not work with one forward pass a step.
    """
    try:
        made = make(of)
    except (ValueError, TypeError, AssertionError, ZeroDivisionError) as error:
        raise ConfigError(f"{key}: {error}") from error
    name = type(made).__name__
    if isinstance(made, torch.optim.LBFGS | torch.optim.SparseAdam):
        raise ConfigError(f"{key}: {name} needs several forward passes a step, or sparse gradients")
    if isinstance(made, ReduceLROnPlateau):
        raise ConfigError(
            f"{key}: {name} needs a metric, and a schedule moves with every step: use "
            "preflexor_pl.policy.schedules.WarmupCosine, or another of torch.optim.lr_scheduler"
        )
    if not isinstance(made, torch.optim.Optimizer | LRScheduler):
        raise ConfigError(f"{key}: got a {name}, must be an optimiser or a schedule of torch")
    return made
