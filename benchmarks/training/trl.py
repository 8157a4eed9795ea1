"""TRL's side of the training benchmark: its own trainers, their own loops, on ids.

Runs in the peers' environment (``trl==1.16.0``), started by ``runner.py``. In TRL's favour: no
gradient checkpointing, reference log-probs precomputed, nothing logged, evaluated or saved, no data
processes, and the micro-batch size, attention and autocast that were fastest (``how``: micro,
attention, autocast). ``padding_free`` falls back to padding in this version.

The overridden methods pass ids in, where TRL would tokenise text, and observe; no computation is
overridden.
"""

import tempfile
from typing import Any

import datasets
import torch
from peft import LoraConfig
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils import logging
from trl import DPOConfig, DPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

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


class _Observed:
    """Records the first step's loss, its gradient norm before clipping, and the padding."""

    measurement: Measurement
    first_loss = 0.0
    first_norm: float | None = None

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        names = ("attention_mask", "chosen_attention_mask", "rejected_attention_mask")
        masks = [inputs[name] for name in names if name in inputs]
        width = max(mask.shape[1] for mask in masks)  # ORPO concatenates both after this
        for mask in masks:
            self.measurement.count(pad(mask, (0, width - mask.shape[1])))
        loss = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        if self.first_norm is None:
            self.first_loss += float(loss)  # its share of the step's mean
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)  # type: ignore[misc]
        if self.first_norm is None:
            self.first_norm = float(norm)
        return norm


class _DPO(_Observed, DPOTrainer):
    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset  # it already has prompt_ids, chosen_ids and rejected_ids


class _ORPO(_Observed, ORPOTrainer):
    def tokenize_row(self, feature: Any, model: Any = None) -> dict[str, Any]:
        row: dict[str, Any] = {}
        prompt = feature["prompt_ids"]
        for side in ("chosen", "rejected"):
            response = feature[f"{side}_ids"]
            row[f"{side}_input_ids"] = prompt + response
            row[f"{side}_attention_mask"] = [1] * len(prompt + response)
            row[f"{side}_labels"] = [-100] * len(prompt) + response
        return row


class _Stamp(TrainerCallback):
    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.measurement.step_ended()


def arguments_of(task: Task, folder: str) -> dict[str, Any]:
    """Arguments that DPOConfig and ORPOConfig share.

    Raises:
        SystemExit: the pairs of a step do not split into micro-batches.
    """
    micro = task.how["micro"]
    if task.pairs_per_step % micro:
        raise SystemExit(f"error: {task.pairs_per_step} pairs do not split into batches of {micro}")
    return {
        "output_dir": folder,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": task.pairs_per_step // micro,
        "num_train_epochs": 1,
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": MAX_GRAD_NORM,
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "bf16": task.how["autocast"],
        "use_cpu": not torch.cuda.is_available(),
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "beta": BETA,
    }


def trainer_of(task: Task, measurement: Measurement, folder: str) -> Any:
    """TRL's trainer for the task."""
    arguments = arguments_of(task, folder)
    if task.loss == "orpo":
        trainer: Any = _ORPO
        config: Any = ORPOConfig(**arguments, max_length=1_000_000)
    else:
        exo = task.loss == "exo"
        trainer = _DPO
        config = DPOConfig(
            **arguments,
            loss_type=["exo_pair" if exo else "sigmoid"],
            label_smoothing=EXO_SMOOTHING if exo else 0.0,
            precompute_ref_log_probs=True,
            max_length=None,
        )
    lora = LoraConfig(
        r=task.rank,
        lora_alpha=2 * task.rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    made = trainer(
        model=AutoModelForCausalLM.from_pretrained(
            task.model, dtype=getattr(torch, task.dtype), attn_implementation=task.how["attention"]
        ),
        args=config,
        train_dataset=datasets.Dataset.from_list(read(task.pairs)),
        processing_class=AutoTokenizer.from_pretrained(task.model),
        peft_config=lora if task.rank else None,
        callbacks=[_Stamp(measurement)],
    )
    made.measurement = measurement
    return made


def main() -> None:
    """Make the steps of the task on the command line."""
    task = Task.from_command_line()
    datasets.disable_progress_bars()
    logging.set_verbosity_error()
    measurement = Measurement(task)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(task, measurement, folder)
        same_adapters(trainer.model)
        measurement.begin(trainer.model)
        trainer.train()
    packages = ("torch", "transformers", "peft", "trl")
    measurement.report(trainer.first_loss, trainer.first_norm, packages)


if __name__ == "__main__":
    main()
