"""What a round's pairs become before a batch; how they are made is in test_regeneration."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.teacher_settings import JudgeSettings
from preflexor_pl.pairs.prompt_files import BUILT_IN
from preflexor_pl.pairs.prompts import Template
from preflexor_pl.rounds.rounds import Rounds
from tests.scripted import scripted_settings
from tests.tiny import PAIR


class Problems:
    """A collator that finds ``reason`` with every pair but ``fine``."""

    def __init__(self, reason=""):
        self.reason = reason

    def problem_of(self, made):
        return "" if made.id == "fine" else self.reason

    def tokenize(self, pair):
        return SimpleNamespace(id=pair.id)


def rounds(reason=""):
    made = object.__new__(Rounds)
    made.collator = Problems(reason)
    return made


def test_a_round_without_a_usable_pair_is_no_success(tmp_path, capsys):
    told = r"round-0001: no pair can be trained on: raise data\.max_prompt_length"
    with pytest.raises(CorpusError, match=told):
        rounds("prompt_too_long").tokenized([PAIR] * 3, tmp_path / "round-0001", False)
    assert "3 of 3 pairs cannot be trained on: prompt_too_long 3" in capsys.readouterr().out


def test_unusable_pairs_are_counted_by_their_reason(tmp_path, capsys):
    made = rounds("x").tokenized([PAIR, replace(PAIR, id="fine"), PAIR], tmp_path, False)
    assert [pair.id for pair in made] == ["fine"]
    assert "2 of 3 pairs cannot be trained on: x 2\n" in capsys.readouterr().out


def test_older_pairs_are_drawn_by_the_seed_from_all_rounds_before(tmp_path):
    made = rounds()
    made.run, made.seed = tmp_path, 3
    for index in range(3):
        folder = made.folder(index)
        folder.mkdir(parents=True)
        pairs = [replace(PAIR, id=f"{index:04d}-{n:04d}") for n in range(4)]
        text = "".join(pair.to_json() + "\n" for pair in pairs)
        (folder / "pairs.jsonl").write_text(text, encoding="utf-8")
    first = [pair.id for pair in made.older(2, 5, False)]
    assert len(set(first)) == len(first) == 5
    assert {name[:4] for name in first} == {"0000", "0001"}
    assert first == [pair.id for pair in made.older(2, 5, False)]
    assert len(made.older(2, 99, False)) == 8
    assert made.older(2, 0, False) == made.older(0, 5, False) == []
    made.seed = 4
    assert first != [pair.id for pair in made.older(2, 5, False)]


def test_the_judge_is_asked_with_the_prompts_of_the_run():
    made = rounds()
    mine = replace(BUILT_IN, ruling=Template("Is {{answer}} right?"))
    made.settings = scripted_settings(judge=JudgeSettings(), only_wrong=True, prompts=mine)
    made.judge = made.examiner = None
    made.teacher, made.special_strings = "teacher", ["</s>"]
    judge = made._examiner()
    assert (judge.generator, judge.special_tokens, judge.prompts) == ("teacher", ["</s>"], mine)


def test_answers_of_a_teacher_are_not_asked_for_again_to_be_compared(tmp_path):
    made = rounds()
    made.run, made.judge, made.settings = tmp_path, None, SimpleNamespace(rejected="teacher")
    made.folder(0).mkdir(parents=True)
    (made.folder(0) / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="those of the policy alone can be drawn anew"):
        made.replay(0, 2, 0)
