"""Values question by question: written, read, paired."""

import math
from dataclasses import replace

import pytest

from preflexor_pl.core.generator import Completion
from preflexor_pl.evaluation.item_answers import ItemAnswer, item_metrics, write_item_answers
from preflexor_pl.evaluation.question_values import (
    PASS,
    VERIFIED,
    QuestionValues,
    document_of,
    items_path,
    read_values,
    values_after,
    values_from_rows,
    write_values,
)
from preflexor_pl.pairs.verification import OUTCOMES
from tests.tiny import PAIR


def test_values_come_back_and_one_that_is_missing_stays_missing(tmp_path):
    pairs = [PAIR, replace(PAIR, id="2", prompt="Why?\u2028", chunk_ids=["a#b.md#3", "c.md#0"])]
    rows = [{"loss": 0.5, "on_topic": 1.0}, {"on_topic": 0.0}]
    values = values_from_rows([p.prompt for p in pairs], list(map(document_of, pairs)), rows)
    assert values.documents == ["silk.md", "a#b.md"]
    assert values.means() == {"loss": 0.5, "on_topic": 0.5}
    path = tmp_path / "samples/held-out-0000.jsonl"
    write_values(path, pairs, [Completion("x", "stop", 1)] * 2, values)
    again = read_values(path)
    assert (again.prompts, again.documents) == (values.prompts, values.documents)
    assert again.values["on_topic"] == [1, 0]
    assert again.values["loss"][0] == 0.5
    assert math.isnan(again.values["loss"][1])


@pytest.mark.parametrize("text", [None, "", "{", '{"prompt": "Why?", "text": "of an older run"}\n'])
def test_files_of_older_runs_have_no_values(tmp_path, text):
    path = tmp_path / "held-out-0000.jsonl"
    if text is not None:
        path.write_text(text)
    assert read_values(path).values == {}


def test_questions_are_paired_by_what_was_asked_not_by_their_place():
    first = QuestionValues(["a", "b", "c"], ["x", "y", "z"], {"m": [1.0, 2.0, 3.0]})
    later = QuestionValues(["d", "c", "a"], ["v", "z", "x"], {"m": [9.0, 5.0, 2.0]})
    found = first.change_to(later, "m")
    assert (found.first, found.second, found.n, found.documents) == (2, 3.5, 2, 2)
    assert first.change_to(later, "other") is None
    assert first.change_to(QuestionValues(["d"], ["v"], {"m": [1.0]}), "m") is None


def test_answers_to_items_are_read_as_the_metrics_count_them(tmp_path):
    answers = [
        ItemAnswer(f"{outcome} {thinks}", 1, "", outcome, thinks, None, 3, "text")
        for outcome in OUTCOMES
        for thinks in (True, False)
    ]
    write_item_answers(items_path(tmp_path, 0), answers)
    means, metrics = values_after(tmp_path, 0).means(), item_metrics(answers)
    assert (means[PASS], means[VERIFIED]) == (metrics[PASS], metrics[VERIFIED]) == (4 / 8, 1 / 8)
