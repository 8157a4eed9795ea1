"""Which layers an adapter would serve, and which it would not.

An adapter works where the model calls the layer that it sits on. Some models take a layer's weight
and multiply by themselves (state-space layers, in fused kernels), some have layers whose output
goes nowhere (a pooler, attention to an encoder that is not there), and a router may return more
than a tensor. An adapter there would train nothing, or differ from what folding makes of it.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

PROBE = 4  # tokens of the forward pass that shows which layers are called
STATE_SPACE = "A_log", "D"  # parameters of a selective state-space layer (Gu and Dao, 2023)
READ_BY_KERNELS = "out_proj", "dt_proj"  # its layers whose weights fused kernels read themselves


def unserved(model: Any) -> list[str]:
    """Names of the linear layers, but the head, on which an adapter would do nothing.

    Args:
        model: a transformers model in eval mode, without adapters; all frozen.
    """
    linear = {name: module for name, module in model.named_modules() if _is_linear(module)}
    outputs: dict[str, torch.Tensor] = {}
    table = model.get_input_embeddings()
    hooks = [module.register_forward_hook(_keep(outputs, name)) for name, module in linear.items()]
    hooks.append(table.register_forward_hook(tracked))
    device, size = table.weight.device, table.weight.shape[0]
    ids = torch.arange(1, 1 + PROBE, device=device)[None] % size
    try:
        with torch.enable_grad():
            model(input_ids=ids, use_cache=False).logits.sum().backward()
    finally:
        for hook in hooks:
            hook.remove()
    used = {name for name, output in outputs.items() if output.grad is not None}
    # One expert of a list may be called for other tokens: layers count by kind.
    kinds = {kind_of(name) for name in used - _read_by_kernels(model)}
    head = model.get_output_embeddings()
    return [
        name for name, module in linear.items() if module is not head and kind_of(name) not in kinds
    ]


def kinds_of(names: Sequence[str]) -> str:
    """Names for a reader: the last two parts of each, once."""
    return ", ".join(sorted({".".join(name.split(".")[-2:]) for name in names}))


def left_out_experts(model: nn.Module) -> dict[str, int]:
    """Weights by kind of the parameters of three dimensions, [experts, ., .], without an adapter.

    Args:
        model: with the adapters in place.
    """
    from peft.tuners.lora.layer import ParamWrapper

    adapted = {id(m.get_param()) for m in model.modules() if isinstance(m, ParamWrapper)}
    found: dict[str, int] = {}
    for module_name, module in model.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd) or "lora_" in module_name:
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 3 and parameter.shape[0] > 1 and id(parameter) not in adapted:
                kind = f"{module_name.split('.')[-1]}.{name}"
                found[kind] = found.get(kind, 0) + parameter.numel()
    return found


def _is_linear(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def tracked(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """A forward hook: an output from which gradients are taken, whatever is frozen before it."""
    return output.detach().requires_grad_() * 1  # no leaf: some models write into it


def _keep(outputs: dict[str, torch.Tensor], name: str) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.retain_grad()
            outputs[name] = output

    return hook


def _read_by_kernels(model: nn.Module) -> set[str]:
    return {
        f"{name}.{layer}"
        for name, module in model.named_modules()
        if all(hasattr(module, parameter) for parameter in STATE_SPACE)
        for layer in READ_BY_KERNELS
    }


def kind_of(name: str) -> str:
    """A name without the numbers of layers and experts."""
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)
