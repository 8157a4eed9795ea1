import math
import statistics

import pytest

from benchmarks.training.workloads import Workload, useful_tokens, warmed


def test_a_workload_is_named_by_its_base_and_a_divisor_or_by_its_three_lengths():
    assert Workload.named("W1").medians == (96, 700, 450)
    assert Workload.named("W1/4").medians == (24, 175, 112)
    assert Workload.named("W2/2").medians == (384, 128, 112)  # the target's own, not 96 at the end
    assert Workload.named("5+7+9").lengths(2) == [(5, 7, 9), (5, 7, 9)]
    for wrong in ("W4", "W1/0", "W1/x", "5+7", "0+1+1", ""):
        with pytest.raises(ValueError, match="workload"):
            Workload.named(wrong)


def test_lengths_come_from_the_name_and_spread_by_sigma_around_their_medians():
    lengths = Workload.named("W3").lengths(2000)
    assert lengths == Workload.named("W3").lengths(2000)
    for part, median in zip(zip(*lengths, strict=True), (128, 256, 256), strict=True):
        logs = [math.log(length) for length in part]
        assert math.exp(statistics.mean(logs)) == pytest.approx(median, rel=0.05)
        assert statistics.stdev(logs) == pytest.approx(0.5, abs=0.03)


def test_few_pairs_have_the_medians_too():
    parts = zip(*Workload.named("W2/2").lengths(4), strict=True)
    for part, median in zip(parts, (384, 128, 112), strict=True):
        # quantiles 1/8, 3/8, 5/8, 7/8 of a normal distribution: -1.15, -0.319, 0.319, 1.15
        factors = [math.exp(0.5 * z) for z in (-1.15, -0.319, 0.319, 1.15)]
        assert sorted(part) == [pytest.approx(median * f, abs=1) for f in factors]


def test_warming_up_goes_over_the_pairs_that_follow():
    assert warmed([{"a": [1]}, {"a": [2]}], 3) == [{"a": [n]} for n in (1, 2, 1, 1, 2)]


def test_a_step_keeps_its_pairs_and_has_the_longest_first():
    workload = Workload.named("W1/4")
    drawn = workload.draw(3, 2, vocabulary=50)
    sizes = [
        tuple(len(pair[f"{p}_ids"]) for p in ("prompt", "chosen", "rejected")) for pair in drawn
    ]
    for start in (0, 2, 4):
        assert set(sizes[start : start + 2]) == set(workload.lengths(6)[start : start + 2])
        first, second = ((p + max(c, r)) for p, c, r in sizes[start : start + 2])
        assert first >= second
    assert useful_tokens(drawn) == sum(map(sum, sizes))
    assert all(0 <= token < 50 for pair in drawn for ids in pair.values() for token in ids)
