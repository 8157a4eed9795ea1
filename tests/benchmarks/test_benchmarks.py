import math
import statistics

import pytest

from benchmarks.ablation import ladder, sweeps
from benchmarks.gate import apart, disagreements
from benchmarks.scaling import exponent
from benchmarks.sides import Row
from benchmarks.stepping_ours import Beginning
from benchmarks.training import ratios, summary
from benchmarks.tuning import fastest
from benchmarks.workloads import Workload, useful_tokens, warmed


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


def test_the_ablation_compares_steps_over_the_same_pairs():
    class Drawn:
        """Its norm tells which pairs the first step had."""

        def run(self, side, row, how, steps, warm_up):
            drawn = row.workload.draw(steps, row.pairs_per_step, 50)
            pairs = warmed(drawn, warm_up * row.pairs_per_step)
            first = useful_tokens(pairs[: row.pairs_per_step])
            return {"loss": math.log(2), "gradient norm": first, "seconds": [1.0] * steps}

    row = Row(Workload.named("W2/2"), "dpo", "float32", rank=16, pairs_per_step=2)
    rungs = ladder(bfloat16=True)
    [made] = sweeps(Drawn(), row, rungs, "sdpa", steps=2, repeats=1)
    assert list(made) == [rung.name for rung in rungs]


def test_the_ablation_leaves_bfloat16_out_where_it_is_emulated():
    dtypes = [[rung.dtype for rung in ladder(bfloat16)] for bfloat16 in (True, False)]
    assert dtypes == [["float32"] * 5 + ["bfloat16"], ["float32"] * 5]


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


def both(ours, trl, mine, theirs):
    common = {"pairs/s": 1, "useful tokens/s": 1, "padding": 0}
    return {
        "ours": {"seconds": ours, "peak MB": mine, **common},
        "trl": {"seconds": trl, "peak MB": theirs, **common},
    }


def test_a_ratio_is_of_neighbours_and_its_median_over_the_repeats():
    repeats = [
        both([1, 2], [4, 5], 100, 200),  # 9 / 3 = 3, 0.5
        both([2, 4], [6, 6], 60, 200),  # 12 / 6 = 2, 0.3
        both([4, 4], [5, 5], 80, 200),  # 10 / 8 = 1.25, 0.4
    ]
    assert ratios(repeats[0]) == {"speed": 3, "memory": 0.5}
    made = summary(repeats)
    assert made["TRL's time / ours"] == {"median": 2, "least": 1.25, "most": 3}
    assert made["our memory / TRL's"] == {"median": 0.4, "least": 0.3, "most": 0.5}


def test_the_gate_sees_what_differs():
    def found(loss, norm):
        return {
            "loss": {"ours": math.log(2), "trl": loss},
            "gradient norm": {"ours": 2, "trl": norm},
        }

    exact, norm = "float32", "the gradient norm differs"
    assert disagreements("dpo", found(math.log(2), 2.00001), exact) == []
    assert disagreements("dpo", found(math.log(2), 2.001), exact) == [norm]
    assert disagreements("exo", found(0.7, 2), exact) == ["the loss differs"]
    assert "DPO does not start at ln 2" in disagreements("dpo", found(0.7, 2), exact)
    assert disagreements("exo", found(math.log(2), math.nan), exact) == [norm]
    assert disagreements("exo", found(0.7, 2.1), "bfloat16") == []  # 1 % and 5 % apart
    assert disagreements("exo", found(0.72, 2.3), "bfloat16") == ["the loss differs", norm]
    assert apart(2, 4) == 0.5


def test_cost_that_grows_with_the_square_of_size_has_exponent_two():
    assert exponent([1, 10, 100], [3, 300, 30000]) == pytest.approx(2)


def test_tuning_varies_one_choice_after_the_other():
    cost = {("sdpa", 1): 5, ("eager", 1): 4, ("eager", 2): 6, ("eager", 4): 3}
    best, tried = fastest(
        lambda way: cost[way["attention"], way["micro"]],
        {"attention": ["sdpa", "eager"], "micro": [1, 2, 4]},
    )
    assert best == {"attention": "eager", "micro": 4}
    assert [one["seconds"] for one in tried] == [5, 4, 6, 3]


def test_the_beginning_of_a_response_is_hidden_but_never_all_of_it():
    assert Beginning(0.5)([7, 7, 7, 7], None, None) == [False, False, True, True]
    assert Beginning(0.0)([7], None, None) == [True]
    assert Beginning(0.9)([7], None, None) == [True]
