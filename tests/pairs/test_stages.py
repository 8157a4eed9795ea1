"""What each stage is shown, and which of several answers is taken."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.generator import Completion
from preflexor_pl.core.teacher_settings import BACKGROUND, ThinkingSettings
from tests.scripted import Killed, Scripted, kind_of, make_round, scripted_maker, scripted_settings

# On chunks "It is tough. subject: silk": none, one of two, and two of three of an answer's words.
# "silk" is the question's, and no evidence; so with every other subject.
NONE = "Its proteins store energy."
ONE = "So {} is tough, always bending."
TWO = "So {}, a tough subject, bends."


def category(name):
    return ThinkingSettings({name: "what matters"}, scripted_settings().thinking.sampling, 1)


def answered_in_turn(*texts):
    """A teacher whose answers to each question are these, in turn."""
    counts = {}

    def reply(kind, subject, again):
        if kind != "answer":
            return None
        counts[subject] = counts.get(subject, -1) + 1
        said = texts[counts[subject] % len(texts)]
        return said.format(subject) if isinstance(said, str) else said

    return reply


def make(folder, reply=lambda *said: None, candidates=1, lives=(), **options):
    """The pairs of a round of two, and its maker."""
    maker = scripted_maker(Scripted("teacher", reply, lives=list(lives)), **options)
    teacher = replace(maker.settings.teacher, candidates=candidates)
    maker.settings = replace(maker.settings, teacher=teacher)
    return make_round(maker, folder), maker


def answers(pairs):
    return [pair.chosen.rpartition("\n")[2] for pair in pairs]


def calls(folder, stage):
    made = [json.loads(line)["call"] for line in (folder / "calls.jsonl").open()]
    return [call for call in made if call.startswith(f"{stage}/")]


def test_thinking_and_answer_see_what_was_retrieved_with_the_question(tmp_path):
    pairs, maker = make(tmp_path, enrich_chunks=1)
    asked = [r for r in maker.writers.teacher.asked if "subject: silk" in r.prompt]
    shown = {kind: "subject: coral" in r.prompt for r in asked for kind in [kind_of(r)]}
    assert shown == {"question": False, "thinking": True, "answer": True}
    assert pairs[0].chunk_ids == ["silk.md#0", "coral.md#0"]


def test_the_facts_of_the_background_are_those_retrieved_alone(tmp_path):
    thinking = category(BACKGROUND)
    pairs, maker = make(tmp_path, enrich_chunks=1, thinking=thinking)
    told = [r.prompt for r in maker.writers.teacher.asked if kind_of(r) == "thinking"]
    assert all("subject: coral" in prompt and "subject: silk" not in prompt for prompt in told)
    assert f"**{BACKGROUND}**: " in pairs[0].chosen
    assert pairs[0].chunk_ids == ["silk.md#0", "coral.md#0"]


def test_a_background_without_retrieval_is_refused():
    with pytest.raises(ValueError, match=r"data\.enrich_chunks: got 0, must be >= 1 where"):
        scripted_settings(thinking=category(BACKGROUND))


def test_of_several_answers_the_one_that_stands_best_in_its_chunks_is_taken(tmp_path):
    reply = answered_in_turn(NONE, TWO, ONE)
    pairs, _ = make(tmp_path, reply, candidates=3)
    assert answers(pairs) == [TWO.format(name) for name in ("silk", "nacre")]
    assert [pair.grounding for pair in pairs] == [round(2 / 3, 4)] * 2
    drawn = [call for call in calls(tmp_path, "answer") if "0002-0000" in call]
    assert drawn == ["answer/0002-0000/0", "answer/0002-0000/1/0", "answer/0002-0000/2/0"]


def test_candidates_have_seeds_of_their_own_and_the_first_is_that_of_a_single_answer(tmp_path):
    _, one = make(tmp_path / "one")
    _, three = make(tmp_path / "three", candidates=3)
    seeds = [
        [r.seed for r in m.writers.teacher.asked if kind_of(r) == "answer"] for m in (one, three)
    ]
    assert len(set(seeds[1])) == 6
    assert set(seeds[0]) < set(seeds[1])


def test_one_answer_of_use_among_the_candidates_is_enough(tmp_path):
    pairs, _ = make(tmp_path, answered_in_turn("No.", ONE, "No."), candidates=3)
    assert answers(pairs) == [ONE.format(name) for name in ("silk", "nacre")]
    assert len(calls(tmp_path, "answer")) == 6  # nothing is asked again


def test_candidates_that_are_all_of_no_use_are_drawn_again_then_the_item_is_dropped(tmp_path):
    def reply(kind, subject, again):
        return "No." if (kind, subject) == ("answer", "silk") else None

    pairs, _ = make(tmp_path, reply, candidates=2)
    assert [pair.id for pair in pairs] == ["0002-0001", "0002-0002"]
    assert len([call for call in calls(tmp_path, "answer") if "0002-0000" in call]) == 4
    [drop] = [json.loads(line) for line in (tmp_path / "drops.jsonl").open()]
    assert drop["reason"] == "answer_too_short"


def test_an_answer_below_the_least_grounding_is_drawn_again_then_dropped(tmp_path):
    reply = answered_in_turn(ONE, TWO)
    pairs, _ = make(tmp_path / "a", reply, min_grounding=0.6)
    assert answers(pairs) == [TWO.format(name) for name in ("silk", "nacre")]
    with pytest.raises(CorpusError, match="not_grounded 8"):
        make(tmp_path / "b", answered_in_turn(ONE), min_grounding=0.6)
    assert len(make(tmp_path / "c", answered_in_turn(ONE), min_grounding=0.5)[0]) == 2


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_the_least_grounding_is_a_share(value):
    with pytest.raises(ValueError, match=r"data\.min_grounding: got .*must be 0 to 1"):
        scripted_settings(min_grounding=value)


def test_numbers_of_the_answers_own_are_counted(tmp_path):
    pairs, _ = make(tmp_path, answered_in_turn("It is tough up to 5 GPa, then 7 GPa."))
    assert [pair.invented_numbers for pair in pairs] == [2, 2]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    # of tough, 5 GPa and 7 GPa one stands in the chunk
    assert (manifest["grounding"], manifest["under_half"]) == (0.3333, 2)
    assert manifest["invented_numbers"] == 4


@pytest.mark.parametrize("lives", range(1, 9))
def test_a_round_with_candidates_that_was_killed_ends_as_one_that_was_not(tmp_path, lives):
    def reply(kind, subject, again):  # what is said depends on nothing but the request
        return TWO.format(subject) if kind == "answer" else None

    whole, _ = make(tmp_path / "whole", reply, 2)
    with suppress(Killed):
        make(tmp_path / "killed", reply, 2, lives=[lives])
    assert make(tmp_path / "killed", reply, 2)[0] == whole


def test_an_answer_cut_by_its_limit_is_no_candidate(tmp_path):
    pairs, _ = make(tmp_path, answered_in_turn(Completion(TWO, "length", 9), ONE), 2)
    assert answers(pairs) == [ONE.format(name) for name in ("silk", "nacre")]
