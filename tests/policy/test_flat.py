"""Packed and padded batches against plain ones: log-probs, loss and every gradient, in float32."""

from dataclasses import replace

import pytest
import torch

from losses import DPOLoss, EXOLoss, ORPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import AnswerOnly, MaskThinking, NoMasking
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import LoRASettings
from preflexor_pl.policy.probe import require_batching
from preflexor_pl.policy.reference import with_reference
from tests.test_weights import FAMILIES
from tests.tiny import PAIR, save_tiny_model, tiny_policy

TEXTS = {
    "a": ("Why is silk tough?", PAIR.chosen, "Because."),
    "b": ("Why?", "<|thinking|>\nNo.\n<|/thinking|>\nSo.", "It is a long story of many words."),
    "c": ("Is bone?", "<|thinking|>\nIt is.\n<|/thinking|>\nYes.", "<|thinking|>\n<|/thinking|>No"),
}
LOSSES = ORPOLoss(), DPOLoss(), EXOLoss()
MASKS = NoMasking(), MaskThinking(0.5), MaskThinking(), AnswerOnly()
SERVED = FAMILIES | {
    "granite: divided logits": {"family": "Granite", "logits_scaling": 8.0},
    "cohere: scaled logits": {"family": "Cohere", "logit_scale": 0.0625},
    "mistral: sliding window": {"family": "Mistral", "sliding_window": 7},
    "olmo2": {"family": "Olmo2"},
}
WAYS = {
    "lora": {},
    "full": {"lora": None},
    "checkpointed": {"gradient_checkpointing": True},
}


def made_of(policy, batching, masking=None, seed=3):
    return PairCollator(
        policy.tokenizer, policy.markers, policy.end_id, masking or NoMasking(), None, 256, 128,
        seed, batching,
    )  # fmt: skip


def pairs_of(policy):
    collator = made_of(policy, "plain")
    texts = TEXTS.items()
    return [
        collator.tokenize(replace(PAIR, id=name, prompt=p, chosen=c, rejected=r))
        for name, (p, c, r) in texts
    ]


def stirred(policy):
    """Adapters that do something, so that their gradients are not zero by construction."""
    generator = torch.Generator().manual_seed(5)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.1, generator=generator)
    return policy


def learned(policy, collator, pairs, loss):
    """(log-probs, loss, gradients) of one micro-batch."""
    policy.zero_grad(set_to_none=True)
    batch = collator(pairs, (0, 0))
    logps = policy.logps(batch)
    out = loss(logps, batch.reference_logps()).loss
    out.backward()
    gradients = {name: p.grad for name, p in policy.named_parameters() if p.requires_grad}
    return logps, out, gradients


def equal(ours, theirs, rtol=1e-4):
    for side in ("chosen", "rejected"):
        torch.testing.assert_close(
            getattr(ours[0], side), getattr(theirs[0], side), rtol=1e-5, atol=1e-4
        )
        assert torch.equal(getattr(ours[0], f"{side}_len"), getattr(theirs[0], f"{side}_len"))
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-5, atol=1e-5)
    assert ours[2].keys() == theirs[2].keys()
    for name, gradient in ours[2].items():
        other = theirs[2][name]
        assert (gradient - other).norm() <= rtol * other.norm() + 1e-6, name


@pytest.mark.parametrize("batching", ["packed", "padded"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_every_loss_and_mask_learns_the_same(model_folder, tmp_path, batching, way, loss):
    reference = loss.needs_reference
    policy = stirred(tiny_policy(model_folder, reference=reference, **WAYS[way]))
    pairs = pairs_of(policy)
    if reference:
        path = tmp_path / "reference.safetensors"
        pairs = with_reference(policy, made_of(policy, "plain"), pairs, 500, path, "here")
    for mask in MASKS:
        theirs = learned(policy, made_of(policy, "plain", mask), pairs, loss)
        ours = learned(policy, made_of(policy, batching, mask), pairs, loss)
        equal(ours, theirs)
        assert any(gradient.abs().max() > 0 for gradient in ours[2].values())


@pytest.mark.parametrize("batching", ["packed", "padded"])
@pytest.mark.parametrize("family", SERVED)
def test_every_kind_of_model(tmp_path, family, batching):
    options = {key: value for key, value in SERVED[family].items() if key != "attention"}
    folder = save_tiny_model(tmp_path / "model", **options)
    attention = SERVED[family].get("attention", "sdpa")
    policy = stirred(tiny_policy(folder, attn_implementation=attention))
    require_batching(policy, made_of(policy, batching))
    pairs = pairs_of(policy)
    theirs = learned(policy, made_of(policy, "plain"), pairs, ORPOLoss())
    equal(learned(policy, made_of(policy, batching), pairs, ORPOLoss()), theirs)
    assert policy.inner.config._attn_implementation == attention


def test_a_split_changes_no_gradient(policy):
    collator, pairs = made_of(stirred(policy), "packed"), pairs_of(policy)
    whole = learned(policy, collator, pairs, ORPOLoss())[2]
    parts = [learned(policy, collator, [pair], ORPOLoss())[2] for pair in pairs]
    for name, gradient in whole.items():
        torch.testing.assert_close(gradient, sum(p[name] for p in parts) / 3, rtol=1e-3, atol=1e-6)


def test_the_rejected_response_does_not_see_the_chosen_one_nor_a_pair_another(policy):
    collator = made_of(policy, "packed")
    first, second, third = pairs_of(policy)
    other = replace(first, chosen=second.chosen)
    with torch.no_grad():
        before = policy.logps(collator([first, third], (0, 0)))
        after = policy.logps(collator([other, third], (0, 0)))
    assert before.chosen[0] != after.chosen[0]
    torch.testing.assert_close(before.rejected, after.rejected, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(before.chosen[1], after.chosen[1], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_the_reference_is_the_plain_one(model_folder, tmp_path, batching):
    policy = stirred(tiny_policy(model_folder, reference=True))
    found = {}
    for name in ("plain", batching):
        path = tmp_path / f"{name}.safetensors"
        pairs = with_reference(policy, made_of(policy, name), pairs_of(policy), 200, path, "here")
        found[name] = [logps for pair in pairs for logps in pair.reference]
    for ours, theirs in zip(found[batching], found["plain"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def refused(policy, batching):
    with pytest.raises(ConfigError) as caught:
        require_batching(policy, made_of(policy, batching))
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"data.batching: {batching} does not serve ")
    return line


def test_a_model_with_a_state_is_refused_where_it_would_leak(tmp_path):
    """Mamba's layers carry a state from token to token, whatever attention is asked for."""
    options = {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 16}
    folder = save_tiny_model(tmp_path / "model", family="Mamba2", **options)
    policy = tiny_policy(
        folder, attn_implementation="eager", lora=LoRASettings(4, 8, target_modules=["in_proj"])
    )
    assert "use padded" in refused(policy, "packed")


def test_a_head_with_a_bias_is_refused_by_both(tmp_path):
    folder = save_tiny_model(tmp_path / "model", family="Phi", tied=False)
    policy = tiny_policy(folder)
    assert "use padded" in refused(policy, "packed")
    assert "its head is no matrix" in refused(policy, "padded")
    require_batching(policy, made_of(policy, "plain"))


def test_a_scale_that_is_not_known_shows(policy, monkeypatch):
    """A head that does more than its config's known keys say would be wrong in silence."""
    head = policy.inner.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert "nats off): use plain" in refused(policy, "padded")


def test_an_unknown_batching_is_named(policy):
    with pytest.raises(ValueError, match=r"data\.batching.*packed, padded, plain"):
        made_of(policy, "ragged")
