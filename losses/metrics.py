"""The metrics of a training step and of an evaluation, one value per pair."""

from collections.abc import Sequence

import torch
from torch import Tensor

from losses import LossOutput, PairLogps


def per_pair(outputs: Sequence[tuple[PairLogps, LossOutput]]) -> dict[str, Tensor]:
    """Loss, rewards and log-probs, one value a pair.

    Args:
        outputs: log-probs and loss of each micro-batch.

    Returns:
        Name without ``train/`` or ``val/`` -> [B] values of all pairs, detached.
    """

    def cat(values: list[Tensor]) -> Tensor:
        return torch.cat([value.detach() for value in values])

    losses = [loss for _, loss in outputs]
    chosen = cat([loss.chosen_rewards for loss in losses])
    rejected = cat([loss.rejected_rewards for loss in losses])
    return {
        "loss": cat([loss.per_pair for loss in losses]),
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).float(),
        "logps/chosen": cat([logps.chosen for logps, _ in outputs]),
        "logps/rejected": cat([logps.rejected for logps, _ in outputs]),
        **{name: cat([loss.metrics[name] for loss in losses]) for name in losses[0].metrics},
    }
