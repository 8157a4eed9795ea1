"""What a run left, read back: the policy that it was, and the base that it came from."""

import json
import shutil

import pytest
import torch

from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.generator import Request
from preflexor_pl.core.settings import Sampling
from preflexor_pl.policy.finished_model import TrainedModel
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import load_language_model
from preflexor_pl.policy.previous_phase import read_previous_phase
from tests.policy.test_adapters import IDS, disturb
from tests.tiny import save_tiny_model, tiny_policy

SEEN = torch.tensor([[5, 20, 7, 60, 9]])  # no marker among them: the base never sees one


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(request, tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("base") / "model", tied=request.param)


@pytest.fixture(scope="module")
def phases(model, tmp_path_factory):
    """What three phases left, and the policy of each when it was over."""
    folder = tmp_path_factory.mktemp("phases")
    left, start = [], None
    for number, reflection in enumerate([False, False, True]):
        policy = tiny_policy(model, seed=number, start_from=start, reflection=reflection)
        disturb(policy, number)
        start = str(folder / f"{number}")
        policy.save(folder / f"{number}")
        left.append((folder / f"{number}", policy))
    return left


def trained(folder, dtype="float32"):
    return TrainedModel(read_previous_phase(str(folder)), dtype)


@torch.no_grad()
def said(language, role, ids=IDS):
    with language.active_weights(role) as inner:
        return inner(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("number", [0, 1, 2])
def test_it_says_what_the_policy_said(phases, number):
    folder, policy = phases[number]
    read = trained(folder)
    expected = said(policy, "policy")
    assert torch.allclose(said(read, "policy"), expected, atol=1e-5)
    assert not torch.allclose(said(read, "base"), expected, atol=1e-1)
    if number:
        assert not torch.allclose(said(phases[number - 1][1], "policy"), expected, atol=1e-1)


@pytest.mark.parametrize("number", [0, 2])
def test_without_its_adapters_it_is_the_base_to_the_bit(model, phases, number):
    base, read = load_language_model(str(model), "x", "float32"), trained(phases[number][0])
    text = slice(0, min(read.marker_ids))  # rows of markers that trained stay where they are
    expected = said(base, "policy", SEEN)[..., text]
    for _ in range(2):
        assert torch.equal(said(read, "base", SEEN)[..., text], expected)
        said(read, "policy")
    assert read.holds_base


def test_generation_leaves_every_weight_as_it_was(phases):
    read = trained(phases[2][0])
    before = {name: p.detach().clone() for name, p in read.named_parameters()}
    on = said(read, "policy")
    said(read, "base")
    assert torch.equal(said(read, "policy"), on)
    assert all(torch.equal(p, before[name]) for name, p in read.named_parameters())
    assert not any(p.requires_grad for p in read.parameters())


def test_it_writes_what_the_policy_writes(phases):
    folder, policy = phases[2]
    read = trained(folder)
    assert read.marker_ids == policy.marker_ids
    assert read.stop_ids == policy.stop_ids
    asked = [
        Request(q, "Be brief.", Sampling(max_new_tokens=20, temperature=0)) for q in ("Why?", "A?")
    ]
    for role in ("policy", "base"):
        left, right = (LocalGenerator(m, role).complete(asked) for m in (policy, read))
        assert left == right
    assert chat_ids(read.tokenizer, "Why?") == chat_ids(policy.tokenizer, "Why?")


def test_in_bfloat16_it_is_the_policy_in_bfloat16(model, tmp_path):
    policy = tiny_policy(model, dtype="bfloat16")
    disturb(policy)
    policy.save(tmp_path / "left")
    read = trained(tmp_path / "left", "bfloat16")
    assert read.inner.dtype == torch.bfloat16
    assert torch.equal(said(read, "policy"), said(policy, "policy"))


def test_whole_weights_have_no_base_beside_them(model, tmp_path):
    policy = tiny_policy(model, lora=None)
    disturb(policy)
    policy.save(tmp_path / "whole")
    read = trained(tmp_path / "whole")
    assert torch.equal(said(read, "policy"), said(policy, "policy"))
    assert not read.holds_base
    with (
        pytest.raises(RuntimeError, match="load its base by its name"),
        read.active_weights("base"),
    ):
        pass


def test_an_adapter_on_whole_weights(model, tmp_path):
    first = tiny_policy(model, lora=None)
    disturb(first)
    first.save(tmp_path / "whole")
    policy = tiny_policy(model, start_from=str(tmp_path / "whole"))
    disturb(policy, 1)
    policy.save(tmp_path / "left")
    read = trained(tmp_path / "left")
    assert torch.allclose(said(read, "policy"), said(policy, "policy"), atol=1e-5)
    assert not read.holds_base


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "another"])
def test_a_base_that_is_not_the_one_of_training_is_refused(phases, tmp_path, gone):
    folder = shutil.copytree(phases[1][0], tmp_path / "left")
    other = tmp_path / "other" if gone else save_tiny_model(tmp_path / "other", seed=5)
    known = json.loads((folder / "base.json").read_text())
    (folder / "base.json").write_text(json.dumps(known | {"model": str(other)}))
    told = "there is no folder" if gone else "is another model than it was in training"
    with pytest.raises(ConfigError, match=f"^the base of {folder}: .*{told}"):
        trained(folder)
