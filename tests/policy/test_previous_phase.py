"""Phases: adapters stack, what came before stays as it is, and one copy of the weights is three."""

import json

import pytest
import torch

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.policy.adapters import load_trained_state, trained_state
from preflexor_pl.policy.gradient_check import check_gradients
from preflexor_pl.policy.merge import fold, merged
from preflexor_pl.policy.previous_phase import read_previous_phase
from tests.policy.test_adapters import IDS, disturb, logits
from tests.tiny import save_tiny_model, tiny_policy


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(request, tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("base") / "model", tied=request.param)


@pytest.fixture(scope="module")
def phases(model, tmp_path_factory):
    """Folders that three phases left, and the logits of each when it was over."""
    folder = tmp_path_factory.mktemp("phases")
    left, said, start = [], [], None
    for number, reflection in enumerate([False, False, True]):
        policy = tiny_policy(model, seed=number, start_from=start, reflection=reflection)
        disturb(policy, number)
        start = str(folder / f"{number}")
        policy.save(folder / f"{number}")
        left.append(folder / f"{number}")
        said.append(logits(policy))
    return left, said


def after(model, phases, number, **options):
    """A policy of the phase that follows phase ``number``."""
    return tiny_policy(model, seed=9, start_from=str(phases[0][number]), **options)


def reference_logits(policy):
    with policy.weights.reference(policy):
        return logits(policy)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_phase_begins_with_what_the_one_before_it_was(model, phases, number):
    policy = after(model, phases, number)
    assert torch.equal(logits(policy), phases[1][number])
    assert torch.equal(reference_logits(policy), phases[1][number])
    assert not torch.allclose(phases[1][number], phases[1][number - 1], atol=1e-2)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_training_moves_the_policy_and_neither_reference_nor_base(model, phases, number):
    policy = after(model, phases, number)
    frozen = {n: p.detach().clone() for n, p in policy.named_parameters() if not p.requires_grad}
    assert any("phase-1" in name for name in frozen)
    with torch.enable_grad():
        policy.model(input_ids=IDS, use_cache=False).logits.square().sum().backward()
    assert all(p.grad is None for n, p in policy.named_parameters() if n in frozen)
    disturb(policy, 7)
    assert not torch.allclose(logits(policy), phases[1][number], atol=1e-2)
    assert torch.equal(reference_logits(policy), phases[1][number])
    for name, weight in policy.named_parameters():
        if name in frozen:
            assert torch.equal(weight, frozen[name]), name


def test_new_rows_train_on_top_of_old_ones(model, phases):
    policy = after(model, phases, 1, reflection=True)
    disturb(policy, 7)
    assert not torch.allclose(logits(policy), phases[1][1], atol=1e-2)
    assert torch.equal(reference_logits(policy), phases[1][1])
    weights = [name for name in trained_state(policy) if "trainable_tokens" in name]
    assert len(weights) == (1 if policy.inner.config.tie_word_embeddings else 2)
    table = policy.inner.get_input_embeddings().weight
    before = after(model, phases, 1).inner.get_input_embeddings().weight
    think, reflect = policy.marker_ids[:2], policy.marker_ids[2:]
    assert torch.equal(table[think], before[think])
    assert not torch.allclose(table[reflect], before[reflect])


def test_in_bfloat16_a_phase_begins_with_what_the_one_before_it_was(model, tmp_path):
    first = tiny_policy(model, dtype="bfloat16")
    disturb(first)
    first.save(tmp_path / "first")
    second = tiny_policy(model, seed=9, dtype="bfloat16", start_from=str(tmp_path / "first"))
    assert torch.equal(logits(second), logits(first))


def test_an_earlier_phase_is_saved_as_it_was_read(model, phases, tmp_path):
    import shutil

    start = shutil.copytree(phases[0][0], tmp_path / "start")
    policy = tiny_policy(model, start_from=str(start))
    shutil.rmtree(start)
    policy.save(tmp_path / "left")
    assert torch.equal(logits(tiny_policy(model, start_from=str(tmp_path / "left"))), phases[1][0])


def test_whole_weights_that_changed_under_an_adapter_are_refused(model, tmp_path):
    tiny_policy(model, lora=None).save(tmp_path / "whole")
    tiny_policy(model, start_from=str(tmp_path / "whole")).save(tmp_path / "left")
    assert read_previous_phase(str(tmp_path / "left")).base_weights == str(tmp_path / "whole")
    other = tiny_policy(model, lora=None)
    disturb(other)
    other.save(tmp_path / "whole")
    with pytest.raises(ConfigError, match=r"whole are not those .*left was trained on"):
        read_previous_phase(str(tmp_path / "left"))


def test_all_adapters_off_is_the_base_but_for_rows_that_it_never_sees(model, phases):
    base, late = tiny_policy(model), after(model, phases, 2)
    seen = torch.tensor([[5, 20, 7, 60, 9]])
    said = []
    for policy in (base, late):
        with policy.active_weights("base") as inner, torch.no_grad():
            said.append(inner(input_ids=seen).logits[..., : min(policy.marker_ids)])
    assert torch.equal(*said)


def test_the_rows_of_a_phase_are_those_that_no_phase_before_trained(model, phases):
    think, reflect = tiny_policy(model).marker_ids[:2], tiny_policy(model).marker_ids[2:]
    assert after(model, phases, 0).trained_rows == []
    assert after(model, phases, 1, reflection=True).trained_rows == reflect
    assert after(model, phases, 2, reflection=True).trained_rows == []
    assert tiny_policy(model, reflection=True).trained_rows == think + reflect
    assert [len(read_previous_phase(str(f)).trained_markers) for f in phases[0]] == [2, 2, 4]


def test_merged_holds_every_phase_and_lets_go(model, phases):
    policy = after(model, phases, 2)
    disturb(policy, 3)
    before = {n: p.detach().clone() for n, p in policy.named_parameters()}
    on = logits(policy)
    with merged(policy.model):
        folded = logits(policy)
    assert torch.allclose(folded, on, atol=1e-3)
    assert all(torch.equal(p, before[n]) for n, p in policy.named_parameters())
    assert set(trained_state(policy)) == {n for n in before if ".default" in n}
    assert torch.equal(logits(policy), on)


def test_folded_for_good_is_a_plain_model(model, phases):
    policy = after(model, phases, 2)
    disturb(policy, 3)
    on = logits(policy)
    plain = fold(policy.model)
    with torch.no_grad():
        assert torch.allclose(plain(input_ids=IDS).logits, on, atol=1e-3)
    assert not any("lora" in name for name, _ in plain.named_parameters())


def test_a_saved_state_comes_back_into_a_stack(model, phases):
    policy, twin = after(model, phases, 1), after(model, phases, 1)
    disturb(policy, 5)
    load_trained_state(twin, trained_state(policy))
    assert torch.equal(logits(twin), logits(policy))


def test_every_check_of_gradients_passes_in_a_later_phase(model, phases):
    check_gradients(after(model, phases, 0))
    check_gradients(after(model, phases, 1, reflection=True))


def test_another_base_is_refused(phases, tmp_path):
    other = save_tiny_model(tmp_path / "other", seed=5)
    with pytest.raises(ConfigError, match=r"start_from: .* was trained on .*, and .* is .*/other"):
        tiny_policy(other, start_from=str(phases[0][0]))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("base.json", "{", "is damaged"),
        ("base.json", "[]", "is damaged"),
        ("base.json", "{}", "lacks added_tokens, first_rows"),
        ("base.json", None, "holds no base.json"),
        ("adapter_config.json", None, "adapter_config.json is missing"),
        ("adapter_config.json", "[1]", "adapter_config.json is damaged"),
        ("phase-1/adapter_config.json", "{", "phase-1/adapter_config.json is damaged"),
        ("adapter_model.safetensors", None, "adapter_model.safetensors is missing"),
        ("adapter_model.safetensors", "x", "adapter_model.safetensors is damaged"),
        ("phase-1/adapter_model.safetensors", None, "phase-1/adapter_model.safetensors is missing"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(model, phases, tmp_path, name, text, told):
    import shutil

    folder = shutil.copytree(phases[0][1], tmp_path / "left")
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"^model\.policy\.start_from: .*{told}"):
        tiny_policy(model, start_from=str(folder))


def test_a_run_may_be_named_for_its_adapter(phases, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("run: x\n")
    with pytest.raises(ConfigError, match="is a run that is not finished"):
        read_previous_phase(str(run))
    (run / "adapter").symlink_to(phases[0][0])
    assert read_previous_phase(str(run)).known == json.loads(
        (phases[0][0] / "base.json").read_text()
    )


def test_what_changed_has_another_fingerprint(phases):
    assert len({read_previous_phase(str(folder)).fingerprint for folder in phases[0]}) == 3
    again = read_previous_phase(str(phases[0][0]))
    assert again.fingerprint == read_previous_phase(str(phases[0][0])).fingerprint
