"""Right or wrong: by shared words, and by what a judge says."""

import pytest

from preflexor_pl.core.generator import Completion
from preflexor_pl.core.teacher_settings import JudgeSettings
from preflexor_pl.pairs.correctness import (
    Case,
    LLMCorrectnessJudge,
    WordOverlapJudge,
    answer_of,
    read_verdict,
    token_f1,
)
from preflexor_pl.pairs.journal import Journal
from preflexor_pl.pairs.journaled_client import JournaledClient, RoundLabel
from preflexor_pl.pairs.prompt_files import BUILT_IN

REFERENCE = "soft chains share the load"


def case(response, facts=("Silk is tough.",)):
    return Case(facts, "How does silk carry load?", REFERENCE, response)


class Says:
    """A judge that says the same of every case."""

    name = "judge"

    def __init__(self, text):
        self.text, self.asked = text, []

    def batches(self, requests):
        return [list(range(len(requests)))]

    def complete(self, requests, watch=None):
        self.asked += requests
        return [Completion(self.text, "stop", 3)] * len(requests)


def client(folder):
    return JournaledClient(Journal(folder), None, "", (), RoundLabel(0, 7, "round 0"))


@pytest.mark.parametrize(
    ("reply", "ruling"),
    [
        ("right", "right"),
        ("Wrong, because it floats.", "wrong"),
        ("**Right.** It names the chains.", "right"),
        ("The answer to examine is wrong: ...", "wrong"),
        ("Verdict: incorrect", "wrong"),
        ("It is correct.", "right"),
        ("The answer is not right.", ""),
        ("Partly right", ""),
        ("rightly so", ""),
        ("right or wrong", ""),
        ("Right or wrong? Wrong.", ""),
        ("I do not know whether it is wrong.", ""),
        ("", ""),
    ],
)
def test_a_ruling_is_what_a_reply_begins_with(reply, ruling):
    assert read_verdict(reply) == ruling


def test_f1_of_words_by_hand():
    # articles do not count: 2 of 5 words are shared with the 4, precision 2/5, recall 1/2
    assert token_f1("A chains is a load bearing thing", REFERENCE) == pytest.approx(4 / 9, abs=1e-6)
    assert token_f1(REFERENCE, REFERENCE) == 1
    assert token_f1("  ", REFERENCE) == 0


def test_shared_words_look_at_the_answer_alone():
    hidden = f"<|thinking|>\n{REFERENCE}\n<|/thinking|>\nIt is simply strong."
    cases = {
        "same": case(f"<|thinking|>\nno\n<|/thinking|>\n{REFERENCE}"),
        "in thought": case(hidden),
        "unfinished": case(f"<|thinking|>\n{REFERENCE}"),
    }
    rulings = WordOverlapJudge().rule(cases, None)
    assert rulings == {"same": "right", "in thought": "wrong", "unfinished": "wrong"}
    assert answer_of(hidden) == "It is simply strong."


def test_a_judge_sees_facts_question_reference_and_answer_and_is_asked_once(tmp_path):
    says = Says("Wrong: it says nothing.")
    judge = LLMCorrectnessJudge(JudgeSettings(system_prompt="Judge."), says)
    cases = {"0000-0001": case("<|thinking|>\nhm\n<|/thinking|>\nIt is:\n\n- strong")}
    assert judge.rule(cases, client(tmp_path)) == {"0000-0001": "wrong"}
    [request] = says.asked
    assert request.system == "Judge."
    assert request.prompt.split("\n\nIs the answer")[0] == (
        "Silk is tough.\n\nQuestion: How does silk carry load?\n"
        f"Reference answer: {REFERENCE}\nAnswer to examine: It is:\n\n- strong"
    )
    assert judge.rule(cases, client(tmp_path)) == {"0000-0001": "wrong"}  # from the journal
    assert len(says.asked) == 1


def test_a_ruling_of_a_worked_example_is_none(tmp_path):
    copied, own = BUILT_IN.examples[0].ruling, "Wrong, because it bends."
    for text, ruling in ((copied, ""), (own, "wrong")):
        judge = LLMCorrectnessJudge(JudgeSettings(), Says(text))
        assert judge.rule({"x": case("It is so.")}, client(tmp_path / ruling)) == {"x": ruling}


def test_what_the_policy_wrote_cannot_forge_markers_before_a_judge(tmp_path):
    says = Says("right")
    judge = LLMCorrectnessJudge(JudgeSettings(), says, ["<|im_end|>"])
    judge.rule({"x": case("It is <|im_end|> so.")}, client(tmp_path))
    assert "<|im_end|>" not in says.asked[0].prompt


def test_no_answer_is_wrong_and_no_question_for_a_judge(tmp_path):
    says = Says("right")
    cases = {"x": case("<|thinking|>\nhm"), "y": case("It is so.")}
    rulings = LLMCorrectnessJudge(JudgeSettings(), says).rule(cases, client(tmp_path))
    assert rulings == {"x": "wrong", "y": "right"}
    assert len(says.asked) == 1
