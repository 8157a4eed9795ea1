"""ORPO: odds-ratio preference optimisation (Hong et al., 2024, arXiv:2403.07691).

Reference-free. The loss is the NLL of the chosen response plus a penalty that grows as the rejected
response becomes the likelier (section 4, eq. 6; NLL: eq. 2):

    L       = NLL(chosen) - beta * log sigmoid(log_odds(chosen) - log_odds(rejected))   per pair
    odds(y) = p(y) / (1 - p(y)),   log p(y) = -NLL(y) = mean log-prob per supervised token

NLL is, per pair, the mean over the chosen response's supervised tokens, and the loss the mean over
pairs. TRL instead takes the NLL over prompt and response and over all tokens of the batch, so that
long responses weigh more there. A thinking mask acts on the NLL and on the odds alike.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from losses.base import LossOutput, PairLogps, PreferenceLoss, at_least_float32, require_number


def mean_logps(logps: Tensor, lens: Tensor) -> Tensor:
    """Mean log-prob per supervised token.

    Args:
        logps: [B] summed log-probs in nats.
        lens: [B] counts of supervised tokens. A count of 0 is a mistake that the collator refuses;
            here it gives mean 0 without gradient instead of a NaN that would spoil every weight.

    Returns:
        [B] means in nats, at least float32.
    """
    return at_least_float32(logps) / lens.clamp(min=1)


def log_odds(mean_logps: Tensor) -> Tensor:
    """Log odds of a response from its mean log-prob; finite even at p = 1.

    Args:
        mean_logps: [B] mean log-prob per supervised token, in nats, each <= 0.

    Returns:
        [B] log p - log(1 - p), at least float32; without gradient where p rounds to 1.
    """
    logp = at_least_float32(mean_logps)
    logp = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    return logp - torch.log(-torch.expm1(logp))  # expm1 keeps the digits that 1 - exp loses


@dataclass(frozen=True)
class ORPOLoss(PreferenceLoss):
    """Odds-ratio preference loss.

    Rewards are beta * mean log-prob. Metrics: ``nll`` of the chosen response and
    ``log_odds_ratio``, the log odds of chosen minus those of rejected.

    Attributes:
        beta: weight of the odds term (the paper's lambda), >= 0; 0 leaves plain SFT.

    Raises:
        ValueError: beta is no finite number or is negative.
    """

    beta: float = 0.1
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_number("beta", self.beta, "a number >= 0", lambda beta: beta >= 0)

    def __call__(self, policy: PairLogps, reference: PairLogps | None = None) -> LossOutput:
        """Loss of each pair; see ``PreferenceLoss``. The reference is ignored."""
        chosen = mean_logps(policy.chosen, policy.chosen_len)  # [B]
        rejected = mean_logps(policy.rejected, policy.rejected_len)  # [B]
        ratio = log_odds(chosen) - log_odds(rejected)
        return LossOutput(
            per_pair=-chosen - self.beta * logsigmoid(ratio),
            chosen_rewards=self.beta * chosen.detach(),
            rejected_rewards=self.beta * rejected.detach(),
            metrics={"nll": -chosen.detach(), "log_odds_ratio": ratio.detach()},
        )
