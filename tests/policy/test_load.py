"""What is loaded by a name, and what cannot be is said in one line."""

import json

import pytest
import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy import load
from preflexor_pl.policy.tokenizer import tokenizer_of
from tests.families import save_family
from tests.tiny import tiny_policy


def refused(call, *args):
    with pytest.raises(ConfigError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_a_model_is_never_asked_about(tmp_path, monkeypatch, file):
    folder = save_family(tmp_path / "model", "llama")
    held = json.loads((folder / file).read_text())
    classes = {"AutoConfig": "code.C", "AutoTokenizer": ["code.T", None]}
    held |= {"auto_map": classes, "model_type": "newest", "tokenizer_class": "Newest"}
    (folder / file).write_text(json.dumps(held))
    (folder / "code.py").write_text("raise SystemExit('run')")
    monkeypatch.setattr("builtins.input", lambda *args: pytest.fail("asked"))
    assert "needs Python code of its own" in refused(tiny_policy, folder)
    assert "needs Python code of its own" in refused(tokenizer_of, PolicySettings(str(folder)))


def test_a_family_that_lacks_what_is_needed_is_named(tmp_path):
    line = refused(tiny_policy, save_family(tmp_path / "model", "xlstm"))
    assert "model: its tables of tokens cannot be had: " in line


@pytest.mark.parametrize(
    ("amx", "avx512", "vendor", "expected"),
    [
        (True, True, "GenuineIntel", "bfloat16"),
        (False, True, "GenuineIntel", "float32"),  # at half the speed: AMX is switched off
        (False, True, "AuthenticAMD", "bfloat16"),
        (False, False, "AuthenticAMD", "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_is_fast_at_it(
    monkeypatch, amx, avx512, vendor, expected
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(load, "_is_intel", lambda: vendor == "GenuineIntel")
    monkeypatch.setattr(load.platform, "machine", lambda: "x86_64")
    assert load.dtype_name(load.resolve_dtype("auto")) == expected
