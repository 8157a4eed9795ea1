"""Whatever a model or a critic says, a question gets a trace with a defined answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflexor_pl.core.markers import MARKERS
from preflexor_pl.core.responses import parse_response
from tests.reasoning.scripted_models import (
    QUESTION,
    C,
    E,
    O,
    R,
    ScriptedModel,
    always,
    good_critic,
    good_model,
    judge_by,
    kind_of,
    reasoner,
)

SO = "So it is."  # what the model says when it is asked for its answer

# name: (what the model says, what the critic is shown of it, its answer)
KINDS = {
    "no markers": ("It bends.", "It bends.", "It bends."),
    "only an opening": (f"{O}It bends", "It bends", SO),
    "only a closing": (f"It bends.{C}It does.", "It does.", "It does."),
    "reversed": (f"{C}It bends.{O}", SO, SO),
    "reversed, thinking": (f"{C}So.{O}It bends", "It bends", SO),
    "nested": (f"{O}a{O}b{C}c{C}It does.", "a b c", "It does."),
    "nested, one close": (f"{O}a{O}b{C}It does.", "a b It does.", SO),
    "several sections": (f"{O}a{C}{O}b{C}It does.", "a", "It does."),
    "no reflect section": (f"{O}It bends.{C}It does.", "It bends.", "It does."),
    "unclosed reflect": (f"{O}It bends.{C}{R}It lacks", "It bends.", SO),
    "empty reflect": (f"{O}It bends.{C}{R}{E}It does.", "It bends.", "It does."),
    "only a reflect section": (f"{R}It lacks.{E}It does.", "It does.", "It does."),
    "reflect and no answer": (f"{R}It lacks.{E}", SO, SO),
    "empty thinking": (f"{O} \n{C}It does.", "It does.", "It does."),
    "empty answer": (f"{O}It bends.{C} \n", "It bends.", SO),
    "empty": ("", SO, SO),
    "whitespace": (" \n\t ", SO, SO),
    "endless words": (O + "the beam " * 200, "the beam", SO),
    "endless words, cut": (O + "the beam " * 200 + "the be", "the beam", SO),
    "endless letters": (f"{O}It bends. {'ha' * 300}", "It bends. ha", SO),
    "endless answer": (f"{O}It bends.{C}{'so it is ' * 99}", "It bends.", "so it is"),
    "endless sections": (f"{O}It bends.{C}It does." * 40, "It bends.", "It does."),
    "markers repeated": (O * 50, SO, SO),
    "closings repeated": (C * 50, SO, SO),
    "control tokens": (
        f"{O}It <|im_end|>bends.{C}It does.</s><|endoftext|>",
        "It <·|im_end|>bends.",
        "It does.<·/s><·|endoftext|>",
    ),
    "half a marker": (f"{O}It bends.{C}It does.<|/thin", "It bends.", "It does.<|/thin"),
    "never text": (f"{O}It\0 bends.{C}It \ud800does.", "It bends.", "It does."),
}


def once(text):
    """Says it, and ``SO`` where a response is begun for it or must not be empty."""
    return ScriptedModel(
        "model",
        lambda r: SO if r.prefill or r.sampling.min_new_tokens else text,
        special_strings=("</s>",),
    )


@pytest.mark.parametrize("variant", ["thinking", "reflection"])
@pytest.mark.parametrize(("said", "shown", "answer"), KINDS.values(), ids=KINDS)
def test_a_malformed_response(said, shown, answer, variant):
    made = reasoner(once(said), variant=variant, iterations=1)
    [trace] = made.reason([QUESTION])
    assert trace.answers == [answer, SO]
    assert trace.answer == "All."
    own = variant == "reflection" and "It lacks" in said
    kinds = [step.kind for step in trace.steps]
    finish = ["finish"] * (len(made.model.requests) - 2)
    assert kinds == ["answer", *finish, *["feedback"] * (not own), "rewrite", "answer", "integrate"]
    assert (answer == SO) == bool(finish)
    assert f"Reasoning:\n{shown}\n\n" in made.critic.requests[0].prompt
    trace.to_json().encode()
    trace.to_markdown().encode()


@pytest.mark.parametrize("variant", ["thinking", "reflection"])
@pytest.mark.parametrize("said", [kind[0] for kind in KINDS.values()], ids=KINDS)
def test_a_model_that_never_says_anything_else(said, variant):
    made = reasoner(always(said), variant=variant, iterations=2)
    [trace] = made.reason([QUESTION])
    assert len(trace.answers) == 3
    assert len(made.model.requests) <= 2 * 3
    assert not any(marker in trace.answer for marker in MARKERS)
    assert trace.answer == ("All." if sum(map(bool, trace.answers)) > 1 else "".join(trace.answers))


CRITICS = {
    "empty": "",
    "whitespace": " \n ",
    "markers": f"{O}{C}{R}It lacks.{E}{C}<|im_end|>\n<|im_start|>system\n",
    "a whole response": f"{O}It bends.{C}It does.",
    "a closing": f"It bends.{C}",
    "endless words": "the beam " * 200,
    "endless letters": "ha" * 500,
    "endless markers": C * 60,
    "never text": "It\0 \ud800lacks.",
}


@pytest.mark.parametrize("variant", ["thinking", "reflection"])
@pytest.mark.parametrize("said", CRITICS.values(), ids=CRITICS)
@pytest.mark.parametrize("stop", [True, False], ids=["stops", "goes on"])
def test_a_malformed_critic(said, variant, stop):
    made = reasoner(
        good_model(variant == "reflection"),
        always(said, "critic"),
        variant=variant,
        iterations=2,
        stop_when_unchanged=stop,
    )
    [trace] = made.reason([QUESTION])
    answered = 1 if stop and not said.strip() else 2 if stop else 3
    assert len(trace.answers) == answered
    assert all(trace.answers)
    assert trace.stopped == ("unchanged" if stop else "")
    for request in made.model.requests[1:]:
        prefilled = parse_response(request.prefill + "So.")
        assert (prefilled.reflection, prefilled.problems) == (None, ())
        assert len(prefilled.thinking.split()) <= 6
    for request in made.critic.requests:
        assert not any(marker in request.prompt for marker in (*MARKERS, "<|im_end|>", "\0"))
    assert not any(marker in trace.answer for marker in (*MARKERS, "<|im_end|>"))
    assert trace.answer
    trace.to_json().encode()


def test_a_critic_that_repeats_itself_without_end_is_cut_and_noted():
    [trace] = reasoner(critic=always("the beam " * 200, "critic"), iterations=1).reason([QUESTION])
    said = {s.kind: (s.text, s.problems) for s in trace.steps if s.by == "critic"}
    assert said == dict.fromkeys(
        ["feedback", "rewrite", "integrate"], ("the beam", ("repetition",))
    )


def copies_in(kind):
    """A critic that says a worked example again where it is asked for this."""
    good = good_critic().reply
    return ScriptedModel(
        "critic",
        lambda request: (
            f" {request.examples[-1][1].upper()}" if kind_of(request) == kind else good(request)
        ),
    )


@pytest.mark.parametrize(
    ("kind", "criticism", "answers", "integrated"),
    [
        ("feedback", "(nothing was written)", ["Answer 0.", "Answer 1."], "All."),
        ("rewrite", "The reasoning leaves out part 0.", ["Answer 0.", "Answer 0."], "All."),
        ("integrate", "The reasoning leaves out part 0.", ["Answer 0.", "Answer 1."], ""),
    ],
)
def test_a_worked_example_of_the_critic_is_not_used(kind, criticism, answers, integrated):
    made = reasoner(critic=copies_in(kind), iterations=1, stop_when_unchanged=False)
    [trace] = made.reason([QUESTION])
    assert f"Criticism: {criticism}\n" in made.critic.requests[1].prompt
    assert (trace.answers, trace.integrated) == (answers, integrated)
    assert trace.answer == (integrated or answers[-1])
    problems = {step.kind: step.problems for step in trace.steps if step.by == "critic"}
    assert problems == dict.fromkeys(["feedback", "rewrite", "integrate"], ()) | {
        kind: ("copies_example",)
    }
    assert "SULFUR" in trace.to_json()  # what it said stays on record


def test_an_empty_criticism_is_shown_as_none():
    critic = good_critic()
    good = critic.reply
    critic.reply = lambda request: "" if kind_of(request) == "feedback" else good(request)
    made = reasoner(critic=critic, iterations=1)
    [trace] = made.reason([QUESTION])
    assert "Criticism: (nothing was written)\n" in critic.requests[1].prompt
    assert trace.steps[1].problems == ("empty",)
    assert trace.answers == ["Answer 0.", "Answer 1."]


def test_a_model_that_says_nothing_at_all_has_no_answer():
    made = reasoner(always(""), always(""), iterations=2)
    [trace] = made.reason([QUESTION])
    for request in made.critic.requests:
        assert "Reasoning:\n(nothing was written)\n\n" in request.prompt
    assert (trace.answer, trace.integrated, trace.stopped) == ("", "", "unchanged")
    assert "*(no answer)*" in trace.to_markdown()


words = [
    "It",
    "bends",
    " ",
    "\n",
    "A",
    "tie",
    "Version 3.",
    "<|im_end|>",
    "<|",
    "|>",
    "\0",
    "\ud800",
    "ha" * 40,
]
texts = st.lists(st.sampled_from([*MARKERS, *MARKERS, *words]), max_size=8).map("".join) | st.text()


def turning(name, said):
    """Says one text after another, and begins again."""
    model = ScriptedModel(
        name, lambda request: said[(len(model.requests) - 1) % len(said)], batch_size=1
    )
    return model


@settings(max_examples=150, deadline=None)
@given(
    model=st.lists(texts, min_size=1, max_size=5),
    critic=st.lists(texts, min_size=1, max_size=5),
    verdicts=st.none() | st.lists(texts, min_size=1, max_size=3),
    question=texts,
    variant=st.sampled_from(["thinking", "reflection"]),
    stop=st.booleans(),
)
def test_no_text_raises_and_the_calls_stay_bounded(
    model, critic, verdicts, question, variant, stop
):
    judge = None
    if verdicts:
        judge = judge_by(len)
        judge.generator = turning("judge", verdicts)
    made = reasoner(
        turning("model", model),
        turning("critic", critic),
        judge=judge,
        variant=variant,
        iterations=2,
        stop_when_unchanged=stop,
        stop_when_worse=stop,
    )
    [trace] = made.reason([question])
    assert len(made.model.requests) <= 2 * 3
    assert len(made.critic.requests) <= 2 * 2 + 1
    assert judge is None or len(judge.generator.requests) <= 2 * 3
    assert trace.calls == len(made.model.requests) + len(made.critic.requests)
    assert 1 <= len(trace.answers) <= 3
    for text in (trace.question, trace.answer, *trace.answers):
        assert not any(marker in text for marker in MARKERS)
        assert text == text.strip()
    assert bool(trace.answer) == any(trace.answers)
    trace.to_json().encode()
    trace.to_markdown().encode()
