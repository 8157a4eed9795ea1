"""Attention over a packed row: each pair by itself, its rejected response blind to the chosen one.

On a GPU in half precision one call of variable-length attention serves all pairs; elsewhere two
small attentions a pair. A sliding window is counted in the positions of the response's own text.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from preflexor_pl.batches.layout import Spans

NAME = "preflexor_packed"
FEW = 2**20  # scores of one attention
TOLD_OF_SHARED_HEADS = torch.__version__ >= "2.12"  # before that, varlen_attn sees it by itself


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    spans: Spans | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of transformers' signature.

    Args:
        module: the attention layer; not used.
        query: [1, H, T, D].
        key: [1, K, T, D], K heads that H / K query heads share.
        value: [1, K, T, D].
        attention_mask: None.
        scaling: of the scores; 1 / sqrt(D) by default.
        softcap: scores are squeezed into (-softcap, softcap).
        sliding_window: how many keys, itself included, a query sees at most.
        spans: of the row.
        others: what a kernel may ignore; sinks are refused.

    Returns:
        ([1, T, H, D], None).

    Raises:
        ValueError: no spans came through the model, or its attention has sinks or a mask of its
            own.
    """
    if spans is None or attention_mask is not None or others.get("s_aux") is not None:
        raise ValueError(
            "its attention has a mask or sinks of its own, or hides what packing needs"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.is_cuda and softcap is None and query.dtype in (torch.bfloat16, torch.float16):
        return _varlen(query, key, value, spans, scale, sliding_window), None
    parts = []
    for pair in spans.pairs:
        start, fork = pair.start, pair.start + pair.prompt
        end = fork + pair.chosen
        stop = end + pair.rejected
        runs = [
            (query[:, :, start:end], key[:, :, start:end], value[:, :, start:end]),
            (query[:, :, end:stop], *(_forked(x, start, fork, end, stop) for x in (key, value))),
        ]
        parts += [_attend(q, k, v, scale, softcap, sliding_window) for q, k, v in runs]
    return torch.cat(parts, 2).transpose(1, 2), None


def _forked(x: Tensor, start: int, fork: int, end: int, stop: int) -> Tensor:
    """Of a pair's keys or values those of its prompt and its rejected response."""
    return torch.cat([x[:, :, start:fork], x[:, :, end:stop]], 2)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    softcap: float | None,
    window: int | None,
) -> Tensor:
    """Causal attention [1, H, T, D] of the last T of S positions."""
    width, seen = query.shape[2], key.shape[2]
    narrow = window is not None and window < seen
    mask = _sees(width, seen, window if narrow else None, query.device)
    # torch's own kernel knows no cap. In bfloat16 on a CPU it is the slower one on few scores; on
    # many it is as fast in float32, as exact as products, and keeps none of them for backward.
    half_on_cpu = query.dtype == torch.bfloat16 and not query.is_cuda
    if softcap is not None or (half_on_cpu and query.shape[1] * mask.numel() < FEW):
        return _by_products(query, key, value, scale, softcap, mask)
    causal = width == seen and not narrow
    dtype = query.dtype
    if half_on_cpu:
        query, key, value = query.float(), key.float(), value.float()
    mixed = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if causal else mask,
        is_causal=causal,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return mixed.to(dtype)


@lru_cache(maxsize=64)  # the same for every layer
def _sees(width: int, seen: int, window: int | None, device: torch.device) -> Tensor:
    """[T, S] which keys each of the last T positions sees."""
    mask = torch.ones(width, seen, dtype=torch.bool, device=device).tril(seen - width)
    return mask if window is None else mask.triu(seen - width - window + 1)


def _by_products(
    query: Tensor, key: Tensor, value: Tensor, scale: float, softcap: float | None, mask: Tensor
) -> Tensor:
    _, heads, width, size = query.shape
    shared = key.shape[1]
    grouped = query.reshape(1, shared, -1, size)  # [1, K, H/K*T, D]
    scores = (grouped @ key.transpose(2, 3)).view(1, shared, heads // shared, width, -1) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~mask, float("-inf"))
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return (weights.view(1, shared, -1, key.shape[2]) @ value).view(1, heads, width, size)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float, window: int | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    k, v = (x[0].transpose(0, 1).index_select(0, spans.keys) for x in (key, value))  # [M, K, D]
    shared = query.shape[1] != key.shape[1]
    told: Any = {"enable_gqa": shared} if TOLD_OF_SHARED_HEADS else {}
    mixed: Any = varlen_attn(
        query[0].transpose(0, 1),
        k,
        v,
        spans.query_ends,
        spans.key_ends,
        spans.longest[0],
        spans.longest[1],
        scale=scale,
        window_size=(-1 if window is None else window - 1, 0),
        **told,
    )
    return mixed[None]  # type: ignore[no-any-return]


def register() -> str:
    """Make the attention known to transformers and return its name."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    return NAME
