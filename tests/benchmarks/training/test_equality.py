import math

from benchmarks.training.equality import disagreements, relative_difference


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
    assert relative_difference(2, 4) == 0.5
