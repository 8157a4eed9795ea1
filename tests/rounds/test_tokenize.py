"""What a round's pairs become before a batch; how they are made is in test_regeneration."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.rounds.tokenize import PairTokenizer
from tests.tiny import PAIR


class Problems:
    """A collator that finds ``reason`` with every pair but ``fine``."""

    def __init__(self, reason):
        self.reason = reason

    def problem_of(self, made):
        return "" if made.id == "fine" else self.reason

    def tokenize(self, pair):
        return SimpleNamespace(id=pair.id)


def tokenizer(reason=""):
    return PairTokenizer(policy=None, collator=Problems(reason), token_budget=99)


def test_a_round_without_a_usable_pair_is_no_success(tmp_path, capsys):
    told = r"round-0001: no pair can be trained on: raise data\.max_prompt_length"
    with pytest.raises(CorpusError, match=told):
        tokenizer("prompt_too_long").tokenized([PAIR] * 3, tmp_path / "round-0001", False)
    assert "3 of 3 pairs cannot be trained on: prompt_too_long 3" in capsys.readouterr().out


def test_unusable_pairs_are_counted_by_their_reason(tmp_path, capsys):
    made = tokenizer("x").tokenized([PAIR, replace(PAIR, id="fine"), PAIR], tmp_path, False)
    assert [pair.id for pair in made] == ["fine"]
    assert "2 of 3 pairs cannot be trained on: x 2\n" in capsys.readouterr().out


def test_older_pairs_are_drawn_from_all_the_rounds_that_are_given(tmp_path):
    folders = [tmp_path / f"round-{index:04d}" for index in range(2)]
    for index, folder in enumerate(folders):
        folder.mkdir()
        pairs = [replace(PAIR, id=f"{index:04d}-{n:04d}") for n in range(4)]
        text = "".join(pair.to_json() + "\n" for pair in pairs)
        (folder / "pairs.jsonl").write_text(text, encoding="utf-8")

    def drawn(count, seed, folders=folders):
        made = tokenizer().drawn(folders, count, random.Random(seed), False)
        return [pair.id for pair in made]

    first = drawn(5, 3)
    assert len(set(first)) == len(first) == 5
    assert {name[:4] for name in first} == {"0000", "0001"}
    assert first == drawn(5, 3) != drawn(5, 4)
    assert len(drawn(99, 3)) == 8
    assert drawn(0, 3) == drawn(5, 3, folders=[]) == []
