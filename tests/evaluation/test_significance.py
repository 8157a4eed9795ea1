"""Paired differences by hand, and against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from preflexor_pl.evaluation.significance import mcnemar, paired_difference, sign_flip

FOUR = ["a", "b", "c", "d"]


def test_mcnemar_by_hand():
    # five questions changed, all to wrong: 2 * 1/32; of three, one to right: 2 * (1 + 3)/8 = 1
    assert mcnemar(lost=5, won=0) == 1 / 16 == mcnemar(lost=0, won=5)
    assert mcnemar(lost=2, won=1) == 1
    assert mcnemar(lost=0, won=0) == 1


@pytest.mark.parametrize(("lost", "won"), [(9, 1), (1, 12), (4, 4), (30, 11)])
def test_mcnemar_is_scipys_sign_test(lost, won):
    assert mcnemar(lost, won) == pytest.approx(stats.binomtest(won, lost + won).pvalue)


def test_sign_flip_by_hand():
    # of the 8 signs of (1, 2, 4) only +++ and --- reach 7; of (1, 1, -1) six reach 1
    assert sign_flip(np.array([1.0, 2.0, 4.0])) == 2 / 8
    assert sign_flip(np.array([1.0, 1.0, -1.0])) == 1
    assert sign_flip(np.zeros(5)) == 1


@pytest.mark.parametrize("count", [8, 30])
def test_sign_flip_is_scipys_permutation_test(count):
    sums = np.random.default_rng(count).normal(0.2, size=count)
    theirs = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=10_000, rng=0
    )
    assert sign_flip(sums) == pytest.approx(theirs.pvalue, abs=0.01)


def test_chance_alone_is_seldom_called_a_finding():
    """Eight documents of four questions; within a document they share most of their noise."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(200):
        values = np.repeat(rng.normal(size=8), 4) + 0.3 * rng.normal(size=32)
        names = [str(i // 4) for i in range(32)]
        found += paired_difference(np.zeros(32), values, names).is_beyond_chance
    assert found <= 16  # 5 % of 200 is 10, with a standard deviation of 3


def test_a_share_that_fell_by_hand():
    # ten questions on ten documents: six were right and are wrong, one the other way round
    first, second = [1] * 8 + [0] * 2, [0] * 6 + [1] * 2 + [1, 0]
    found = paired_difference(first, second, list("abcdefghij"), seed=0)
    assert (found.value, found.n, found.documents) == (-0.5, 10, 10)
    assert found.p == 2 * (1 + 7) / 2**7
    assert found.low < -0.5 < found.high < 0
    assert not found.is_beyond_chance  # p = 0.125


def test_a_mean_that_rose_on_every_document():
    found = paired_difference([0.0] * 4, [1.0, 1.5, 2.0, 2.5], FOUR, seed=0)
    assert found.value == 1.75
    assert 1 <= found.low < 1.75 < found.high <= 2.5
    assert found.p == 2 ** (1 - 4)  # chance alone moves all four to one side in 1 of 8 cases
    assert not found.is_beyond_chance
    falls = paired_difference([1.0, 1.5, 2.0, 2.5], [0.0] * 4, FOUR, seed=0)
    assert (falls.value, falls.low, falls.high) == (-1.75, -found.high, -found.low)


def test_questions_on_one_document_count_as_one():
    """The same values on 32 documents or on four: questions on one document move together."""
    values = np.repeat([-0.5, 0.25, 1.0, 1.25], 8)
    apart = paired_difference([0.0] * 32, values, [str(i) for i in range(32)], seed=0)
    together = paired_difference([0.0] * 32, values, [FOUR[i // 8] for i in range(32)], seed=0)
    assert apart.value == together.value == 0.5
    assert apart.is_beyond_chance
    assert not together.is_beyond_chance
    # the standard error of a mean over 4 alike documents is that of 4 values: sqrt(8) times as wide
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(math.sqrt(8), rel=0.15)


def test_the_interval_is_scipys_where_every_question_has_a_document_of_its_own():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=60), rng.normal(0.3, size=60)
    found = paired_difference(first, second, [str(i) for i in range(60)], seed=1)
    theirs = stats.bootstrap(
        (second - first,), np.mean, n_resamples=10_000, method="percentile", rng=2
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_documents_of_unlike_size_keep_every_question_alike():
    # document a has three questions that fell by 1, b one that rose by 3: the mean is 0
    found = paired_difference([1, 1, 1, 0], [0, 0, 0, 3], ["a", "a", "a", "b"], seed=0)
    assert (found.value, found.low, found.high) == (0, -1, 3)


def test_what_was_not_measured_on_both_sides_is_left_out():
    found = paired_difference([1.0, math.nan, 2.0], [2.0, 1.0, math.inf], ["a", "b", "c"], seed=0)
    assert (found.value, found.n, found.documents) == (1.0, 1, 1)
    assert math.isnan(found.low)
    assert not found.is_beyond_chance  # one document shows nothing
    none = paired_difference([], [], [], seed=0)
    assert none.n == 0
    assert not none.is_beyond_chance
    with pytest.raises(ValueError, match="2, 1 values and 1 documents"):
        paired_difference([1, 2], [1], ["a"], seed=0)


def test_questions_about_no_document_stand_for_themselves():
    assert paired_difference([1, 1, 0], [0, 1, 1], ["", "", "a"], seed=0).documents == 3
