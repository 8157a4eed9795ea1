"""Merges adapters into the base weights: for a while, or for good.

Merging for generation is undone to the bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preflexor_pl.policy.adapters import activate, adapted_weight, using


@contextmanager
def merged(model: Any) -> Iterator[None]:
    """A context with all adapters merged into the base weights, which are restored to the bit.

    Decoding time is set by the number of small operations, which adapters double. The merged
    weights are rounded to the base's dtype, as in an exported model.
    """
    before: list[tuple[nn.Parameter, Tensor]] = []
    try:
        with torch.no_grad():
            for weight, merged_weight in _merged_weights(model):
                before.append((weight, weight.data))
                weight.data = merged_weight
        with using(model, ()):
            yield
    finally:
        for weight, values in reversed(before):
            weight.data = values


@torch.no_grad()
def fold(model: Any) -> Any:
    """Merge the adapters for good: the transformers model; ``model`` must not be used again."""
    for weight, merged_weight in _merged_weights(model):
        weight.data = merged_weight
    activate(model, ())
    return model.unload()


def _merged_weights(model: Any) -> Iterator[tuple[nn.Parameter, Tensor]]:
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
            on = [name for name in layer.active_adapters if name in layer.lora_A]
            if not on:  # phases may have adapters on different layers
                continue
            weight = adapted_weight(layer)
            delta = torch.stack([layer.get_delta_weight(name) for name in on]).sum(0)
            yield weight, (weight.float() + delta.float()).to(weight.dtype)
