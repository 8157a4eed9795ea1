"""Logits -> log-prob per token -> PairLogps; owns the shift by one and IGNORE_INDEX.

``pair_logps`` does all of it. A policy that computes logits for the supervised positions only can
use its three steps: ``shift_labels``, ``token_logps`` on any [N, V] slice, ``sum_pairs``.
"""

import torch
from torch import Tensor

from losses.base import PairLogps, at_least_float32

IGNORE_INDEX = -100
"""Label of a position that is no target; torch's own default."""


def shift_labels(labels: Tensor) -> Tensor:
    """Targets of each position: the logit at t predicts the label at t + 1.

    Shifting the labels avoids a copy of the logits, which flattening ``logits[:, :-1]`` would need.

    Args:
        labels: [..., T] token ids, IGNORE_INDEX where unsupervised.

    Returns:
        [..., T] targets; the last one is IGNORE_INDEX. The label at 0 has no logit and is dropped.
    """
    last = torch.full_like(labels[..., :1], IGNORE_INDEX)
    return torch.cat([labels[..., 1:], last], dim=-1)


def token_logps(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-prob of each row's label; no shift.

    Gathered logit minus logsumexp: the [N, V] log-softmax is never stored.

    Args:
        logits: [N, V] unnormalised scores; bf16 and float16 are computed in float32.
        labels: [N] int64 token ids below V, or IGNORE_INDEX.

    Returns:
        [N] log-probs in nats, each <= 0, float32 (float64 for float64 logits); exactly 0, and
        without gradient, where the label is IGNORE_INDEX.

    Raises:
        ValueError: the shapes are not [N, V] and [N].
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"token_logps needs logits [N, V] and labels [N], got {tuple(logits.shape)} "
            f"and {tuple(labels.shape)}"
        )
    logits = at_least_float32(logits)
    ignored = labels == IGNORE_INDEX
    # Only IGNORE_INDEX is replaced: any other negative label must fail in gather, not become id 0.
    index = labels.masked_fill(ignored, 0)
    logps = logits.gather(1, index[:, None]).squeeze(1) - logits.logsumexp(dim=1)  # [N]
    return logps.masked_fill(ignored, 0.0)


def sum_pairs(logps: Tensor, targets: Tensor) -> PairLogps:
    """Sum the log-probs of each response and halve the rows into chosen and rejected.

    Args:
        logps: [2B, T] log-prob per position, chosen rows first; 0 where unsupervised.
        targets: [2B, T] what each position predicts (``shift_labels``), IGNORE_INDEX where nothing.

    Returns:
        [B] sums, at least float32, and [B] int64 counts of supervised tokens.

    Raises:
        ValueError: the shapes differ or are not [2B, T] with B >= 1.
    """
    if logps.dim() != 2 or logps.shape != targets.shape or len(logps) % 2:
        raise ValueError(
            f"sum_pairs needs log-probs and targets [2B, T], chosen rows first, got "
            f"{tuple(logps.shape)} and {tuple(targets.shape)}"
        )
    half = len(logps) // 2
    sums = at_least_float32(logps).sum(dim=1)  # [2B]
    lens = (targets != IGNORE_INDEX).sum(dim=1)  # [2B]
    return PairLogps(sums[:half], sums[half:], lens[:half], lens[half:])


def pair_logps(logits: Tensor, labels: Tensor) -> PairLogps:
    """Summed log-probs of B pairs from a causal model's logits.

    Args:
        logits: [2B, T, V] the model's output on the whole sequences, chosen rows first.
        labels: [2B, T] token ids in the same order, IGNORE_INDEX where unsupervised (prompt,
            padding, masked thinking). The shift by one happens here.

    Returns:
        [B] sums in nats, at least float32, and [B] int64 counts of supervised tokens. A label at
        position 0 has nothing before it to predict it and is not counted.

    Raises:
        ValueError: the shapes are not [2B, T, V] and [2B, T] with B >= 1.
    """
    if logits.dim() != 3 or labels.shape != logits.shape[:2]:
        raise ValueError(
            f"pair_logps needs logits [2B, T, V] and labels [2B, T], got {tuple(logits.shape)} "
            f"and {tuple(labels.shape)}"
        )
    targets = shift_labels(labels)  # [2B, T]
    flat = token_logps(logits.flatten(0, 1), targets.flatten())  # [2B * T]
    return sum_pairs(flat.view_as(targets), targets)
