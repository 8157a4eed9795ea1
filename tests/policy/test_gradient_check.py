"""Every weight that should train gets a gradient, or is named."""

import pytest
import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import LoRASettings
from preflexor_pl.policy.adapters import attach_lora
from preflexor_pl.policy.gradient_check import check_gradients
from tests.tiny import tiny_policy


@pytest.mark.parametrize("rank", [2, 4])  # an adapter of rank 2 has the shape of two rows
def test_check_gradients_passes_and_leaves_none(model_folder, rank):
    policy = tiny_policy(model_folder, lora=LoRASettings(rank=rank))
    check_gradients(policy)
    assert all(p.grad is None for p in policy.parameters())


def test_check_gradients_of_whole_weights(model_folder):
    policy = tiny_policy(model_folder, lora=None)
    check_gradients(policy)
    policy.inner.get_input_embeddings().weight.register_hook(
        lambda gradient: gradient.index_fill(0, torch.tensor(policy.trained_rows[:1]), 0)
    )
    with pytest.raises(ConfigError, match=r"no gradient: .*embed_tokens"):
        check_gradients(policy)


def test_check_gradients_refuses_rows_that_would_not_train(policy):
    base = policy.model.unload()
    policy.model = attach_lora(base, policy.settings.lora, [5, 6], 0)  # rows of other tokens
    with pytest.raises(ConfigError, match=r"no gradient: .*trainable_tokens"):
        check_gradients(policy)


def test_check_gradients_refuses_a_detached_table(policy):
    table = policy.inner.get_input_embeddings()
    table.register_forward_hook(lambda module, args, out: out.detach())
    head = policy.inner.get_output_embeddings()
    head.register_forward_hook(lambda module, args, out: out.detach().requires_grad_())
    with pytest.raises(ConfigError, match=r"no gradient: .*trainable_tokens"):
        check_gradients(policy)
