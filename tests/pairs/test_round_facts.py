"""What a round's pairs are, counted by hand."""

from dataclasses import replace

import pytest

from preflexor_pl.pairs.round_facts import facts_of, lines_of
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
    told = [*lines_of({"pairs": 4, **facts})][-1]
    assert told.startswith("grounding 0.55 (share")
    assert told.endswith("1 of 4 answers under half, 3 invented numbers")
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
