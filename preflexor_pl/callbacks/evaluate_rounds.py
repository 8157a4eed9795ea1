"""The held-out evaluation of each round, and its row in `metrics.csv`."""

import time
from itertools import islice
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from preflexor_pl.callbacks.access import data_of
from preflexor_pl.callbacks.monitors import (
    begun_epochs,
    check_monitors,
    monitoring,
    publish,
)
from preflexor_pl.callbacks.sample_answers import SampleAnswers
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.evaluation.held_out import forms, preferences, thinks_unasked
from preflexor_pl.evaluation.question_values import (
    document_of,
    gathered,
    values_path,
    write_values,
)
from preflexor_pl.evaluation.report import (
    read_rows,
    write_row,
)
from preflexor_pl.evaluation.text_metrics import distinct
from preflexor_pl.pairs.journal import is_complete, read_manifest, round_folder
from preflexor_pl.pairs.round_facts import metrics_of

HEADLINE = (
    "format_rate",
    "unasked_thinking",
    "distinct",
    "on_topic",
    "rewards/accuracies",
    "accuracy_mismatched",
)


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
        data, epoch = data_of(trainer), trainer.current_epoch
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
        data, epoch = data_of(trainer), trainer.current_epoch + 1
        if epoch % data.epochs_per_round == 0:
            self.evaluate(trainer, epoch // data.epochs_per_round, epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate what a last round that was cut short has led to."""
        epoch = begun_epochs(trainer)
        self.evaluate(trainer, -(-epoch // data_of(trainer).epochs_per_round), epoch)

    def evaluate(self, trainer: Trainer, index: int, epoch: int) -> None:
        """Evaluate the policy as it is and write row ``index``, unless it is there."""
        data = data_of(trainer)
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
            log_line(f"After {index} rounds: {shown} ({time.monotonic() - started:.0f} s)")
        publish(trainer, values)
        if index > self._shown:
            self._shown = index
            for callback in monitoring(trainer):
                callback.on_validation_end(trainer, trainer.lightning_module)

    def _measure(self, trainer: Trainer, index: int) -> dict[str, float]:
        """Means over the held-out questions; the values of each are kept beside its answer."""
        data, module = data_of(trainer), trainer.lightning_module
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


def _values(row: dict[str, str]) -> dict[str, float]:
    return {name: float(cell) for name, cell in row.items() if name.startswith("val/") and cell}
