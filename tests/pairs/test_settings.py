"""What the pairs are made of; what goes together is in tests/test_datamodule and test_planning."""

from dataclasses import fields

import pytest

from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import TeacherSettings, ThinkingSettings
from preflexor_pl.pairs.settings import PairSettings

# A plan belongs to the text of its settings: a run begun with an older version must find its own.
IN_A_PLAN = """
topics questions_per_topic chunks_per_context enrich_chunks rejected rejected_trigger
rejected_sampling reflection system_prompt teacher thinking ask_about contexts rejected_candidates
rejected_choice only_wrong judge prompts grow untriggered_share min_grounding
"""


def test_the_text_that_a_plan_belongs_to_keeps_its_fields_and_their_order():
    assert [each.name for each in fields(PairSettings) if each.repr] == IN_A_PLAN.split()
    told = repr(PairSettings(topics=["silk"], questions_per_topic=32))
    assert told.startswith(
        "PairSettings(topics=['silk'], questions_per_topic=32, chunks_per_context=1, "
        "enrich_chunks=1, rejected='policy', rejected_trigger=False, "
        "rejected_sampling=Sampling(max_new_tokens=128, temperature=1.0, top_k=50, top_p=0.9, "
        "min_new_tokens=16, repetition_penalty=1.0), reflection=False, system_prompt=None, "
    )


def test_null_is_a_default_of_its_own():
    made = PairSettings(rejected_sampling=None, teacher=None, thinking=None)
    assert made == PairSettings()
    assert made.rejected_sampling == Sampling(
        max_new_tokens=128, min_new_tokens=16, temperature=1.0
    )
    assert (made.teacher, made.thinking) == (TeacherSettings(), ThinkingSettings())
    assert made.system_prompt is made.judge is None


@pytest.mark.parametrize(("topics", "draws"), [(8, 8), (["silk", "bone"], 2)])
def test_draws_are_a_number_or_the_topics(topics, draws):
    assert PairSettings(topics=topics).draws == draws
