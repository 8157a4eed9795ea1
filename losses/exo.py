"""EXO: efficient exact optimisation on pairs (Ji et al., 2024, arXiv:2402.00856, eq. 16).

The reverse KL divergence from the policy's preference, sigmoid(h), to a smoothed label 1 - eps:

    h = beta * [(logp - ref)(chosen) - (logp - ref)(rejected)],   sums over supervised tokens
    L = sigmoid(h) [log sigmoid(h) - log(1 - eps)] + sigmoid(-h) [log sigmoid(-h) - log eps]

Its derivative is sigmoid(h) sigmoid(-h) (h - h*), h* = log((1 - eps) / eps): training stops at the
finite margin h*, where L = 0, and a pair that is very wrong (h << 0) pulls hardly at all. DPO is
the forward KL of the same two distributions, up to a constant.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import logsigmoid

from losses.base import LossOutput, PairLogps, PreferenceLoss, implicit_rewards, require_number


@dataclass(frozen=True)
class EXOLoss(PreferenceLoss):
    """Exact-optimisation loss. Rewards are beta * log-ratio; h is their margin.

    Attributes:
        beta: inverse temperature, > 0; larger holds the policy closer to the reference.
        label_smoothing: eps of the target distribution (1 - eps, eps), in (0, 0.5); 0 would make
            the divergence infinite.

    Raises:
        ValueError: a parameter is no finite number or outside its range.
    """

    beta: float = 0.1
    label_smoothing: float = 5e-3
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_number("beta", self.beta, "a number > 0", lambda beta: beta > 0)
        require_number(
            "label_smoothing", self.label_smoothing, "in (0, 0.5)", lambda eps: 0 < eps < 0.5
        )

    def __call__(self, policy: PairLogps, reference: PairLogps | None = None) -> LossOutput:
        """Loss of each pair; see ``PreferenceLoss``."""
        chosen, rejected = implicit_rewards(policy, reference, self.beta)  # [B] each
        h = chosen - rejected
        eps = self.label_smoothing
        # sigmoid underflows to 0 while logsigmoid stays linear: their product is finite at any h.
        prefers_chosen = torch.sigmoid(h) * (logsigmoid(h) - math.log1p(-eps))
        prefers_rejected = torch.sigmoid(-h) * (logsigmoid(-h) - math.log(eps))
        return LossOutput(
            per_pair=prefers_chosen + prefers_rejected,
            chosen_rewards=chosen.detach(),
            rejected_rewards=rejected.detach(),
        )
