"""Notes on a plane: a text is a direction, given in degrees, so a cosine can be read off."""

import math

import numpy as np
import pytest

from preflexor_pl.corpus.earlier_answers import ALIKE, Note, Notes


def note(name, question, answer):
    return Note(f"pair:{name}", question, answer, ("silk.md#0",), 0)


class Plane:
    """Texts as unit vectors; a text is its angle in degrees, or, of several, the last one."""

    def __init__(self):
        self.seen = []

    def __call__(self, texts):
        self.seen += texts
        angles = [math.radians(float(text.split()[-1])) for text in texts]
        return np.array([[math.cos(a), math.sin(a)] for a in angles], np.float32)


def test_the_nearest_note_comes_with_its_cosine():
    notes = Notes([note("a", "180", "60"), note("b", "180", "45"), note("c", "180", "90")], Plane())
    id, cosine = notes.nearest("0")
    assert (id, cosine) == ("pair:b", pytest.approx(math.sqrt(0.5)))


def test_a_note_that_answers_the_same_question_is_passed_over():
    assert math.cos(math.radians(30)) > ALIKE > math.cos(math.radians(40))
    notes = Notes([note("same", "30", "5"), note("other", "40", "60")], Plane())
    assert notes.nearest("0")[0] == "pair:other"
    assert Notes([note("same", "30", "5")], Plane()).nearest("0") is None


def test_a_text_alike_is_no_reason_to_pass_a_note_over():
    # What the question says may well stand in an answer to another one.
    assert Notes([note("a", "120", "0")], Plane()).nearest("0") == ("pair:a", pytest.approx(1))


def test_a_note_without_a_vector_is_never_found():
    notes = Notes([note("bad", "180", "nan"), note("worse", "nan", "1"), note("far", "180", "170")],
                  Plane())  # fmt: skip
    assert notes.nearest("0")[0] == "pair:far"
    assert Notes([note("bad", "180", "nan")], Plane()).nearest("0") is None


def test_without_notes_nothing_is_embedded():
    plane = Plane()
    assert Notes([], plane).nearest("0") is None
    assert plane.seen == []


def test_notes_are_embedded_once_and_only_when_they_are_searched():
    plane = Plane()
    notes = Notes([note("a", "180", "60")], plane)
    assert plane.seen == []
    notes.nearest("0")
    notes.nearest("1")
    assert plane.seen == ["180\n60", "180", "0", "1"]
