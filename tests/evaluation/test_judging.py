"""Judges by script: one that looks at places, one that knows the answers, one that says nothing."""

import json
import re

import pytest

from preflexor_pl.core.generator import Completion
from preflexor_pl.evaluation.comparison import Answers, Measured, Row, trust
from preflexor_pl.evaluation.judging import (
    contest_records,
    control,
    judge_models,
    shuffled,
    win_rate,
)
from preflexor_pl.pairs.judge import AnswerPair, PairwiseJudge

KNOWN = {
    f"What holds {name} together?": f"Each {name} is held by a net of strong and weak bonds."
    for name in ("silk", "nacre", "bone", "wood", "chitin", "keratin", "enamel", "resilin")
}
QUESTIONS, ANSWERS = list(KNOWN), list(KNOWN.values())
WRONG = [f"It is magic, number {n}." for n in range(8)]


class Says:
    """A generator that is a judge: ``choose(question, first, second)`` is its reply."""

    name = "judge"

    def __init__(self, choose):
        self.choose = choose
        self.asked = 0

    def batches(self, requests):
        return [[i] for i in reversed(range(len(requests)))]

    def complete(self, requests, watch=None):
        self.asked += len(requests)
        found = [
            re.fullmatch(r"Question: (.*)\n\nAnswer A: (.*)\n\nAnswer B: (.*)\n\n.*", r.prompt)
            for r in requests
        ]
        return [Completion(self.choose(*three.groups()), "stop", 3) for three in found]


def judge(choose):
    return PairwiseJudge(Says(choose))


def truthful(question, first, second):
    right = KNOWN[question]
    return "tie" if (first == right) == (second == right) else "AB"[second == right] + ", as it is."


def by_place(question, first, second):
    return "A, because it comes first."


def under_control(choose, count=8, wrong=()):
    return control(judge(choose), QUESTIONS[:count], ANSWERS[:count], wrong, seed=1)[0]


def test_a_judge_that_prefers_a_place_is_found_out():
    found = under_control(by_place)
    assert found["corrupted loses: words shuffled"].value == 0
    assert found["corrupted loses: answer of another question"].value == 0
    assert found["orders agree"].value == 0
    assert found["readable"].value == 1
    assert trust(found).startswith("It does not reliably let a corrupted answer lose")


def test_a_judge_that_knows_the_answers_is_trusted():
    found = under_control(truthful)
    assert {name: estimate.value for name, estimate in found.items()} == {
        "corrupted loses: words shuffled": 1,
        "corrupted loses: answer of another question": 1,
        "orders agree": 1,
        "readable": 1,
    }
    assert {name: estimate.n for name, estimate in found.items()} == {
        "corrupted loses: words shuffled": 8,
        "corrupted loses: answer of another question": 8,
        "orders agree": 16,
        "readable": 16,
    }
    assert trust(found).startswith("It lets most corrupted answers lose")


def test_a_wrong_fact_is_one_more_corruption():
    wrong = [(QUESTIONS[n], ANSWERS[n], WRONG[n]) for n in range(3)]
    found = under_control(truthful, wrong=wrong)
    assert (found["corrupted loses: wrong fact"].value, found["orders agree"].n) == (1, 19)
    assert under_control(by_place, wrong=wrong)["corrupted loses: wrong fact"].value == 0


def test_three_questions_are_too_few_to_trust_anyone():
    # 3 of 3: Wilson's lower end is 3 / (3 + 1.96^2) = 0.44
    assert trust(under_control(truthful, 3)).startswith("It does not reliably")
    assert trust(under_control(truthful, 4)).startswith("It lets most")


def test_a_judge_that_sees_one_corruption_alone_is_not_trusted():
    def sees_other_words(question, first, second):
        known = sorted(KNOWN[question].split())
        same = [sorted(text.split()) == known for text in (first, second)]
        return "tie" if same[0] == same[1] else "AB"[same[1]]

    found = under_control(sees_other_words)
    assert found["corrupted loses: words shuffled"].value == 0
    assert found["corrupted loses: answer of another question"].value == 1
    assert found["orders agree"].value == 1
    assert trust(found).startswith("It does not reliably")


@pytest.mark.parametrize(("reply", "readable", "agrees"), [("tie", 1, 1), ("Hm.", 0, 0)])
def test_a_judge_that_does_not_choose(reply, readable, agrees):
    found = under_control(lambda *_: reply)
    assert found["readable"].value == readable
    assert found["orders agree"].value == agrees
    assert found["corrupted loses: words shuffled"].value == 0


def test_win_rates_by_hand():
    def rated(choose, ours, theirs):
        return win_rate(judge(choose), QUESTIONS, ours, theirs, seed=0)[0]

    assert rated(truthful, ANSWERS, WRONG).value == 1
    assert rated(truthful, WRONG, ANSWERS).value == 0
    assert rated(by_place, ANSWERS, WRONG).value == rated(by_place, WRONG, ANSWERS).value == 0.5
    # six wins, two losses
    mixed = rated(truthful, ANSWERS[:6] + WRONG[6:], WRONG[:6] + ANSWERS[6:])
    assert (mixed.value, mixed.n) == (6 / 8, 8)
    assert mixed.low < 6 / 8 < mixed.high


def test_equal_answers_are_a_tie_without_a_call():
    asks = judge(truthful)
    theirs = [f" {ANSWERS[0]}\n", ANSWERS[1], *WRONG[2:]]
    estimate, verdicts, asked = win_rate(asks, QUESTIONS, ANSWERS, theirs, seed=0)
    assert estimate.value == (6 * 1 + 2 * 0.5) / 8
    assert asks.generator.asked == 2 * 6
    assert [contest.question for contest in asked] == QUESTIONS[2:]
    assert len(verdicts) == 6
    assert win_rate(asks, QUESTIONS, ANSWERS, ANSWERS, seed=0)[0].value == 0.5
    assert asks.generator.asked == 2 * 6


def test_the_first_answers_that_two_variants_share_are_judged_once():
    asks, variants = judge(truthful), ("thinking", "reflection")
    base = Measured(
        "base", "b", [Row("base", "thinking", "0")], [Answers("thinking", {"0": WRONG})]
    )
    rows = [Row("ours", variant, "0") for variant in variants]
    ours = Measured("ours", "o", rows, [Answers(v, {"0": ANSWERS}) for v in variants])
    reliability, records = judge_models(asks, QUESTIONS, ANSWERS, (), [base, ours], seed=1)
    assert [row.measures["wins_over_base"].value for row in rows] == [1, 1]
    assert asks.generator.asked == 2 * 16 + 2 * 8  # two corruptions, and one contest for both rows
    assert len(records) == 16 + 2 * 8
    assert reliability["in the contests: orders agree"].n == 16


def test_every_contest_is_recorded_with_the_replies():
    records = control(judge(truthful), QUESTIONS, ANSWERS, (), seed=1)[1]
    assert len(records) == 16
    assert json.loads(json.dumps(records[0])) == {
        "contest": "control: words shuffled",
        "question": QUESTIONS[0],
        "first": ANSWERS[0],
        "second": shuffled(ANSWERS[0], 1),
        "score": 1.0,
        "places": ["A", "B"],
        "replies": ["A, as it is.", "B, as it is."],
        "tokens": 6,
    }
    other = records[8]
    assert other["contest"] == "control: answer of another question"
    assert other["second"] in ANSWERS[1:]
    contests = [AnswerPair("Why?", "a", "b")]
    assert contest_records("x", contests, judge(by_place).compare(contests))[0]["score"] == 0.5


def test_shuffled_words_are_the_same_words():
    texts = [shuffled(ANSWERS[0], seed) for seed in range(5)]
    assert {tuple(sorted(text.split())) for text in texts} == {tuple(sorted(ANSWERS[0].split()))}
    assert len({*texts, ANSWERS[0]}) == 6
    assert shuffled(ANSWERS[0], 0) == texts[0]
    assert shuffled("", 0) == ""
