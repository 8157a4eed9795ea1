"""DPO: direct preference optimisation (Rafailov et al., 2023, arXiv:2305.18290, eq. 7).

A logistic loss on the margin h between the implicit rewards of chosen and rejected:

    h = beta * [(logp - ref)(chosen) - (logp - ref)(rejected)],   sums over supervised tokens
    L = -(1 - eps) log sigmoid(h) - eps log sigmoid(-h)           per pair

eps is the share of pairs assumed to be labelled the wrong way round (conservative DPO, Mitchell,
"A note on DPO with noisy preferences", 2023). At 0 the loss falls for ever as h grows; above 0 its
minimum is at h* = log((1 - eps) / eps). Before the first step h = 0 and L = log 2.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import logsigmoid

from losses.base import LossOutput, PairLogps, PreferenceLoss, implicit_rewards, require_number


@dataclass(frozen=True)
class DPOLoss(PreferenceLoss):
    """Direct preference loss. Rewards are beta * log-ratio; h is their margin.

    Attributes:
        beta: inverse temperature, > 0; larger holds the policy closer to the reference.
        label_smoothing: eps, assumed share of flipped pairs, in [0, 0.5).

    Raises:
        ValueError: a parameter is no finite number or outside its range.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_number("beta", self.beta, "a number > 0", lambda beta: beta > 0)
        require_number(
            "label_smoothing", self.label_smoothing, "in [0, 0.5)", lambda eps: 0 <= eps < 0.5
        )

    def __call__(self, policy: PairLogps, reference: PairLogps | None = None) -> LossOutput:
        """Loss of each pair; see ``PreferenceLoss``."""
        chosen, rejected = implicit_rewards(policy, reference, self.beta)  # [B] each
        h = chosen - rejected
        eps = self.label_smoothing
        return LossOutput(
            per_pair=-(1 - eps) * logsigmoid(h) - eps * logsigmoid(-h),
            chosen_rewards=chosen.detach(),
            rejected_rewards=rejected.detach(),
        )
