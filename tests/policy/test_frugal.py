"""Layers that keep less for backward against transformers' own, and what they keep."""

import copy

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import AutoModelForCausalLM
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.policy.frugal import keep_less
from preflexor_pl.policy.policy import Policy
from tests.tiny import save_tiny_model


class Gated(nn.Module):
    """As Llama's; ``twist`` makes it another one."""

    def __init__(self, act="silu", twist=1.0):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(6, 10), nn.Linear(6, 10)
        self.down_proj = nn.Linear(10, 6)
        self.act_fn = ACT2FN[act]
        self.twist = twist

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x)) * self.twist


class Layers(nn.Module):
    dtype = torch.float32

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)


def frugal(layer, dtype=torch.float32):
    """The layer, and its twin that keeps less."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for weight in layer.parameters():
            weight.data = torch.randn_like(weight).to(dtype)
    twin = copy.deepcopy(layer)
    model = Layers(twin)
    model.dtype = dtype
    keep_less(model)
    return layer, twin


def learned(layer, x):
    x = x.clone().requires_grad_()
    out = layer(x)
    (out.float() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out, x.grad, *(weight.grad for weight in layer.parameters())


def inputs(dtype=torch.float32):
    return torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layer", [LlamaRMSNorm(6), Gated(), Gated("gelu_pytorch_tanh")])
def test_the_same_values_to_the_bit_and_the_same_gradients(layer, dtype):
    plain, ours = frugal(copy.deepcopy(layer), dtype)
    assert type(ours).__name__ == f"Frugal{type(plain).__name__}"
    expected, found = learned(plain, inputs(dtype)), learned(ours, inputs(dtype))
    assert torch.equal(expected[0], found[0])
    rounded = {"rtol": 0.02, "atol": 0.1} if dtype == torch.bfloat16 else {}
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other, **rounded)
    with torch.no_grad():
        assert torch.equal(ours(inputs(dtype)), expected[0])


def test_a_frozen_norm_gives_its_weight_no_gradient():
    _, ours = frugal(LlamaRMSNorm(6))
    ours.weight.requires_grad_(False)
    x = inputs().requires_grad_()
    ours(x).sum().backward()
    assert x.grad is not None
    assert ours.weight.grad is None


def test_backward_can_be_run_again():
    _, ours = frugal(Gated())
    x = inputs().requires_grad_()
    out = ours(x)
    first, second = (torch.autograd.grad(out.sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_a_norm_keeps_no_float32_copy_of_its_input():
    _, ours = frugal(LlamaRMSNorm(6), torch.bfloat16)
    x = inputs(torch.bfloat16).requires_grad_()
    kept = [(t.dtype, tuple(t.shape)) for t in ours(x).grad_fn.saved_tensors]
    assert (torch.float32, (2, 5, 6)) not in kept
    assert (torch.float32, (2, 5, 1)) in kept


def passed(layer):
    """References to what goes into each product with a matrix, and what comes out."""
    seen = {}

    def look(name):
        def hook(module, args, out):
            seen[f"into {name}"] = StorageWeakRef(args[0].untyped_storage())
            seen[f"out of {name}"] = StorageWeakRef(out.untyped_storage())

        return hook

    for name in ("gate_proj", "up_proj", "down_proj"):
        getattr(layer, name).register_forward_hook(look(name))
    return seen


def test_the_product_is_not_kept_and_nothing_is_after_backward():
    plain, ours = frugal(Gated())
    for layer, kept in ((plain, True), (ours, False)):
        seen = passed(layer)
        loss = layer(inputs()).sum()
        assert seen["into down_proj"].expired() is not kept
        assert not seen["out of gate_proj"].expired()
        loss.backward()
        assert all(seen[name].expired() for name in ("out of gate_proj", "out of up_proj"))


def test_what_computes_something_else_stays_as_it_is():
    plus_one = LlamaRMSNorm(6)
    plus_one.forward = lambda x: LlamaRMSNorm.forward(plus_one, x) + x
    layers = Gated(twist=2.0), plus_one, nn.Linear(6, 6)
    kinds = [type(layer) for layer in layers]
    keep_less(Layers(*layers))
    assert [type(layer) for layer in layers] == kinds


@pytest.mark.parametrize("lora", [LoRASettings(rank=4), None])
def test_a_policy_learns_what_transformers_own_layers_would(tmp_path, lora):
    name = str(save_tiny_model(tmp_path))
    policy = Policy(PolicySettings(name, "float32", lora=lora))
    swapped = [m for m in policy.inner.modules() if type(m).__name__.startswith("Frugal")]
    assert len(swapped) == 3 * 2 + 1  # two norms and a gated layer in each of two, the last norm
    ids = torch.arange(24).view(2, 12)
    output = policy.inner(input_ids=ids).logits
    plain = AutoModelForCausalLM.from_pretrained(name)
    plain.resize_token_embeddings(output.shape[-1])
    torch.testing.assert_close(output[..., :256], plain(input_ids=ids).logits[..., :256])
    if lora is None:
        for model in (policy.inner, plain):
            model(input_ids=ids).logits[..., :256].square().mean().backward()
        ours = dict(policy.inner.named_parameters())
        for key, weight in plain.named_parameters():
            if "norm" in key or "mlp" in key:
                torch.testing.assert_close(ours[key].grad, weight.grad)


def test_checkpointed_layers_stay_as_they_are(tmp_path):
    settings = PolicySettings(str(save_tiny_model(tmp_path)), gradient_checkpointing=True)
    names = [type(module).__name__ for module in Policy(settings).inner.modules()]
    assert not any(name.startswith("Frugal") for name in names)
