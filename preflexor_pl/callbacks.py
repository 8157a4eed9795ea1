"""When things happen in a run; how they are done is elsewhere.

Order at an epoch's end: the checkpoint, then, where it ends a round, the held-out evaluation of the
policy as it is and those who monitor it, then the next round's pairs. Round 0 is evaluated before
the first step.
"""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from preflexor_pl.core.device import Later
from preflexor_pl.core.files import write_atomically, writing
from preflexor_pl.core.progress import Stage, say, stage
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.evaluation.held_out import Answered, forms, preferences, thinks_unasked
from preflexor_pl.evaluation.plots import plot_run
from preflexor_pl.evaluation.question_values import (
    document_of,
    gathered,
    values_path,
    write_values,
)
from preflexor_pl.evaluation.report import (
    read_rows,
    run_changes,
    summary_lines,
    write_row,
    write_summary,
)
from preflexor_pl.evaluation.text_metrics import distinct
from preflexor_pl.monitors import (
    begun_epochs,
    check_monitors,
    how_it_ended,
    monitoring,
    publish,
)
from preflexor_pl.pairs.journal import is_complete, read_manifest, round_folder
from preflexor_pl.pairs.round_facts import metrics_of, run_facts
from preflexor_pl.policy.policy import Policy
from preflexor_pl.regenerate import RegenerateRounds
from preflexor_pl.stopping import SaveAtLimit, StopOnSignal

__all__ = [
    "EvaluateRounds",
    "FinishRun",
    "RegenerateRounds",
    "SampleAnswers",
    "StepsCSV",
    "StopOnSignal",
    "TrainingProgress",
]

HEADLINE = (
    "format_rate",
    "unasked_thinking",
    "distinct",
    "on_topic",
    "rewards/accuracies",
    "accuracy_mismatched",
)
VERSIONS = "torch", "lightning", "transformers", "peft", "hnswlib", "sentence-transformers"


def _data(trainer: Trainer) -> PreferenceDataModule:
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning attaches it


class EvaluateRounds(Callback):
    """Writes one row a round to ``metrics.csv``: row r is the policy after r rounds of training.

    Its values are Lightning metrics, ``val/...``: loggers get them, and EarlyStopping and
    ModelCheckpoint can monitor them, which are called once for each round that is evaluated. A row
    of the same round, epoch and step is kept, so a run that goes on evaluates nothing twice.
    """

    def __init__(self) -> None:
        self._shown = 0  # the last round whose values the callbacks that monitor have seen

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on needs to know."""
        return {"shown": self._shown}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self._shown = state_dict["shown"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate what the run starts from, or what its last life had no time to evaluate."""
        data, epoch = _data(trainer), trainer.current_epoch
        progress = trainer.fit_loop.epoch_loop.batch_progress
        in_an_epoch = progress.current.ready and not progress.is_last_batch
        if epoch % data.epochs_per_round == 0 and not in_an_epoch:
            self.evaluate(trainer, data.round, epoch)
        else:
            rows = read_rows(data.run / "metrics.csv")
            publish(trainer, _values(rows[-1]) if rows else {})
        check_monitors(trainer)

    def on_epoch_saved(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate what a round has led to; RegenerateRounds calls this."""
        data, epoch = _data(trainer), trainer.current_epoch + 1
        if epoch % data.epochs_per_round == 0:
            self.evaluate(trainer, epoch // data.epochs_per_round, epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate what a last round that was cut short has led to."""
        epoch = begun_epochs(trainer)
        self.evaluate(trainer, -(-epoch // _data(trainer).epochs_per_round), epoch)

    def evaluate(self, trainer: Trainer, index: int, epoch: int) -> None:
        """Evaluate the policy as it is and write row ``index``, unless it is there."""
        data = _data(trainer)
        path = data.run / "metrics.csv"
        place = {"round": index, "epoch": epoch, "step": trainer.global_step}
        told = {name: str(value) for name, value in place.items()}
        kept = [row for row in read_rows(path) if told.items() <= row.items()]
        if kept:
            values = _values(kept[0])
        else:
            started = time.monotonic()
            measured = self._measure(trainer, index)
            values = {f"val/{name}": value for name, value in measured.items()}
            rounded = {name: round(value, 6) for name, value in values.items()}
            write_row(path, place | rounded | _of_pairs(data, index))
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
            shown = " · ".join(f"{name} {measured[name]:.2f}" for name in HEADLINE)
            say(f"After {index} rounds: {shown} ({time.monotonic() - started:.0f} s)")
        publish(trainer, values)
        if index > self._shown:
            self._shown = index
            for callback in monitoring(trainer):
                callback.on_validation_end(trainer, trainer.lightning_module)

    def _measure(self, trainer: Trainer, index: int) -> dict[str, float]:
        """Means over the held-out questions; the values of each are kept beside its answer."""
        data, module = _data(trainer), trainer.lightning_module
        loss: Any = module.loss
        pairs, settings = data.held_out_pairs(), data.pair_settings
        prompts = [pair.prompt for pair in pairs]
        questions = list(map(data.policy.strings.question, prompts))
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        samplers = [callback for callback in callbacks if isinstance(callback, SampleAnswers)]
        # The samples go with the questions: a few more rows of a batch cost little, a batch much.
        answers = iter(data.answer([*prompts, *(p for s in samplers for p in s.prompts)]))
        answered = list(islice(answers, len(prompts)))
        for sampler in samplers:
            sampler.write(data.run, index, list(islice(answers, len(sampler.prompts))))
        preferred = preferences(
            data.policy,
            loss,
            data.rounds.collator,
            data.tokenized_held_out(),
            data.tokens_per_micro_batch,
            derive_seed(data.seed, "evaluation"),
        )
        embed = data.library.embedder.encode
        formed = forms(data.policy, answered, questions, embed, settings.reflection)
        unasked = thinks_unasked(
            data.policy, questions, settings.system_prompt, data.generation_batch_size
        )
        documents = list(map(document_of, pairs))
        values = gathered(prompts, documents, [preferred.get(pair.id, {}) for pair in pairs])
        values.values.update(formed, unasked_thinking=list(map(float, unasked)))
        path = values_path(data.run, index)
        write_values(path, pairs, [item.completion for item in answered], values)
        return values.means() | {"distinct": distinct([item.parsed.answer for item in answered])}


def _of_pairs(data: PreferenceDataModule, index: int) -> dict[str, float]:
    """What the pairs are that the policy of row ``index`` was trained on last."""
    folder = round_folder(data.run, index - 1)
    return metrics_of(read_manifest(folder)) if index and is_complete(folder) else {}


class SampleAnswers(Callback):
    """Writes the policy's greedy answers to a few prompts to ``samples/``, a file each round.

    EvaluateRounds answers them with its own questions.

    Args:
        prompts: questions as a user would ask them, with the trigger where thinking is wanted.
    """

    def __init__(self, prompts: list[str]) -> None:
        self.prompts = prompts

    def write(self, run: Path, index: int, answered: Sequence[Answered]) -> None:
        """Write the answers of round ``index``."""
        path = run / "samples" / f"round-{index:04d}.md"
        write_atomically(path, "\n".join(map(_sample, answered)))


def _sample(answered: Answered) -> str:
    cut = (
        ""
        if answered.completion.finish_reason == "stop"
        else "\n\n*(cut: it did not end by itself)*"
    )
    return f"## {answered.question}\n\n```\n{answered.completion.text}\n```{cut}\n"


def _values(row: dict[str, str]) -> dict[str, float]:
    return {name: float(cell) for name, cell in row.items() if name.startswith("val/") and cell}


class StepsCSV(Callback):
    """Appends one row an optimiser step to ``steps.csv``; a resumed run goes on from its step."""

    def __init__(self) -> None:
        self._waiting: tuple[dict[str, Any], list[str], Later] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop the rows after the checkpoint that training goes on from: they are made again."""
        data = _data(trainer)
        self._path: Path = data.run / "steps.csv"
        kept = [r for r in read_rows(self._path, "step") if int(r["step"]) <= trainer.global_step]
        self._names = list(kept[0]) if kept else []
        if self._path.exists():
            self._path.unlink()
        for row in kept:
            self._append(row)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Write the step before this one; this one's numbers are still to come."""
        self._flush()
        logged: dict[str, Any] = dict(trainer.logged_metrics)
        names = [name for name in logged if name.startswith("train/")]
        data = _data(trainer)
        row = {"step": trainer.global_step, "epoch": trainer.current_epoch, "round": data.round}
        if names:
            values = torch.stack([logged[name].float() for name in names])
            self._waiting = row, names, Later(values)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's last step."""
        self._flush()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, _: BaseException) -> None:
        """Write the last step that was made."""
        self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting:
            row, names, values = waiting
            said = (f"{value:.6g}" for value in values.get().tolist())
            self._append(row | dict(zip(names, said, strict=True)))

    def _append(self, row: dict[str, Any]) -> None:
        new = not self._path.exists()
        self._names = self._names or list(row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._names, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)
        data = text.getvalue().encode()
        with writing(self._path, len(data)), self._path.open("ab") as file:
            file.write(data)


class _Number:
    """Asks the device for a value only where it is shown."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return f"{float(self.value):.3f}"


class TrainingProgress(Callback):
    """Shows each epoch: steps done, rate, loss and margin."""

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Open the epoch's line; an epoch that a run goes on within has no start of its own."""
        if self._stage is None:
            title = f"round {_data(trainer).round} · training, epoch {trainer.current_epoch}"
            self._context = stage(title, int(trainer.num_training_batches))
            self._stage = self._context.__enter__()
            self._stage.done = batch_idx

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Count a step."""
        assert self._stage is not None
        logged = trainer.logged_metrics
        shown = {"loss": "train/loss", "margin": "train/rewards/margins"}
        notes = {k: _Number(logged[name]) for k, name in shown.items() if name in logged}
        self._stage.advance(1, **notes)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the line before the next round's pairs are made."""
        if self._stage is not None:
            self._context.__exit__(None, None, None)
            self._stage = None


class FinishRun(Callback):
    """After the last round: the adapter, the plots, the summary, and a few lines on the screen."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is left of the run."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data = _data(trainer)
        data.policy.save(data.run / data.policy.artifact)
        data.lineage.write(data.run / data.policy.artifact)
        plot_run(data.run)
        facts = self._facts(trainer)
        write_summary(data.run, facts)
        rows = read_rows(data.run / "metrics.csv")
        lines = [
            *summary_lines(facts, rows, run_changes(data.run)),
            f"See {data.run / 'summary.md'}",
        ]
        say("\n" + "\n".join(lines))
        finished = how_it_ended(trainer) | {"minutes": facts["minutes"]}
        write_atomically(data.run / "finished.json", json.dumps(finished))

    def _facts(self, trainer: Trainer) -> dict[str, Any]:
        data = _data(trainer)
        module: Any = trainer.lightning_module
        rounds = sorted((data.run / "rounds").glob("round-*"))
        manifests = [read_manifest(folder) for folder in rounds if is_complete(folder)]
        drops: Counter[str] = Counter()
        for manifest in manifests:
            drops.update(manifest["drops"])
        policy = data.policy
        return {
            "model": policy.source.name,
            "weights": _held(policy),
            "teacher": data.rounds.teacher.name,
            "start": policy.settings.start_from,
            "loss": repr(module.loss),
            "config": str(data.run / "config.yaml"),
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
            "versions": {name: version(name) for name in VERSIONS},
            "sample": _before_and_after(data.run / "samples"),
        }


def _held(policy: Policy) -> str:
    """The dtype that ``auto`` stood for, and the device: other ones round otherwise."""
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


def run_callbacks(run: Path) -> list[Callback]:
    """What every run from the command line has, in the order that it needs."""
    return [
        StepsCSV(),
        StopOnSignal(),
        EvaluateRounds(),
        TrainingProgress(),
        FinishRun(),
        ModelCheckpoint(
            run / "checkpoints",
            "{epoch}-{step}",
            monitor="step",
            mode="max",
            save_top_k=2,  # should the newest be damaged, the one before it is there
            save_on_train_epoch_end=True,
        ),
        SaveAtLimit(),
    ]
