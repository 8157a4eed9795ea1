"""Log-probs of a batch's supervised tokens under a model.

A plain batch goes through the model as it is. Of a flat batch the head sees the supervised
positions alone. Trained marker rows are kept beside the frozen tables that they belong to: neither
the embedding nor the head is copied, and no gradient is as large as a table.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from losses.logps import token_logps
from preflexor_pl.batches.collate import PairBatch
from preflexor_pl.batches.packing import FlatBatch
from preflexor_pl.policy.kernels import packed_attention
from preflexor_pl.policy.kernels.head import Head
from preflexor_pl.policy.model_errors import UnsupportedLayout


def batch_logps(model: Any, batch: PairBatch | FlatBatch) -> Tensor:
    """Log-prob of each supervised token, in the shape that ``batch.sums`` takes.

    Args:
        model: a transformers model, with adapters or without.
        batch: on the model's device.

    Returns:
        [N] of a flat batch, [2B, T] of a plain one, 0 where unsupervised; in nats, at least
        float32.

    Raises:
        UnsupportedLayout: the model cannot run a flat batch; see :func:`flat_logps`.
    """
    if isinstance(batch, FlatBatch):
        return flat_logps(model, batch)
    # Columns before every row's first target need no logits: most prompts are longer than 1.
    targets = batch.labels[:, batch.first_target :]  # [2B, K]
    output = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        logits_to_keep=targets.shape[1] + 1,
    )
    logits = output.logits[:, :-1]  # [2B, K, V]
    logps = token_logps(logits.flatten(0, 1), targets.flatten()).view_as(targets)
    return nn.functional.pad(logps, (batch.first_target, 0))  # [2B, T]


def flat_logps(model: Any, batch: FlatBatch, checked: bool = False) -> Tensor:
    """Log-probs of the targets.

    Args:
        model: a transformers model, with adapters or without.
        batch: on the model's device, N targets.
        checked: whether the attention of a packed row is compared with the masks that the model
            asks for.

    Returns:
        [N] in nats, at least float32.

    Raises:
        UnsupportedLayout: the model's head is no matrix, or its attention cannot be packed.
    """
    rows, body, head = batch.rows, model.get_decoder(), head_of(model)
    if body in (model, model.get_output_embeddings()):
        raise UnsupportedLayout("it has no part that gives hidden states without its head")
    ids: Any = {"input_ids": rows.input_ids}
    embedded = _embedded(model.get_input_embeddings(), rows.input_ids)
    if embedded is not None:
        ids = {"inputs_embeds": embedded}
    usual = model.config._attn_implementation
    with _attending(model, packed_attention.register(checked) if rows.spans else usual):
        hidden = body(
            **ids,
            attention_mask=rows.attention_mask,
            position_ids=rows.position_ids,
            use_cache=False,
            **({"spans": rows.spans} if rows.spans else {}),
        ).last_hidden_state
    hidden = hidden.flatten(0, 1).index_select(0, batch.sources)  # [N, H]
    return head.logps(hidden.to(head.weight.dtype), batch.targets)  # Mamba's are float32


def head_of(model: Any) -> Head:
    """The head of a model as a matrix with scale and softcap.

    Raises:
        UnsupportedLayout: the head is no matrix, or has a bias.
    """
    module = model.get_output_embeddings()
    table, rows, values = _table(module)
    if type(table) is not nn.Linear:
        raise UnsupportedLayout(f"its head is no matrix but a {type(table).__name__}")
    if table.bias is not None:
        raise UnsupportedLayout("its head has a bias")
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    divided = getattr(config, "logits_scaling", None)
    if divided:  # Granite divides by it, HyperCLOVA X multiplies
        scale = 1 / divided if config.model_type.startswith("granite") else divided
    softcap = getattr(config, "final_logit_softcapping", None)
    softcap = softcap or getattr(config, "logits_soft_cap", None)  # as RecurrentGemma calls it
    return Head(table.weight, rows, values, float(scale), softcap)


def _embedded(module: Any, ids: Tensor) -> Tensor | None:
    """[R, T, H] embeddings of ids [R, T] with trained rows; None if no rows train."""
    table, rows, values = _table(module)
    if rows is None or values is None or type(table) is not nn.Embedding:
        return None
    here = ids[..., None] == rows  # [R, T, K]
    ours = here.to(table.weight.dtype) @ values.to(table.weight.dtype)
    return torch.where(here.any(-1, keepdim=True), ours, table(ids))


def _table(module: Any) -> tuple[Any, Tensor | None, Tensor | None]:
    """An embedding or head without peft's wrapper, [K] ids of its trained rows, [K, H] rows."""
    from peft.utils.other import TrainableTokensWrapper

    if not isinstance(module, TrainableTokensWrapper):
        return module, None, None
    layer: Any = module.token_adapter
    table = layer.get_base_layer()
    on = [name for name in layer.active_adapters if name in layer.trainable_tokens_delta]
    if layer.disable_adapters or not on:
        return table, None, None
    (name,) = on  # peft allows one
    ids = tuple(layer.token_indices[name])
    return table, _on_device(ids, table.weight.device), layer.trainable_tokens_delta[name]


@lru_cache(maxsize=8)
def _on_device(ids: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(ids, device=device)


def contexts_of(model: Any) -> tuple[Any, Any]:
    """Contexts of a forward pass and of its recomputation, which uses the attention set now."""
    return nullcontext(), _attending(model, model.config._attn_implementation)


@contextmanager
def _attending(model: Any, name: str) -> Iterator[None]:
    before = model.config._attn_implementation
    if name == before:
        yield
        return
    if not model._can_set_attn_implementation():  # transformers would only warn
        raise UnsupportedLayout("its layers have no attention that can be replaced")
    try:
        model.set_attn_implementation(name)
        yield
    finally:
        model.set_attn_implementation(before)
