import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflexor_pl.evaluation.text_metrics import (
    distinct,
    has_form,
    mismatched_partners,
    nearest_is_own,
    partners_of,
    repeated_ngrams,
    wilson_interval,
)

GOOD = "<|thinking|>t<|/thinking|>a"


def test_the_form_needs_markers_length_answer_and_eos():
    assert has_form(GOOD, thinking_tokens=20, finished=True)
    assert not has_form(GOOD, thinking_tokens=19, finished=True)
    assert not has_form(GOOD, thinking_tokens=20, finished=False)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "<|thinking|>t",
        "t<|/thinking|>a",
        "x<|thinking|>t<|/thinking|>a",
        "<|thinking|>t<|/thinking|> ",
        "<|thinking|>t<|/thinking|><|thinking|>t<|/thinking|>a",
        "<|thinking|>t<|/thinking|><|reflect|>r",
    ],
)
def test_anything_else_lacks_the_form(text):
    assert not has_form(text, thinking_tokens=99, finished=True)


def test_a_reflection_is_part_of_the_form_where_it_is_trained_and_nowhere_else():
    reflected = "<|thinking|>t<|/thinking|><|reflect|>r<|/reflect|>a"
    for text in (reflected, GOOD):
        assert has_form(text, 20, True, reflection=True) == (text == reflected)
        assert has_form(text, 20, True) == (text == GOOD)
    late = "<|thinking|>t<|/thinking|>a<|reflect|>r<|/reflect|>b"
    assert not has_form(late, 20, True, reflection=True)


def test_distinct_ignores_case_and_white_space():
    assert distinct(["Silk is  strong.", "silk is\nstrong. ", "Nacre"]) == 2 / 3
    assert distinct(["a", "b"]) == 1
    assert distinct(["same"] * 4) == 1 / 4


def test_all_empty_answers_are_one():
    assert distinct(["", " ", None, "a"]) == 2 / 4
    assert math.isnan(distinct([]))


def test_repeated_ngrams_by_hand():
    # "a b a b a b": 4-grams abab, baba, abab -> one of three came before
    assert repeated_ngrams("a b A b\na b") == pytest.approx(1 / 3)
    assert repeated_ngrams("a a a", n=1) == pytest.approx(2 / 3)
    assert repeated_ngrams("one two three four five") == 0
    assert repeated_ngrams("too short") == repeated_ngrams("") == 0
    with pytest.raises(ValueError, match="at least 1"):
        repeated_ngrams("a", n=0)


def test_an_answer_is_on_topic_where_its_own_question_is_the_nearest_of_all():
    questions = np.eye(4)
    assert nearest_is_own(5 * questions, questions) == [True] * 4
    assert nearest_is_own(questions[[1, 2, 3, 0]], questions) == [False] * 4
    # nearer to its own than to two of the three others is not enough
    answers = np.array([[2.0, 3, 1, 1], *questions[1:]])
    assert nearest_is_own(answers, questions) == [False, True, True, True]


def test_nearness_is_cosine_not_dot_product():
    questions = np.array([[1.0, 0.0], [9.0, 9.0]])
    assert nearest_is_own(np.array([[1.0, 0.2], [1.0, 1.0]]), questions) == [True, True]


def test_what_is_not_on_topic():
    questions = np.eye(4)
    last_empty = nearest_is_own(questions, questions, answered=[True, True, True, False])
    assert last_empty == [True, True, True, False]
    zero = questions * [[0], [1], [1], [1]]
    assert nearest_is_own(zero, questions) == [False, True, True, True]
    assert nearest_is_own(np.ones((4, 4)), questions) == [False] * 4  # ties
    assert nearest_is_own(np.full((4, 4), np.nan), questions) == [False] * 4


def test_on_topic_needs_another_question_and_matching_shapes():
    assert nearest_is_own(np.ones((1, 3)), np.ones((1, 3))) == []
    assert nearest_is_own(np.ones((0, 3)), np.ones((0, 3))) == []
    with pytest.raises(ValueError, match="vectors must both be"):
        nearest_is_own(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="answered must be"):
        nearest_is_own(np.ones((2, 3)), np.ones((2, 3)), answered=[True])


def test_wilson_by_hand():
    # 0 of n: high = z^2 / (n + z^2); with z = 2 and n = 4 that is 1/2
    assert wilson_interval(0, 4, z=2) == pytest.approx((0, 1 / 2))
    assert wilson_interval(4, 4, z=2) == pytest.approx((1 / 2, 1))
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(("hits", "n"), [(3, 2), (-1, 2), (0, -1), (math.nan, 2)])
def test_wilson_refuses_what_is_no_rate(hits, n):
    with pytest.raises(ValueError, match="0 <= hits <= n"):
        wilson_interval(hits, n)


@given(st.integers(2, 60), st.integers())
def test_partners_are_a_permutation_without_fixed_points(n, seed):
    partners = mismatched_partners(n, seed)
    assert sorted(partners) == list(range(n))
    assert all(i != partner for i, partner in enumerate(partners))
    assert partners == mismatched_partners(n, seed)


@given(st.integers(2, 12), st.integers(), st.integers(1, 5))
def test_no_question_has_itself_or_one_partner_twice(n, seed, count):
    found = partners_of(n, seed, count)
    assert len(found) == min(count, n - 1)
    assert found[0] == mismatched_partners(n, seed)
    for place, partners in enumerate(zip(*found, strict=True)):
        assert len({place, *partners}) == len(found) + 1
    assert all(sorted(partners) == list(range(n)) for partners in found)


def test_partners_depend_on_the_seed_and_need_two():
    assert len({tuple(mismatched_partners(10, seed)) for seed in range(5)}) == 5
    with pytest.raises(ValueError, match="at least 2"):
        mismatched_partners(1, seed=0)
