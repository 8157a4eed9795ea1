import json

from benchmarks.gpu import run as gpu
from benchmarks.report.record import read


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
    gpu.check_targets(path)
    assert [(one["measured"], one["met"]) for one in read(path)["targets"].values()] == [
        (2.1, True),
        (0.5, False),
        (0.36, True),
        (0.11, True),
    ]
