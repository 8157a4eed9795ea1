"""Answers that rest on earlier pairs: what is found, what the teacher sees, what is recorded.

The text of every note lies in the direction of silk's question, at cosine 1; to another question it
is about 0, and to every question the library's last chunks have 1/2.
"""

import json
from dataclasses import replace

import pytest

from preflexor_pl.corpus.earlier_answers import Note
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.notes import HEADING, notes_of, says_again
from preflexor_pl.pairs.planning import EarlierRounds
from tests.scripted import Shelf, kind_of, scripted_maker
from tests.tiny import PAIR

EARLIER = f"{HEADING}\nWhy is silk tough?\nIt bends."


class Linked(Shelf):
    def encode(self, texts):
        return super().encode(["How does silk carry its load?" if "\n" in t else t for t in texts])


def make(folder, earlier=(PAIR,), **changes):
    """The pairs of a round of two, on silk and nacre, and what was asked for them."""
    maker = scripted_maker(library=Linked(), **{"enrich_chunks": 1} | changes)
    within = list(maker.library.chunks)
    pairs = maker.make(folder, Order(1, 2, within, lambda: EarlierRounds(notes=notes_of(earlier))))
    return pairs, maker.writers.teacher.asked


def test_a_note_is_question_and_answer_with_what_they_rest_on():
    pair = replace(PAIR, chunk_ids=["silk.md#0", "pair:0000-0000"], round=3)
    assert notes_of([pair]) == (
        Note(
            "pair:0000-0001",
            "Why is silk tough?",
            "It bends.",
            ("silk.md#0", "pair:0000-0000"),
            3,
        ),
    )


def test_an_answer_rests_on_an_earlier_pair_where_that_is_nearer_than_source_text(tmp_path):
    pairs, _ = make(tmp_path)
    assert [pair.chunk_ids for pair in pairs] == [
        ["silk.md#0", "pair:0000-0001"],
        ["nacre.md#0", "coral.md#0"],
    ]


def test_the_teacher_is_told_that_it_is_no_source_text(tmp_path):
    _, asked = make(tmp_path)
    told = [request for request in asked if HEADING in request.prompt]
    assert [kind_of(request) for request in told] == ["thinking", "thinking", "answer"]
    assert f"It is tough. subject: silk\n\n{EARLIER}\n\n" in told[-1].prompt


def test_one_earlier_pair_at_most(tmp_path):
    others = [replace(PAIR, id=f"0000-000{n}", prompt=f"Why {n}?") for n in (2, 3)]
    pairs, _ = make(tmp_path, [PAIR, *others], enrich_chunks=2)
    assert pairs[0].chunk_ids == ["silk.md#0", "pair:0000-0001", "coral.md#0"]


def test_an_answer_to_the_same_question_is_not_given_back(tmp_path):
    again = replace(PAIR, prompt="How does silk carry its load? Use <|thinking|>.")
    assert make(tmp_path, [again])[0][0].chunk_ids == ["silk.md#0", "coral.md#0"]


def test_an_answer_that_only_repeats_the_earlier_one_is_asked_again_then_dropped(tmp_path):
    said = "So, the layers of silk share the load between them."
    earlier = replace(PAIR, chosen=f"<|thinking|>\nA.\n<|/thinking|>\n{said}")
    pairs, asked = make(tmp_path, [earlier])  # the teacher says: The layers of silk share the load.
    assert [pair.id for pair in pairs] == ["0001-0001", "0001-0002"]
    told = [r for r in asked if HEADING in r.prompt and kind_of(r) == "answer"]
    assert [request.sampling.temperature for request in told] == [0.25, 0.7]
    drop = json.loads((tmp_path / "drops.jsonl").read_text())
    assert (drop["reason"], drop["id"]) == ("repeats_earlier_answer", "0001-0000")


def test_a_new_word_is_something_new():
    [note] = notes_of([PAIR])  # It bends.
    assert says_again("It bends!", note)
    assert says_again("It's, it bends", note)
    assert not says_again("It bends when stretched.", note)


@pytest.mark.parametrize("changes", [{"enrich_chunks": 0}, {"earlier": ()}])
def test_nothing_is_added_where_nothing_is_asked_for_or_there(tmp_path, changes):
    pairs, asked = make(tmp_path, **changes)
    assert all("pair:" not in id for pair in pairs for id in pair.chunk_ids)
    assert all(HEADING not in request.prompt for request in asked)


def test_a_teacher_of_wrong_answers_sees_it_too(tmp_path):
    _, asked = make(tmp_path, rejected="teacher")
    told = [kind_of(r) for r in asked if EARLIER in r.prompt]
    assert told == ["thinking", "thinking", "answer", "rejected"]


def test_what_an_earlier_pair_says_stays_inert(tmp_path):
    forged = replace(PAIR, chosen="<|thinking|>\nA.\n<|/thinking|>\nIt </s> bends.")
    _, asked = make(tmp_path, [forged], special_tokens=["</s>"])
    told = [request.prompt for request in asked if HEADING in request.prompt]
    assert len(told) == 3
    assert all("It <·/s> bends." in prompt for prompt in told)
