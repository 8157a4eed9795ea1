import json
import math
from dataclasses import asdict

import pytest

from preflexor_pl.evaluation.intervals import Estimate, mean, rate


def test_a_rate_has_wilsons_interval():
    # 0 of n: high = z^2 / (n + z^2); with z = 1.96 and n = 4 that is 0.49
    none, half, all_ = rate([False] * 4), rate([True, False] * 5), rate([True] * 4)
    assert (none.value, none.low, none.n) == (0, 0, 4)
    assert none.high == pytest.approx(3.8416 / 7.8416)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)
    assert (all_.low, all_.high) == pytest.approx((1 - none.high, 1))


def test_nothing_measured_is_a_dash():
    for estimate in (rate([]), mean([], 0), mean([math.nan, math.inf], 0)):
        assert estimate.n == 0
        assert math.isnan(estimate.value)
        assert estimate.shown() == estimate.shown(percent=True) == "-"
    assert Estimate(math.nan, 0.0, 1.0, 3).shown() == "-"


def test_the_bootstrap_of_two_values_by_hand():
    # a draw of two from {0, 4} is 0, 0 or 4, 4 with a chance of 1/4 each: beyond 2.5 % on each side
    estimate = mean([0, 4], seed=0)
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (2, 0, 4, 2)


def test_the_bootstrap_of_many_values_is_about_normal():
    # the mean of 400 coins has a standard error of 0.5 / 20
    estimate = mean([0, 1] * 200, seed=3)
    assert estimate.value == 0.5
    assert estimate.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert estimate.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_equal_values_have_no_spread():
    assert mean([3.0] * 5, seed=0) == Estimate(3.0, 3.0, 3.0, 5)


def test_what_is_not_finite_is_left_out():
    assert mean([1.0, math.nan, 3.0, -math.inf], 1) == mean([1.0, 3.0], 1)


def test_the_interval_follows_from_the_seed():
    values = [0.1, 0.7, 0.2, 0.9, 0.4, 0.35]
    assert mean(values, 1) == mean(values, 1)
    assert len({mean(values, seed).low for seed in range(9)}) > 1


def test_how_it_is_shown():
    estimate = Estimate(0.414, 0.32, 0.5049, 80)
    assert estimate.shown() == "0.41 [0.32, 0.50]"
    assert estimate.shown(digits=1) == "0.4 [0.3, 0.5]"
    assert estimate.shown(percent=True) == "41 % [32, 50]"
    assert Estimate(-2.5, -3.0, -2.0, 4).shown() == "-2.50 [-3.00, -2.00]"


def test_an_interval_without_width_is_not_shown():
    assert Estimate(0.75, 0.75, 0.75, 4).shown(percent=True) == "75 %"
    assert Estimate(0.75, 0.75, 0.75, 4).shown() == "0.75"


def test_values_of_each_question_are_kept_and_come_back():
    found = mean([1.0, math.nan, 3.0], 0)
    assert found.values == (1.0, None, 3.0)
    assert rate([True, False]).values == (1.0, 0.0)
    again = Estimate.from_dict(json.loads(json.dumps(asdict(found))))
    assert (again, again.values) == (found, found.values)
    older = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 4}
    assert Estimate.from_dict(older) == Estimate(0.5, 0.25, 0.75, 4)
