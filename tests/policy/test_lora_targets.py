"""Adapters lie where they serve: what trains with them on is what folding makes of them."""

import pytest
import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import LoRASettings
from preflexor_pl.policy.gradient_check import check_gradients
from preflexor_pl.policy.lora_targets import layers_without_effect
from preflexor_pl.policy.merge import merged
from tests.families import save_family
from tests.policy.test_adapters import disturb, logits, same
from tests.tiny import tiny_policy


def adapted(policy):
    """The last two names of each layer that has an adapter."""
    names = (name for name, _ in policy.named_modules() if name.endswith("lora_A"))
    return {".".join(name.split(".")[-3:-1]) for name in names}


def policy_of(folder, family, **settings):
    return tiny_policy(save_family(folder / family, family), **settings)


@pytest.mark.parametrize(
    ("family", "served", "passed_over"),
    [
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"}, ()),
        ("mamba", {"in_proj", "x_proj"}, ("mixer.dt_proj", "mixer.out_proj")),
        ("mamba2", {"in_proj"}, ("mixer.out_proj",)),
        ("falcon_h1", {"in_proj", "q_proj", "o_proj"}, ("mamba.out_proj",)),
        ("jamba", {"in_proj", "q_proj", "o_proj"}, ("mamba.dt_proj", "mamba.out_proj")),
        ("qwen3_next", {"in_proj_qkvz", "out_proj", "q_proj"}, ()),
        ("llama4", {"q_proj", "up_proj"}, ("feed_forward.router",)),  # it returns two tensors
        ("big_bird", {"query", "dense"}, ("bert.pooler",)),  # its output goes nowhere
        ("bart", {"q_proj", "fc1"}, ("encoder_attn.k_proj", "encoder_attn.out_proj")),
    ],
)
def test_what_a_model_reads_itself_or_not_at_all_gets_no_adapter(
    tmp_path, capsys, family, served, passed_over
):
    policy = policy_of(tmp_path, family)
    told = capsys.readouterr().out
    assert served <= {name.split(".")[-1] for name in adapted(policy)}
    assert not adapted(policy) & set(passed_over)
    assert ("No adapters on" in told) == bool(passed_over)
    assert all(name in told for name in passed_over)
    check_gradients(policy)


def test_one_of_many_experts_that_other_tokens_call_counts_as_called():
    class Experts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(8, 4)
            self.layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(3))
            self.never = torch.nn.Linear(4, 4)
            self.head = torch.nn.Linear(4, 8)

        def get_input_embeddings(self):
            return self.table

        def get_output_embeddings(self):
            return self.head

        def forward(self, input_ids, use_cache):
            from types import SimpleNamespace

            return SimpleNamespace(logits=self.head(self.layers[1](self.table(input_ids))))

    assert layers_without_effect(Experts().requires_grad_(False)) == ["never"]


@pytest.mark.parametrize(
    "family", ["mixtral", "qwen3_moe", "deepseek_v2", "jamba", "mamba", "lfm2"]
)
def test_folding_gives_the_adapters_logits_and_takes_nothing_away(tmp_path, family):
    policy = policy_of(tmp_path, family)
    disturb(policy)
    frozen = {n: p.detach().clone() for n, p in policy.named_parameters() if not p.requires_grad}
    on = logits(policy)
    with merged(policy.model):
        folded = logits(policy)
    assert torch.allclose(folded, on, atol=1e-3 * float(on.abs().max()))
    with policy.model.disable_adapter():
        assert not torch.allclose(logits(policy), on, atol=0.1)
    now = {n: p.detach() for n, p in policy.named_parameters() if not p.requires_grad}
    assert same(frozen, now)


def test_experts_of_peft_train_and_stack(tmp_path):
    folder = save_family(tmp_path / "model", "mixtral")
    first = tiny_policy(folder)
    assert "mlp.experts" in adapted(first)
    disturb(first)
    first.save(tmp_path / "first")
    second = tiny_policy(folder, start_from=str(tmp_path / "first"), seed=1)
    assert torch.allclose(logits(second), logits(first), atol=1e-3)
    disturb(second, 1)
    on = logits(second)
    with merged(second.model):
        assert torch.allclose(logits(second), on, atol=1e-3 * float(on.abs().max()))
    check_gradients(second)


def test_experts_that_get_no_adapter_are_named(tmp_path, capsys):
    policy_of(tmp_path, "granitemoe")
    told = capsys.readouterr().out
    assert "No adapters on the experts (experts.gate_up_proj, experts.down_proj: 0.0 M" in told


def test_target_modules_that_peft_refuses_are_one_line(tmp_path):
    folder = save_family(tmp_path / "mamba", "mamba")
    lora = LoRASettings(4, 8, target_modules=["out_proj"])
    with pytest.raises(ConfigError, match=r"^model\.policy\.lora\.target_modules: .*out_proj"):
        tiny_policy(folder, lora=lora)
    lora = LoRASettings(4, 8, target_modules=["nowhere"])
    with pytest.raises(ConfigError, match=r"^model\.policy\.lora\.target_modules: .*nowhere"):
        tiny_policy(folder, lora=lora)
