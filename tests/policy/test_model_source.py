"""A model is found by its name, and what cannot be found is named in one line."""

import shutil

import pytest
import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.policy import model_source
from preflexor_pl.policy.load import load_base
from preflexor_pl.policy.model_source import find_model


def test_a_gguf_file_is_converted_once_and_known_by_what_is_in_it(
    tmp_path, model_folder, monkeypatch, capsys
):
    monkeypatch.setenv("PREFLEXOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        model_source, "_convert", lambda file, folder: shutil.copytree(model_folder, folder)
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
    told = rf"^model\.policy\.model_name: {tmp_path}/tiny\.gguf did not convert: [^\n]*$"
    with pytest.raises(ConfigError, match=told):
        find_model(str(tmp_path / "tiny.gguf"))
