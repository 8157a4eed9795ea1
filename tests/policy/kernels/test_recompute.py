"""Layers that save fewer activations against transformers' own, and what they save."""

import copy

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import LlamaConfig
from transformers.models.cohere.modeling_cohere import CohereLayerNorm
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

import preflexor_pl.policy.policy
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.policy.kernels import recompute as module
from preflexor_pl.policy.kernels.recompute import save_fewer_activations
from preflexor_pl.policy.policy import Policy
from tests.tiny import save_tiny_model


class Clamped(LlamaMLP):
    """Llama's but for large numbers."""

    def forward(self, x):
        gate = self.gate_proj(x).clamp(max=10.0)
        return self.down_proj(self.act_fn(gate) * self.up_proj(x))


class Fourth(LlamaRMSNorm):
    """Llama's but for a number."""

    def forward(self, hidden_states):
        input_dtype = hidden_states.dtype
        hidden_states = hidden_states.to(torch.float32)
        variance = hidden_states.pow(4).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * hidden_states.to(input_dtype)


class Detached(LlamaMLP):
    """Llama's but for the gradient."""

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)).detach() * self.up_proj(x))


class TrainedActivation(LlamaMLP):
    def __init__(self, config):
        super().__init__(config)
        self.act_fn = nn.PReLU()


class Indexed(LlamaRMSNorm):
    """Takes token ids."""

    def forward(self, ids):
        return self.weight[ids]


class WithAGate(LlamaRMSNorm):
    def forward(self, x, gate=None):
        return super().forward(x if gate is None else x * gate)


def gated(act="silu", kind=LlamaMLP):
    return kind(
        LlamaConfig(
            hidden_size=6,
            intermediate_size=10,
            num_attention_heads=2,
            hidden_act=act,
            mlp_bias=True,
        )
    )


def recomputing_twin(layer, dtype=torch.float32):
    """The layer, and its twin that saves fewer activations."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for weight in layer.parameters():
            weight.data = torch.randn_like(weight).to(dtype)
    twin = copy.deepcopy(layer)
    save_fewer_activations(nn.Sequential(twin))
    assert type(twin).__name__ == f"Recomputing{type(layer).__name__}"
    return layer, twin


def learned(layer, x):
    x = x.clone().requires_grad_()
    out = layer(x)
    (out.float() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out, x.grad, *(weight.grad for weight in layer.parameters())


def inputs(dtype=torch.float32):
    return torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1)).to(dtype)


def apart(one, other):
    return (one.float() - other.float()).norm() / other.float().norm()


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
@pytest.mark.parametrize("layer", [LlamaRMSNorm(6), gated(), gated("gelu_pytorch_tanh")])
def test_the_same_values_to_the_bit_and_the_same_gradients(layer, dtype, most):
    plain, ours = recomputing_twin(copy.deepcopy(layer), dtype)
    expected, found = learned(plain, inputs(dtype)), learned(ours, inputs(dtype))
    assert torch.equal(expected[0], found[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.dtype == other.dtype
        assert apart(one, other) < most
    with torch.no_grad():
        assert torch.equal(ours(inputs(dtype)), expected[0])


def test_a_frozen_norm_gives_its_weight_no_gradient():
    _, ours = recomputing_twin(LlamaRMSNorm(6))
    ours.weight.requires_grad_(False)
    x = inputs().requires_grad_()
    ours(x).sum().backward()
    assert x.grad is not None
    assert ours.weight.grad is None


def test_backward_can_be_run_again():
    plain, ours = recomputing_twin(gated())
    x = inputs().requires_grad_()
    out = ours(x)
    expected = torch.autograd.grad(plain(x).sum(), x)[0]
    for _ in range(2):
        torch.testing.assert_close(
            torch.autograd.grad(out.sum(), x, retain_graph=True)[0], expected
        )


def test_a_norm_keeps_no_float32_copy_of_its_input():
    _, ours = recomputing_twin(LlamaRMSNorm(6), torch.bfloat16)
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
    plain, ours = recomputing_twin(gated())
    for layer, kept in ((plain, True), (ours, False)):
        seen = passed(layer)
        loss = layer(inputs()).sum()
        assert seen["into down_proj"].expired() is not kept
        assert not seen["out of gate_proj"].expired()
        loss.backward()
        assert all(seen[name].expired() for name in ("out of gate_proj", "out of up_proj"))


def test_where_nothing_before_it_trains_the_product_alone_is_kept():
    _, ours = recomputing_twin(gated())
    for part in (ours.gate_proj, ours.up_proj):
        part.requires_grad_(False)
    seen = passed(ours)
    loss = ours(inputs()).sum()
    assert seen["out of gate_proj"].expired()
    loss.backward()
    assert ours.down_proj.weight.grad is not None


@pytest.mark.parametrize(
    "layer",
    [
        gated(kind=Clamped),
        gated(kind=Detached),
        gated(kind=TrainedActivation),
        Indexed(6),
        Fourth(6),
        WithAGate(6),
        GemmaRMSNorm(6),
        nn.RMSNorm(6),
        CohereLayerNorm((2, 6)),
    ],
)
def test_what_computes_something_else_stays_as_it_is(layer):
    kind = type(layer)
    save_fewer_activations(nn.Sequential(layer))
    assert type(layer) is kind


def test_the_trial_run_leaves_no_trace():
    model, state = nn.Sequential(gated(), LlamaRMSNorm(6)), torch.random.get_rng_state()
    save_fewer_activations(model)
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_layers_of_one_kind_share_a_trial(monkeypatch):
    trials = []
    real = module._trial
    monkeypatch.setattr(module, "_trial", lambda *a: trials.append(a) or real(*a))
    other = LlamaRMSNorm(6)
    other.limit = 7.0  # what another attribute means is not known: a kind of its own
    model = nn.Sequential(*[LlamaRMSNorm(6) for _ in range(3)], gated(), gated(), other)
    save_fewer_activations(model)
    assert len(trials) == 2 * 3
    assert all(type(layer).__name__.startswith("Recomputing") for layer in model)
    clamped = nn.Sequential(gated(), gated(kind=Clamped), gated())
    save_fewer_activations(clamped)
    assert [type(layer) is Clamped for layer in clamped] == [False, True, False]


def test_a_layer_whose_forward_was_put_in_its_place_stays_as_it_is():
    layer = LlamaRMSNorm(6)
    layer.forward = lambda x: x
    save_fewer_activations(nn.Sequential(layer))
    assert type(layer) is LlamaRMSNorm


def policy_of(folder, monkeypatch, kept, **settings):
    """A policy whose adapters do something."""
    with monkeypatch.context() as patch:
        if kept:
            patch.setattr(preflexor_pl.policy.policy, "save_fewer_activations", lambda model: None)
        policy = Policy(PolicySettings(str(folder), **settings))
    generator = torch.Generator().manual_seed(0)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.1, generator=generator)
    return policy


def recomputing(policy):
    return [m for m in policy.inner.modules() if type(m).__name__.startswith("Recomputing")]


@pytest.mark.parametrize(
    ("lora", "dtype"),
    [(LoRASettings(rank=4), "float32"), (LoRASettings(rank=4), "bfloat16"), (None, "float32")],
)
def test_a_policy_learns_what_it_would_with_transformers_own_layers(
    tmp_path, monkeypatch, lora, dtype
):
    folder = save_tiny_model(tmp_path)
    ids = torch.arange(24).view(2, 12)
    both = []
    for kept in (True, False):
        policy = policy_of(folder, monkeypatch, kept, lora=lora, dtype=dtype)
        # two norms and a gated layer in each of two, and the last norm; one class for each kind
        assert len(recomputing(policy)) == (0 if kept else 3 * 2 + 1)
        assert len(set(map(type, recomputing(policy)))) == (0 if kept else 2)
        logits = policy.inner(input_ids=ids).logits
        logits.float().square().mean().backward()
        trained = {n: p.grad for n, p in policy.named_parameters() if p.grad is not None}
        both.append((logits.detach(), trained))
    (plain, expected), (ours, found) = both
    assert torch.equal(ours, plain)
    assert found.keys() == expected.keys()
    most = 1e-5 if dtype == "float32" else 0.02
    for name, gradient in found.items():
        assert apart(gradient, expected[name]) < most


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapted_layers_do_not_keep_the_product_either(tmp_path, monkeypatch, dtype):
    policy = policy_of(save_tiny_model(tmp_path), monkeypatch, kept=False, dtype=dtype)
    seen = passed(policy.inner.get_decoder().layers[0].mlp)
    logits = policy.inner(input_ids=torch.arange(12)[None]).logits
    assert seen["into down_proj"].expired()
    assert not seen["out of gate_proj"].expired()
    logits.sum().backward()
    assert seen["out of gate_proj"].expired()


def test_checkpointed_layers_stay_as_they_are(tmp_path, monkeypatch):
    folder = save_tiny_model(tmp_path)
    policy = policy_of(folder, monkeypatch, kept=False, gradient_checkpointing=True)
    assert not recomputing(policy)
