"""LoRA adapters and trained marker rows: attach, switch off, merge for generation, save and load.

All adapters off is the base model, to the bit; merging for generation is undone to the bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preflexor_pl.core.settings import LoRASettings

ADAPTER = "default"  # plain peft loads an adapter of this name without being told


def attach_lora(model: Any, settings: LoRASettings, trained_rows: list[int], seed: int) -> Any:
    """Wrap ``model`` with fresh LoRA adapters and ``trained_rows`` of its embedding (and head).

    Args:
        model: a transformers model; its weights are frozen.
        settings: rank, scale and target layers.
        trained_rows: ids of the marker rows that train with the adapter.
        seed: of the first values of the adapters.
    """
    from peft import LoraConfig, get_peft_model

    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    names = _table_names(model)
    rows = {names[0]: trained_rows} if tied else dict.fromkeys(names, trained_rows)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
        trainable_token_indices=rows if trained_rows else None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped = get_peft_model(model, config, adapter_name=ADAPTER)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def _table_names(model: Any) -> tuple[str, str]:
    modules = {id(module): name for name, module in model.named_modules()}
    tables = model.get_input_embeddings(), model.get_output_embeddings()
    embedding, head = (modules[id(table)].split(".")[-1] for table in tables)
    return embedding, head


@contextmanager
def merged(model: Any) -> Iterator[None]:
    """Run with the adapters folded into the base weights; the weights come back to the bit.

    Decoding is bound by the number of small operations, and an adapter on each layer doubles them.
    The sum is rounded to the base's dtype, as in an exported model.
    """
    kept: list[tuple[nn.Parameter, Tensor]] = []
    try:
        with torch.no_grad():
            for weight, folded in _folded_weights(model):
                kept.append((weight, weight.data))
                weight.data = folded
        with model.disable_adapter():
            yield
    finally:
        for weight, before in reversed(kept):
            weight.data = before


def _folded_weights(model: Any) -> Iterator[tuple[nn.Parameter, Tensor]]:
    from peft.tuners.lora import LoraLayer
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    tables: set[int] = set()
    for module in model.modules():
        layer: Any = module
        if isinstance(module, TrainableTokensLayer):
            weight = layer.get_base_layer().weight
            if id(weight) not in tables:  # a tied head shares its table with the embedding
                tables.add(id(weight))
                yield weight, layer.get_merged_weights(layer.active_adapters).detach()
        elif isinstance(module, LoraLayer):
            weight = layer.get_base_layer().weight
            delta = torch.stack([layer.get_delta_weight(a) for a in layer.active_adapters]).sum(0)
            yield weight, (weight.float() + delta.float()).to(weight.dtype)


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors that train, by name."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def load_trained_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put back what :func:`trained_state` gave; KeyError when the names differ."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if parameters.keys() != state.keys():
        raise KeyError(", ".join(sorted(parameters.keys() ^ state.keys())[:4]))
    for name, parameter in parameters.items():
        parameter.copy_(state[name])
