"""Norms and gated layers that keep less for backward: what is cheap to make is made again.

- A root-mean-square norm (Zhang and Sennrich, 2019, arXiv:1910.07467) keeps its input as it came
  and one number a token, where autograd keeps a float32 copy of a half-precision input.
- The product act(gate) * up of a gated layer (Shazeer, 2020, arXiv:2002.05202), and act(gate), are
  made again from gate and up.

Together that is a third of what a Llama's layer keeps. Values stay the same to the bit. A module
whose forward is not Llama's, word for word, stays as it is. Left out: what peft's own layers around
4-bit matrices keep, which is a float32 copy of the product.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from losses.base import at_least_float32

Activation = Callable[[Tensor], Tensor]


def save_fewer_activations(model: nn.Module) -> None:
    """Have the norms and gated layers in ``model`` that are as Llama's keep less for backward.

    Args:
        model: a transformers model, with adapters or without; not one that checkpoints its layers,
            which keeps less still.
    """
    from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

    for module in list(model.modules()):
        layer: Any = module
        kind: Any = type(layer)
        if _computes_as(layer, LlamaRMSNorm):
            layer.__class__ = _frugal(_Norm, kind)
        elif _computes_as(layer, LlamaMLP) and not list(layer.act_fn.parameters()):
            layer.__class__ = _frugal(_Gated, kind)


def _computes_as(module: nn.Module, known: type[nn.Module]) -> bool:
    """Whether its forward is, but for names of variables, that of ``known``."""
    if "forward" in vars(module):  # of its own, not of its class
        return False
    ours, theirs = (getattr(kind.forward, "__code__", None) for kind in (type(module), known))
    parts = "co_code", "co_consts", "co_names", "co_argcount"
    return all(getattr(ours, part, None) == getattr(theirs, part) for part in parts)


@cache  # one class for all layers: a compiler would take each class for other code
def _frugal(kind: Any, known: Any) -> Any:
    return type(f"Frugal{known.__name__}", (kind, known), {})


class _Norm(nn.Module):
    """w * x / rms(x)."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)  # type: ignore[misc, no-any-return]
        return _Normed.apply(x, self.weight, self.variance_epsilon)  # type: ignore[no-any-return, no-untyped-call]


class _Gated(nn.Module):
    """down(act(gate(x)) * up(x))."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)  # type: ignore[misc, no-any-return]
        module: Any = self
        gate, up = module.gate_proj(x), module.up_proj(x)
        again = _Product(module.act_fn)
        product: Any = _Multiplied.apply(gate, up, again)  # type: ignore[no-untyped-call]
        if not product.requires_grad:  # then gate and up are kept for nobody
            return module.down_proj(product)  # type: ignore[no-any-return]
        with again.kept_as_shape(product, gate, up):
            return module.down_proj(product)  # type: ignore[no-any-return]


class _Normed(torch.autograd.Function):
    """w * x / rms(x); the mean of squares in at least float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = at_least_float32(x)
        inverse = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)  # [..., 1]
        ctx.save_for_backward(x, weight, inverse)
        return weight * (wide * inverse).to(x.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        wide = at_least_float32(x)
        by_weight = None
        if ctx.needs_input_grad[1]:
            by_weight = (gradient * (wide * inverse)).flatten(0, -2).sum(0).to(weight.dtype)
        onto = at_least_float32(gradient * weight)  # the normed x
        along = torch.linalg.vecdot(onto, wide).unsqueeze(-1) * inverse**3 / x.shape[-1]
        by_x = torch.addcmul(onto.mul_(inverse), wide, along, value=-1).to(x.dtype)
        return by_x, by_weight, None


class _Product:
    """act(gate) * up, and how to make it again.

    Args:
        act: of gate, value by value.
    """

    def __init__(self, act: Activation) -> None:
        self.act = act
        self._activated: tuple[Tensor, Tensor] | None = None

    def kept_as_shape(self, product: Tensor, gate: Tensor, up: Tensor) -> saved_tensors_hooks:
        """Within it what keeps ``product`` for backward keeps its shape alone."""
        place, size, dtype = product.data_ptr(), product.numel(), product.dtype
        gate, up = gate.detach(), up.detach()

        def pack(x: Tensor) -> Tensor | torch.Size:
            like = x.numel() == size and x.dtype == dtype and x.is_contiguous()
            # Detached, or a layer that keeps its own output would never be freed.
            return x.shape if like and x.data_ptr() == place else x.detach()

        def unpack(kept: Tensor | torch.Size) -> Tensor:
            if isinstance(kept, Tensor):
                return kept
            _, activated = self.activate(gate)
            return (activated.detach() * up).view(kept)

        return saved_tensors_hooks(pack, unpack)

    def activate(self, gate: Tensor) -> tuple[Tensor, Tensor]:
        """A leaf of gate, and act of it: made once in a backward."""
        if self._activated is None:
            leaf = gate.detach().requires_grad_()
            with torch.enable_grad():
                self._activated = leaf, self.act(leaf)
        return self._activated

    def forget(self) -> None:
        """What a backward made."""
        self._activated = None


class _Multiplied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, product: _Product) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.product = product
        return product.act(gate) * up

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        leaf, activated = ctx.product.activate(gate)
        ctx.product.forget()
        (by_gate,) = torch.autograd.grad(activated, leaf, gradient * up)
        return by_gate, gradient * activated.detach(), None
