"""What an exported model says of its training: whether it reflects, and its system turn."""

import json

import pytest

from preflexor_pl.export import export
from preflexor_pl.policy.previous_phase import read_previous_phase
from preflexor_pl.policy.run_record import trained_for
from tests.run_helpers import leave_run
from tests.tiny import tiny_policy


@pytest.fixture
def leave(tmp_path, model_folder):
    """``leave(name, start=None, reflection=False, **data)``: a run that trained with that."""

    def leave(name, start=None, reflection=False, **data):
        start = str(start) if start else None
        policy = tiny_policy(model_folder, start_from=start, reflection=reflection)
        return leave_run(tmp_path / name, policy, reflection=reflection, **data)

    return leave


def exported_config(run, tmp_path):
    export(run, tmp_path / "out", "float32", overwrite=True)
    return json.loads((tmp_path / "out/config.json").read_text())


@pytest.mark.parametrize("reflection", [True, False])
@pytest.mark.parametrize("system", ["Be brief.", "Sei höflich.\n", None])
def test_the_config_of_an_exported_model_says_what_it_was_trained_for(
    leave, tmp_path, reflection, system
):
    from transformers import AutoConfig

    run = leave("run", reflection=reflection, system_prompt=system)
    wanted = {"reflects": reflection, "system_prompt": system}
    assert exported_config(run, tmp_path)["preflexor_pl"] == wanted
    assert AutoConfig.from_pretrained(tmp_path / "out").preflexor_pl == wanted


def test_it_is_the_last_phase_that_counts(leave):
    first = leave("first", reflection=True, system_prompt="Reflect.")
    second = leave("second", first, system_prompt="Answer.")
    third = leave("third", second, reflection=True, system_prompt=None)
    told = [trained_for(read_previous_phase(str(run))) for run in (first, second, third)]
    assert [known["reflects"] for known in told] == [True, False, True]
    assert [known["system_prompt"] for known in told] == ["Reflect.", "Answer.", None]


def test_a_reflect_section_needs_rows_that_were_trained(leave, model_folder, tmp_path):
    # the config asks for one, as a config that was changed by hand may
    run = leave_run(tmp_path / "run", tiny_policy(model_folder), reflection=True)
    assert not trained_for(read_previous_phase(str(run)))["reflects"]


def test_a_lone_adapter_claims_nothing(leave, tmp_path):
    lone = (leave("run", reflection=True) / "adapter").rename(tmp_path / "lone")
    assert exported_config(lone, tmp_path)["preflexor_pl"] == {
        "reflects": False,
        "system_prompt": None,
    }


def test_what_the_base_was_exported_for_is_replaced(leave, tmp_path):
    export(leave("run", reflection=True), tmp_path / "base", "float32")
    policy = tiny_policy(tmp_path / "base")
    run = leave_run(tmp_path / "next", policy, system_prompt=None)
    assert exported_config(run, tmp_path)["preflexor_pl"] == {
        "reflects": False,
        "system_prompt": None,
    }
