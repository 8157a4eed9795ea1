import pytest
import torch

from preflexor_pl.policy.adapters import load_trained_state, trained_state
from preflexor_pl.policy.merge import merged
from tests.tiny import save_tiny_model, tiny_policy

IDS = torch.tensor([[5, 259, 7, 260, 9]])  # two of them are markers whose rows train


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def policy(request, tmp_path):
    return tiny_policy(save_tiny_model(tmp_path / "model", tied=request.param))


@torch.no_grad()
def disturb(policy, seed=0):
    """Trained weights far from where they start."""
    noise = torch.Generator().manual_seed(seed)
    for weight in trained_state(policy).values():
        weight.add_(torch.randn(weight.shape, generator=noise) * 0.3)


@torch.no_grad()
def logits(policy):
    return policy.model(input_ids=IDS, use_cache=False).logits


def frozen(policy):
    return {n: p.detach().clone() for n, p in policy.named_parameters() if not p.requires_grad}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_a_fresh_adapter_changes_nothing(policy):
    on = logits(policy)
    with policy.model.disable_adapter():
        assert torch.equal(on, logits(policy))


def test_only_adapters_and_the_rows_of_two_markers_train(policy):
    sizes = {name: p.numel() for name, p in trained_state(policy).items()}
    rows = [size for name, size in sizes.items() if "token" in name]
    tied = policy.inner.config.tie_word_embeddings
    assert rows == [2 * 32] if tied else [2 * 32, 2 * 32]
    # rank 4, a pair of factors a layer: q and o 32x32, k and v 32x16, gate and up 32x48, down 48x32
    assert sum(sizes.values()) - sum(rows) == 2 * 4 * (2 * 64 + 2 * 48 + 3 * 80)
    assert all(p.dtype == torch.float32 for p in trained_state(policy).values())


def test_merged_gives_the_adapters_outputs_and_restores_every_bit(policy):
    disturb(policy)
    before, on = frozen(policy), logits(policy)
    with merged(policy.model):
        folded = logits(policy)
        assert not same(frozen(policy), before)
    assert torch.allclose(folded, on, atol=1e-4)
    assert not torch.allclose(folded, _base(policy), atol=1e-1)
    assert same(frozen(policy), before)
    assert torch.equal(logits(policy), on)


def test_merged_restores_after_an_error(policy):
    disturb(policy)
    before, on = frozen(policy), logits(policy)
    with pytest.raises(KeyboardInterrupt), merged(policy.model):
        raise KeyboardInterrupt
    assert same(frozen(policy), before)
    assert torch.equal(logits(policy), on)


def test_adapters_off_is_the_base_to_the_bit_after_training(policy):
    before = _base(policy)
    optimizer = torch.optim.AdamW(trained_state_parameters(policy), lr=0.1)
    for _ in range(2):
        policy.model(input_ids=IDS).logits.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.allclose(logits(policy), before, atol=1e-2)
    assert torch.equal(_base(policy), before)


def test_the_first_values_follow_from_the_seed(model_folder):
    first, again, other = (trained_state(tiny_policy(model_folder, seed)) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


def test_no_weight_depends_on_the_global_random_state(model_folder):
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(dict(tiny_policy(model_folder).named_parameters()))
    assert same(*states)


def test_trained_state_goes_from_one_policy_to_another(model_folder):
    source, target = tiny_policy(model_folder), tiny_policy(model_folder, seed=1)
    disturb(source)
    load_trained_state(target, {n: w.clone() for n, w in trained_state(source).items()})
    assert torch.equal(logits(source), logits(target))


def test_other_names_are_refused(policy):
    state = dict(trained_state(policy))
    name, weight = state.popitem()
    with pytest.raises(KeyError, match=name.split(".")[-1]):
        load_trained_state(policy, state)
    with pytest.raises(KeyError, match="more"):
        load_trained_state(policy, {**state, name: weight, "more": weight})


def trained_state_parameters(policy):
    return [p for p in policy.parameters() if p.requires_grad]


def _base(policy):
    with policy.model.disable_adapter():
        return logits(policy)
