from dataclasses import replace

import pytest

from benchmarks.gpu import equality
from benchmarks.gpu.job import SIZES
from benchmarks.random_model import save_random_model
from benchmarks.training.layouts import RANK, by_layout, tokenized
from benchmarks.training.workloads import Workload
from preflexor_pl.policy.kernels import block_attention


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_random_model("tiny", tmp_path_factory.mktemp("model"), "cpu"))


def pairs():
    return tokenized(Workload.named(SIZES["tiny"].equality).draw(1, 2, 256))


def wrong(model, rank):
    found = by_layout(model, pairs(), rank)
    return {name.split()[-1]: equality.disagreements(one) for name, one in found.items()}


@pytest.mark.parametrize("rank", [0, RANK])
def test_packed_batches_pass_the_gate(model, rank):
    assert wrong(model, rank) == {"float32": [], "bfloat16": []}


def test_attention_that_sees_other_keys_does_not_pass(model, monkeypatch):
    right = block_attention.segments_of

    def blind(pairs):  # the rejected response does not see its prompt's first token
        return [
            replace(run, prompt=(min(run.prompt[0] + 1, run.prompt[1]), run.prompt[1]))
            for run in right(pairs)
        ]

    monkeypatch.setattr(block_attention, "segments_of", blind)
    found = wrong(model, 0)
    assert found["float32"] == ["logps", "gradient norm", "gradient"]
    assert "logps from float32" in found["bfloat16"]


def test_a_gradient_that_is_not_a_number_does_not_pass():
    between = {"logps": 0.0, "gradient": float("nan"), "gradient norm": 0.0}
    found = {"dtype": "float32", "apart": between}
    assert equality.disagreements(found) == ["gradient"]


def test_attention_in_bfloat16_is_near_float32():
    for window in equality.WINDOWS:
        assert 0 < max(equality.attention(pairs(), window).values()) < 0.01
