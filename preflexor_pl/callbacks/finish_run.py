"""The files of a finished run: its adapter, plots, summary and record."""

import json
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from preflexor_pl.callbacks.protocols import check_data, data_of
from preflexor_pl.callbacks.trainer_state import begun_epochs, how_it_ended
from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.progress import log_line
from preflexor_pl.evaluation.plots import plot_run
from preflexor_pl.evaluation.summary import run_changes, summary_lines, write_summary
from preflexor_pl.pairs.round_facts import run_facts, task_facts
from preflexor_pl.pairs.round_folders import is_complete, read_manifest, round_folders
from preflexor_pl.policy.policy import Policy
from preflexor_pl.tasks import Task

VERSIONS = "torch", "lightning", "transformers", "peft", "hnswlib", "sentence-transformers"


class FinishRun(Callback):
    """After the last round: the adapter, the plots, the summary, and a few lines on the screen."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse other data than ours."""
        check_data(trainer, self)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the run leaves."""
        self.finish(trainer, pl_module)

    def finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the run leaves, but for a trial of a few steps."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data = data_of(trainer)
        data.policy.save(data.run / data.policy.artifact)
        data.lineage.write(data.run / data.policy.artifact)
        plot_run(data.run)
        facts, changed = self._facts(trainer), run_changes(data.run)
        write_summary(data.run, facts, changed)
        rows = read_rows(data.run / "metrics.csv")
        lines = [
            *summary_lines(facts, rows, changed),
            f"See {data.run / 'summary.md'}",
        ]
        log_line("\n" + "\n".join(lines))
        finished = how_it_ended(trainer) | {"minutes": facts["minutes"]}
        write_atomically(data.run / "finished.json", json.dumps(finished))

    def _facts(self, trainer: Trainer) -> dict[str, Any]:
        data = data_of(trainer)
        module: Any = trainer.lightning_module
        config = data.run / "config.yaml"  # of a run from the command line
        folders = filter(is_complete, round_folders(data.run))
        manifests = [read_manifest(folder) for folder in folders]
        drops: Counter[str] = Counter()
        for manifest in manifests:
            drops.update(manifest["drops"])
        policy = data.policy
        return {
            "model": policy.source.name,
            "weights": _dtype_and_device(policy),
            "teacher": data.rounds.teacher.name,
            "start": policy.settings.start_from,
            "loss": repr(module.loss),
            "task": _task(data.task_object),
            "config": str(config) if config.is_file() else None,
            "parameters": policy.inner.num_parameters(),  # it unpacks 4-bit weights
            "artifact": policy.artifact,
            "rounds": len(manifests),
            "pairs": sum(manifest["pairs"] for manifest in manifests),
            "held_out_questions": len(data.held_out_pairs()),
            "seed": data.seed,
            "epochs": begun_epochs(trainer),
            "minutes": round((time.monotonic() - self._started) / 60, 1),
            "drops": dict(drops),
            **run_facts(manifests),
            **(task_facts(manifests) if data.task else {}),
            "versions": {name: version(name) for name in VERSIONS},
            "sample": _before_and_after(data.run / "samples"),
        }


def _task(task: Task | None) -> str | None:
    """A task by its class and levels."""
    levels = ", ".join(map(str, task.levels)) if task else ""
    return f"{type(task).__name__}, levels {levels}" if task else None


def _dtype_and_device(policy: Policy) -> str:
    """Resolved dtype and device; results differ slightly across them."""
    device = policy.device
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    kinds = filter(None, (policy.settings.quantization, str(policy.inner.dtype)))
    return f"{', '.join(kinds).replace('torch.', '')} on {on}"


def _before_and_after(folder: Path) -> dict[str, str] | None:
    files = sorted(folder.glob("held-out-*.jsonl"))
    if len(files) < 2:
        return None
    first, last = (
        json.loads(f.read_text(encoding="utf-8").split("\n")[0]) for f in (files[0], files[-1])
    )
    return {"question": first["prompt"], "before": first["text"], "after": last["text"]}
