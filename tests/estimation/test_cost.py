"""The cost of rounds: by hand without journals, and against rounds that were made."""

import random
from dataclasses import replace

import pytest

from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.generator import Completion
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import JudgeSettings
from preflexor_pl.estimation.cost import CostModel
from preflexor_pl.estimation.journal_means import JournalMeans, StageMeans, journal_means
from preflexor_pl.estimation.round_cost import Cost, total
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.own_pair import OwnPair
from tests.scripted import LIMITS, Scripted, Shelf, make_round, scripted_maker
from tests.scripted import scripted_settings as settings_of
from tests.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
NO_JOURNAL = JournalMeans()


def tokens(text):
    return len(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def cost_of(settings, wanted, means=NO_JOURNAL, **order):
    """The cost of a round over the chunks of the scripted rounds."""
    model = CostModel(settings, means, Shelf(), TOKENIZER)
    return model.cost("round-0000", settings, Order(0, wanted, (), **order))


def calls_of(cost):
    return {key: one.calls for key, one in cost.costs.items()}


def test_without_a_journal_every_text_is_usable_and_half_as_long_as_it_may_be():
    cost = cost_of(settings_of(), 4)
    # One spare question for four; two categories.
    assert calls_of(cost) == {
        ("teacher", "question"): 5,
        ("teacher", "thinking"): 8,
        ("teacher", "answer"): 4,
        ("policy", "rejected"): 4,
    }
    assert (cost.pairs, cost.wanted) == (4, 4)
    for (_, stage), one in cost.costs.items():
        assert one.most == one.calls * LIMITS[stage]
        assert one.completion == one.most / 2


def test_what_a_stage_asks_follows_the_settings():
    teacher = replace(settings_of().teacher, candidates=3)
    choice = {"rejected_candidates": 2, "rejected_choice": "closest", "rejected": "teacher"}
    cost = cost_of(settings_of(reflection=True, teacher=teacher, **choice), 4)
    # With reflection three items for two pairs: six for four, and two spare questions.
    assert {stage: n for (_, stage), n in calls_of(cost).items()} == {
        "question": 8, "thinking": 12, "reflection": 6, "answer": 18, "rejected": 12,
    }  # fmt: skip
    assert {model for model, _ in cost.costs} == {"teacher"}
    judge = JudgeSettings(sampling=Sampling(max_new_tokens=46))
    cost = cost_of(settings_of(only_wrong=True, judge=judge), 4)
    assert cost.costs["teacher", "judging"].most == 4 * 46


def test_means_replace_what_is_assumed():
    means = {"thinking": StageMeans(1.25, 30.0, 20.0), "answer": StageMeans(1.0, 99.0, 20.0)}
    short = cost_of(settings_of(), 4, JournalMeans(means))
    assert short.costs["teacher", "thinking"].calls == 8 * 1.25
    assert short.costs["teacher", "thinking"].completion == 10 * 30
    assert short.costs["teacher", "answer"].completion == 4 * 43  # its limit
    means["thinking"] = StageMeans(1.25, 30.0, 32.0)
    long = cost_of(settings_of(), 4, JournalMeans(means))
    # Each of four answers is asked for with two blocks, 12 tokens longer each: a byte is a token.
    prompts = [one.costs["teacher", "answer"].prompt for one in (long, short)]
    assert prompts[0] - prompts[1] == 4 * 2 * 12


def test_too_few_candidates_make_fewer_pairs():
    cost = cost_of(settings_of(topics=6), 8, JournalMeans(usable=0.5))
    assert (cost.pairs, cost.wanted) == (3, 8)
    assert cost.costs["teacher", "answer"].calls == 3


def test_own_pairs_take_a_call_where_their_rejected_answer_is_missing():
    own = [OwnPair("How?", "So.", None), OwnPair("Why?", "So.", "No.")]
    cost = cost_of(settings_of(), 6, own=own)
    assert cost.pairs == 6
    assert calls_of(cost)["teacher", "answer"] == 4
    assert calls_of(cost)["policy", "rejected"] == 4 + 1
    assert calls_of(cost_of(settings_of(), 2, own=own, alone=True)) == {("policy", "rejected"): 1}


def test_costs_of_rounds_add_up():
    one = cost_of(settings_of(), 4)
    assert total([one, one], "policy") == Cost(*(2 * n for n in one.costs["policy", "rejected"]))
    assert total([one], "teacher").calls == 5 + 8 + 4
    assert total([], "teacher") == Cost()


class Unreliable(Scripted):
    """One text in five is unusable, the others have lengths of their own, by the request's seed."""

    def _answer(self, request):
        made, rng = super()._answer(request), random.Random(request.seed)
        if rng.random() < 0.2:
            return Completion("", "stop", 0)
        text = made.text[:-1] + " as it were" * rng.randrange(4) + f" {request.seed}{made.text[-1]}"
        return Completion(text, "stop", len(text.split()))


def made_round(folder, seed, settings):
    """The calls of a round that is made, and the tokens of their prompts."""
    maker = scripted_maker(Unreliable("teacher"), Unreliable("policy"))
    maker.settings, maker.seed = settings, seed
    make_round(maker, folder, 48, 0)
    asked = maker.writers.teacher.asked + maker.writers.policy.asked
    prompts = (chat_ids(TOKENIZER, r.prompt, r.system, r.examples) for r in asked)
    return len(asked), sum(map(len, prompts))


@pytest.mark.parametrize("reflection", [False, True])
def test_a_round_is_estimated_from_its_journal_and_from_that_of_another(tmp_path, reflection):
    settings = settings_of(reflection=reflection, topics=400)
    real = [made_round(tmp_path / str(seed), seed, settings) for seed in range(3)]
    means = journal_means([tmp_path / "0"], tokens)
    cost = cost_of(settings, 48, means)
    calls, prompts = (sum(one[n] for one in cost.costs.values()) for n in (0, 1))
    assert calls == pytest.approx(means.calls)
    assert means.calls == real[0][0]
    for other_calls, other_prompts in real:
        assert calls == pytest.approx(other_calls, rel=0.05)
        assert prompts == pytest.approx(other_prompts, rel=0.07)
