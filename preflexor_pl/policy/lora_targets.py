"""Finds the layers on which an adapter would have no effect.

An adapter acts only where the model calls its layer. Some models read a layer's weight and multiply
it themselves (state-space layers in fused kernels), some have layers whose output is not used (a
pooler, attention to an encoder that is absent), and a router may return more than a tensor. An
adapter there would train nothing, or would not equal its merged weights.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

PROBE = 4  # tokens in the forward pass that finds the layers in use
STATE_SPACE = "A_log", "D"  # parameters of a selective state-space layer (Gu and Dao, 2023)
READ_BY_KERNELS = "out_proj", "dt_proj"  # its layers whose weights fused kernels read themselves


def layers_without_effect(model: Any) -> list[str]:
    """Names of the linear layers, the head excepted, on which an adapter would have no effect.

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
    # An expert that these tokens do not reach may be in use: layers are compared by kind.
    kinds = {kind_of(name) for name in used - _read_by_kernels(model)}
    head = model.get_output_embeddings()
    return [
        name for name, module in linear.items() if module is not head and kind_of(name) not in kinds
    ]


def kinds_of(names: Sequence[str]) -> str:
    """Short names for messages: the last two parts of each, without repetition."""
    return ", ".join(sorted({".".join(name.split(".")[-2:]) for name in names}))


def left_out_experts(model: nn.Module) -> dict[str, int]:
    """Expert tensors without an adapter.

    Args:
        model: with the adapters in place.

    Returns:
        Kind of parameter -> number of weights, for parameters [experts, ., .].
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
    """A forward hook that makes an output require a gradient, whatever is frozen before it."""
    return output.detach().requires_grad_() * 1  # not a leaf: some models write into it


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
    """A parameter or module name without the numbers of layers and experts."""
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)
