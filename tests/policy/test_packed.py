"""Packed and padded batches against plain ones: log-probs, loss and every gradient, in float32."""

import re
from dataclasses import replace

import pytest
import torch

from losses import DPOLoss, EXOLoss, ORPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import AnswerOnly, MaskThinking, NoMasking
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.policy import layout_check as probe
from preflexor_pl.policy.kernels import block_attention, packed_attention
from preflexor_pl.policy.kernels.block_attention import AttentionSpec, Segment
from preflexor_pl.policy.layout_check import choose_batching
from preflexor_pl.rounds.reference import with_reference
from tests.families import save_family
from tests.runs.test_weights import FAMILIES
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
    assert choose_batching(policy, made_of(policy, batching)) == batching
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


@pytest.fixture
def chosen(capsys):
    """``chosen(policy, batching)``: the layout that is used, and the lines that announce it."""

    def chosen(policy, batching):
        capsys.readouterr()
        used = choose_batching(policy, made_of(policy, batching))
        return used, capsys.readouterr().out.splitlines()

    return chosen


def test_a_model_with_a_state_is_not_packed(tmp_path, chosen):
    """Mamba's layers carry a state from token to token, whatever attention is asked for."""
    policy = tiny_policy(save_family(tmp_path / "model", "mamba2"))
    used, [line] = chosen(policy, "packed")
    assert used == "padded"
    assert line == (
        f"data.batching: {tmp_path}/model does not support packed "
        "(a response depends on tokens of others): padded is used"
    )


def test_hidden_states_of_another_dtype_than_the_head_are_served(tmp_path, chosen):
    """Mamba's are float32, whatever its weights are."""
    policy = tiny_policy(save_family(tmp_path / "model", "mamba"), dtype="bfloat16")
    assert chosen(policy, "packed")[0] == "padded"


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("lfm2", "a response depends on tokens of others"),
        ("qwen3_5", "a response depends on tokens of others"),
        ("rwkv", "no attention that can be replaced"),
        ("bloom", "no attention that can be replaced"),
        ("gpt_neo", "no attention that can be replaced"),
    ],
)
def test_what_is_wrong_by_less_than_bfloat16_rounds_is_found(tmp_path, chosen, family, reason):
    """Small weights: what leaks from one response into the next is a part of the bound."""
    folder = save_family(tmp_path / "model", family, initializer_range=0.02)
    policy = tiny_policy(folder, dtype="bfloat16")
    used, lines = chosen(policy, "packed")
    assert used == "padded"
    assert reason in lines[-1]


@pytest.mark.parametrize(
    ("family", "reasons"),
    [
        ("doge", [r"the model's own code is not written for it: modeling_doge\.py, line \d+"]),
        ("jetmoe", [r"the model's own code is not written for it: modeling_jetmoe\.py, line \d+"]),
        ("llama4", ["it has no part that gives hidden states without its head"] * 2),
        ("modernbert-decoder", ["its head has a bias"] * 2),
    ],
)
def test_why_a_layout_does_not_serve_is_said_in_words(tmp_path, chosen, family, reasons):
    """Not in those of an exception of Python's or torch's."""
    policy = tiny_policy(save_family(tmp_path / "model", family))
    _, lines = chosen(policy, "packed")
    assert len(lines) == len(reasons)
    for line, reason in zip(lines, reasons, strict=True):
        assert re.fullmatch(rf"data\.batching: .* \({reason}\): \w+ is used", line)


def test_longrope_is_used_up_to_the_length_where_all_batches_take_the_same_factors(tmp_path):
    folder = save_family(tmp_path / "model", "phi3, longrope")  # other factors beyond 256 tokens
    policy = stirred(tiny_policy(folder))
    texts = "So. " * 30, "No. " * 40, "Yes." * 60  # with the prompt 162, 202 and 282 tokens
    data = PreferenceDataModule("corpus", max_length=400)
    collators = [data.collator_of(policy), made_of(policy, "padded"), made_of(policy, "plain")]
    long, *pairs = (
        collators[0].tokenize(replace(PAIR, id=text, prompt="Why?", chosen=text, rejected=text))
        for text in reversed(texts)
    )
    assert collators[0].problem_of(long) == "chosen_too_long"
    assert [collators[0].problem_of(pair) for pair in pairs] == ["", ""]
    with torch.no_grad():
        alone = [row for pair in pairs for row in probe._logps(policy, collators[2], [pair])]
        for collator in collators:
            together = probe._logps(policy, collator, pairs)
            for ours, theirs in zip(together, alone, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)
    with torch.no_grad():  # what is left out would not be the same
        mixed = probe._logps(policy, collators[0], [pairs[0], long])
    assert float((mixed[0] - alone[0]).abs().max()) > 0.01


def test_a_head_with_a_bias_has_its_logits_made_the_plain_way(tmp_path, chosen):
    policy = tiny_policy(save_tiny_model(tmp_path / "model", family="Phi", tied=False))
    used, lines = chosen(policy, "packed")
    assert used == "plain"
    assert [line.split("(")[1] for line in lines] == [
        "its head has a bias): padded is used",
        "its head has a bias): plain is used",
    ]
    assert chosen(policy, "plain") == ("plain", [])


def test_a_scale_that_is_not_known_shows(policy, chosen):
    """A head that does more than its config's known keys say would be wrong in silence."""
    head = policy.inner.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, output: 2 * output)
    used, [line] = chosen(policy, "padded")
    assert used == "plain"
    assert "nats off): plain is used" in line


def sharp(policy):
    """Logits far apart, as real models have them at ids drawn at random."""
    policy.inner.model.norm.weight.data *= 20
    return policy


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_the_noise_of_float32_grows_with_the_numbers(policy, chosen, monkeypatch, batching):
    """A Qwen2.5 of 0.5B is off by 1.2e-4 nats at log-probs near -20, and right."""
    sharp(policy)
    with torch.no_grad():
        made = probe._logps(policy, made_of(policy, "plain"), probe._made_up(policy))
    assert min(float(logps.min()) for logps in made) < -20
    kept = probe.flat_logps
    monkeypatch.setattr(probe, "flat_logps", lambda *a, **k: kept(*a, **k) + 1.2e-4)
    assert chosen(policy, batching) == (batching, [])
    monkeypatch.setattr(probe, "flat_logps", lambda *a, **k: kept(*a, **k) + 1.2e-2)
    assert chosen(policy, batching)[0] != batching


@pytest.mark.parametrize("scale", [lambda policy: policy, sharp], ids=["flat", "sharp"])
def test_a_rejected_response_that_sees_the_chosen_one_is_found(policy, chosen, monkeypatch, scale):
    def leaking(pairs):
        return [Segment(p.start, p.start + p.prompt + p.chosen + p.rejected) for p in pairs]

    monkeypatch.setattr(block_attention, "segments_of", leaking)
    used, [line] = chosen(scale(policy), "packed")
    assert used == "padded"
    assert "a response depends on tokens of others" in line


@pytest.mark.parametrize("window", [8, 4096])
def test_a_window_that_attention_is_not_told_of_is_found(tmp_path, chosen, window):
    """Qwen2-MoE hides old tokens by its masks alone, which packing does without."""
    options = {"sliding_window": window, "max_position_embeddings": 8192}
    policy = tiny_policy(save_family(tmp_path / "model", "qwen2_moe, window", **options))
    used, [line] = chosen(policy, "packed")
    assert used == "padded"
    assert f"(its attention hides more than packing sees (window: {window})): padded" in line


@pytest.mark.parametrize("family", ["mistral, window", "gemma3", "qwen3, window"])
def test_a_window_of_thousands_is_packed_where_attention_knows_of_it(tmp_path, chosen, family):
    folder = save_family(tmp_path / "model", family, sliding_window=4096)
    assert chosen(tiny_policy(folder), "packed") == ("packed", [])


def test_a_window_that_is_ignored_is_found(tmp_path, chosen, monkeypatch):
    policy = tiny_policy(save_family(tmp_path / "model", "mistral, window"))
    assert chosen(policy, "packed") == ("packed", [])
    monkeypatch.setattr(
        packed_attention, "AttentionSpec", lambda scale, cap, window: AttentionSpec(scale, cap)
    )
    used, [line] = chosen(policy, "packed")
    assert used == "padded"
    assert "nats off" in line


def test_sinks_are_not_dropped(tmp_path, chosen, monkeypatch):
    policy = tiny_policy(save_family(tmp_path / "model", "gpt_oss"))
    used, [line] = chosen(policy, "packed")
    assert used == "padded"
    assert "sinks" in line
    monkeypatch.setattr(packed_attention, "not_ignored", lambda others: [])
    used, [line] = chosen(policy, "packed")
    assert used == "padded"
    assert "nats off" in line


def test_an_unknown_batching_is_named(policy):
    with pytest.raises(ValueError, match=r"data\.batching.*packed, padded, plain"):
        made_of(policy, "ragged")
