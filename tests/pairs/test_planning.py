"""What a round asks about, on a line of six chunks whose neighbours are those beside them."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from preflexor_pl.pairs.planning import EarlierRounds, _least_used, plan
from tests.scripted import scripted_settings

LINE = "abcdef"


@dataclass(frozen=True)
class Named:
    id: str


class Line:
    """``context`` gives the start and then what lies nearest on the line, left before right."""

    def __init__(self):
        self.walks, self.withins = [], []

    def context(self, k, seed, within, start, walk=False):
        self.walks.append(walk)
        self.withins.append(within)
        start = start or "drawn"
        if start == "drawn":
            return [Named("drawn")]
        near = sorted(within, key=lambda id: (abs(LINE.index(id) - LINE.index(start)), id))
        return [Named(id) for id in near[:k]]

    def search(self, text, k, within):
        self.withins.append(within)
        return [Named(text[0])] * k


def starts(past=None, within=LINE, library=None, **settings):
    values = {"topics": 4} | settings
    items = plan(
        scripted_settings(**values), library or Line(), within, past or EarlierRounds(), 3, 1
    )
    return [item["chunk_ids"] for item in items]


def test_random_draws_leave_the_start_to_their_own_seed():
    assert starts() == [["drawn"]] * 4


def test_coverage_takes_what_was_used_least_and_counts_its_own_draws():
    past = EarlierRounds(uses=Counter(a=2, b=1, c=2, d=1, e=1, f=1))
    drawn = [ids[0] for ids in starts(past, ask_about="coverage", topics=6)]
    # four have one use: they come first, once each; then all have two
    assert set(drawn[:4]) == set("bdef")
    assert drawn[4] != drawn[5]


def test_the_least_used_is_the_least_of_all_after_every_use():
    rng, uses = random.Random(1), Counter(a=2, d=1)
    lots = {id: rng.random() for id in LINE}
    least, drawn = _least_used(frozenset(LINE), uses, 1), random.Random(2)
    for _ in range(50):
        assert next(least) == min(LINE, key=lambda id: (uses[id], lots[id]))
        uses.update(drawn.choices(LINE, k=drawn.randrange(4)))


@pytest.mark.parametrize("contexts", ["neighbours", "walk"])
@pytest.mark.parametrize("topics", [3, ["a", "b"]])
def test_every_draw_gives_the_graph_the_same_frozenset(topics, contexts):
    line = Line()
    starts(within=list(LINE), library=line, topics=topics, contexts=contexts, chunks_per_context=2)
    assert {id(within) for within in line.withins} == {id(line.withins[0])}
    assert line.withins[0] == frozenset(LINE)
    assert type(line.withins[0]) is frozenset


def test_coverage_counts_the_neighbours_of_a_draw_as_used():
    contexts = starts(ask_about="coverage", topics=2, chunks_per_context=3)
    assert len({id for ids in contexts for id in ids}) >= 5
    assert not set(contexts[1][:1]) & set(contexts[0])


def test_the_order_among_equals_is_the_seeds():
    settings = scripted_settings(topics=6, ask_about="coverage")
    orders = {
        tuple(
            item["chunk_ids"][0] for item in plan(settings, Line(), LINE, EarlierRounds(), seed, 1)
        )
        for seed in range(5)
    }
    assert len(orders) > 1


def test_uncertain_asks_around_the_doubted_half_first_themselves_then_their_neighbours():
    past = EarlierRounds(doubted=("c", "f", "a", "b"))
    drawn = [ids[0] for ids in starts(past, ask_about="uncertain", topics=6)]
    # f's neighbour e, then c's second neighbour d, then f's, which is d again and does not come
    assert drawn == ["c", "f", "b", "e", "d", "a"]


def test_a_chunk_of_several_doubted_pairs_is_drawn_once():
    past = EarlierRounds(doubted=("c", "c", "c", "f", "a", "a", "b", "e"))
    assert [ids[0] for ids in starts(past, ask_about="uncertain")] == ["c", "f", "b", "e"]


def test_a_doubted_chunk_that_may_not_be_used_is_passed_over():
    past = EarlierRounds(doubted=("f", "a", "c"))
    assert [ids[0] for ids in starts(past, "abc", ask_about="uncertain", topics=2)] == ["a", "b"]


def test_without_margins_uncertain_is_random():
    assert starts(ask_about="uncertain") == [["drawn"]] * 4


def test_more_draws_than_there_are_doubts_and_neighbours_are_random():
    past = EarlierRounds(doubted=("a",))
    assert starts(past, "ab", ask_about="uncertain", topics=3) == [["a"], ["b"], ["drawn"]]


def test_topics_are_searched_and_a_walk_starts_at_the_nearest():
    assert starts(topics=["a", "b"], chunks_per_context=2) == [["a", "a"], ["b", "b"]]
    line = Line()
    found = starts(topics=["c"], contexts="walk", chunks_per_context=2, library=line)
    assert (found, line.walks) == ([["c", "b"]], [True])


class Ranked(Line):
    """A topic finds the chunks from its own letter on, in the order of the alphabet."""

    def search(self, text, k, within):
        near = sorted(within, key=lambda id: (ord(id) - ord(text)) % 26)
        return [Named(id) for id in near[:k]]


def on_topics(topics, questions, past=None, within=LINE, **settings):
    asked = scripted_settings(topics=topics, questions_per_topic=questions, **settings)
    items = plan(asked, Ranked(), within, past or EarlierRounds(), 3, 1)
    return [(item["topic"], "".join(item["chunk_ids"])) for item in items]


def test_a_second_question_to_a_topic_comes_after_a_first_one_to_every_topic():
    settings = scripted_settings(topics=["a", "b"], questions_per_topic=2)
    items = plan(settings, Line(), LINE, EarlierRounds(), 3, -1)
    assert [(item["id"], item["topic"]) for item in items] == [
        ("held-0000", "a"),
        ("held-0001", "b"),
        ("held-0002", "a"),
        ("held-0003", "b"),
    ]


def test_a_second_question_to_a_draw_comes_after_a_first_one_to_every_draw():
    past = EarlierRounds(uses=Counter(a=2, b=1, c=2, d=2, e=1, f=2))
    drawn = starts(past, ask_about="coverage", topics=2, questions_per_topic=2)
    assert sorted(ids[0] for ids in drawn[:2]) == ["b", "e"]
    assert drawn[2:] == drawn[:2]


def test_further_questions_to_a_topic_rest_on_other_chunks():
    assert on_topics(["a", "d"], 2) == [("a", "a"), ("d", "d"), ("a", "b"), ("d", "e")]
    two = on_topics(["a"], 3, chunks_per_context=2)
    assert two == [("a", "ab"), ("a", "cd"), ("a", "ef")]


def test_topics_that_share_chunks_do_not_take_the_same_ones():
    assert on_topics(["a", "b"], 3) == [
        ("a", "a"),
        ("b", "b"),
        ("a", "c"),
        ("b", "d"),
        ("a", "a"),  # all have one use by then
        ("b", "b"),
    ]


def test_a_corpus_smaller_than_the_questions_is_gone_through_again():
    found = on_topics(["a"], 5, within="abc", chunks_per_context=2)
    assert found == [("a", "ab")] * 5  # a context of one chunk is none of two
    assert on_topics(["a"], 2, within="a", chunks_per_context=2) == [("a", "a")] * 2


def test_walks_for_a_topic_begin_at_its_nearest_chunks():
    found = on_topics(["c"], 3, contexts="walk", chunks_per_context=2)
    assert found == [("c", "cb"), ("c", "ed"), ("c", "cb")]  # of dc one is used by then


def test_the_topic_with_the_fewest_pairs_so_far_is_asked_about_first():
    past = EarlierRounds(topics=Counter(a=2, c=1))
    asked = [topic for topic, _ in on_topics(["a", "b", "c"], 2, past)]
    assert "".join(asked) == "bbcaca"


def test_three_rounds_of_two_topics_share_pairs_and_chunks_evenly():
    letters = [chr(n) for n in range(ord("a"), ord("z") + 1)]
    past, starts_of = EarlierRounds(), Counter()
    for _ in range(3):  # two topics, 24 questions, 16 pairs a round
        pairs = on_topics(["a", "m"], 24, past, within=letters)[:16]
        assert Counter(topic for topic, _ in pairs) == {"a": 8, "m": 8}
        starts_of.update(ids for _, ids in pairs)
        uses = past.uses + Counter(ids for _, ids in pairs)
        past = EarlierRounds(uses=uses, topics=past.topics + Counter(topic for topic, _ in pairs))
    assert max(starts_of.values()) == 2  # 48 pairs on 26 chunks


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"topics": ["a"], "ask_about": "coverage"}, r"data\.ask_about.*random where data\.topics"),
        ({"contexts": "walk"}, r"data\.contexts: got 'walk'.*chunks_per_context is 1"),
        ({"rejected_choice": "closest"}, r"data\.rejected_choice.*rejected_candidates is 1"),
        ({"rejected_candidates": 0}, r"data\.rejected_candidates: got 0, must be >= 1"),
        ({"rejected_candidates": 2}, r"data\.rejected_candidates: got 2, must be 1 where"),
        ({"ask_about": "covrage"}, r"data\.ask_about: got 'covrage', must be random or coverage"),
        ({"contexts": "wolk"}, r"data\.contexts: got 'wolk'"),
        ({"rejected": "polcy"}, r"data\.rejected: got 'polcy', must be policy or teacher"),
        ({"rejected_choice": "closset"}, r"data\.rejected_choice: got 'closset'"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        scripted_settings(**settings)
