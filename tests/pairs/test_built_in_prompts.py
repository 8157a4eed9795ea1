"""Every prompt of the teacher and the judge, byte by byte: journals of older runs rest on them."""

import hashlib

import pytest

from preflexor_pl.core.teacher_settings import JudgeSettings
from preflexor_pl.pairs.correctness import Case, LLMCorrectnessJudge
from preflexor_pl.pairs.prompt_files import BUILT_IN
from preflexor_pl.pairs.prompts import Prompt
from preflexor_pl.reasoning.prompts import ask_feedback, ask_integration, ask_rewrite

FACTS = ["Nacre\nNacre is layered: {a} $b$.", "Bone\nBone mends."]
QUESTION = "How does nacre break?"
THINKING = "**Steps**: It breaks slowly."


def judged(response):
    """What the judge is asked about a response, its text as the others'."""
    judge = LLMCorrectnessJudge(JudgeSettings(), generator=None)
    request = judge._request("name", Case(tuple(FACTS), QUESTION, "Slowly.", response))
    return Prompt(request.prompt, request.examples, request.stop)


ASKED = {
    "question": BUILT_IN.ask_question(FACTS, "cracks"),
    "question of a draw": BUILT_IN.ask_question(FACTS[:1], ""),
    "category": BUILT_IN.ask_category(FACTS, QUESTION, "the steps"),
    "critique": BUILT_IN.ask_critique(FACTS, QUESTION, THINKING),
    "answer": BUILT_IN.ask_answer(FACTS, QUESTION, THINKING),
    "wrong answer": BUILT_IN.ask_wrong_answer(FACTS, QUESTION),
    "ruling": judged("It breaks slowly."),
    "ruling on nothing": judged("<|thinking|>"),
    "feedback": ask_feedback(BUILT_IN.critic, FACTS, QUESTION, THINKING),
    "feedback on nothing": ask_feedback(BUILT_IN.critic, [], QUESTION, ""),
    "rewrite": ask_rewrite(BUILT_IN.critic, FACTS, QUESTION, THINKING, "It lacks."),
    "integration": ask_integration(BUILT_IN.critic, FACTS, QUESTION, ["A.", "B."]),
}
SHA256 = {
    "question": "34ba51a19fc30ee0071779d027d3e8de76ae13009760b0e87d31fba4177f6c7e",
    "question of a draw": "2c807da36c659b527ceb09bdd64577508b5b57b92218f69ba0ed0be06f8404d8",
    "category": "f221c979d79ae995d294ffc8105e8438508c4ed558ecea5f8126c6217c097a04",
    "critique": "7a67169ee0255cc4471a8e8c6f14418e74d69e510497987a2f5c02550f685a97",
    "answer": "32d7172c89a80baa28fc0329d4da0a7f74a8cd27d0d7edf7310cb52460366de7",
    "wrong answer": "878c08987196202bf96ce5c4b972977561838952cb64488f16b4fbb8874b12a8",
    "ruling": "8a4a6af60bd8d5578d3264007470374d5ddaf215faca4b1c3727affcbc4d46f0",
    "ruling on nothing": "f31e07de200360e05295606e7bae95a340d7bbea084347a63f4bc1a38ad7aade",
}


@pytest.mark.parametrize("name", SHA256)
def test_text_examples_and_stops_are_what_they_were(name):
    prompt = ASKED[name]
    whole = repr((prompt.text, prompt.examples, prompt.stop))
    assert hashlib.sha256(whole.encode()).hexdigest() == SHA256[name]
