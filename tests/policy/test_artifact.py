import json
import re

import pytest
import torch

from preflexor_pl.core.chat import encode
from preflexor_pl.policy.adapters import trained_state
from tests.tiny import save_tiny_model, tiny_policy

TEXT = "Why? Use <|thinking|>.<|thinking|>Hm<|/thinking|>So<|reflect|>"


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def saved(request, tmp_path):
    """A policy whose weights all moved, and the folder that it was saved to."""
    policy = tiny_policy(save_tiny_model(tmp_path / "model", tied=request.param))
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trained_state(policy).values():
            weight.add_(torch.randn(weight.shape, generator=noise) * 0.2)
    policy.save(tmp_path / "run/adapter")
    return policy, tmp_path / "run/adapter"


def run_the_cards_snippet(folder):
    (snippet,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert "preflexor" not in snippet.replace(str(folder), "")
    names = {}
    exec(snippet, names)
    return names["model"], names["tokenizer"]


@torch.no_grad()
def test_the_cards_snippet_loads_the_adapter_with_plain_peft_and_transformers(saved):
    policy, folder = saved
    model, tokenizer = run_the_cards_snippet(folder)
    ids = encode(tokenizer, TEXT)
    assert ids == encode(policy.tokenizer, TEXT)
    assert {*policy.marker_ids} - {*ids} == {policy.markers.reflect_end}
    asked = torch.tensor([ids])
    assert torch.allclose(
        model.eval()(asked).logits, policy.model.eval()(asked).logits, rtol=1e-5, atol=1e-5
    )
    with model.disable_adapter(), policy.model.disable_adapter():
        assert torch.equal(model(asked).logits, policy.model(asked).logits)
    assert tokenizer.chat_template == policy.tokenizer.chat_template


def test_the_folder_holds_what_trains_and_no_whole_table(saved):
    from safetensors import safe_open

    policy, folder = saved
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        sizes = [file.get_tensor(name).numel() for name in file.keys()]  # noqa: SIM118
    assert sum(sizes) == sum(p.numel() for p in trained_state(policy).values())
    assert not [file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".ckpt")]


def test_base_json_says_which_base_and_which_tokens(saved):
    policy, folder = saved
    known = json.loads((folder / "base.json").read_text())
    assert known["model"] == policy.settings.model_name
    assert known["dtype"] == "float32"
    assert len(known["sha256"]) == 64
    assert known["added_tokens"] == dict(
        zip(
            ("<|thinking|>", "<|/thinking|>", "<|reflect|>", "<|/reflect|>"),
            range(259, 263),
            strict=True,
        )
    )


def test_a_secret_in_the_environment_is_in_no_file(saved, monkeypatch):
    policy, folder = saved
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_real_one")
    policy.save(folder)
    for file in folder.iterdir():
        assert b"hf_not_a_real_one" not in file.read_bytes()
