"""What a round's pairs are, counted by hand."""

from dataclasses import replace

import pytest

from preflexor_pl.pairs.round_facts import facts_of, lines_of, metrics_of, run_facts
from tests.tiny import PAIR

RESPONSES = {
    "It is strong.": (0, 0),
    "<|thinking|>Hm.<|/thinking|>It is strong.": (1, 1),
    "<|thinking|>Hm. It is strong.": (0, 1),
    "Hm.<|/thinking|>It is strong.": (0, 1),
    "<|thinking|> <|/thinking|>It is strong.": (0, 1),
    "It is strong.<|reflect|>": (0, 1),
    "<|thinking|>Hm.<|/thinking|><|thinking|>It is": (0, 1),
}


@pytest.mark.parametrize("response", RESPONSES)
def test_what_a_rejected_response_has_of_thinking_is_counted(response):
    complete, marked = RESPONSES[response]
    facts = facts_of([replace(PAIR, rejected=response)], [])
    counts = {"complete": complete, "any_marker": marked, "no_marker": 1 - marked}
    assert facts == {"rejected_thinking": counts}


def test_the_counts_are_over_all_pairs_and_told_in_one_line():
    facts = facts_of([replace(PAIR, rejected=response) for response in RESPONSES], [])
    assert list(lines_of({"pairs": 7, **facts})) == [
        "of 7 rejected answers 1 have a complete thinking section, 6 have any marker, 1 have none"
    ]


def test_grounding_is_the_mean_over_the_answers_that_have_it():
    scores = [(0.25, 0), (0.5, 2), (None, None), (0.9, 1)]
    pairs = [replace(PAIR, grounding=score, invented_numbers=n) for score, n in scores]
    facts = facts_of(pairs, [])
    assert (facts["grounding"], facts["under_half"], facts["invented_numbers"]) == (0.55, 1, 3)
    told = [*lines_of({"pairs": 4, "own": 1, **facts})][-1]
    assert told.startswith("grounding 0.55 (share")
    assert told.endswith("1 of 3 answers under half, 3 invented numbers")
    assert "grounding" not in facts_of([PAIR], [])


def topics_told(*topics, asked):
    facts = facts_of([replace(PAIR, topic=topic) for topic in topics], asked)
    return facts["topics"], [*lines_of({"pairs": len(topics), **facts})][-1]


def test_a_topic_without_a_pair_is_named():
    counts, line = topics_told("webs", "webs", asked=["glue", "webs"])
    assert counts == {"glue": 0, "webs": 2}
    assert line == "pairs by topic: glue 0, webs 2"


def test_many_topics_are_told_in_short():
    _, line = topics_told("a", "a", "b", asked=list("abcdefghi"))
    assert line == "pairs by topic: 2 of 9 topics have pairs, 0 to 2 each"


FIRST = {
    "pairs": 4,
    "rejected_thinking": {"complete": 1, "any_marker": 3, "no_marker": 1},
    "grounding": 0.5,
    "under_half": 2,
    "invented_numbers": 3,
    "topics": {"webs": 3, "glue": 1},
}


def test_a_row_of_metrics_has_the_numbers_of_its_pairs():
    assert metrics_of(FIRST) == {
        "pairs/grounding": 0.5,
        "pairs/under_half": 2,
        "pairs/invented_numbers": 3,
        "pairs/rejected_thinking": 0.25,
        "pairs/least_on_a_topic": 1,
    }
    assert metrics_of({"pairs": 4}) == {}


def test_the_rounds_of_a_run_are_counted_together():
    second = {**FIRST, "pairs": 12, "grounding": 0.9, "topics": {"webs": 6, "glue": 6}}
    answers = run_facts([FIRST | {"own": 3}, second])["answers"]
    assert answers["grounding"] == 0.87  # (0.5 + 12 * 0.9) / 13
    assert run_facts([FIRST, second, {"pairs": 9}]) == {
        "rejected_thinking": {"complete": 2, "any_marker": 6, "no_marker": 2},
        "pairs_by_topic": {"webs": 9, "glue": 7},
        "answers": {"grounding": 0.8, "under_half": 4, "invented_numbers": 6},  # (2 + 10.8) / 16
    }
    assert set(run_facts([{"pairs": 9}]).values()) == {None}
