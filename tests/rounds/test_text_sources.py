from dataclasses import replace

import pytest

from preflexor_pl.core.teacher_settings import (
    JudgeServerSettings,
    JudgeSettings,
    ServerSettings,
    TeacherSettings,
)
from preflexor_pl.pairs.correctness import WordOverlapJudge
from preflexor_pl.pairs.prompt_files import BUILT_IN
from preflexor_pl.pairs.prompts import Template
from preflexor_pl.rounds.text_sources import TextSources
from tests.scripted import Scripted, scripted_settings

SERVER = JudgeServerSettings("http://localhost:1/v1", "m")


def judging(judge, **changes):
    return TextSources(scripted_settings(judge=judge, only_wrong=True, **changes))


def test_the_judge_is_asked_with_the_prompts_of_the_run():
    mine = replace(BUILT_IN, ruling=Template("Is {{answer}} right?"))
    teacher = Scripted("teacher")
    judge = judging(JudgeSettings(), prompts=mine).judge_with(teacher, ["</s>"])
    assert (judge.generator, judge.special_tokens, judge.prompts) == (teacher, ["</s>"], mine)


def test_a_server_judges_in_the_place_of_the_teacher():
    sources = judging(JudgeSettings(server=SERVER))
    assert sources.judge_with(Scripted("teacher"), []).generator is sources.server_judge


@pytest.mark.parametrize(
    ("judge", "own", "apart"),
    [
        (None, None, False),
        (JudgeSettings(), None, False),
        (JudgeSettings(server=SERVER), None, True),
        (None, WordOverlapJudge(), True),
    ],
)
def test_who_judges_apart_from_the_teacher(judge, own, apart):
    sources = TextSources(scripted_settings(judge=judge, only_wrong=True), own_judge=own)
    assert sources.judges_apart == apart


def test_the_teacher_is_an_object_a_server_or_the_policy_itself(policy):
    settings = scripted_settings()
    assert TextSources(settings).teacher_of(policy) is policy
    own = Scripted("mine")
    assert TextSources(settings, own_teacher=own).teacher_of(policy).generator is own
    server = ServerSettings("http://localhost:1/v1", "m")
    served = TextSources(replace(settings, teacher=TeacherSettings(server=server)))
    assert served.teacher_of(policy) is served.server_teacher
    assert served.server_teacher.settings is server
