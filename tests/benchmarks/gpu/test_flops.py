from benchmarks.gpu.flops import Shape, peak_of, useful_flops, utilisation, visible_keys
from benchmarks.random_model import config_of

# q is 4x4, k and v 4x2, o 4x4, gate and up 4x3, down 3x4: 16 + 8 + 8 + 16 + 12 + 12 + 12 = 84.
ONE_LAYER = Shape(layers=1, hidden=4, heads=2, kv_heads=1, head_size=2, inner=3, vocabulary=5)
PAIR = (2, 1, 1)  # 4 tokens, 2 of them targets


def test_queries_of_a_pair_see_the_prompt_and_their_own_response():
    assert visible_keys(PAIR) == (1 + 2 + 3) + (2 + 1)  # [prompt | chosen], then one rejected token
    assert visible_keys((3, 2, 2)) == (1 + 2 + 3 + 4 + 5) + (4 + 5)


def test_useful_operations_of_one_layer_by_hand():
    matrices = 2 * 4 * 84  # of four tokens
    head = 2 * 2 * 4 * 5  # of two targets
    attention = (
        9 * 2 * 2 * (2 + 2)
    )  # keys visible_keys, heads, size: scores and their sums of values
    assert useful_flops(ONE_LAYER, [PAIR], 0) == 3 * (matrices + head + attention)
    # Rank 1: 8 + 6 + 6 + 8 + 7 + 7 + 7 = 49 more weights, and frozen ones have no gradient.
    adapters = 2 * 4 * 49
    lora = 2 * (matrices + head) + 3 * (attention + adapters)
    assert useful_flops(ONE_LAYER, [PAIR], 1) == lora
    assert useful_flops(ONE_LAYER, [PAIR, PAIR], 1) == 2 * lora


def test_the_shape_of_the_model_that_is_measured():
    shape = Shape.of(config_of("llama-3.2-1b"))
    matrices = shape.layers * sum(a * b for a, b in shape.matrices)
    assert matrices == 973_078_528
    assert matrices + shape.hidden * shape.vocabulary + 33 * 2048 == 1_235_814_400  # and the norms


def test_a_share_of_the_peak_only_of_a_card_that_is_known():
    assert utilisation(989e12, 2.0, "NVIDIA H100 80GB HBM3") == 0.5
    assert peak_of("NVIDIA A100-SXM4-80GB") == 312e12
    for unknown in ("cpu", "NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"):
        assert utilisation(1.0, 1.0, unknown) is None
