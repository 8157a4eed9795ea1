"""Attention over a packed row: within each pair, whose rejected response does not see the chosen.

On a GPU in half precision it is one call of variable-length attention, elsewhere
``block_attention``. A sliding window counts the positions of a response's own text.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from preflexor_pl.batches.packing import Spans
from preflexor_pl.policy.kernels.block_attention import AttentionSpec, block_attention
from preflexor_pl.policy.kernels.decode_attention import not_ignored
from preflexor_pl.policy.model_errors import UnsupportedLayout

NAME, CHECKED = "preflexor_packed", "preflexor_packed_checked"
NEEDS_GQA_FLAG = torch.__version__ >= "2.12"  # before that, varlen_attn infers shared heads


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
        others: arguments that a kernel may ignore; any other is refused.

    Returns:
        ([1, T, H, D], None).

    Raises:
        UnsupportedLayout: the model did not pass the spans on, or its attention has sinks or a mask
            of its own.
    """
    if spans is None or attention_mask is not None or not_ignored(others):
        raise UnsupportedLayout(
            "its attention has a mask or sinks of its own, or hides what packing needs"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.is_cuda and softcap is None and query.dtype in (torch.bfloat16, torch.float16):
        return _varlen(query, key, value, spans, scale, sliding_window), None
    spec = AttentionSpec(scale, softcap, sliding_window)
    # squeeze, not x[0], whose backward copies the whole batch
    query, key, value = (x.squeeze(0) for x in (query, key, value))
    return block_attention(query, key, value, spans.pairs, spec)[None], None


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float, window: int | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    k, v = (x[0].transpose(0, 1).index_select(0, spans.keys) for x in (key, value))  # [M, K, D]
    shared = query.shape[1] != key.shape[1]
    options: Any = {"enable_gqa": shared} if NEEDS_GQA_FLAG else {}
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
        **options,
    )
    return mixed[None]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Mask:
    """A mask that a model asks for: how many keys a query sees at most, its own included."""

    window: int | None
    custom: bool


def _mask(local_size: int | None = None, use_vmap: bool = False, **_: Any) -> _Mask:
    """A mask function of transformers' signature; ``use_vmap`` means a rule of the model's own."""
    return _Mask(local_size, use_vmap)


def checked_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """:func:`packed_attention` that also checks the masks which the model asks for.

    Raises:
        UnsupportedLayout: a mask hides keys that the arguments of the attention do not mention.
    """
    if isinstance(attention_mask, _Mask):
        if attention_mask.custom or attention_mask.window != sliding_window:
            rule = "a rule of its own" if attention_mask.custom else attention_mask.window
            raise UnsupportedLayout(f"its attention hides more than packing sees (window: {rule})")
        attention_mask = None
    return packed_attention(
        module, query, key, value, attention_mask, sliding_window=sliding_window, **others
    )


def register(checked: bool = False) -> str:
    """Register the attention with transformers and return its name.

    Args:
        checked: register :func:`checked_attention`, which gets the masks that the model asks for.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    if not checked:
        AttentionInterface.register(NAME, packed_attention)
        return NAME
    AttentionInterface.register(CHECKED, checked_attention)
    AttentionMaskInterface.register(CHECKED, _mask)
    return CHECKED
