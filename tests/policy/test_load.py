"""What is loaded by a name, and what cannot be is said in one line."""

import json
import shutil

import pytest
import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy import load
from preflexor_pl.policy.load import find_model, load_base
from preflexor_pl.policy.tokenizer import tokenizer_of
from tests.families import save_family
from tests.tiny import tiny_policy


def refused(call, *args):
    with pytest.raises(ConfigError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_gguf_file_is_converted_once_and_known_by_what_is_in_it(
    tmp_path, model_folder, monkeypatch, capsys
):
    monkeypatch.setenv("PREFLEXOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        load, "_convert", lambda file, folder: shutil.copytree(model_folder, folder)
    )
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF one")
    first, again = find_model(str(file)), find_model(str(file))
    assert first == again
    assert capsys.readouterr().out.count("Converting tiny.gguf once") == 1
    assert load_base(first, torch.float32)[0].config.model_type == "llama"
    file.write_bytes(b"GGUF two")
    assert find_model(str(file)).location != first.location


def test_a_gguf_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    monkeypatch.setenv("PREFLEXOR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.gguf").write_bytes(b"none")
    line = refused(find_model, str(tmp_path / "tiny.gguf"))
    assert line.startswith(f"model.policy.model_name: {tmp_path}/tiny.gguf did not convert: ")


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
