"""Attention for decoding on a CPU, in bfloat16 or in the place of eager attention.

In bfloat16 torch's own kernel is four times slower; eager attention copies keys and values for each
query head. This one multiplies with the shared heads directly
(grouped-query attention, Ainslie et al., 2023, arXiv:2305.13245).
"""

from typing import Any

import torch
from torch import Tensor

from preflexor_pl.core.errors import ConfigError

NAME = "preflexor_grouped"
# Arguments that models pass to a kernel and that do not change the scores while decoding.
IGNORED = {
    "dropout", "is_causal", "position_ids", "sliding_window", "use_cache", "output_attentions",
    "output_hidden_states", "output_router_logits", "cu_seq_lens_q", "cu_seq_lens_k",
    "max_length_q", "max_length_k", "deterministic",
}  # fmt: skip


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    sinks: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Softmax attention of transformers' signature, for inference.

    Args:
        module: the attention layer; not used.
        query: [B, H, T, D].
        key: [B, K, L, D], K heads that H / K query heads share.
        value: [B, K, L, D].
        attention_mask: [B, 1, T, L], or [B, H, T, L] where heads differ: 0 where a key is seen,
            very negative elsewhere; or any other term that is added to the scores.
        scaling: factor of the scores; 1 / sqrt(D) by default.
        softcap: scores are squeezed into (-softcap, softcap).
        s_aux: [H] score of each head's attention sink, which takes a share of the weights and adds
            nothing to the output (gpt-oss, arXiv:2508.10925).
        sinks: the same under another name.
        others: arguments that this kernel may ignore.

    Returns:
        ([B, T, H, D], None).

    Raises:
        ConfigError: the model passes an argument that this kernel does not implement.
    """
    if unknown := not_ignored(others):
        raise ConfigError(
            f"model.policy.attn_implementation: attention with {', '.join(unknown)} has no kernel "
            "for decoding on a CPU here: use sdpa, and float32 as model.policy.dtype"
        )
    batch, heads, width, size = query.shape
    shared = key.shape[1]
    scale = size**-0.5 if scaling is None else scaling
    scores = _scores(query, key, attention_mask, scale, softcap)
    sinks = s_aux if sinks is None else sinks
    if sinks is not None:
        sink = sinks.float().view(1, shared, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sink], -1)
    weights = scores.softmax(-1)[..., : key.shape[2]]
    weights = weights.to(value.dtype).reshape(batch, shared, -1, key.shape[2])
    mixed = (weights @ value).view(batch, heads, width, -1)
    return mixed.transpose(1, 2).contiguous(), None


def _scores(
    query: Tensor, key: Tensor, mask: Tensor | None, scale: float, softcap: float | None
) -> Tensor:
    """[B, K, H/K, T, L] in float32."""
    batch, heads, width, size = query.shape
    shared = key.shape[1]
    scores = query.reshape(batch, shared, -1, size) @ key.transpose(2, 3)  # [B, K, H/K*T, L]
    scores = scores.view(batch, shared, heads // shared, width, -1).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        mask = mask[..., : key.shape[2]].expand(-1, heads, -1, -1)
        scores = scores + mask.unflatten(1, (shared, -1))
    return scores


def not_ignored(others: dict[str, Any]) -> list[str]:
    """Names of arguments that a kernel must not ignore."""
    return sorted(
        name for name, value in others.items() if value is not None and name not in IGNORED
    )


def register() -> str:
    """Register the attention with transformers and return its name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME
