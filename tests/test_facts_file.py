"""The shipped questions: enough of them, on documents that are there, and checkable as they say."""

from collections import Counter
from pathlib import Path

import pytest

from preflexor_pl.evaluation.facts import OPTIONS, read_items
from preflexor_pl.tasks.answer_text import LETTERS

ROOT = Path(__file__).parents[1]
ITEMS = read_items(ROOT / "facts/items.jsonl")
SHORT = [item for item in ITEMS if item.kind == "short"]
CHOICE = [item for item in ITEMS if item.kind == "choice"]


def ids(items):
    return [item.id for item in items]


def test_every_document_of_the_corpus_has_twelve_and_there_is_a_control():
    counts = Counter((item.document, item.kind) for item in ITEMS)
    documents = {path.name for path in (ROOT / "corpus").iterdir()} - {"LICENSE"}
    assert len(ITEMS) >= 200
    assert {document for document, _ in counts} - {""} == documents
    for document in documents:
        assert (counts[document, "choice"], counts[document, "short"]) == (6, 6), document
    assert counts["", "choice"] == counts["", "short"] >= 20


def test_no_id_and_no_question_is_there_twice():
    assert len({item.id for item in ITEMS}) == len(ITEMS)
    assert len({item.question.casefold() for item in ITEMS}) == len(ITEMS)


def test_strings_to_accept_are_there_exactly_for_what_is_written():
    assert {bool(item.accept) for item in SHORT} == {True}
    assert {bool(item.accept) for item in CHOICE} == {False}


@pytest.mark.parametrize("item", ITEMS, ids=ids(ITEMS))
def test_the_four_options_differ_in_more_than_case(item):
    assert len({" ".join(text.casefold().split()) for text in item.options(0)}) == 4


@pytest.mark.parametrize("item", SHORT, ids=ids(SHORT))
def test_a_written_answer_is_told_from_what_is_wrong(item):
    assert item.is_right(item.answer, 0)
    assert item.is_right(f"It is {item.answer}.", 0)
    assert [text for text in item.distractors if item.is_right(text, 0)] == []
    assert not item.is_right(item.question, 0), "the question gives the answer away"
    assert not item.is_right("", 0)


@pytest.mark.parametrize("item", CHOICE, ids=ids(CHOICE))
def test_an_option_is_read_by_its_letter_and_by_its_text(item):
    for place, letter in enumerate(LETTERS[:OPTIONS]):
        assert item.is_right(f"{letter}: {item.options(place)[place]}", place)
        assert item.is_right(f"Because {item.answer}.", place)
        assert not any(item.is_right(text, place) for text in item.distractors)
