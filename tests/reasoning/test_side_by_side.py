"""Many questions at once: the same traces, the right places, seeds of their own."""

import pytest

from preflexor_pl.reasoning import ReasoningSettings
from tests.reasoning.scripted_models import (
    C,
    O,
    R,
    ScriptedModel,
    always,
    good_critic,
    good_model,
    judge_by,
    kind_of,
    reasoner,
    without_times,
)

QUESTIONS = [
    "Why is silk tough?",
    "Why is nacre tough when it is wet?",
    "Why is bone silent?",
    "Why is wood open?",
    "Why does coral stay as it is?",
    "Why?",
]


def model():
    """Speaks on each question in its own way, so that they part on the way."""
    good = good_model().reply

    def reply(request):
        question = request.prompt
        if "silent" in question:
            return ""
        if "open" in question and "Version" not in request.prefill:
            return f"{O}Version 0. It is {R}open"
        return f"{good(request)} {question.split(' Use')[0]}"

    return ScriptedModel("model", reply)


def critic():
    good = good_critic().reply

    def reply(request):
        stays = kind_of(request) == "rewrite" and "coral stay" in request.prompt
        return "Version 0." if stays else good(request)

    return ScriptedModel("critic", reply)


def worth(text):
    return {"Answer 0. Why?": 5, "All.": 2}.get(text, 3)


@pytest.mark.parametrize("judge", [None, judge_by(worth)], ids=["alone", "judged"])
@pytest.mark.parametrize("variant", ["thinking", "reflection"])
def test_side_by_side_as_one_by_one(variant, judge):
    made = reasoner(model(), critic(), judge=judge, variant=variant, iterations=2)
    together = made.reason(QUESTIONS)
    assert [without_times(trace) for trace in together] == [
        without_times(made.reason([question])[0]) for question in QUESTIONS
    ]
    assert [trace.question for trace in together] == QUESTIONS
    stopped = dict(zip(QUESTIONS, [trace.stopped for trace in together], strict=True))
    assert stopped["Why does coral stay as it is?"] == "unchanged"
    assert stopped["Why?"] == ("worse" if judge else "")
    assert "finish" in [step.kind for step in together[3].steps]
    assert len({tuple(step.kind for step in trace.steps) for trace in together}) >= 4


def test_each_kind_of_step_is_asked_in_full_batches():
    sizes = []
    answering = good_model()
    complete = answering.complete
    answering.complete = lambda requests, *watch: sizes.append(len(requests)) or complete(requests)
    reasoner(answering, iterations=1).reason(QUESTIONS)
    assert sizes == [3, 3, 3, 3]  # six questions, three a batch: answers, then answers again


def test_no_question_is_no_call():
    made = reasoner(judge=judge_by(len))
    assert made.reason([]) == []
    assert made.model.requests == made.critic.requests == made.judge.generator.requests == []


def test_steps_are_told_with_the_place_of_their_question():
    seen = []
    made = reasoner(model(), critic(), judge=judge_by(worth), iterations=2)
    traces = made.reason(QUESTIONS, on_step=lambda place, step: seen.append((place, step)))
    for place, trace in enumerate(traces):
        assert [step for at, step in seen if at == place] == trace.steps


def test_what_grows_is_told_with_the_place_of_its_question():
    grown = {}

    def watch(place, text):
        grown[place] = grown.get(place, "") + text

    made = reasoner(model(), critic(), iterations=0)
    traces = made.reason(QUESTIONS, watch=watch)
    for place, trace in enumerate(traces):
        parts = [s.text for s in trace.steps]
        if place == 2:
            assert place not in grown  # it said nothing
        elif place == 3:
            assert grown[place].startswith(parts[0])
        else:
            assert grown[place] == parts[0]


def test_the_critic_is_not_watched():
    grown = []
    made = reasoner(iterations=1)
    made.reason(["Why?"], watch=lambda place, text: grown.append(text))
    assert "".join(grown) == f"{O}\nVersion 0.\n{C}\nAnswer 0.Answer 1."


def seeds(made):
    return [request.seed for request in made.model.requests + made.critic.requests]


def test_every_draw_has_a_seed_of_its_own_and_has_it_again():
    def run(seed=0, questions=QUESTIONS):
        made = reasoner(iterations=2, seed=seed)
        made.reason(questions)
        return seeds(made)

    first = run()
    assert len(set(first)) == len(first) == ReasoningSettings(iterations=2).calls * len(QUESTIONS)
    assert first == run()
    assert not set(first) & set(run(seed=1))
    assert set(run(questions=QUESTIONS[:1])) < set(first)


def test_an_answer_that_is_asked_for_again_is_drawn_anew():
    made = reasoner(always(""), iterations=0)
    made.reason(["Why?"])
    assert len(set(seeds(made))) == 2
