"""What journals tell: mean lengths, and how often a text was of no use."""

import json

import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.estimation.recorded import StageStatistics, read_call, stage_statistics
from tests.scripted import GOOD, make_round, scripted_maker


def leave(folder, calls, drops=(), **manifest):
    """A complete journal of calls with their tokens, and of drops by item."""
    folder.mkdir()
    for name, records in (
        ("calls.jsonl", [{"call": call, "tokens": tokens} for call, tokens in calls]),
        ("drops.jsonl", [{"id": item, "reason": "x"} for item in drops]),
    ):
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_the_stage_the_item_and_the_attempt_of_a_call():
    assert read_call("question/0000-0007/1") == ("question", "0000-0007", 1)
    assert read_call("thinking/0000-0007/Steps 2/0") == ("thinking", "0000-0007", 0)
    assert read_call("thinking/0000-0007/Why/or how/1") == ("thinking", "0000-0007", 1)
    assert read_call("rejected/0000-0007") == ("rejected", "0000-0007", 0)
    assert read_call("rejected/0000-0007/2") == ("rejected", "0000-0007", 0)
    assert read_call("judging/0000-0007/2") == ("judging", "0000-0007", 0)


def test_lengths_and_failures_over_several_rounds(tmp_path):
    calls = [(f"question/{item}/0", 10) for item in range(8)]
    calls += [(f"question/{item}/1", 20) for item in (0, 1)]  # 2 of 8 were asked again,
    calls += [(f"answer/{item}/0", 30) for item in range(1, 5)]  # and one of these was dropped
    first = leave(tmp_path / "one", calls, drops=["0"])
    second = leave(tmp_path / "two", [(f"answer/{item}/0", 50) for item in range(4)], drops=["3"])
    habits, number = stage_statistics([first, second])
    assert number == 18
    assert habits == {
        "question": StageStatistics(tokens=12.0, fails=(0.25, 0.5)),
        "answer": StageStatistics(tokens=40.0, fails=(0.125,)),  # of 8; it was not asked again
    }
    assert habits["answer"].fails_at(1) == 0


def test_an_item_fails_where_all_candidates_for_its_answer_do(tmp_path):
    calls = [(f"answer/{item}/{n}0", 10) for item in "abcd" for n in ("", "1/")]
    calls += [("answer/a/0", 10), ("answer/a/1", 10), ("answer/a/1/1", 10)]  # asked again, dropped
    habits, number = stage_statistics([leave(tmp_path / "one", calls, drops=["a"])])
    assert habits == {"answer": StageStatistics(10.0, (1 / 4, 1.0))}
    assert number == 10


def test_a_call_that_was_made_twice_counts_once(tmp_path):
    folder = leave(tmp_path / "one", [("answer/0/0", 10), ("answer/1/0", 10), ("answer/0/0", 20)])
    assert stage_statistics([folder]) == ({"answer": StageStatistics(15.0, (0.0,))}, 2)


def test_rejected_answers_are_drawn_until_one_is_of_use(tmp_path):
    calls = [(f"rejected/{name}", 10) for name in ("a", "b", "c", "a/1", "b/1", "a/2")]
    folder = leave(tmp_path / "one", calls, drops=["a"])  # of 6, one for b and one for c
    assert stage_statistics([folder])[0] == {"rejected": StageStatistics(10.0, (1 - 2 / 6,))}


def test_of_several_rejected_answers_the_round_has_counted_those_of_use(tmp_path):
    calls = [(f"rejected/{name}", 10) for name in ("a", "a/1", "b", "b/1")]
    counts = {"drawn": 4, "of_use": 3, "right": 1, "wrong": 1, "unclear": 1}
    folder = leave(tmp_path / "one", [*calls, ("judging/a", 5)], rejected=counts)
    assert stage_statistics([folder])[0] == {
        "rejected": StageStatistics(10.0, (0.25,)),
        "judging": StageStatistics(5.0, (1 - 1 / 3,)),  # one in three is wrong
    }
    folder = leave(tmp_path / "two", calls, rejected=counts)  # nobody was asked
    assert stage_statistics([folder])[0]["judging"] == StageStatistics(0.0, (1 - 1 / 3,))


def test_a_real_journal(tmp_path):
    def reply(kind, subject, again):
        return "No." if kind == "answer" and (subject == "bone" or not again) else None

    pairs = make_round(scripted_maker(reply), tmp_path / "round")
    habits, number = stage_statistics([tmp_path / "round"])
    assert len(pairs) == 2
    assert habits["question"].fails == habits["rejected"].fails == (0.0,)
    assert habits["answer"].fails[0] == 1.0
    assert habits["rejected"].tokens == len(GOOD["rejected"].split())
    lines = (tmp_path / "round/calls.jsonl").read_text().splitlines()
    assert number == len(lines)


@pytest.mark.parametrize("line", ["{", "[]", '{"call": "answer/0/0"}', "7"])
def test_a_line_that_is_no_record(tmp_path, line):
    folder = leave(tmp_path / "one", [("answer/0/0", 10)])
    with (folder / "calls.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CorpusError, match=r"calls\.jsonl:2 is no record"):
        stage_statistics([folder])
