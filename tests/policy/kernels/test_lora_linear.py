"""Our layer with adapters against peft's own, which it replaces."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import nn

from preflexor_pl.policy.kernels.lora_linear import LoRALinear, use_lora_linear


def lora_layer(adapters, dtype=torch.float32, ours=True):
    """A layer of 6 in and 5 out with some adapters, all on, none of them zero."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5))
    config = {n: LoraConfig(r=2 + n, lora_alpha=3, target_modules=["0"]) for n in range(adapters)}
    for number, one in config.items():
        if ours:
            use_lora_linear(one)
        if number:
            model.add_adapter(str(number), one)
        else:
            model = get_peft_model(model, one, adapter_name="0")
    model.base_model.set_adapter([str(number) for number in range(adapters)])
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.normal_(0, 1, generator=generator)
    layer = model.base_model.model[0]
    assert type(layer) is (LoRALinear if ours else Linear)
    layer.base_layer.to(dtype)
    return layer


def learned(layer, dtype=torch.float32):
    x = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(2)).to(dtype).requires_grad_()
    out = layer(x)
    (out.float() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out, x.grad, {n: p.grad for n, p in layer.named_parameters() if "lora_" in n}


@pytest.mark.parametrize("adapters", [1, 3])
def test_it_computes_what_pefts_does(adapters):
    ours, theirs = learned(lora_layer(adapters)), learned(lora_layer(adapters, ours=False))
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(one, other)
    assert ours[2].keys() == theirs[2].keys()
    for name, gradient in ours[2].items():
        torch.testing.assert_close(gradient, theirs[2][name])
        assert gradient.abs().max() > 0


def test_in_bfloat16_it_keeps_the_dtype_and_float32_gradients():
    ours = learned(lora_layer(2, torch.bfloat16), torch.bfloat16)
    theirs = learned(lora_layer(2, torch.bfloat16, ours=False), torch.bfloat16)
    assert ours[0].dtype == torch.bfloat16
    for name, gradient in ours[2].items():
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient, theirs[2][name], rtol=0.02, atol=0.05)


def test_under_autocast_it_is_near_pefts_too():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = learned(lora_layer(2)), learned(lora_layer(2, ours=False))
    assert ours[0].dtype == theirs[0].dtype == torch.bfloat16
    assert ours[1].dtype == torch.float32
    for name, gradient in ours[2].items():
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient, theirs[2][name], rtol=0.02, atol=0.05)


def test_switched_off_it_is_the_base():
    layer = lora_layer(2)
    x = torch.ones(1, 1, 6)
    layer.enable_adapters(False)
    assert torch.equal(layer(x), layer.base_layer(x))


def test_other_layers_keep_pefts_own():
    class Special(nn.Linear):
        """As a quantised layer is one."""

    config = LoraConfig(r=2, target_modules=["0"])
    use_lora_linear(config)
    model = get_peft_model(nn.Sequential(Special(6, 5)), config)
    assert type(model.base_model.model[0]) is Linear
