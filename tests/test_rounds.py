"""What a round's pairs become before a batch; how they are made is in test_regeneration."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.rounds import Rounds, question
from tests.tiny import PAIR


class Problems:
    """A collator that cuts every pair twice, and finds ``reason`` with every pair but ``fine``."""

    def __init__(self, reason=""):
        self.reason = reason

    def problem_of(self, made):
        return "" if made.id == "fine" else self.reason

    def tokenize(self, pair):
        return SimpleNamespace(id=pair.id, truncated=2)


def rounds(reason=""):
    made = object.__new__(Rounds)
    made.collator = Problems(reason)
    return made


def test_a_round_without_a_usable_pair_is_no_success(tmp_path, capsys):
    with pytest.raises(CorpusError, match=r"round-0001: no pair fits: raise data\.max_length"):
        rounds("prompt_too_long").tokenized([PAIR] * 3, tmp_path / "round-0001", False)
    assert "3 pairs unusable" in capsys.readouterr().out


def test_cut_responses_and_unusable_pairs_are_counted(tmp_path, capsys):
    made = rounds("x").tokenized([PAIR, replace(PAIR, id="fine"), PAIR], tmp_path, False)
    assert [pair.id for pair in made] == ["fine"]
    assert "2 responses cut to data.max_length, 2 pairs unusable" in capsys.readouterr().out


def test_a_question_is_a_prompt_without_its_trigger():
    assert question(PAIR) == "Why is silk tough?"
