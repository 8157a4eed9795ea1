"""Rounds without a model; how they are made is in test_regeneration."""

import pytest

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.teacher_settings import JudgeServerSettings, JudgeSettings
from preflexor_pl.datamodule import PreferenceDataModule


@pytest.fixture
def rounds(policy, tmp_path):
    """``rounds(**settings)``: of a run whose pairs are its own, so that no corpus is read."""

    def rounds(**settings):
        pairs = [{"prompt": f"Why {n}?", "chosen": "a", "rejected": "b"} for n in range(3)]
        data = PreferenceDataModule(
            run=str(tmp_path), pairs=pairs, held_out_questions=2, **settings
        )
        return data.rounds_of(policy)

    return rounds


SERVER = JudgeServerSettings("http://localhost:1/v1", "m")


@pytest.mark.parametrize(
    "settings",
    [{"rejected": "teacher"}, {"only_wrong": True, "judge": JudgeSettings(server=SERVER)}],
)
def test_answers_of_a_teacher_are_not_asked_for_again_to_be_compared(rounds, settings):
    made = rounds(**settings)
    made.folder(0).mkdir(parents=True)
    (made.folder(0) / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="those of the policy alone can be drawn anew"):
        made.reproduce(0, 2, 0)
