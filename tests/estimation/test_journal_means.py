"""What journals tell: calls per call needed, mean lengths, and the share of usable candidates."""

import json

import pytest

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.estimation.journal_means import StageMeans, items_needed, journal_means
from tests.scripted import GOOD, make_round, scripted_maker


def leave(folder, calls, pairs=(), drops=()):
    """A complete round: calls with their tokens, pairs and drops by the places of their items."""
    folder.mkdir(parents=True)
    for name, records in (
        ("calls.jsonl", [{"call": call, "tokens": n, "text": "a b"} for call, n in calls]),
        ("pairs.jsonl", [{"id": f"0000-{place}"} for place in pairs]),
        ("drops.jsonl", [{"id": f"0000-{place}"} for place in drops]),
    ):
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "manifest.json").write_text("{}")
    return folder


def read(*folders):
    return journal_means(folders, lambda text: len(text.split()))


def test_items_needed_for_some_pairs():
    # One spare question for every four; of three items that are criticised two stay.
    assert [items_needed("question", n, False) for n in (1, 4, 5)] == [2, 5, 7]
    assert [items_needed("answer", n, True) for n in (1, 4, 5)] == [2, 6, 8]
    assert items_needed("question", 4, True) == 8


def test_means_over_several_rounds(tmp_path):
    calls = [(f"question/0000-{n}/0", 10) for n in range(5)]
    calls += [("question/0000-0/1", 22), ("question/0000-1/1", 16)]  # asked again
    calls += [(f"answer/0000-{n}/0", 30) for n in range(1, 5)]
    first = leave(tmp_path / "one", calls, pairs=range(1, 5), drops=[0])
    calls = [(f"answer/0000-{n}/0", 50) for n in range(4)]
    second = leave(tmp_path / "two", calls, pairs=range(3), drops=[3])
    means = read(first, second)
    assert means.calls == 7 + 8
    assert means.usable == 7 / 9
    assert means.stages == {
        "question": StageMeans(7 / 5, 88 / 7, 2.0),  # five are needed for four pairs
        "answer": StageMeans(8 / 7, 40.0, 2.0),
    }


def test_categories_and_candidates_are_needed_too(tmp_path):
    calls = [(f"thinking/0000-{n}/{name}/0", 10) for n in (0, 1) for name in ("Why/how", "Steps")]
    calls += [("thinking/0000-1/Steps/1", 10)]
    calls += [(f"answer/0000-{n}/{part}0", 10) for n in (0, 1) for part in ("", "1/", "2/")]
    # Two rejected answers are drawn for each, and again where none is usable.
    calls += [(f"rejected/0000-0{part}", 10) for part in ("", "/1")]
    calls += [(f"rejected/0000-1{part}", 10) for part in ("", "/1", "/2", "/3")]
    calls += [("judging/0000-0", 5), ("judging/0000-1/2", 5), ("judging/0000-1/3", 5)]
    means = read(leave(tmp_path / "one", calls, pairs=(0, 1)))
    assert {stage: mean.repeats for stage, mean in means.stages.items()} == {
        "thinking": 5 / 4,
        "answer": 1,
        "rejected": 6 / 4,
        "judging": 3 / 4,
    }


def test_a_call_that_was_repeated_after_a_kill_counts_once(tmp_path):
    calls = [("answer/0000-0/0", 10), ("answer/0000-1/0", 10), ("answer/0000-0/0", 20)]
    means = read(leave(tmp_path / "one", calls, pairs=(0, 1)))
    assert means.stages == {"answer": StageMeans(1.0, 15.0, 2.0)}


def test_rejected_answers_of_own_pairs_are_needed_once_each(tmp_path):
    calls = [("rejected/0000-own-0000", 10), ("rejected/0000-own-0003", 10)]
    calls += [("rejected/0000-own-0003/1", 10)]
    means = read(leave(tmp_path / "one", calls, pairs=("own-0000", "own-0003")))
    assert means.stages == {"rejected": StageMeans(3 / 2, 10.0, 2.0)}
    assert means.usable == 1


def test_calls_of_an_earlier_and_larger_preview_do_not_count(tmp_path):
    calls = [(f"question/0000-{n}/0", 10) for n in range(20)]
    calls += [(f"answer/0000-{n}/0", 10) for n in range(16)]
    means = read(leave(tmp_path / "preview", calls, pairs=range(4)))
    assert {stage: mean.repeats for stage, mean in means.stages.items()} == {
        "question": 1,
        "answer": 5 / 4,  # the fifth item may have been tried, or not
    }


def test_a_real_journal(tmp_path):
    def reply(kind, subject, again):
        return "No." if kind == "answer" and not again else None

    pairs = make_round(scripted_maker(reply), tmp_path / "round")
    means = read(tmp_path / "round")
    assert len(pairs) == 2
    assert (means.stages["answer"].repeats, means.usable) == (2, 1)
    assert means.stages["rejected"].tokens == len(GOOD["rejected"].split())
    assert means.calls == len((tmp_path / "round/calls.jsonl").read_text().splitlines())


@pytest.mark.parametrize("line", ["{", "[]", '{"call": "answer/0000-0/0"}', "7"])
def test_a_line_that_is_no_record(tmp_path, line):
    folder = leave(tmp_path / "one", [("answer/0000-0/0", 10)])
    with (folder / "calls.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CorpusError, match=r"calls\.jsonl:2 is no record"):
        read(folder)
