"""One fit step on every kind of model and every way to hold its weights: tiny, random, real."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from losses import DPOLoss, EXOLoss, ORPOLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import AnswerOnly, MaskThinking, NoMasking
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import LoRASettings, PolicySettings, Sampling
from preflexor_pl.module import PreferenceModule
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.policy.adapters import trained_state
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.policy import Policy
from preflexor_pl.rounds.reference import with_reference
from tests.families import save_family
from tests.test_module import TEXTS, Steps
from tests.tiny import PAIR, save_tiny_model, tiny_policy

LORA = LoRASettings(rank=4, alpha=8)
FAMILIES = {
    "llama": {},
    "llama, untied": {"tied": False},
    "llama without a chat template": {"template": None},
    "qwen3": {"family": "Qwen3", "head_dim": 8},
    "gemma2: capped logits, sliding window": {
        "family": "Gemma2", "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16,
        "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0,
        "attention": "eager",
    },
    "gemma3: sliding window, scaled embedding": {
        "family": "Gemma3", "config": "Gemma3TextConfig", "head_dim": 8, "sliding_window": 16,
        "query_pre_attn_scalar": 8,
    },
}  # fmt: skip


def save(folder, family):
    options = {key: value for key, value in FAMILIES[family].items() if key != "attention"}
    return save_tiny_model(folder, **options)


def fit_one_step(folder, loss, masking=None, texts=TEXTS, steps=1, **settings):
    """(module, loss that each step logged) after ``steps`` steps over the same pairs."""
    options = {"dtype": "float32", "lora": LORA} | settings
    module = PreferenceModule(PolicySettings(str(folder), **options), loss, lr=1e-2)
    module.configure_callbacks = list
    module.configure_model()
    policy = module.policy
    collator = PairCollator(
        policy.tokenizer, policy.markers, policy.end_id, masking or NoMasking(), None, 256, 128, 0
    )
    from dataclasses import replace

    pairs = [
        collator.tokenize(replace(PAIR, id=str(n), prompt=p, chosen=c, rejected=r))
        for n, (p, c, r) in enumerate(texts)
    ]
    if loss.needs_reference:
        path = folder.parent / f"{loss}-{len(settings)}.safetensors"
        pairs = with_reference(policy, collator, pairs, 500, path, "here")
    batches = [[collator(pairs, (0, step))] for step in range(steps)]
    logged = []
    module.log_dict = lambda values, batch_size: logged.append(float(values["train/loss"]))
    trainer = Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, Steps(*batches))
    return module, logged


def moved(module, folder, **settings):
    """Names of the weights that training changed."""
    options = {"dtype": "float32", "lora": LORA} | settings
    fresh = PreferenceModule(PolicySettings(str(folder), **options), module.loss)
    fresh.configure_model()
    before = dict(fresh.policy.named_parameters())
    after = dict(module.policy.named_parameters())
    return {name for name, weight in after.items() if not torch.equal(weight, before[name])}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_step_on(tmp_path, family):
    attention = FAMILIES[family].get("attention", "sdpa")
    folder = save(tmp_path / "model", family)
    module, logged = fit_one_step(folder, ORPOLoss(), attn_implementation=attention)
    assert all(map(torch.isfinite, map(torch.tensor, logged)))
    changed = moved(module, folder, attn_implementation=attention)
    assert changed <= set(trained_state(module.policy))
    assert any("trainable_tokens" in name for name in changed)
    asked = Request("Why?", "Be brief.", Sampling(max_new_tokens=24, temperature=0))
    made = LocalGenerator(module.policy, "policy").complete([asked] * 2)
    assert made[0].tokens > 0
    assert made[0] == made[1]


def test_the_copy_of_the_base_has_the_kernel_of_the_policy(tmp_path):
    folder = save(tmp_path / "model", "gemma2: capped logits, sliding window")
    settings = PolicySettings(str(folder), "float32", attn_implementation="eager", lora=None)
    asked = [Request("Why?", "Be brief.", Sampling(max_new_tokens=4, temperature=0))]
    assert LocalGenerator(Policy(settings), "base").complete(asked)[0].tokens > 0


def test_a_model_without_sdpa_runs_with_eager_and_says_so(tmp_path, capsys):
    folder = save(tmp_path / "model", "gemma2: capped logits, sliding window")
    module, _ = fit_one_step(folder, ORPOLoss())
    assert module.policy.inner.config._attn_implementation == "eager"
    assert f"{folder} has no sdpa attention: it runs with eager\n" in capsys.readouterr().out


@pytest.mark.parametrize("family", ["llama", "llama, untied"])
@pytest.mark.parametrize("loss", [ORPOLoss(), EXOLoss()], ids=["orpo", "exo"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"lora": None}, {"quantization": "4bit"}, {"gradient_checkpointing": True}],
    ids=["lora", "full", "4bit", "checkpointed"],
)
def test_ways_to_hold_the_weights(tmp_path, family, loss, settings):
    folder = save(tmp_path / "model", family)
    module, logged = fit_one_step(folder, loss, steps=2, **settings)
    assert logged[1] < logged[0]
    if loss.needs_reference:
        assert logged[0] == pytest.approx(1.95852, abs=2e-5)
    changed = moved(module, folder, **settings)
    assert changed
    assert changed <= set(trained_state(module.policy))


@pytest.mark.parametrize("masking", [NoMasking(), MaskThinking(0.5), AnswerOnly(True)])
@pytest.mark.parametrize("settings", [{}, {"lora": None}], ids=["lora", "full"])
def test_a_policy_that_is_its_reference_starts_at_ln_2(tmp_path, masking, settings):
    folder = save(tmp_path / "model", "llama")
    texts = [
        (
            "Why?",
            "<|thinking|>It bends and bends.<|/thinking|>So.",
            "<|thinking|>A<|/thinking|>No.",
        ),
        ("How?", "<|thinking|>Slowly.<|/thinking|>Thus.", "Hm hm."),
    ]
    _, logged = fit_one_step(folder, DPOLoss(beta=0.5), masking, texts, steps=3, **settings)
    assert logged[0] == pytest.approx(0.6931472, abs=1e-5)
    assert logged[2] < logged[0] - 1e-3


@pytest.mark.parametrize(
    ("family", "idle"),
    [("big_bird", "pooler.bias, pooler.weight"), ("afmoe", "mlp.expert_bias")],
)
def test_full_fine_tuning_leaves_what_no_output_depends_on(tmp_path, capsys, family, idle):
    folder = save_family(tmp_path / "model", family)
    module, logged = fit_one_step(folder, ORPOLoss(), steps=2, lora=None)
    assert logged[1] < logged[0]
    told = capsys.readouterr().out
    assert f"These weights stay as they are, as no output depends on them: {idle}\n" in told
    stays = {name for name, p in module.policy.named_parameters() if not p.requires_grad}
    assert not stays & set(trained_state(module.policy))
    assert all(name.endswith(tuple(idle.split(", "))) for name in stays)


def test_full_fine_tuning_keeps_its_base_and_its_reference(tmp_path, capsys):
    folder = save(tmp_path / "model", "llama")
    module, _ = fit_one_step(folder, DPOLoss(), steps=2, lora=None)
    policy = module.policy
    told = capsys.readouterr().out
    assert "weights train: 0.0 GB, as much for gradients" in told
    assert "A copy of the start as reference: 0.0 GB" in told
    assert "teacher" not in told  # it is loaded where it is asked for
    ids = torch.tensor([[5, 20, 7, 60, 9]])
    fresh = PreferenceModule(policy.settings, DPOLoss())
    fresh.configure_model()
    with torch.no_grad():
        assert torch.equal(
            policy.weights.reference_copy(ids).logits, fresh.policy.model(ids).logits
        )
        with policy.active_weights("base") as base, fresh.policy.active_weights("base") as before:
            assert torch.equal(base(ids).logits, before(ids).logits)
        assert "A copy of the base as teacher: 0.0 GB" in capsys.readouterr().out
        assert not torch.allclose(policy.model(ids).logits, fresh.policy.model(ids).logits)


def test_checkpointing_computes_the_layers_again_and_survives_generation(tmp_path):
    folder = save(tmp_path / "model", "llama")
    module = PreferenceModule(
        PolicySettings(str(folder), "float32", lora=LORA, gradient_checkpointing=True)
    )
    module.configure_model()
    policy, calls = module.policy, []
    policy.inner.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))

    def step():
        calls.clear()
        ids = torch.tensor([[5, 20, 7]])
        policy.model(input_ids=ids, use_cache=False).logits.sum().backward()
        return len(calls)

    assert step() == 2  # forward, and again in backward
    LocalGenerator(policy, "policy").complete(
        [Request("Why?", sampling=Sampling(max_new_tokens=4))]
    )
    assert step() == 2


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_checkpointing_brings_no_dropout_in(tmp_path, family):
    """OPT's layers drop by themselves where they train."""
    folder = save_family(tmp_path / "model", family)
    logged = [
        fit_one_step(folder, ORPOLoss(), gradient_checkpointing=on)[1] for on in (False, True)
    ]
    assert logged[1] == pytest.approx(logged[0], rel=1e-5)


def test_a_model_that_cannot_checkpoint_is_named(tmp_path):
    folder = save_family(tmp_path / "model", "ctrl")
    with pytest.raises(ConfigError, match=r"^model\.policy\.gradient_checkpointing: CTRL"):
        tiny_policy(folder, gradient_checkpointing=True)


def test_a_full_run_starts_from_adapters_and_adapters_from_a_full_run(tmp_path):
    folder = save(tmp_path / "model", "llama")
    ids = torch.tensor([[5, 259, 7, 260, 9]])
    lora, _ = fit_one_step(folder, ORPOLoss())
    lora.policy.save(tmp_path / "lora")
    full = {"lora": None, "start_from": str(tmp_path / "lora")}
    whole = PreferenceModule(PolicySettings(str(folder), "float32", **full), EXOLoss())
    whole.configure_model()
    with torch.no_grad():
        on = lora.policy.model(ids).logits
        assert torch.allclose(whole.policy.model(ids).logits, on, atol=1e-4)
    whole.policy.save(tmp_path / "whole")
    settings = PolicySettings(str(folder), "float32", lora=LORA, start_from=str(tmp_path / "whole"))
    last = PreferenceModule(settings, EXOLoss())
    last.configure_model()
    last.policy.save(tmp_path / "last")
    third = PreferenceModule(
        PolicySettings(str(folder), "float32", lora=LORA, start_from=str(tmp_path / "last"))
    )
    third.configure_model()
    with torch.no_grad():
        assert torch.equal(last.policy.model(ids).logits, whole.policy.model(ids).logits)
        assert torch.equal(third.policy.model(ids).logits, whole.policy.model(ids).logits)
        seen = torch.tensor([[5, 20, 7]])
        with (
            last.policy.active_weights("base") as base,
            lora.policy.active_weights("base") as first,
        ):
            assert torch.equal(base(seen).logits[..., :259], first(seen).logits[..., :259])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "start"), [(DPOLoss(0.5), 0.6931472), (EXOLoss(0.5), 1.9585182)], ids=["dpo", "exo"]
)
def test_the_real_model_on_real_pairs_starts_where_it_must(tmp_path, loss, start):
    pytest.importorskip("gguf")
    settings = PolicySettings(dtype="float32", attn_implementation="eager", lora=LORA)
    policy = Policy(settings, reference=True)
    collator = PairCollator(
        policy.tokenizer, policy.markers, policy.end_id, AnswerOnly(True), None, 512, 128, 0
    )
    read = read_pairs(Path(__file__).parents[2] / "benchmarks/data/pairs.jsonl")
    pairs = [collator.tokenize(pair) for pair in read[:2]]
    pairs = with_reference(policy, collator, pairs, 9999, tmp_path / "here", "here")
    with torch.no_grad():
        for pair in pairs:  # the reference's were computed side by side
            batch = collator([pair], (0, 0))
            value = float(loss(policy.logps(batch), batch.reference_logps()).loss)
            assert value == pytest.approx(start, abs=1e-5)
