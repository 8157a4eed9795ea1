"""Norms and gated layers that keep less for backward: what is cheap to make is made again.

- A root-mean-square norm (Zhang and Sennrich, 2019, arXiv:1910.07467) keeps its input as it came
  and one number a token, where autograd keeps a float32 copy of a half-precision input.
- The product act(gate) * up of a gated layer (Shazeer, 2020, arXiv:2002.05202), and act(gate), are
  made again from gate and up, which the layer below keeps for nobody else.

Together they are a third of what a Llama's layer keeps. Values stay the same to the bit. A module
that computes anything else keeps its own way; which one does is tried when the model is loaded.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from losses.base import at_least_float32

TRIED = 3  # tokens on which a module is compared with what it is taken for

Activation = Callable[[Tensor], Tensor]


def keep_less(model: Any) -> None:
    """Have the norms and gated layers in ``model`` that we know keep less for backward.

    Args:
        model: a transformers model, with adapters or without; not one that checkpoints its layers,
            which keeps less still.
    """
    for module in list(model.modules()):
        for kind in (_Norm, _Gated):
            if kind.serves(module, model.dtype):
                name = f"Frugal{type(module).__name__}"
                module.__class__ = type(name, (kind, type(module)), {})
                break


class _Norm(nn.Module):
    """w * x / rms(x), as Llama's."""

    @staticmethod
    @torch.no_grad()
    def serves(module: Any, dtype: torch.dtype) -> bool:
        """Whether it computes that, tried on inputs of ``dtype``."""
        weight, eps = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
        if not isinstance(weight, Tensor) or not isinstance(eps, float) or not _takes_one(module):
            return False
        x = _made_up(len(weight), dtype, weight.device)
        return torch.equal(module(x), _Normed.apply(x, weight, eps))  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)  # type: ignore[misc, no-any-return]
        return _Normed.apply(x, self.weight, self.variance_epsilon)  # type: ignore[no-any-return, no-untyped-call]


class _Gated(nn.Module):
    """down(act(gate(x)) * up(x)), as Llama's."""

    @staticmethod
    @torch.no_grad()
    def serves(module: Any, dtype: torch.dtype) -> bool:
        """Whether it computes that, tried on inputs of ``dtype``."""
        names = "gate_proj", "up_proj", "down_proj", "act_fn"
        parts: list[Any] = [getattr(module, name, None) for name in names]
        gate, up, down, act = parts
        if not all(isinstance(part, nn.Module) for part in parts) or not _takes_one(module):
            return False
        x = _made_up(gate.in_features, dtype, next(down.parameters()).device)
        return torch.equal(module(x), down(act(gate(x)) * up(x)))

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)  # type: ignore[misc, no-any-return]
        module: Any = self
        gate, up = module.gate_proj(x), module.up_proj(x)
        again = _Product(module.act_fn)
        product: Any = _Multiplied.apply(gate, up, again)  # type: ignore[no-untyped-call]
        with again.kept_as_shape(product, gate, up):
            return module.down_proj(product)  # type: ignore[no-any-return]


def _made_up(width: int, dtype: torch.dtype, device: Any) -> Tensor:
    """[1, n, width] numbers between -1 and 1."""
    values = torch.linspace(-2, 3, TRIED * width, dtype=torch.float64).sin()
    return values.view(1, TRIED, width).to(device, dtype)


def _takes_one(module: nn.Module) -> bool:
    return len(inspect.signature(module.forward).parameters) == 1


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
            whole = x.data_ptr() == place and x.numel() == size
            return x.shape if whole and x.dtype == dtype and x.is_contiguous() else x

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
