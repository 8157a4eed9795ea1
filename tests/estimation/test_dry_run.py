"""Rounds rehearsed: they ask for what the round itself asks for, and nobody is asked."""

from collections import Counter
from dataclasses import replace

import pytest

from preflexor_pl.core.chat import chat_ids
from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import JudgeSettings
from preflexor_pl.estimation.dry_run import Cost, DryRun, DryRunJudge, Unasked
from preflexor_pl.estimation.recorded import StageStatistics, stage_statistics
from preflexor_pl.pairs.correctness import LLMCorrectnessJudge
from preflexor_pl.pairs.maker import Order
from tests.scripted import (
    LIMITS,
    SUBJECTS,
    Scripted,
    kind_of,
    make_round,
    scripted_maker,
    scripted_settings,
)
from tests.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def rehearsed(wanted, habits=None, judge=None, **changes):
    """(costs by stage, pairs) of a round that is rehearsed; a byte is a token."""
    journal = DryRun("nowhere", habits or {}, TOKENIZER)
    if judge:
        changes["examiner"] = LLMCorrectnessJudge(judge, Unasked("teacher"))
    elif changes.get("only_wrong"):
        changes["examiner"] = DryRunJudge(journal)
    maker = scripted_maker(Unasked("teacher"), Unasked("policy"), judge=judge, **changes)
    pairs = maker.fill(journal, Order(0, wanted, list(maker.library.chunks)))
    assert {who for who, stage in journal.costs if stage == "rejected"} == {"policy"}
    assert {who for who, stage in journal.costs if stage != "rejected"} == {"teacher"}
    return {stage: cost for (_, stage), cost in journal.costs.items()}, pairs


def calls(costs):
    return {stage: cost.calls for stage, cost in costs.items()}


def test_without_habits_every_text_is_of_use_and_half_as_long_as_it_may_be():
    costs, pairs = rehearsed(4)
    # One spare question for four; two categories.
    assert calls(costs) == {"question": 5, "thinking": 8, "answer": 4, "rejected": 4}
    assert len(pairs) == 4
    for stage, cost in costs.items():
        assert cost.most == cost.calls * LIMITS[stage]
        assert cost.completion == cost.most / 2


def test_a_reflection_is_a_stage_of_its_own():
    costs, _ = rehearsed(4, reflection=True)
    # Six items for four pairs, and two spare questions.
    assert calls(costs) == {
        "question": 8, "thinking": 12, "reflection": 6, "answer": 6, "rejected": 6,
    }  # fmt: skip


def test_texts_are_as_long_as_habit_has_it_and_so_are_the_prompts_that_they_go_into():
    short, _ = rehearsed(4, {"thinking": StageStatistics(20.0)})
    long, _ = rehearsed(4, {"thinking": StageStatistics(32.0)})
    assert (short["thinking"].completion, long["thinking"].completion) == (8 * 20, 8 * 32)
    assert short["thinking"].prompt == long["thinking"].prompt
    # Each of four answers is asked for with two blocks, 12 tokens longer each.
    assert long["answer"].prompt - short["answer"].prompt == 4 * 2 * 12
    over, _ = rehearsed(4, {"thinking": StageStatistics(1000.0)})
    assert over["thinking"].completion == over["thinking"].most


def test_what_is_of_no_use_is_asked_again_or_dropped():
    habits = {
        "question": StageStatistics(20.0, (0.5, 0.5)),
        "rejected": StageStatistics(20.0, (0.25,)),
    }
    costs, pairs = rehearsed(4, habits)
    # Of 5 questions the 1st, 3rd and 5th fail; asked again, the first and the last of these. 3 are
    # left, the 2nd of whose rejected answers fails once. For the pair that is missing: two more
    # questions, one of use at once, the other on its second try.
    assert calls(costs) == {"question": 11, "thinking": 8, "answer": 4, "rejected": 5}
    assert len(pairs) == 4
    with pytest.raises(CorpusError, match="nowhere: no pair came out of 8 tries"):
        rehearsed(4, {"answer": StageStatistics(20.0, (1.0, 1.0))})


def test_every_candidate_for_an_answer_is_a_call_and_an_item_fails_whole():
    teacher = replace(scripted_settings().teacher, candidates=3)
    journal = DryRun("nowhere", {"answer": StageStatistics(20.0, (0.25, 0.0))}, TOKENIZER)
    maker = scripted_maker(Unasked("teacher"), Unasked("policy"))
    maker.settings = replace(maker.settings, teacher=teacher)
    pairs = maker.fill(journal, Order(0, 4, list(maker.library.chunks)))
    # 4 items with three answers each; those of the 2nd fail, and are drawn again.
    assert journal.costs["teacher", "answer"].calls == 4 * 3 + 3
    assert len(pairs) == 4


def test_several_rejected_answers_are_drawn_and_judged():
    choice = {"rejected_candidates": 3, "rejected_choice": "closest"}
    costs, _ = rehearsed(4, {"rejected": StageStatistics(20.0, (0.25,))}, **choice)
    assert calls(costs)["rejected"] == 4 * 3  # one of use in three is enough
    judge = JudgeSettings(sampling=Sampling(max_new_tokens=46))
    habits = {"judging": StageStatistics(4.0, (0.25,))}
    costs, pairs = rehearsed(4, habits, judge, only_wrong=True)
    # Of 4 answers the 2nd is ruled right, and drawn again; then it is wrong.
    assert calls(costs)["rejected"] == calls(costs)["judging"] == 5
    assert (costs["judging"].completion, costs["judging"].most) == (5 * 4, 5 * 46)
    assert len(pairs) == 4
    costs, _ = rehearsed(4, habits, only_wrong=True)  # by words that are shared: nobody is asked
    assert calls(costs)["rejected"] == 5
    assert "judging" not in costs


def test_prompts_are_those_of_the_round_itself(tmp_path):
    teacher, policy = Scripted("teacher"), Scripted("policy")
    make_round(scripted_maker(teacher, policy), tmp_path, 4, 0)
    told = Counter()
    for request in teacher.asked:
        ids = chat_ids(TOKENIZER, request.prompt, request.system, request.examples)
        told[kind_of(request)] += len(ids)
    assert rehearsed(4)[0]["question"].prompt == told["question"]


@pytest.mark.parametrize("reflection", [False, True])
def test_with_the_habits_of_a_journal_the_calls_are_those_of_its_round(tmp_path, reflection):
    def reply(kind, subject, again):
        place = SUBJECTS.index(subject)
        bad = {"question": place == 1, "answer": place == 2, "reflection": place in (0, 3)}
        return "No." if bad.get(kind) and not (again and place == 3) else None

    changes = {"reflection": reflection, "topics": 16}
    made = make_round(scripted_maker(reply, **changes), tmp_path, 8, 0)
    habits, number = stage_statistics([tmp_path])
    costs, pairs = rehearsed(8, habits, **changes)
    assert len(pairs) == len(made)
    assert abs(sum(calls(costs).values()) - number) <= 0.1 * number


def test_nobody_can_be_asked():
    with pytest.raises(RuntimeError):
        Unasked("teacher").complete([])


def test_costs_add_up():
    cost = Cost(1, 10, 2.5, 5)
    assert cost + cost * 2 == Cost(3, 30, 7.5, 15)
