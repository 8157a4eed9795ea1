"""The recursion with a real model, of random weights: what reaches it, and that an answer comes."""

import pytest

from preflexor_pl.core.markers import TRIGGER
from preflexor_pl.core.settings import Sampling
from preflexor_pl.pairs.judge import PairwiseJudge
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.reasoning import Reasoner, ReasoningSettings
from tests.reasoning.scripted_models import QUESTION, C, O, good_critic, without_times
from tests.tiny import letters

SHORT = Sampling(max_new_tokens=10, temperature=0)


@pytest.fixture
def read(policy):
    """Ids of every text that the model begins to read, in the order in which it does."""
    begun = []

    def note(module, args, options):
        if options["input_ids"].shape[1] > 1:
            begun.append(options["input_ids"][0].tolist())

    policy.inner.register_forward_pre_hook(note, with_kwargs=True)
    return begun


def test_the_markers_of_forced_thinking_arrive_as_their_ids(policy, read):
    model = LocalGenerator(policy, "policy")
    settings = ReasoningSettings(iterations=2, model=SHORT, stop_when_unchanged=False)
    reasoner = Reasoner(model, good_critic(), settings)
    [trace] = reasoner.reason([QUESTION])
    head = f"<|im_start|>user\n{QUESTION}{TRIGGER}<|im_end|>\n<|im_start|>assistant\n"
    ids = [i for i in read if letters(policy.tokenizer, i).endswith("Version 1.\n<|/thinking|>\n")]
    assert letters(policy.tokenizer, ids[0]).endswith(f"{head}{O}\nVersion 1.\n{C}\n")
    opening, closing = policy.markers.think_start, policy.markers.think_end
    assert [i for i in ids[0] if i in policy.marker_ids] == [opening, opening, closing]
    assert ids[0][-len("\nVersion 1.\n") - 3] == opening
    assert ids[0][-2] == closing
    assert letters(policy.tokenizer, read[0]).endswith(head)
    assert [s.kind for s in trace.steps].count("rewrite") == 2


@pytest.mark.parametrize("variant", ["thinking", "reflection"])
def test_policy_critic_and_judge_of_one_model(policy, variant):
    model, base = LocalGenerator(policy, "policy"), LocalGenerator(policy, "base")
    settings = ReasoningSettings(iterations=1, variant=variant, model=SHORT, critic=SHORT)
    reasoner = Reasoner(model, base, settings, PairwiseJudge(base, sampling=SHORT))
    traces = reasoner.reason([QUESTION, "Why?"])
    assert [without_times(trace) for trace in traces] == [
        without_times(reasoner.reason([question])[0]) for question in (QUESTION, "Why?")
    ]
    for trace in traces:
        assert {step.by for step in trace.steps} == {model.name, base.name}
        assert trace.tokens == sum(s.tokens for s in trace.steps if s.kind != "compare") > 0
        for step in trace.steps:
            assert 0 <= step.tokens <= (20 if step.kind == "compare" else 10)


def test_the_words_that_are_watched_are_those_of_the_answers(policy):
    grown = []
    settings = ReasoningSettings(iterations=0, model=SHORT)
    reasoner = Reasoner(LocalGenerator(policy, "policy"), good_critic(), settings)
    [trace] = reasoner.reason([QUESTION], watch=lambda place, text: grown.append((place, text)))
    assert {place for place, _ in grown} == {0}
    assert "".join(text for _, text in grown).startswith(trace.steps[0].text)
