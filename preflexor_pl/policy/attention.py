"""Attention for decoding on a CPU in bfloat16, where torch's own kernel is four times slower.

Plain matrix products on the key and value heads as they are, without repeating them for the query
heads that share them (grouped-query attention, Ainslie et al., 2023, arXiv:2305.13245).
"""

from typing import Any

import torch
from torch import Tensor

NAME = "preflexor_grouped"


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Softmax attention of transformers' signature, for inference.

    Args:
        module: the attention layer; not used.
        query: [B, H, T, D].
        key: [B, K, L, D], K heads that H / K query heads share.
        value: [B, K, L, D].
        attention_mask: [B, 1, T, L], 0 where a key is seen, else very negative.
        scaling: of the scores; 1 / sqrt(D) by default.
        softcap: scores are squeezed into (-softcap, softcap).

    Returns:
        ([B, T, H, D], None).
    """
    batch, heads, width, size = query.shape
    shared = key.shape[1]
    scores = query.reshape(batch, shared, -1, size) @ key.transpose(2, 3)  # [B, K, H/K*T, L]
    scores = scores.view(batch, shared, heads // shared, width, -1).float()
    scores = scores * (size**-0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, None, :, : key.shape[2]]
    weights = scores.softmax(-1).to(value.dtype).view(batch, shared, -1, key.shape[2])
    mixed = (weights @ value).view(batch, heads, width, size)
    return mixed.transpose(1, 2).contiguous(), None


def register() -> str:
    """Make the attention known to transformers and return its name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME
