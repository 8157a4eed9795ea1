import pytest

from preflexor_pl.core.markers import TRIGGER
from preflexor_pl.core.settings import Sampling
from preflexor_pl.pairs.reply_parsing import chosen_response
from preflexor_pl.reasoning import ReasoningSettings
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
    reasoner,
)


def kinds(trace):
    return [step.kind for step in trace.steps]


@pytest.mark.parametrize("integrate", [True, False])
@pytest.mark.parametrize("iterations", range(4))
@pytest.mark.parametrize(("variant", "each"), [("thinking", 3), ("reflection", 2)])
def test_calls(variant, each, iterations, integrate):
    made = reasoner(variant=variant, iterations=iterations, integrate=integrate)
    [trace] = made.reason([QUESTION])
    calls = len(made.model.requests) + len(made.critic.requests)
    assert calls == 1 + each * iterations + (1 if integrate and iterations else 0)
    assert calls == made.settings.calls == trace.calls
    assert len(made.model.requests) == 1 + iterations
    assert trace.answers == [f"Answer {k}." for k in range(iterations + 1)]
    assert trace.best == iterations
    assert trace.answer == ("All." if integrate and iterations else f"Answer {iterations}.")


def test_steps_of_the_two_variants():
    refined = ["feedback", "rewrite", "answer"]
    [trace] = reasoner(iterations=2).reason([QUESTION])
    assert kinds(trace) == ["answer", *refined, *refined, "integrate"]
    assert [step.iteration for step in trace.steps] == [0, 1, 1, 1, 2, 2, 2, 2]
    [trace] = reasoner(iterations=2, variant="reflection").reason([QUESTION])
    assert kinds(trace) == ["answer", *refined[1:], *refined[1:], "integrate"]


@pytest.mark.parametrize("variant", ["thinking", "reflection"])
def test_a_refinement_is_forced_the_rewritten_thinking_as_training_lays_it_out(variant):
    made = reasoner(variant=variant, iterations=2)
    [trace] = made.reason([QUESTION])
    rewrites = [step.thinking for step in trace.steps if step.kind == "rewrite"]
    assert rewrites == ["Version 1.", "Version 2."]
    first, *refined = made.model.requests
    assert first.prefill == ""
    for request, rewrite in zip(refined, rewrites, strict=True):
        assert request.prefill == f"{O}\n{rewrite}\n{C}\n"
        assert request.prompt == QUESTION + TRIGGER
    assert [s.thinking for s in trace.steps if s.kind == "answer"] == ["Version 0.", *rewrites]


def test_the_forced_thinking_stands_as_in_a_chosen_response():
    blocks = {"Steps": "It bends.", "Concepts": "Silk."}
    critic = always("**Steps**: It bends.\n\n**Concepts**: Silk.", "critic")
    made = reasoner(critic=critic, iterations=1)
    made.reason([QUESTION])
    assert made.model.requests[1].prefill + "So." == chosen_response(blocks, "So.")


def test_the_critic_reads_the_thinking_and_then_its_own_criticism():
    made = reasoner(iterations=2)
    made.reason([QUESTION])
    asked = [request.prompt for request in made.critic.requests]
    for k in (0, 1):
        feedback, rewrite = asked[2 * k : 2 * k + 2]
        assert f"Question: {QUESTION}\n\nReasoning:\nVersion {k}.\n\nCriticise" in feedback
        assert f"Version {k}.\n\nCriticism: The reasoning leaves out part {k}.\n\n" in rewrite
    assert "Answer 1: Answer 0.\n\nAnswer 2: Answer 1.\n\nAnswer 3: Answer 2." in asked[-1]


def test_in_the_reflection_variant_the_models_own_criticism_is_followed():
    made = reasoner(variant="reflection", iterations=2)
    made.reason([QUESTION])
    for k, request in enumerate(made.critic.requests[:2]):
        assert f"Criticism: It lacks part {k}.\n" in request.prompt


def test_prompts_and_samplings_are_the_settings():
    made = reasoner(
        iterations=1,
        system_prompt="Be kind.",
        critic_prompt="Be strict.",
        integrator_prompt="Be one.",
        drawn={"model": Sampling(7), "critic": Sampling(5)},
        trigger=False,
        thinking_prefix="First,",
    )
    made.reason([QUESTION], earlier=[("1?", "one")])
    assert [(r.system, r.sampling.max_new_tokens) for r in made.model.requests] == [
        ("Be kind.", 7)
    ] * 2
    assert [r.examples for r in made.model.requests] == [(("1?", "one"),)] * 2
    # without a trigger markers say nothing: the new thinking stands in the prompt
    thought = f"{QUESTION}\n\nReasoning:\nVersion 1.\n\nAnswer the question."
    assert [r.prompt for r in made.model.requests] == [QUESTION, thought]
    assert [r.prefill for r in made.model.requests] == [f"{O}\nFirst,", ""]
    follows = f"Question: {QUESTION} (It follows on the question: 1? Answered: one)\n"
    assert [follows in r.prompt for r in made.critic.requests] == [True] * 3
    assert [r.stop for r in made.critic.requests] == [("\n",), ("\nCriticism:",), ()]
    said = [(r.system, r.sampling.max_new_tokens) for r in made.critic.requests]
    assert said == [("Be strict.", 5), ("Be strict.", 5), ("Be one.", 5)]


@pytest.mark.parametrize(
    ("said", "prefill"),
    [
        (f"{O}\nIt bends", f"{O}\nIt bends\n{C}\n"),
        (f"{O}\nIt bends.\n{C}\n", f"{O}\nIt bends.\n{C}\n"),
        (f"{O}It bends.{C}{R}It lacks", f"{O}\nIt bends.\n{C}\n{R}\nIt lacks\n{E}\n"),
        (f"{R}It lacks.{E}", f"{O}\n\n{C}\n{R}\nIt lacks.\n{E}\n"),
        ("", ""),
    ],
)
def test_a_response_without_an_answer_goes_on_from_its_closed_sections(said, prefill):
    model = ScriptedModel("model", lambda r: "So it is." if r.sampling.min_new_tokens else said)
    [trace] = reasoner(model, iterations=0).reason([QUESTION])
    first, again = model.requests
    assert kinds(trace) == ["answer", "finish"]
    assert again.prefill == prefill
    assert (again.prompt, again.sampling.min_new_tokens) == (first.prompt, 8)
    assert trace.answers == [trace.answer] == ["So it is."]
    assert trace.steps[1].text == prefill + "So it is."


def test_a_finished_answer_asks_for_no_more_than_its_limit():
    model = always("")
    reasoner(model, iterations=0, drawn={"model": Sampling(3)}).reason([QUESTION])
    assert model.requests[1].sampling.min_new_tokens == 3


@pytest.mark.parametrize("rewrite", ["version  0.\n", "", " \n"])
def test_unchanged_thinking_stops(rewrite):
    critic = ScriptedModel("critic", lambda request: rewrite)
    made = reasoner(critic=critic, iterations=3)
    [trace] = made.reason([QUESTION])
    assert (trace.stopped, trace.answers, trace.answer) == ("unchanged", ["Answer 0."], "Answer 0.")
    assert kinds(trace) == ["answer", "feedback", "rewrite"]
    [trace] = reasoner(critic=critic, iterations=3, stop_when_unchanged=False).reason([QUESTION])
    assert (trace.stopped, len(trace.answers)) == ("", 4)


def falling(text):
    """Answer 0 is worth more than Answer 1 and all that follow."""
    return {"Answer 0.": 9, "Answer 1.": 5}.get(text, 1)


def test_a_worse_answer_stops_and_the_best_is_kept():
    made = reasoner(judge=judge_by(falling), iterations=3, integrate=False)
    [trace] = made.reason([QUESTION])
    assert (trace.stopped, trace.best, trace.answer) == ("worse", 0, "Answer 0.")
    assert trace.answers == ["Answer 0.", "Answer 1."]
    assert kinds(trace)[-1] == "compare"
    assert trace.steps[-1].text == "A, because.\nB, because."
    assert len(made.judge.generator.requests) == 2
    assert trace.calls == 4


def test_a_worse_answer_need_not_stop_and_each_is_compared_with_the_best():
    worths = {"Answer 0.": 5, "Answer 1.": 1, "Answer 2.": 3, "Answer 3.": 7}
    made = reasoner(
        judge=judge_by(worths.get), iterations=3, integrate=False, stop_when_worse=False
    )
    [trace] = made.reason([QUESTION])
    assert (trace.stopped, trace.best, len(trace.answers)) == ("", 3, 4)
    shown = [request.prompt for request in made.judge.generator.requests[::2]]
    for k, prompt in enumerate(shown, 1):
        assert f"Answer A: Answer 0.\n\nAnswer B: Answer {k}.\n" in prompt


@pytest.mark.parametrize("reply", ["tie", "A", "B", "", "Both are fine."])
def test_the_newer_answer_is_kept_unless_the_older_wins_in_both_orders(reply):
    judge = judge_by(len)
    judge.generator.reply = lambda request: reply
    [trace] = reasoner(judge=judge, iterations=2, integrate=False).reason([QUESTION])
    assert (trace.stopped, trace.best, trace.answer) == ("", 2, "Answer 2.")
    compared = [step for step in trace.steps if step.kind == "compare"]
    readable = reply in ("tie", "A", "B")
    assert [step.problems for step in compared] == [() if readable else ("unreadable",)] * 2


def test_an_integrated_answer_that_loses_is_not_the_answer():
    worse = judge_by(lambda text: 0 if text == "All." else 1)
    [trace] = reasoner(judge=worse, iterations=1).reason([QUESTION])
    assert (trace.integrated, trace.integration_lost) == ("All.", True)
    assert trace.answer == "Answer 1."
    [trace] = reasoner(judge=judge_by(lambda text: 0), iterations=1).reason([QUESTION])
    assert (trace.integration_lost, trace.answer) == (False, "All.")


def test_an_answer_beats_none_whatever_the_judge_says():
    def reply(request):
        return "Answer 1." if "Version" in request.prefill else ""

    judge = judge_by(lambda text: text == "(no answer)")
    [trace] = reasoner(ScriptedModel("model", reply), judge=judge, iterations=1).reason([QUESTION])
    assert (trace.answers, trace.best, trace.answer) == (["", "Answer 1."], 1, "Answer 1.")
    assert "integrate" not in kinds(trace)  # there is one answer alone


def test_without_a_judge_the_last_answer_that_is_there_is_the_best():
    def reply(request):
        return "" if "Version" in request.prefill else f"{O}Version 0.{C}Answer 0."

    [trace] = reasoner(ScriptedModel("model", reply), iterations=2).reason([QUESTION])
    assert (trace.answers, trace.best, trace.answer) == (["Answer 0.", "", ""], 0, "Answer 0.")


def test_questions_are_asked_with_one_trigger():
    made = reasoner(iterations=0)
    traces = made.reason([f" {QUESTION}{TRIGGER} ", QUESTION])
    assert [trace.question for trace in traces] == [QUESTION] * 2
    assert {request.prompt for request in made.model.requests} == {QUESTION + TRIGGER}


@pytest.mark.parametrize(
    "wrong", [{"iterations": -1}, {"chunks": -1}, {"variant": "both"}, {"variant": ""}]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: got"):
        ReasoningSettings(**wrong)


def test_chunks_without_a_library_are_refused():
    with pytest.raises(ValueError, match=r"^chunks: "):
        reasoner(good_model(), good_critic(), chunks=1)


def test_a_critic_is_asked_with_the_prompts_of_the_settings():
    from preflexor_pl.pairs.prompt_files import LARGE

    critic = always("Version 1, and why.", "critic")
    traces = reasoner(critic=critic, iterations=1, prompts=LARGE.critic).reason([QUESTION])
    feedback, rewrite, integrate = (request.prompt for request in critic.requests)
    assert feedback.startswith(f"Question: {QUESTION}\n\nReasoning about this question:")
    assert "so that every point of the review is met" in rewrite
    assert "Write one comprehensive answer" in integrate
    assert all(not request.examples and not request.stop for request in critic.requests)
    assert traces[0].integrated == "Version 1, and why."
