"""RMSNorm and gated MLPs that save fewer activations for backward and recompute the rest.

- RMSNorm (Zhang and Sennrich, 2019, arXiv:1910.07467) saves its input and one number a token;
  autograd saves a float32 copy of a half-precision input.
- In a gated MLP (Shazeer, 2020, arXiv:2002.05202) the product act(gate) * up, and act(gate), are
  recomputed from gate and up.

Together they are a third of the activations of a Llama layer. A module is replaced only where a
trial run gives the same output to the bit. Left out: the float32 copy of the product that peft's
layers around 4-bit matrices save.
"""

import inspect
from collections.abc import Callable
from functools import cache
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from losses.base import at_least_float32
from preflexor_pl.policy.model_errors import FOREIGN

PROBE_SCALES = 1e-2, 1.0, 1e2, 1e4  # of a trial's tokens: a clamp acts on large numbers only
PLAIN = bool, int, float, str, NoneType, FunctionType, BuiltinFunctionType
PROBE_BOUND = 0.05  # relative difference of a trial's gradients: some roundings of bfloat16


def save_fewer_activations(model: nn.Module) -> None:
    """Replace RMSNorm and gated MLP modules of ``model`` by ones that save fewer activations.

    Args:
        model: a transformers model, with adapters or without. Not one that checkpoints its layers,
            which saves less still.
    """
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    tried: dict[Any, bool] = {}
    for module in list(model.modules()):
        mixin: Any = _mixin_for(module)
        if mixin is None:
            continue
        kind = _kind(module)
        if kind not in tried:
            tried[kind] = _is_same(module, mixin, dtype)
        if tried[kind]:
            plain: Any = type(module)
            module.__class__ = _subclass(mixin, plain)


def _kind(module: nn.Module) -> Any:
    """All that a trial depends on but the weights' values: layers of one kind share a trial."""
    parts = tuple(
        (name, type(part), tuple((k, v) for k, v in vars(part).items() if isinstance(v, PLAIN)))
        for name, part in module.named_modules()
    )
    return parts, tuple((n, p.shape, p.dtype, p.device) for n, p in module.named_parameters())


def _is_same(module: Any, mixin: Any, dtype: torch.dtype) -> bool:
    """Whether a module computes the same with another forward; it is left as it was."""
    plain: Any = type(module)
    try:
        output, gradient = _trial(module, dtype)
        module.__class__ = _subclass(mixin, plain)
        ours, our_gradient = _trial(module, dtype)
        apart = (our_gradient - gradient).norm() / gradient.norm()
        return torch.equal(ours, output) and bool(apart < PROBE_BOUND)
    except FOREIGN:  # the plain module takes other inputs
        return False
    finally:
        module.__class__ = plain


def _mixin_for(module: nn.Module) -> type[nn.Module] | None:
    """What may replace the forward of ``module``, by its parts; None for nothing."""
    layer: Any = module
    if "forward" in vars(module) or len(inspect.signature(module.forward).parameters) != 1:
        return None
    if isinstance(getattr(layer, "variance_epsilon", None), float) and layer.weight.ndim == 1:
        return _RMSNorm
    if all(hasattr(layer, part) for part in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        activation_trains = isinstance(layer.act_fn, nn.Module) and [*layer.act_fn.parameters()]
        return None if activation_trains else _GatedMLP
    return None


def _trial(module: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Output of a module for random tokens of several scales, and a gradient by its input."""
    width = module.gate_proj.in_features if hasattr(module, "gate_proj") else len(module.weight)
    tokens = torch.randn(len(PROBE_SCALES), width, generator=torch.Generator().manual_seed(0))
    tokens = (tokens * torch.tensor(PROBE_SCALES)[:, None])[None]  # [1, 4, H]
    tokens = tokens.to(next(module.parameters()).device, dtype)
    with torch.enable_grad():
        output = module.forward(tokens.requires_grad_())
        (gradient,) = torch.autograd.grad(output.sum(), tokens)
    return output.detach(), gradient.float()


@cache  # one class for all layers: a compiler recompiles for each class
def _subclass(mixin: Any, plain: Any) -> Any:
    return type(f"Recomputing{plain.__name__}", (mixin, plain), {})


class _RMSNorm(nn.Module):
    """w * x / rms(x)."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)  # type: ignore[misc, no-any-return]
        return _Normalize.apply(x, self.weight, self.variance_epsilon)  # type: ignore[no-any-return, no-untyped-call]


class _GatedMLP(nn.Module):
    """down(act(gate(x)) * up(x))."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)  # type: ignore[misc, no-any-return]
        module: Any = self
        gate, up = module.gate_proj(x), module.up_proj(x)
        recipe = _Recipe(module.act_fn)
        product: Any = _Multiply.apply(gate, up, recipe)  # type: ignore[no-untyped-call]
        if not product.requires_grad:  # then nothing saves gate and up
            return module.down_proj(product)  # type: ignore[no-any-return]
        with recipe.saved_as_shape(product, gate, up):
            return module.down_proj(product)  # type: ignore[no-any-return]


class _Normalize(torch.autograd.Function):
    """w * x / rms(x); the mean of squares in at least float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = at_least_float32(x)
        inverse_rms = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)  # [..., 1]
        ctx.save_for_backward(x, weight, inverse_rms)
        return weight * (wide * inverse_rms).to(x.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse_rms = ctx.saved_tensors
        wide = at_least_float32(x)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            products = grad_output * (wide * inverse_rms)
            grad_weight = products.flatten(0, -2).sum(0).to(weight.dtype)
        grad_normed = at_least_float32(grad_output * weight)
        along = torch.linalg.vecdot(grad_normed, wide).unsqueeze(-1) * inverse_rms**3 / x.shape[-1]
        grad_input = torch.addcmul(grad_normed.mul_(inverse_rms), wide, along, value=-1)
        return grad_input.to(x.dtype), grad_weight, None


class _Recipe:
    """How to recompute act(gate) * up.

    Args:
        act: an activation, element by element.
    """

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        self.act = act
        self._activated: tuple[Tensor, Tensor] | None = None

    def saved_as_shape(self, product: Tensor, gate: Tensor, up: Tensor) -> saved_tensors_hooks:
        """A context in which only the shape of ``product`` is saved for backward."""
        place, size, dtype = product.data_ptr(), product.numel(), product.dtype
        gate, up = gate.detach(), up.detach()

        def pack(x: Tensor) -> Tensor | torch.Size:
            like = x.numel() == size and x.dtype == dtype and x.is_contiguous()
            # Detached: a layer that saves its own output would never be freed.
            return x.shape if like and x.data_ptr() == place else x.detach()

        def unpack(saved: Tensor | torch.Size) -> Tensor:
            if isinstance(saved, Tensor):
                return saved
            _, activated = self.activate(gate)
            return (activated.detach() * up).view(saved)

        return saved_tensors_hooks(pack, unpack)

    def activate(self, gate: Tensor) -> tuple[Tensor, Tensor]:
        """A leaf with the values of gate, and act of it; computed once in a backward pass."""
        if self._activated is None:
            leaf = gate.detach().requires_grad_()
            with torch.enable_grad():
                self._activated = leaf, self.act(leaf)
        return self._activated

    def clear(self) -> None:
        """Free what a backward pass computed."""
        self._activated = None


class _Multiply(torch.autograd.Function):
    """act(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, recipe: _Recipe) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.recipe = recipe
        return recipe.act(gate) * up

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        leaf, activated = ctx.recipe.activate(gate)
        ctx.recipe.clear()
        (grad_gate,) = torch.autograd.grad(activated, leaf, grad_output * up)
        return grad_gate, grad_output * activated.detach(), None
