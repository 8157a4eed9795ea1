"""The two ways to hold weights answer the same questions, each in its own way."""

import pytest
import torch

from preflexor_pl.policy.weights import AdapterWeights, FullWeights
from tests.policy.test_adapters import IDS, disturb
from tests.tiny import tiny_policy


def public(kind):
    return {name for name in vars(kind) if not name.startswith("_")}


def test_both_have_the_same_methods():
    assert public(AdapterWeights) == public(FullWeights) >= {"policy", "base", "reference", "save"}


def test_settings_choose_how_weights_are_held(model_folder):
    kinds = [type(tiny_policy(model_folder, **options).weights) for options in ({}, {"lora": None})]
    assert kinds == [AdapterWeights, FullWeights]


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"lora": None}], ids=["adapters", "full"])
def test_base_and_reference_stay_as_the_phase_began(model_folder, options):
    policy = tiny_policy(model_folder, reference=True, **options)
    start = policy.inner(input_ids=IDS).logits
    disturb(policy)
    contexts = {
        "policy": policy.active_weights("policy"),
        "base": policy.active_weights("base"),
        "reference": policy.weights.reference(policy),
    }
    for name, context in contexts.items():
        with context as model:
            same = torch.allclose(model(input_ids=IDS).logits, start, atol=1e-5)
        assert same == (name != "policy"), name


def test_a_reference_that_was_not_kept_is_refused(model_folder):
    policy = tiny_policy(model_folder, lora=None)
    with pytest.raises(RuntimeError, match="build it with reference=True"):
        policy.weights.reference(policy)


def test_a_role_is_one_of_two(policy):
    with pytest.raises(KeyError):
        policy.active_weights(True)
