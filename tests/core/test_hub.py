import time

import pytest

from preflexor_pl.core import hub
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.hub import require_model


def refused(name):
    with pytest.raises(ConfigError, match=r"^model\.policy\.model_name: ") as error:
        require_model(name, "model.policy.model_name")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_with_a_config_is_a_model(tmp_path):
    assert "no config.json" in refused(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    require_model(str(tmp_path), "model.policy.model_name")


@pytest.mark.parametrize("name", ["", "./none", "/none/at/all", "~/none", "a b", "a/b/c", "../x"])
def test_what_is_no_hub_id_is_not_looked_for_on_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_probe", lambda name: pytest.fail("asked the hub"))
    assert "there is no folder" in refused(name)


def test_package_names_are_checked():
    with pytest.raises(ConfigError, match="pip install no-such-thing"):
        require_model("package:no-such-thing", "data.embedder")


def test_offline_is_said_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused("owner/none")


def test_a_hub_that_does_not_answer_costs_seconds(monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: time.sleep(60))
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.2)
    start = time.perf_counter()
    assert "cannot be reached" in refused("owner/none")
    assert time.perf_counter() - start < 5


def test_a_cached_model_needs_no_network(monkeypatch, tmp_path):
    snapshot = tmp_path / "models--owner--name/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda repo, file: str(snapshot / file)
    )
    monkeypatch.setattr(hub, "_probe", lambda name: pytest.fail("asked the hub"))
    require_model("owner/name", "model.policy.model_name")
    assert hub.cached_snapshot("owner/name") == snapshot


def test_a_gguf_file_is_a_model_and_another_file_is_none(tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    require_model(str(tmp_path / "tiny.gguf"), "model.policy.model_name")
    assert "there is no file" in refused(str(tmp_path / "none.gguf"))
    assert "there is no file" in refused("some/none.gguf")  # it reads like a hub id
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "holds no config.json" in refused(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    ("config", "served"),
    [
        ('{"model_type": "newest", "auto_map": {"AutoConfig": "code.Config"}}', False),
        ('{"auto_map": {"AutoConfig": "code.Config"}}', False),
        ('{"model_type": "llama", "auto_map": {"AutoConfig": "code.Config"}}', True),
        ('{"model_type": "newest"}', True),  # what loads it says that it knows no such family
        ("[]", True),
    ],
)
def test_a_model_with_code_of_its_own_is_refused_before_anything_loads(tmp_path, config, served):
    (tmp_path / "config.json").write_text(config)
    if served:
        require_model(str(tmp_path), "model.policy.model_name")
    else:
        assert "needs Python code of its own" in refused(str(tmp_path))
