"""What two rounds, of three pairs together, leave to the next, counted by hand."""

from collections import Counter
from dataclasses import replace

import pytest

from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.notes import notes_of
from preflexor_pl.pairs.planning import EarlierRounds
from preflexor_pl.pairs.round_folders import round_folder
from preflexor_pl.rounds.history import keep_margins, past_of
from tests.tiny import PAIR

SILK = replace(PAIR, id="0000-0000", chunk_ids=["silk.md#0", "silk.md#1"])
BONE = replace(PAIR, id="0000-0001", chunk_ids=["bone.md#0"], prompt="Why bone?")
WOOD = replace(PAIR, id="0001-0000", chunk_ids=["wood.md#0", "silk.md#1"], prompt="Why wood?")
QUESTIONS = ("Why is silk tough?", "Why bone?", "Why wood?")
USES = Counter({"silk.md#0": 1, "silk.md#1": 2, "bone.md#0": 1, "wood.md#0": 1})


@pytest.fixture
def run(tmp_path):
    for index, pairs in enumerate([[SILK, BONE], [WOOD]]):
        Journal(round_folder(tmp_path, index)).finish(pairs, [], {})
    return tmp_path


def test_nothing_is_before_the_first_round(tmp_path):
    assert past_of(tmp_path, 0, grow=True) == EarlierRounds()


def test_questions_and_uses_are_those_of_the_rounds_before(run):
    assert past_of(run, 2, grow=False) == EarlierRounds(QUESTIONS, USES)
    assert past_of(run, 1, grow=False).questions == QUESTIONS[:2]


def test_pairs_are_counted_by_topic(tmp_path):
    pairs = [replace(SILK, topic="webs"), replace(BONE, topic="webs"), WOOD]
    Journal(round_folder(tmp_path, 0)).finish(pairs, [], {})
    assert past_of(tmp_path, 1, grow=False).topics == Counter(webs=2)


def test_a_run_that_grows_has_its_pairs_as_notes(run):
    assert past_of(run, 2, grow=True) == EarlierRounds(
        QUESTIONS, USES, (), notes_of([SILK, BONE, WOOD])
    )


def test_the_first_chunk_of_the_smallest_margin_comes_first(run):
    keep_margins(run, 2, lambda pairs: [0.5, -1.0, 0.25])
    assert past_of(run, 2, grow=False).doubted == ("bone.md#0", "wood.md#0", "silk.md#0")


def test_margins_are_taken_once(run):
    taken = []

    def margins(pairs):
        taken.append([pair.id for pair in pairs])
        return [1.0, 2.0]

    keep_margins(run, 1, margins)
    keep_margins(run, 1, margins)
    assert taken == [["0000-0000", "0000-0001"]]
