"""The contract of a preference loss: PairLogps in, LossOutput out.

Left out on purpose: logits, text, masks and configs. Log-probs are computed in ``losses/logps.py``.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)  # == on tensors has no truth value
class PairLogps:
    """Log-probs of B preference pairs under one model.

    Values are not checked, as that would wait for the device: the collator ensures that each
    response has a supervised token.

    Attributes:
        chosen: [B] log-prob of the chosen response, summed over its supervised tokens, in nats.
        rejected: [B] the same for the rejected response.
        chosen_len: [B] number of supervised tokens of the chosen response, >= 1.
        rejected_len: [B] the same for the rejected response.

    Raises:
        ValueError: a tensor is not [B], the four differ in B, or B is 0 (its mean would be NaN).
    """

    chosen: Tensor
    rejected: Tensor
    chosen_len: Tensor
    rejected_len: Tensor

    def __post_init__(self) -> None:
        shapes = {name: tuple(getattr(self, name).shape) for name in self.__dataclass_fields__}
        if len(set(shapes.values())) > 1 or self.chosen.dim() != 1 or len(self.chosen) == 0:
            raise ValueError(f"PairLogps needs four tensors of one shape [B] with B >= 1: {shapes}")


@dataclass(frozen=True, eq=False)
class LossOutput:
    """The result of a loss for B pairs.

    Attributes:
        per_pair: [B] loss of each pair, with its graph; no pair's loss depends on another pair.
        chosen_rewards: [B] implicit reward of the chosen response, detached.
        rejected_rewards: [B] the same for the rejected response.
        metrics: further [B] tensors to log, detached; names have no ``train/`` prefix.
    """

    per_pair: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """[] mean over pairs."""
        return self.per_pair.mean()


class PreferenceLoss(ABC):
    """An objective on preference pairs; hyper-parameters in the constructor, tensors in the call.

    Attributes:
        needs_reference: whether the call needs the reference model's log-probs.
    """

    needs_reference: ClassVar[bool]

    @abstractmethod
    def __call__(self, policy: PairLogps, reference: PairLogps | None = None) -> LossOutput:
        """Loss of each pair.

        Args:
            policy: [B] log-probs under the model in training.
            reference: [B] log-probs of the same responses under the reference model; ignored by a
                loss that needs none.

        Returns:
            The loss of each pair, its rewards and its metrics, all [B] and at least float32.

        Raises:
            ValueError: the reference is needed and missing, or has another B.
        """


def at_least_float32(values: Tensor) -> Tensor:
    """Same shape in float32, or float64 where that came in (gradcheck needs it)."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def implicit_rewards(
    policy: PairLogps, reference: PairLogps | None, beta: float
) -> tuple[Tensor, Tensor]:
    """DPO's implicit rewards: beta * (log-prob under the policy - log-prob under the reference).

    Source: Rafailov et al., 2023 (arXiv:2305.18290), eq. 5 without its constant.

    Args:
        policy: [B] log-probs under the model in training; the gradient goes here only.
        reference: [B] log-probs of the same responses under the reference model; detached.
        beta: inverse temperature.

    Returns:
        Rewards of the chosen and of the rejected responses, each [B], at least float32.

    Raises:
        ValueError: no reference, or one with another B (which would broadcast in silence).
    """
    if reference is None:
        raise ValueError("this loss needs a reference: call loss(policy, reference)")
    if policy.chosen.shape != reference.chosen.shape:
        raise ValueError(
            f"policy has {len(policy.chosen)} pairs and reference {len(reference.chosen)}: "
            "both must hold the same pairs"
        )

    def reward(ours: Tensor, theirs: Tensor) -> Tensor:
        return beta * (at_least_float32(ours) - at_least_float32(theirs.detach()))

    return reward(policy.chosen, reference.chosen), reward(policy.rejected, reference.rejected)


def require_number(name: str, value: float, rule: str, accept: Callable[[float], bool]) -> None:
    """Refuse a hyper-parameter that is not a finite number or breaks its rule.

    Args:
        name: of the parameter in the config.
        value: of the parameter; a bool is refused (YAML reads ``yes`` as one).
        rule: the rule in words, to follow "must be".
        accept: the rule itself.

    Raises:
        ValueError: names the parameter, its rule and its value.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and accept(value)):
        raise ValueError(f"{name} must be {rule}, got {value!r}")
