import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu, gpu_equality
from benchmarks.flops import Shape, peak_of, seen, useful_flops, utilisation
from benchmarks.gpu_job import RANK, SIZES, Job, read, tokenized
from benchmarks.random_model import END, config_of, save_random_model, tokenizer_of
from benchmarks.workloads import Workload
from preflexor_pl.core.markers import MARKERS
from preflexor_pl.policy.kernels import block_attention, packed_attention

# q is 4x4, k and v 4x2, o 4x4, gate and up 4x3, down 3x4: 16 + 8 + 8 + 16 + 12 + 12 + 12 = 84.
ONE_LAYER = Shape(layers=1, hidden=4, heads=2, shared=1, size=2, inner=3, vocabulary=5)
PAIR = (2, 1, 1)  # 4 tokens, 2 of them targets


def test_queries_of_a_pair_see_the_prompt_and_their_own_response():
    assert seen(PAIR) == (1 + 2 + 3) + (2 + 1)  # [prompt | chosen], then one rejected token
    assert seen((3, 2, 2)) == (1 + 2 + 3 + 4 + 5) + (4 + 5)


def test_useful_operations_of_one_layer_by_hand():
    matrices = 2 * 4 * 84  # of four tokens
    head = 2 * 2 * 4 * 5  # of two targets
    attention = 9 * 2 * 2 * (2 + 2)  # keys seen, heads, size: scores and their sums of values
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


def test_a_tokenizer_of_bytes_with_the_markers_last():
    tokenizer = tokenizer_of(300)
    assert len(tokenizer) == 300
    assert tokenizer.decode(tokenizer("silk").input_ids) == "silk"
    assert len(tokenizer("silk").input_ids) == 4
    assert [tokenizer.convert_tokens_to_ids(marker) for marker in MARKERS] == [296, 297, 298, 299]
    assert tokenizer.eos_token == END


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_random_model("tiny", tmp_path_factory.mktemp("model"), "cpu"))


def pairs():
    return tokenized(Workload.named(SIZES["tiny"].equality).draw(1, 2, 256))


def wrong(model, rank):
    found = gpu_equality.by_layout(model, pairs(), rank)
    return {name.split()[-1]: gpu_equality.disagreements(one) for name, one in found.items()}


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
    assert gpu_equality.disagreements(found) == ["gradient"]


def test_attention_in_bfloat16_is_near_float32():
    for window in gpu_equality.WINDOWS:
        assert 0 < max(gpu_equality.attention(pairs(), window).values()) < 0.01


def test_each_number_is_in_the_file_when_it_is_known(tmp_path):
    path = tmp_path / "gpu.json"
    job = Job("tiny", "", str(path), "", 1)
    job.keep("adapters", "W2", {"seconds": 1})
    job.keep("adapters", "W1", {"seconds": 2})
    assert read(path) == {"adapters": {"W2": {"seconds": 1}, "W1": {"seconds": 2}}}
    assert [file.name for file in tmp_path.iterdir()] == ["gpu.json"]


def test_what_became_of_the_targets(tmp_path):
    path = tmp_path / "gpu.json"
    peer = {
        "W2 dpo bfloat16 lora": {"TRL's time / ours": {"median": 2.1}},
        "W2 orpo bfloat16 lora": {"our memory / TRL's": {"median": 0.5}},
        "W1 dpo bfloat16 lora": {"failed": "no time counts"},
    }
    weights = {"W2": {gpu.MFU: {"median": 0.36}, gpu.REFERENCE: {"median": 0.11}}, "wall s": 3.0}
    adapters = {"W2": {gpu.MFU: "unknown card"}}
    path.write_text(json.dumps({"peer": peer, "weights": weights, "adapters": adapters}))
    gpu.judge(path)
    assert [(one["measured"], one["met"]) for one in read(path)["targets"].values()] == [
        (2.1, True),
        (0.5, False),
        (0.36, True),
        (0.11, True),
    ]


def test_variable_length_attention_is_asked_for_as_this_torch_has_it(monkeypatch):
    """What the kernel would get: runs of queries and keys, a window, shared heads where told."""
    from torch.nn.attention import varlen

    got = {}

    def kernel(query, key, value, *ends, **options):
        got.update(options, shapes=[query.shape, key.shape], ends=ends)
        return query

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    spans = packed_attention_spans()
    query, key = torch.zeros(1, 4, 9, 8), torch.zeros(1, 2, 9, 8)
    for told in (True, False):
        got.clear()
        monkeypatch.setattr(packed_attention, "TOLD_OF_SHARED_HEADS", told)
        packed_attention._varlen(query, key, key, spans, 0.5, 5)
        assert got["shapes"] == [(9, 4, 8), (12, 2, 8)]  # the prompt's three keys twice
        assert got["ends"][0].tolist() == [0, 7, 9]
        assert got["ends"][1].tolist() == [0, 7, 12]
        assert {end.dtype for end in got["ends"][:2]} == {torch.int32}
        assert got["ends"][2:] == (7, 7)
        assert got["window_size"] == (4, 0)
        assert got.get("enable_gqa") == (True if told else None)


def packed_attention_spans():
    from preflexor_pl.batches.layout import packed

    pair = SimpleNamespace(prompt=[1, 2, 3], chosen=[4, 5, 6, 7], rejected=[8, 9])
    return packed([pair]).spans
