"""Linear layers with adapters, computed in the base's dtype.

peft's own layer casts its input to the adapters' float32, a copy for each layer that is kept for
backward. Here the products are in the base's dtype, as under autocast; the adapters themselves,
their gradients and the optimiser's state stay float32. In float32 both do the same.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn


class LowRankLinear(Linear):  # type: ignore[misc]  # peft has no types
    """x W' + b + s (x A') B' for each active adapter (Hu et al., 2021, arXiv:2106.09685)."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """[..., out] of [..., in]."""
        on = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or not on:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        base: Tensor = self.base_layer(x)
        rows, out = x.flatten(0, -2), base.flatten(0, -2)  # [N, in], [N, out]
        for name in on:  # one by one: a fresh adapter, which is zero, changes nothing to the bit
            sides: Any = self.lora_A[name], self.lora_B[name]
            down, up = (side.weight.to(x.dtype) for side in sides)  # [r, in], [out, r]
            out = torch.addmm(out, rows @ down.T, up.T, alpha=self.scaling[name])
        return out.view_as(base)


def use_low_rank(config: Any) -> None:
    """Have peft put these layers around plain matrices; quantised ones keep peft's own."""

    def layer(target: Any, adapter: str, config: Any, **options: Any) -> LowRankLinear | None:
        plain = type(target) is nn.Linear
        return LowRankLinear(target, adapter, config=config, **options) if plain else None

    config._register_custom_module({nn.Linear: layer})
