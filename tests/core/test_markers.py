"""Marker strings of one's own: which are refused, and what is read with them."""

import pytest

from preflexor_pl.core.markers import DEFAULT, MARKERS, TRIGGER, MarkerStrings
from preflexor_pl.core.responses import parse_response
from preflexor_pl.core.special_tokens import escape_special_tokens

THINK = MarkerStrings("<think>", "</think>", "<reflect>", "</reflect>")


def test_the_default_strings_are_those_that_runs_were_made_with():
    assert MARKERS == ("<|thinking|>", "<|/thinking|>", "<|reflect|>", "<|/reflect|>")
    assert TRIGGER == " Use <|thinking|>."
    assert MarkerStrings() == DEFAULT == MarkerStrings.of_record(DEFAULT.record)
    assert DEFAULT.record == {}  # the files of a run with them say nothing of markers


def test_a_record_gives_the_strings_back():
    asked = MarkerStrings("<t>", "</t>", trigger="Reason first: {think_start}")
    assert asked.suffix == " Reason first: <t>"
    assert asked.question("Why?" + asked.suffix) == "Why?"
    assert MarkerStrings.of_record({"other": 1, **asked.record}) == asked
    with pytest.raises(ValueError, match="markers"):
        MarkerStrings.of_record({"markers": {"start": "<t>"}})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"think_start": ""}, "think_start: got ''"),
        ({"think_end": "</t> "}, "think_end: got '</t> '"),
        ({"think_end": "<|thinking|>"}, "think_start: .* no part of think_end"),
        ({"reflect_start": "<|thinking|>"}, "no part of reflect_start"),
        ({"think_start": "<t", "think_end": "<t/>"}, "think_start: got '<t', must be no part of"),
        ({"think_start": "think"}, "think_start: .* like <think>"),
        ({"think_end": "!"}, "think_end: .* two characters"),
        ({"trigger": ""}, "trigger: got ''"),
        ({"trigger": " Think."}, "trigger: got ' Think.'"),
        ({"trigger": "Use <|/thinking|>."}, "trigger: .* no control token"),
        ({"trigger": "{think_start} <|im_end|>"}, "trigger: .* no control token"),
    ],
)
def test_strings_that_cannot_be_told_apart_are_refused(given, named):
    with pytest.raises(ValueError, match=named) as refused:
        MarkerStrings(**given)
    assert str(refused.value).startswith("model.policy.markers.")
    assert "\n" not in str(refused.value)


def test_a_response_is_read_with_its_own_markers():
    text = "<think>\nIt bends.\n</think>\n<reflect>\nHow far?\n</reflect>\nSo."
    parsed = parse_response(text, THINK)
    assert (parsed.thinking, parsed.reflection, parsed.answer) == ("It bends.", "How far?", "So.")
    assert not parsed.problems
    assert parse_response("<think>Hm", THINK).problems == ("unclosed_thinking",)
    assert parse_response("<|thinking|>a<|/thinking|>b", THINK).problems == ("no_thinking",)
    assert parse_response(text).problems == ("no_thinking",)


def test_outside_text_loses_the_markers_of_one_s_own():
    text = escape_special_tokens("a <think> b </think> c", THINK.all)
    assert text == "a <·think> b <·/think> c"
    assert parse_response(text, THINK).problems == ("no_thinking",)
