import math

from benchmarks.training.ablation import ladder, sweeps
from benchmarks.training.runner import Row
from benchmarks.training.workloads import Workload, useful_tokens, warmed


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
