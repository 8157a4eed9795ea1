"""Rounds of a task's items: what is chosen, what is rejected, what is left, and what is kept.

Policy and teacher are scripted by the item and the number of the draw; the task adds two numbers.
"""

import json
from dataclasses import dataclass, field, replace

import pytest

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.generator import Completion
from preflexor_pl.core.settings import Sampling
from preflexor_pl.core.teacher_settings import TeacherSettings
from preflexor_pl.pairs.correctness import WordOverlapJudge
from preflexor_pl.pairs.item_choice import ItemTries
from preflexor_pl.pairs.maker import Order
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.task_maker import TRIES, TaskPairMaker, read_tries
from preflexor_pl.pairs.writers import Measures, Writers
from preflexor_pl.tasks import Item

DRAWS = Sampling(max_new_tokens=40, temperature=1.0)
GOOD, BAD = "<|thinking|>\nAdd.\n<|/thinking|>\n{}", "<|thinking|>\nGuess.\n<|/thinking|>\n{}"


class Sums:
    """One plus n is asked; the answer is a number, the thinking is right where it says Add."""

    identity = "sums"
    levels = (1,)
    worked = ()

    def items(self, split, level, start, count):
        first = 0 if split == "train" else 1000
        return [
            Item(f"s{n}", f"What is 1 + {n}?", str(1 + n), source=f"One more than {n} is {n + 1}.")
            for n in range(first + start, min(first + start + count, first + 30))
        ]

    def check(self, item, answer):
        if not answer.strip("-").isdecimal():
            return "unreadable"
        return "right" if answer == item.answer else "wrong"

    def check_thinking(self, item, thinking):
        return "right" if "Add" in thinking else "wrong"


@dataclass
class Fake:
    """Says what ``says(item number, draw)`` gives; a draw is told by its order."""

    name: str
    says: object
    asked: list = field(default_factory=list)

    def batches(self, requests):
        return [list(range(len(requests)))]

    def complete(self, requests, watch=None):
        made = []
        for request in requests:
            number = int(request.prompt.split("1 + ")[1].split("?")[0])
            draw = sum(f"1 + {number}?" in before.prompt for before in self.asked)
            self.asked.append(request)
            text = self.says(number, draw)
            ended = text.removesuffix("~")  # which says that it was cut
            made.append(Completion(ended, "stop" if ended == text else "length", 3))
        return made


def solves(number, draw):
    return f"Add.\nAnswer: {number + 1}"


def maker(policy, teacher=solves, history=(), **changed):
    settings = PairSettings(
        topics=6,
        rejected_candidates=3,
        rejected_choice="closest",
        rejected_sampling=DRAWS,
        teacher=TeacherSettings(candidates=2),
        system_prompt="Be brief.",
    )
    writers = Writers(Fake("base", teacher), Fake("policy", policy), WordOverlapJudge())
    measures = Measures(len, lambda pair: "", lambda pairs: [len(p.rejected) for p in pairs])
    made = TaskPairMaker(
        Sums(), replace(settings, **changed), writers, measures, lambda index: list(history), 0
    )
    return made, writers


def rounds(tmp_path, made, wanted=2, index=0):
    return made.make(tmp_path / f"round-{index}", Order(index, wanted, ()))


def test_where_no_try_is_right_the_teachers_solution_is_chosen(tmp_path):
    made, writers = maker(lambda number, draw: BAD.format(7 * number + 20))
    pairs = rounds(tmp_path, made)
    assert [pair.prompt for pair in pairs] == [
        f"What is 1 + {n}? Use <|thinking|>." for n in (0, 1)
    ]
    assert pairs[0].chosen == "<|thinking|>\nAdd.\n<|/thinking|>\n1"
    assert (pairs[0].teacher, pairs[0].rejected_source, pairs[0].item) == ("base", "policy", "s0")
    assert pairs[1].rejected == BAD.format(27)
    asked = writers.teacher.asked[0]
    assert "One more than 0 is 1." in asked.prompt  # the source, which the policy never sees
    assert all("One more" not in request.prompt for request in writers.policy.asked)


def test_the_policys_own_right_try_comes_before_the_teachers_the_shortest_of_them(tmp_path):
    def policy(number, draw):
        right = GOOD.format(number + 1)
        return [right.replace("Add.", "Add, and add."), right, BAD.format(99)][draw % 3]

    made, writers = maker(policy)
    pairs = rounds(tmp_path, made)
    assert [pair.chosen for pair in pairs] == [GOOD.format(1), GOOD.format(2)]
    assert {pair.teacher for pair in pairs} == {"policy"}
    assert {pair.rejected for pair in pairs} == {BAD.format(99)}
    assert writers.teacher.asked == []


def test_a_right_answer_with_wrong_thinking_is_never_chosen(tmp_path):
    made, _ = maker(lambda number, draw: BAD.format(number + 1))
    pairs = rounds(tmp_path, made)
    assert {pair.teacher for pair in pairs} == {"base"}
    assert pairs[0].rejected == BAD.format(1)  # there is nothing worse


def test_a_wrong_answer_is_rejected_before_a_lucky_one(tmp_path):
    made, _ = maker(lambda number, draw: BAD.format(number + 1 if draw < 2 else 99))
    assert rounds(tmp_path, made)[0].rejected == BAD.format(99)


def test_a_right_try_that_was_cut_is_not_chosen(tmp_path):
    def policy(number, draw):
        return GOOD.format(number + 1) + "~" if draw < 2 else BAD.format(99)

    made, _ = maker(policy)
    pairs = rounds(tmp_path, made)
    assert {pair.teacher for pair in pairs} == {"base"}
    assert {pair.rejected for pair in pairs} == {BAD.format(99)}


def test_an_item_that_is_always_right_teaches_nothing_and_is_left(tmp_path):
    made, _ = maker(lambda number, draw: GOOD.format(number + 1) if number == 0 else "x")
    pairs = rounds(tmp_path, made)
    assert [pair.item for pair in pairs] == ["s1", "s2"]
    manifest = json.loads((tmp_path / "round-0/manifest.json").read_text())["verified"]
    assert manifest["all_right"] == 1
    assert manifest["tries"]["right"] == 3
    assert manifest["chosen"] == {"base": 2}


def test_the_teacher_is_told_the_answer_where_it_does_not_find_it(tmp_path):
    def teacher(number, draw):
        return "Add.\nAnswer: 99" if draw < 2 else f"Add.\nAnswer: {number + 1}"

    made, writers = maker(lambda number, draw: "x", teacher)
    pairs = rounds(tmp_path, made)
    assert {pair.teacher for pair in pairs} == {"base (told the answer)"}
    assert "The answer is 1." in writers.teacher.asked[-2 * len(pairs)].prompt


@pytest.mark.parametrize(
    "says", ["Add.\nAnswer: 99", "Guess.\nAnswer: {}", "Add. {}", "Answer: {}", ""]
)
def test_a_solution_that_is_not_right_is_never_chosen(tmp_path, says):
    made, _ = maker(lambda number, draw: "x", lambda number, draw: says.format(number + 1))
    with pytest.raises(CorpusError, match="no pair came out of 6 items: never_right 6"):
        rounds(tmp_path, made)


def test_without_the_trigger_answers_alone_are_right(tmp_path):
    made, _ = maker(lambda number, draw: "99", untriggered_share=1.0)
    pair = rounds(tmp_path, made)[0]
    assert (pair.prompt, pair.chosen, pair.rejected) == ("What is 1 + 0?", "1", "99")


def test_without_the_trigger_a_response_with_thinking_is_not_chosen(tmp_path):
    made, _ = maker(lambda number, draw: GOOD.format(number + 1), untriggered_share=1.0)
    pair = rounds(tmp_path, made)[0]
    assert (pair.chosen, pair.teacher) == ("1", "base")
    assert pair.rejected == GOOD.format(1)


def test_a_solution_that_was_cut_is_not_chosen(tmp_path):
    made, _ = maker(lambda number, draw: "x", lambda number, draw: f"Add.\nAnswer: {number + 1}~")
    with pytest.raises(CorpusError, match="never_right 6"):
        rounds(tmp_path, made)


def test_an_item_that_is_always_right_and_always_cut_asks_nobody(tmp_path):
    made, writers = maker(lambda number, draw: GOOD.format(number + 1) + "~")
    with pytest.raises(CorpusError, match="right_but_cut 6"):
        rounds(tmp_path, made)
    assert writers.teacher.asked == []


def test_what_came_of_each_item_is_kept_and_a_made_round_is_read(tmp_path):
    made, writers = maker(lambda number, draw: GOOD.format(number + 1 if draw % 3 else 99))
    pairs = rounds(tmp_path, made)
    tries = read_tries(tmp_path / "round-0" / TRIES)
    assert [(one.item, one.tries, one.right) for one in tries][:2] == [("s0", 3, 2), ("s1", 3, 2)]
    count = len(writers.policy.asked)
    assert rounds(tmp_path, made) == pairs
    assert len(writers.policy.asked) == count


def test_a_round_that_stopped_asks_nothing_twice(tmp_path):
    made, _ = maker(lambda number, draw: BAD.format(99))
    pairs = rounds(tmp_path, made)
    (tmp_path / "round-0/manifest.json").unlink()
    again, writers = maker(
        lambda number, draw: pytest.fail("asked"), lambda *_: pytest.fail("asked")
    )
    assert rounds(tmp_path, again) == pairs
    assert writers.policy.asked == writers.teacher.asked == []


def test_a_plan_that_the_rounds_before_do_not_lead_to_is_refused(tmp_path):
    passed = [ItemTries("s0", 1, 0, 3, 3)]
    made, _ = maker(lambda number, draw: BAD.format(99), history=passed)
    rounds(tmp_path, made, index=1)
    (tmp_path / "round-1/manifest.json").unlink()
    lost, _ = maker(lambda number, draw: BAD.format(99))  # tries.jsonl of round 0 is gone
    with pytest.raises(CorpusError, match=r"plan\.json has other items"):
        rounds(tmp_path, lost, index=1)


def test_other_settings_are_refused(tmp_path):
    rounds(tmp_path, maker(lambda number, draw: "x")[0])
    other, _ = maker(lambda number, draw: "x", rejected_choice="likeliest")
    with pytest.raises(ConfigError, match="other settings"):
        rounds(tmp_path, other)


def test_the_likeliest_wrong_try_is_rejected_where_that_is_asked(tmp_path):
    says = ["7", "777777", "77"]
    made, _ = maker(lambda number, draw: says[draw % 3], rejected_choice="likeliest")
    assert rounds(tmp_path, made)[0].rejected == "777777"  # the measure here is the length


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / TRIES).write_text("{}\n")
    with pytest.raises(CorpusError, match=TRIES):
        read_tries(tmp_path / TRIES)
    assert read_tries(tmp_path / "none.jsonl") == []
