"""Items with known answers: what is refused, which are asked, and what counts as right."""

import json
from collections import Counter

import pytest
import torch

from preflexor_pl.core.chat import chat_ids, encode
from preflexor_pl.core.errors import CorpusError
from preflexor_pl.evaluation import facts
from preflexor_pl.evaluation.facts import (
    Item,
    by_stratum,
    key_positions,
    likeliest,
    read_items,
)
from tests.tiny import letters

CHOICE = {
    "id": "wax-1",
    "document": "wax.md",
    "kind": "choice",
    "question": "What covers the leaf?",
    "answer": "a layer of wax",
    "distractors": ["a layer of sugar", "bark", "steel"],
    "accept": [],
}
SHORT = CHOICE | {"id": "wax-2", "kind": "short", "answer": "wax", "accept": ["wax", "waxes"]}


def write(path, *records):
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def item(id="x", document="a.md", kind="choice", accept=()):
    return Item(id, document, kind, "Why?", "w", ("x", "y", "z"), accept)


def short(*accept):
    return item(kind="short", accept=accept)


def test_items_are_read_in_their_order(tmp_path):
    line_separator = CHOICE | {"id": "u", "question": "What\u2028covers it?"}
    read = read_items(write(tmp_path / "i.jsonl", CHOICE, "", SHORT, line_separator, ""))
    assert [i.id for i in read] == ["wax-1", "wax-2", "u"]
    assert read[0].distractors == ("a layer of sugar", "bark", "steel")
    assert (read[0].accept, read[1].accept) == ((), ("wax", "waxes"))
    del (bare := dict(CHOICE))["accept"]
    assert read_items(write(tmp_path / "i.jsonl", bare))[0].accept == ()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("{", "is no item"),
        ("[]", "is no item"),
        ("null", "is no item"),
        ("7", "is no item"),
        *[({k: v for k, v in SHORT.items() if k != gone}, gone) for gone in list(SHORT)[:6]],
        (CHOICE | {"document": None}, "None is no text"),
        (CHOICE | {"id": 7}, "7 is no text"),
        (CHOICE | {"answer": ["a"]}, "is no text"),
        (CHOICE | {"distractors": "abc"}, "'abc' is no list"),
        (CHOICE | {"distractors": ["a", "b", 3]}, "3 is no text"),
        (SHORT | {"accept": "wax"}, "'wax' is no list"),
        (CHOICE | {"kind": "open"}, "kind is 'open', must be choice or short"),
        (CHOICE | {"distractors": ["a", "b"]}, "three distractors"),
        (CHOICE | {"distractors": ["a", "b", "c", "d"]}, "three distractors"),
        (CHOICE | {"distractors": ["a", "b", "b"]}, "three distractors"),
        (CHOICE | {"distractors": ["a", "b", CHOICE["answer"]]}, "three distractors"),
        (SHORT | {"accept": []}, "a short item needs accept"),
        (SHORT | {"accept": ["wax", " "]}, "must not be empty"),
        (CHOICE | {"question": " "}, "must not be empty"),
        (CHOICE | {"answer": ""}, "must not be empty"),
        (CHOICE | {"distractors": ["a", "b", " "]}, "must not be empty"),
    ],
)
def test_a_malformed_line_is_refused_by_its_place(tmp_path, bad, told):
    path = write(tmp_path / "i.jsonl", CHOICE, "", bad, SHORT)
    with pytest.raises(CorpusError) as refused:
        read_items(path)
    assert str(refused.value).startswith(f"{path}:3")
    assert told in str(refused.value)


def test_a_file_without_items_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.jsonl cannot be read"):
        read_items(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match="holds no items"):
        read_items(write(tmp_path / "i.jsonl", "", " "))
    (tmp_path / "i.jsonl").write_bytes(b"\xff")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_items(tmp_path / "i.jsonl")


def test_strata_follow_from_the_document():
    items = [item("1", "a.md"), item("2", ""), item("3", "b.md"), item("4", "a.md")]
    items.append(item("5", "elsewhere.md"))
    found = by_stratum(items, {"a.md"}, {"b.md"}, 0, seed=0)
    assert {name: [i.id for i in held] for name, held in found.items()} == {
        "training": ["1", "4"],
        "held out": ["3"],
        "control": ["2"],
    }


def test_a_sample_of_each_stratum_is_drawn_by_the_seed_and_keeps_the_order():
    items = [item(f"{n:02}", ["a.md", "b.md", ""][n % 3]) for n in range(30)]
    drawn = [by_stratum(items, {"a.md"}, {"b.md"}, 4, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    for found in drawn[0].values():
        assert len(found) == 4
        assert found == sorted(found, key=lambda i: i.id)
    split = {"a.md"}, {"b.md"}
    assert by_stratum(items, *split, 10, 1) == by_stratum(items, *split, 0, 1)


def test_every_place_holds_the_right_option_as_often():
    assert Counter(key_positions(12, 5)) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert sorted(Counter(key_positions(14, 5)).values()) == [3, 3, 4, 4]
    assert key_positions(12, 5) == key_positions(12, 5) != key_positions(12, 6)
    assert key_positions(0, 5) == []


def test_how_an_item_is_asked(tmp_path):
    choice, plain = read_items(write(tmp_path / "i.jsonl", CHOICE, SHORT))
    assert choice.prompt(2) == (
        "What covers the leaf?\nA: a layer of sugar\nB: bark\nC: a layer of wax\nD: steel\n"
        "Answer with the letter of the right option."
    )
    assert [choice.options(place).index(choice.answer) for place in range(4)] == [0, 1, 2, 3]
    assert plain.prompt(2) == "What covers the leaf?"


@pytest.mark.parametrize(
    ("accept", "answer", "right"),
    [
        ("4 gpa", "About 4 GPa.", True),
        ("4 gpa", "It is 0.4 GPa.", False),
        ("4 gpa", "It is 1,4 GPa.", False),
        ("4 gpa", "It is 14 GPa.", False),
        ("75%", "about 75%.", True),
        ("75%", "175%", False),
        ("14", "14,000 of them", False),
        ("14", "14, or so", True),
        ("14", "14.5", False),
        ("200 µm", "some 200 μm wide", True),  # micro sign, Greek mu
        ("200 μm", "some 200 µm wide", True),
        ("10 m2", "some 10 m²", True),
        ("2 500 m", "2\u202f500 m", True),
        ("wax", "Waxes", False),
        ("wax", "(wax)", True),
        ("wax", "It is WAX\nand more", True),
        ("type i", "type II collagen", False),
        ("a.c", "abc", False),
        ("wax", "", False),
    ],
)
def test_what_counts_as_right_in_writing(accept, answer, right):
    assert short(accept).is_right(answer, 0) == right
    assert short("nothing", accept).is_right(answer, 3) == right


def test_a_choice_is_right_in_its_place_alone():
    choice = item()
    assert choice.is_right("C", 2)
    assert not choice.is_right("C", 1)
    assert choice.is_right("w", 1)
    assert not choice.is_right("I do not know.", 1)


@torch.no_grad()
def spelled(policy, question, option):
    """Mean log-prob of an option's bytes, from the logits of this row alone."""
    prompt, said = chat_ids(policy.tokenizer, question), encode(policy.tokenizer, option)
    logits = policy.inner(torch.tensor([prompt + said])).logits[0, :-1].log_softmax(-1)
    return sum(float(logits[len(prompt) - 1 + i, t]) for i, t in enumerate(said)) / len(said)


TEXTS = ["bark", "steel wire", "wax", "sugar"]
SET = [
    Item(text, "", "choice", "What is it?", text, tuple(t for t in TEXTS if t != text), ())
    for text in TEXTS
]


def test_the_likeliest_of_four_is_the_one_that_the_logits_favour(policy):
    liked = max(TEXTS, key=lambda text: spelled(policy, "What is it?", text.capitalize()))
    assert likeliest(policy, SET, None) == [text == liked for text in TEXTS]
    assert likeliest(policy, [], None) == []


def test_options_stand_as_whole_responses_to_the_bare_question(policy, monkeypatch):
    asked = []

    def mean_logps(model, rows, role):
        asked.extend((*(letters(model.tokenizer, ids) for ids in row), role) for row in rows)
        return [-1.0, -2.0, -3.0, -4.0, -1.0, -1.0, -3.0, -4.0]  # a tie is no preference

    monkeypatch.setattr(facts, "mean_logps", mean_logps)
    assert likeliest(policy, SET[:2], "Be terse.", role="base") == [True, False]
    prompt = (
        "<|im_start|>system\nBe terse.<|im_end|>\n<|im_start|>user\nWhat is it?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    said = ["Bark", "Steel wire", "Wax", "Sugar", "Steel wire", "Bark", "Wax", "Sugar"]
    assert asked == [(prompt, text, "base") for text in said]
