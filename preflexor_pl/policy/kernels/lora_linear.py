"""Linear layers with adapters, computed in the base's dtype.

peft's own layer casts its input to the adapters' float32, a copy for each layer that is kept for
backward, and adds what they give in passes of their own over the layer's output and its gradient.
Here the products are in the base's dtype, as under autocast, and add to one another; the adapters
themselves, their gradients and the optimiser's state stay float32. In float32 both do the same.
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
        on = [name for name in self.active_adapters if name in self.lora_A]
        base: Any = self.base_layer
        if self.disable_adapters or self.merged or not on or base.weight.requires_grad:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        scales = [self.scaling[name] for name in on]
        pairs: Any = ((self.lora_A[name], self.lora_B[name]) for name in on)
        sides = [side.weight for pair in pairs for side in pair]
        rows = x.flatten(0, -2)  # [N, in]
        if torch.is_grad_enabled():
            out: Any = _Adapted.apply(rows, base.weight, base.bias, scales, *sides)  # type: ignore[no-untyped-call]
        else:
            out = _adapted(rows, base.weight, base.bias, scales, sides)[0]
        return out.view(*x.shape[:-1], -1)  # type: ignore[no-any-return]


def _adapted(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scales: Sequence[float],
    sides: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """[N, out] of [N, in], and x A' of each adapter."""
    out = linear(rows, weight, bias)
    downs = []
    # One by one: a fresh adapter, which is zero, changes nothing to the bit.
    for down, up, scale in zip(sides[::2], sides[1::2], scales, strict=True):
        downs.append(rows @ down.to(out.dtype).T)
        out.addmm_(downs[-1], up.to(out.dtype).T, alpha=scale)
    return out, downs


class _Adapted(torch.autograd.Function):
    """The base frozen; ``sides`` are A and B of each adapter."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scales: Sequence[float],
        *sides: Tensor,
    ) -> Tensor:
        out, downs = _adapted(rows, weight, bias, scales, sides)
        ctx.save_for_backward(rows, weight, *sides, *downs)
        ctx.scales = scales
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, *rest = ctx.saved_tensors
        sides, downs = rest[: -len(ctx.scales)], rest[-len(ctx.scales) :]
        dtype = gradient.dtype
        by_rows = gradient @ weight.to(dtype) if ctx.needs_input_grad[0] else None
        by_sides: list[Tensor] = []
        for down, up, scale, half in zip(sides[::2], sides[1::2], ctx.scales, downs, strict=True):
            by_half = gradient @ up.to(dtype) * scale  # [N, r]
            if by_rows is not None:
                by_rows.addmm_(by_half, down.to(dtype))
            by_up = half.T @ gradient * scale  # [r, out]: a CPU takes it faster than its transpose
            by_sides += [(by_half.T @ rows.to(dtype)).to(down.dtype), by_up.T.to(up.dtype)]
        by_rows = by_rows if by_rows is None else by_rows.to(rows.dtype)
        return by_rows, None, None, None, *by_sides


def use_lora_linear(config: Any) -> None:
    """Have peft put these layers around plain matrices; quantised ones keep peft's own."""

    def layer(target: Any, adapter: str, config: Any, **options: Any) -> LoRALinear | None:
        plain = type(target) is nn.Linear
        return LoRALinear(target, adapter, config=config, **options) if plain else None

    config._register_custom_module({nn.Linear: layer})
