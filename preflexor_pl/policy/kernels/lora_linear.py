"""Linear layers with LoRA adapters, computed in the dtype of the base.

peft's own layer casts its input to the adapters' float32, which is a copy a layer that backward
keeps, and adds the adapters' output in passes of their own. Here all products are in the base's
dtype, as under autocast, and are added in place; the adapters, their gradients and the optimiser's
state stay float32. In float32 both compute the same.
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear


class LoRALinear(Linear):  # type: ignore[misc]  # peft has no types
    """x W' + b + s (x A') B' for each active adapter (Hu et al., 2021, arXiv:2106.09685)."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """[..., out] of [..., in]."""
        names = [name for name in self.active_adapters if name in self.lora_A]
        base: Any = self.base_layer
        if self.disable_adapters or self.merged or not names or base.weight.requires_grad:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        scales = [self.scaling[name] for name in names]
        layers: Any = [layer for name in names for layer in (self.lora_A[name], self.lora_B[name])]
        factors = [layer.weight for layer in layers]
        flat = x.flatten(0, -2)  # [N, in]
        if torch.is_grad_enabled():
            out: Any = _LoRAProduct.apply(flat, base.weight, base.bias, scales, *factors)  # type: ignore[no-untyped-call]
        else:
            out = _lora_product(flat, base.weight, base.bias, scales, factors)[0]
        return out.view(*x.shape[:-1], -1)  # type: ignore[no-any-return]


def _lora_product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scales: Sequence[float],
    factors: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """[N, out] of [N, in], and x A' [N, r] of each adapter."""
    out = linear(x, weight, bias)
    projections = []
    # One adapter after the other: a fresh one, which is zero, leaves the sum as it is to the bit.
    for a, b, scale in zip(factors[::2], factors[1::2], scales, strict=True):
        projections.append(x @ a.to(out.dtype).T)
        out.addmm_(projections[-1], b.to(out.dtype).T, alpha=scale)
    return out, projections


class _LoRAProduct(torch.autograd.Function):
    """The base is frozen; ``factors`` are A [r, in] and B [out, r] of each adapter."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scales: Sequence[float],
        *factors: Tensor,
    ) -> Tensor:
        out, projections = _lora_product(x, weight, bias, scales, factors)
        ctx.save_for_backward(x, weight, *factors, *projections)
        ctx.scales = scales
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *rest = ctx.saved_tensors
        factors, projections = rest[: -len(ctx.scales)], rest[-len(ctx.scales) :]
        dtype = grad_output.dtype
        grad_input = grad_output @ weight.to(dtype) if ctx.needs_input_grad[0] else None
        grad_factors: list[Tensor] = []
        adapters = zip(factors[::2], factors[1::2], ctx.scales, projections, strict=True)
        for a, b, scale, projection in adapters:
            grad_projection = grad_output @ b.to(dtype) * scale  # [N, r]
            if grad_input is not None:
                grad_input.addmm_(grad_projection, a.to(dtype))
            # [r, out]: on a CPU this is faster than its transpose
            grad_b = projection.T @ grad_output * scale
            grad_factors.append((grad_projection.T @ x.to(dtype)).to(a.dtype))
            grad_factors.append(grad_b.T.to(b.dtype))
        grad_input = grad_input if grad_input is None else grad_input.to(x.dtype)
        return grad_input, None, None, None, *grad_factors


def use_lora_linear(config: Any) -> None:
    """Make peft use these layers for plain matrices; quantised ones keep peft's own."""

    def layer(target: Any, adapter: str, config: Any, **options: Any) -> LoRALinear | None:
        plain = type(target) is nn.Linear
        return LoRALinear(target, adapter, config=config, **options) if plain else None

    config._register_custom_module({nn.Linear: layer})
