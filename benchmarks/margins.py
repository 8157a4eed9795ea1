"""Losses of DPO and EXO at the first step, and growth of their margins: ``benchmarks.margins``.

``python -m benchmarks.margins``, about 6 minutes on two CPU cores, with the packaged model and real
pairs of a second phase (``data/pairs.jsonl``):

- step 0, four pairs: policy and reference are equal, so h = 0, DPO = ln 2 and EXO = 1.95852 (eps
  5e-3). Both are computed in different micro-batches, so in bfloat16 h may deviate: that is the
  noise of a margin.
- overfitting on two of them: EXO's margin h levels off at log((1 - eps) / eps) = 5.29, DPO's keeps
  growing.

Writes ``results/margins.json`` and ``margins.png``.
"""

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.report.record import RESULTS, save, setting
from losses import DPOLoss, EXOLoss, PreferenceLoss
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.thinking import AnswerOnly
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.cli.entry import quiet_libraries
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.policy.policy import Policy
from preflexor_pl.rounds.reference import with_reference

HERE = Path(__file__).parent
BETA, EPS = 0.5, 5e-3
STARTS = (("float32", "eager"), ("bfloat16", "eager"), ("bfloat16", "sdpa"))  # dtype, attention
OVERFIT = 2  # pairs
LOSSES: dict[str, PreferenceLoss] = {
    "DPO": DPOLoss(beta=BETA, label_smoothing=0.0),
    "EXO": EXOLoss(beta=BETA, label_smoothing=EPS),
}


def prepare(
    dtype: str, attention: str, folder: Path
) -> tuple[Policy, PairCollator, list[TokenizedPair]]:
    """A new policy, its collator, and the pairs with the reference's log-probs."""
    settings = PolicySettings(dtype=dtype, attn_implementation=attention, lora=LoRASettings())  # type: ignore[arg-type]
    policy = Policy(settings)
    collator = PairCollator(
        policy.tokenizer, policy.markers, policy.end_id, AnswerOnly(True), None, 512, 128, 0
    )
    tokenized = map(collator.tokenize, read_pairs(HERE / "data/pairs.jsonl"))
    pairs = [pair for pair in tokenized if not collator.problem_of(pair)]
    path = folder / f"{dtype}-{attention}.safetensors"
    return policy, collator, with_reference(policy, collator, pairs, 2048, path, dtype)


@torch.no_grad()
def step_0(dtype: str, attention: str, folder: Path) -> dict[str, Any]:
    """Losses and h before the first step, one pair in a micro-batch."""
    policy, collator, pairs = prepare(dtype, attention, folder)
    rows = []
    for pair in pairs:
        batch = collator([pair], (0, 0))
        logps, reference = policy.logps(batch), batch.reference_logps()
        outputs = {name: loss(logps, reference) for name, loss in LOSSES.items()}
        dpo = outputs["DPO"]
        h = float(dpo.chosen_rewards - dpo.rejected_rewards)
        rows.append({"h": h, **{name: float(out.loss) for name, out in outputs.items()}})
    return {
        "pairs": rows,
        "largest |h|": max(abs(row["h"]) for row in rows),
        "largest |DPO - ln 2|": max(abs(row["DPO"] - math.log(2)) for row in rows),
        "largest |EXO - 1.95852|": max(abs(row["EXO"] - 1.95852) for row in rows),
    }


def overfit(loss: PreferenceLoss, steps: int, lr: float, folder: Path) -> list[float]:
    """The mean margin h before each of ``steps`` steps on the same pairs."""
    policy, collator, pairs = prepare("float32", "eager", folder)
    pairs = pairs[:OVERFIT]
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
    margins = []
    for step in range(steps):
        batch = collator(pairs, (0, 0))
        output = loss(policy.logps(batch), batch.reference_logps())
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        margins.append(float((output.chosen_rewards - output.rejected_rewards).mean()))
        if step % 10 == 0:
            print(f"{type(loss).__name__} step {step}: margin {margins[-1]:.3f}", flush=True)
    return margins


def plot(margins: dict[str, list[float]], path: Path) -> None:
    """Plot both margins over the steps, and the limit of EXO's."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, values in margins.items():
        axes.plot(values, label=name)
    axes.axhline(
        math.log((1 - EPS) / EPS), color="grey", linestyle=":", label="log((1 - eps) / eps)"
    )
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(f"margin h, beta = {BETA}")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts = {
            f"{dtype}, {attention}": step_0(dtype, attention, folder) for dtype, attention in STARTS
        }
        for title, start in starts.items():
            print(title, {key: value for key, value in start.items() if key != "pairs"})
        margins = {
            name: overfit(loss, options.steps, options.lr, folder) for name, loss in LOSSES.items()
        }
    result = setting("torch", "transformers", "peft") | {
        "beta": BETA,
        "label_smoothing": {"DPO": 0.0, "EXO": EPS},
        "lr": options.lr,
        "step 0": starts,
        "margins": margins,
    }
    save("margins", result, options.out)
    plot(margins, options.out / "margins.png")
    print({name: round(values[-1], 3) for name, values in margins.items()})


if __name__ == "__main__":
    main()
