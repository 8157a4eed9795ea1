"""Our side of the training benchmark: ``PreferenceModule`` in Lightning's trainer, on ids.

Started by ``runner.py``. The caller gives all of ``how``:

- batching: packed, padded or plain, as ``data.batching``.
- budget: tokens in a micro-batch, as ``data.tokens_per_micro_batch``.
- attention: as ``model.policy.attn_implementation``; packed rows use their own kernel.
- head: ``own`` is the batching's head; ``full`` computes logits of every position, in plain batches
  only, for the ablation.
- reference: ``cached``, or ``live``: computed in every step, for the ablation.
- masked: share of each response, from its start, that is no target.
- rows: whether marker rows train with the adapters, as in a run. The peer has none.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from benchmarks.training.layouts import tokenized
from benchmarks.training.protocol import (
    BETA,
    EXO_SMOOTHING,
    LR,
    MAX_GRAD_NORM,
    Measurement,
    Task,
    same_adapters,
)
from benchmarks.training.workloads import read
from losses import DPOLoss, EXOLoss, ORPOLoss, PairLogps
from losses.logps import pair_logps
from preflexor_pl.batches.collate import PairCollator
from preflexor_pl.batches.packing import FlatBatch
from preflexor_pl.batches.steps import micro_batches
from preflexor_pl.batches.thinking import ThinkingMask
from preflexor_pl.batches.tokenized import TokenizedPair
from preflexor_pl.cli.entry import quiet_libraries
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.module import PreferenceModule
from preflexor_pl.policy.policy import Policy
from preflexor_pl.rounds.reference import with_reference

DRAW = (0, 0)  # seed of the masks, which are not random here
LOSSES = {
    "dpo": DPOLoss(beta=BETA),
    "exo": EXOLoss(beta=BETA, label_smoothing=EXO_SMOOTHING),
    "orpo": ORPOLoss(beta=BETA),
}


@dataclass(frozen=True)
class LeadingShare(ThinkingMask):
    """No target in the first ``share`` of a response, as if thinking preceded the answer."""

    share: float

    def __call__(self, response_ids: Any, markers: Any, rng: Any) -> list[bool]:
        """See ``ThinkingMask``."""
        hidden = min(round(self.share * len(response_ids)), len(response_ids) - 1)
        return [position >= hidden for position in range(len(response_ids))]


class _NoRows(Policy):
    """Only the adapters train, as on the peer's side."""

    def _untrained(self, ids: list[int]) -> list[int]:
        return []


class _FullLogits(_NoRows):
    """Logits of every position of prompt, response and padding."""

    def logps(self, batch: Any) -> PairLogps:
        output = self.model(batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        return pair_logps(output.logits, batch.labels)


class _LiveReference(PreferenceModule):
    """The reference runs in every step, as without a cache."""

    def _backward(self, batch: Any, pairs_in_step: int) -> Any:
        assert self.policy is not None
        with_logps = replace(batch, reference=self.policy.reference_logps(batch))
        return super()._backward(with_logps, pairs_in_step)


class _Steps:
    """A loader that gives the steps in order."""

    def __init__(
        self,
        steps: list[list[TokenizedPair]],
        collate: PairCollator,
        budget: int,
        measurement: Measurement,
    ) -> None:
        self.steps, self.collate, self.budget, self.measurement = (
            steps,
            collate,
            budget,
            measurement,
        )

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Any]]:
        for step in self.steps:
            split = micro_batches(step, self.budget, self.collate.packed)
            batches = [self.collate(pairs, DRAW) for pairs in split]
            for batch in batches:
                rows = batch.rows if isinstance(batch, FlatBatch) else batch
                mask = rows.attention_mask
                self.measurement.count(torch.ones_like(rows.input_ids) if mask is None else mask)
            yield batches


class _Stamp(Callback):
    """Records the end of each step, and what the module logged in the first."""

    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement
        self.first: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.measurement.step_ended()
        if not self.first:
            self.first = {name: float(value) for name, value in trainer.callback_metrics.items()}


def prepare(task: Task) -> tuple[PreferenceModule, PairCollator]:
    """The module with its policy, and the collator."""
    how = task.how
    settings = PolicySettings(
        task.model,
        task.dtype,  # type: ignore[arg-type]
        how["attention"],
        lora=LoRASettings(task.rank, 2 * task.rank) if task.rank else None,
    )
    loss = LOSSES[task.loss]
    kind = PreferenceModule if how["reference"] == "cached" else _LiveReference
    module = kind(settings, loss, lr=LR, max_grad_norm=MAX_GRAD_NORM)
    plain = _FullLogits if how["head"] == "full" else _NoRows
    policy = (Policy if how["rows"] else plain)(settings, reference=loss.needs_reference)
    same_adapters(policy.model)
    module.policy = policy
    longest = policy.max_positions
    masking = LeadingShare(how["masked"])
    collator = PairCollator(
        policy.tokenizer,
        policy.markers,
        policy.end_id,
        masking,
        None,
        longest,
        longest,
        0,
        how["batching"],
    )
    return module, collator


def steps_of(task: Task) -> list[list[TokenizedPair]]:
    """The pairs of each step."""
    pairs = tokenized(read(task.pairs))
    size = task.pairs_per_step
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def add_reference(
    module: PreferenceModule, collator: PairCollator, step: list[TokenizedPair], budget: int
) -> list[TokenizedPair]:
    """The pairs of a step with the reference's log-probs.

    They are computed in the micro-batches of the step, as on the peer's side: other micro-batches
    round differently, by more than the tolerance for a response of 2000 nats.
    """
    policy: Any = module.policy
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reference.safetensors"
        return with_reference(policy, collator, step, budget, path, "a step")


def one_epoch(callback: Callback) -> Trainer:
    """Lightning's trainer for one epoch, with no other callback or logger."""
    return Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )


def main() -> None:
    """Make the steps of the task on the command line."""
    task = Task.from_command_line()
    quiet_libraries()
    measurement = Measurement(task)
    stamp = _Stamp(measurement)
    module, collator = prepare(task)
    steps, budget = steps_of(task), task.how["budget"]
    trainer = one_epoch(stamp)
    module.to(trainer.strategy.root_device)  # before memory is measured, as on the peer's side
    if module.loss.needs_reference and task.how["reference"] == "cached":
        steps = [add_reference(module, collator, step, budget) for step in steps]
    measurement.begin(module)
    trainer.fit(module, _Steps(steps, collator, budget, measurement))
    packages = ("torch", "transformers", "peft", "lightning")
    measurement.report(stamp.first["train/loss"], stamp.first["train/grad_norm"], packages)


if __name__ == "__main__":
    main()
