"""The training part of a finished run, as it is now and the plain way.

``python -m benchmarks.training.finished_run runs/orpo``, about a minute a repeat on two CPU cores.

It trains on the pairs of the run's first round, under the run's config, for the epochs of a round.
Now: the layout of ``data.batching``, the head on supervised tokens only, adapters computed in the
base's dtype, freed memory kept. Plain: every response with its prompt and its padding, all logits
from the first target on, peft's own layers, the C library's defaults. Each measurement runs in its
own process, in the order now, plain, plain, now; the first step of each is not timed. The losses of
the first step must agree to 1e-3.

Writes ``results/shipped-<name of the run>.json``.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from benchmarks.processes import print_result, run_module
from benchmarks.report.record import RESULTS, in_turn, save, setting, spread
from benchmarks.training.ours import one_epoch
from preflexor_pl.batches.steps import StepLoader
from preflexor_pl.cli.entry import quiet_libraries
from preflexor_pl.cli.fit_options import cli_of
from preflexor_pl.pairs.pair import read_pairs
from preflexor_pl.rounds.reference import with_reference

WAYS = "now", "plain"
TOLERANCE = 1e-3  # relative; bfloat16 rounds differently in other layouts


class _Times(Callback):
    def __init__(self) -> None:
        self.ends = [time.perf_counter()]
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.ends.append(time.perf_counter())
        self.losses.append(float(trainer.callback_metrics["train/loss"]))


def use_plain_kernels() -> None:
    """Use peft's own layers, and the C library's defaults for freed memory, in this process."""
    from peft.tuners.lora.layer import Linear

    from preflexor_pl.policy import load
    from preflexor_pl.policy.kernels.lora_linear import LoRALinear

    LoRALinear.forward = Linear.forward  # type: ignore[method-assign]
    load.keep_freed_memory = lambda: False


def train(run: Path, way: str) -> None:
    """Train on the pairs of the first round and print losses and times."""
    quiet_libraries()
    if way == "plain":
        use_plain_kernels()
    cli = cli_of(["--config", str(run / "config.yaml"), "--run", str(run)])
    module, data = cli.model, cli.datamodule
    module.configure_model()
    collator = data.collator_of(module.policy)
    if way == "plain":
        collator = collator.relaid("plain")
    folder, budget = run / "rounds/round-0000", data.tokens_per_micro_batch
    tokenized = map(collator.tokenize, read_pairs(folder / "pairs.jsonl"))
    pairs = [pair for pair in tokenized if pair]
    if module.loss.needs_reference:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "reference.safetensors"
            pairs = with_reference(module.policy, collator, pairs, budget, path, way)
    steps = [
        step
        for epoch in range(data.epochs_per_round)
        for step in StepLoader(
            pairs,
            partial(collator, draw=(0, epoch)),
            data.pairs_per_step,
            budget,
            data.seed,
            epoch,
            collator.packed,
        )
    ]
    times = _Times()
    one_epoch(times).fit(
        module, DataLoader(steps, batch_size=None)
    )  # Lightning takes a list for several loaders
    seconds = [b - a for a, b in zip(times.ends[1:-1], times.ends[2:], strict=True)]
    print_result({"way": way, "losses": times.losses, "seconds": seconds})


def measure(run: Path, way: str) -> dict[str, Any]:
    """The result of ``train`` in a fresh process."""
    result: dict[str, Any] = run_module("training.finished_run", str(run), "--way", way)
    print(f"{way}: {sum(result['seconds']):.1f} s", flush=True)
    return result


def main() -> None:
    """Compare both ways, or train one way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help="train one way in this process")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    run = given.run.resolve()
    if given.way:
        train(run, given.way)
        return
    made = []
    for repeat in range(given.repeats):
        both = {way: measure(run, way) for way in in_turn(WAYS, repeat)}
        first, other = (both[way]["losses"][0] for way in WAYS)
        if abs(first - other) > TOLERANCE * abs(other):
            raise SystemExit(f"error: the first step's losses differ: {first} and {other}")
        made.append(both)
    ratios = [sum(both["plain"]["seconds"]) / sum(both["now"]["seconds"]) for both in made]
    result = {**setting("torch", "transformers", "peft", "lightning"), "run": run.name}
    save(f"shipped-{run.name}", {**result, "speed": spread(ratios), "repeats": made}, given.out)
    print(json.dumps({"speed": spread(ratios)}))


if __name__ == "__main__":
    main()
