"""Answers that are quoted: which sentences stand alone, and whether a question is about one."""

import json
from dataclasses import replace

import numpy as np
import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.teacher_settings import TeacherSettings
from preflexor_pl.pairs.quotes import quotable
from tests.scripted import Shelf, kind_of, make_round, scripted_maker, scripted_settings

GOOD = "The tensile strength of nacre is of the order of 100 MPa."


@pytest.mark.parametrize(
    ("sentence", "stands"),
    [
        (GOOD, True),
        ("Mussel threads yield at a strain of 10\u201320% and dissipate much of the energy!", True),
        (
            "Grubbs' catalyst was dispersed in epoxy by Scott White, Nancy Sottos et al. in 2001.",
            True,
        ),
        ("This is why the work of fracture of nacre is so high.", False),
        ("It is three thousand times tougher than pure aragonite.", False),
        ("However, the strength of nacre falls when it is dry.", False),
        ("Their axes cross at an angle that changes from layer to layer.", False),
        ("As shown in Fig. 3, the strength of nacre falls with age.", False),
        ("The table below lists the strength of nacre and of bone.", False),
        ("Why is the work of fracture of nacre so high?", False),
        ("Nacre is tough.", False),  # too short to say how
        ("# The hierarchical structure of nacre and bone.", False),
        ("- a sheet of chitin lies between the layers of nacre.", False),
        ("The strength of nacre and of its " + "many " * 40 + "layers is high.", False),
        ("Nacre consists of the following four kinds of layers:", False),
    ],
)
def test_a_sentence_that_stands_alone(sentence, stands):
    assert quotable(sentence) == ([sentence] if stands else [])


def test_line_ends_in_a_sentence_are_spaces():
    assert quotable(GOOD.replace("nacre is", "nacre\nis") + "\n\n## Bone\n\nIt is tough.") == [GOOD]


class TwoSentences(Shelf):
    """Each chunk says how its subject carries load, then what it is made of, after a heading."""

    def __init__(self, mark=""):
        super().__init__()
        self.chunks = {
            id: replace(
                chunk,
                text=(
                    f"## Load\n\nThe many layers of the subject: {id[:-5]} carry its load{mark} in "
                    f"turn.\n\nProteins and minerals of the subject: {id[:-5]} come from sea water."
                ),
            )
            for id, chunk in self.chunks.items()
        }
        self._next = iter([*self.chunks.values()] * 9)

    def encode(self, texts):
        """Nearer, the more words two texts share."""
        rows = np.zeros((len(texts), 512), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace("?", " ").replace(".", " ").split():
                row[int.from_bytes(word.encode()) % 509] = 1
            row /= np.linalg.norm(row)
        return rows


def made(folder, teacher=None, mark="", **changes):
    maker = scripted_maker(teacher, library=TwoSentences(mark), answers="quoted", **changes)
    return make_round(maker, folder), maker


def test_the_answer_is_a_sentence_of_the_chunk_word_for_word(tmp_path):
    pairs, maker = made(tmp_path)
    assert len(pairs) == 2
    for pair in pairs:
        answer = pair.chosen.rpartition("\n")[2]
        assert answer in maker.library.chunks[pair.chunk_ids[0]].text
        assert answer.startswith("The many layers")  # what the questions are about
        assert (pair.grounding, pair.invented_numbers) == (1.0, 0)
    kinds = {kind_of(request) for request in maker.writers.teacher.asked}
    assert kinds == {"question", "thinking"}  # nobody is asked for an answer


def test_the_question_is_asked_of_the_sentence_alone(tmp_path):
    _, maker = made(tmp_path)
    asked = [r for r in maker.writers.teacher.asked if kind_of(r) == "question"]
    assert all(r.prompt.startswith("A title\n") for r in asked)
    assert not any("many layers" in r.prompt and "sea water" in r.prompt for r in asked)
    thinking = [r for r in maker.writers.teacher.asked if kind_of(r) == "thinking"]
    assert all("many layers" in r.prompt and "sea water" in r.prompt for r in thinking)


def test_a_question_about_another_sentence_is_dropped(tmp_path):
    def teacher(kind, subject, again):
        if kind == "question":
            return f"How does {subject} get proteins and minerals come from sea water?"
        return None

    pairs, _ = made(tmp_path, teacher)
    drops = [json.loads(line) for line in (tmp_path / "drops.jsonl").open()]
    assert {drop["reason"] for drop in drops} == {"question_not_of_its_quote"}
    assert all("sea water" in pair.chosen for pair in pairs)


def test_a_chunk_without_such_a_sentence_is_dropped(tmp_path):
    with pytest.raises(CorpusError, match="no pair came out of 8 tries: nothing_to_quote 8"):
        make_round(scripted_maker(answers="quoted"), tmp_path)


def test_control_tokens_in_a_quote_are_inert(tmp_path):
    pairs, _ = made(tmp_path, mark=" <|im_end|>", special_tokens={"<|im_end|>"})
    assert all("im_end" in pair.chosen for pair in pairs)
    assert not any("<|im_end|>" in pair.chosen for pair in pairs)


def test_several_candidates_mean_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"data\.teacher\.candidates: got 2, .*quoted"):
        scripted_settings(answers="quoted", teacher=TeacherSettings(candidates=2))
