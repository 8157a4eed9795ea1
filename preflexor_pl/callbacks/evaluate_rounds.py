"""The held-out evaluation of each round, and its row in `metrics.csv`."""

import time
from itertools import islice
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from preflexor_pl.callbacks.protocols import WritesAnswers, check_data, data_of
from preflexor_pl.callbacks.trainer_state import (
    begun_epochs,
    check_monitors,
    ends_a_round,
    monitoring,
    publish,
    round_after,
    starts_a_round,
)
from preflexor_pl.core.csv_rows import read_rows, write_row
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.evaluation.held_out import (
    AnsweredPrompt,
    forms,
    preferences,
    thinks_unasked,
)
from preflexor_pl.evaluation.item_answers import item_metrics, write_item_answers
from preflexor_pl.evaluation.question_values import (
    PASS,
    document_of,
    items_path,
    values_from_rows,
    values_path,
    write_values,
)
from preflexor_pl.evaluation.text_metrics import distinct
from preflexor_pl.pairs.round_facts import metrics_of
from preflexor_pl.pairs.round_folders import is_complete, read_manifest, round_folder

HEADLINE = (
    PASS,
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
    ModelCheckpoint, which run once for each evaluated round, can monitor them. A row of the same
    round, epoch and step is kept, so a resumed run evaluates nothing twice. It also answers the
    prompts of callbacks such as SampleAnswers.
    """

    answers_extra_prompts: ClassVar[bool] = True

    def __init__(self) -> None:
        self._published = 0  # the last round whose values the monitoring callbacks have had

    def state_dict(self) -> dict[str, Any]:
        """The last round whose values the monitoring callbacks have had."""
        return {"shown": self._published}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it from a checkpoint."""
        self._published = state_dict["shown"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse other data than ours."""
        check_data(trainer, self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the policy before training, or where a stopped run had no time to."""
        if starts_a_round(trainer):
            self.evaluate(trainer, trainer.current_epoch)
        else:
            rows = read_rows(data_of(trainer).run / "metrics.csv")
            publish(trainer, _values(rows[-1]) if rows else {})
        check_monitors(trainer)

    def on_epoch_saved(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate after a round; RegenerateRounds calls this at the end of each epoch."""
        if ends_a_round(trainer):
            self.evaluate(trainer, trainer.current_epoch + 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate after a last round that was cut short."""
        self.finish(trainer, pl_module)

    def finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate after the last step."""
        self.evaluate(trainer, begun_epochs(trainer))

    def evaluate(self, trainer: Trainer, epochs: int) -> None:
        """Evaluate the policy as it is after ``epochs``; write its row, unless it is there."""
        data, index = data_of(trainer), round_after(trainer, epochs)
        path = data.run / "metrics.csv"
        key = {"round": index, "epoch": epochs, "step": trainer.global_step}
        cells = {name: str(value) for name, value in key.items()}
        row = next((row for row in read_rows(path) if cells.items() <= row.items()), None)
        if row:
            values = _values(row)
        else:
            started = time.monotonic()
            measured = self._measure(trainer, index)
            values = {f"val/{name}": value for name, value in measured.items()}
            rounded = {name: round(value, 6) for name, value in values.items()}
            write_row(path, key | rounded | _pair_metrics(data, index))
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
            names = [name for name in HEADLINE if name in measured]
            names += [name for name in measured if name.startswith(f"{PASS}/")]
            headline = " · ".join(f"{name} {measured[name]:.2f}" for name in names)
            log_line(f"After {index} rounds: {headline} ({time.monotonic() - started:.0f} s)")
        publish(trainer, values)
        if index > self._published:
            self._published = index
            for callback in monitoring(trainer):
                callback.on_validation_end(trainer, trainer.lightning_module)

    def _answers(self, trainer: Trainer, index: int, prompts: list[str]) -> list[AnsweredPrompt]:
        """Answers to ``prompts``; those to the extra prompts of other callbacks go to them."""
        data, callbacks = data_of(trainer), trainer.callbacks  # type: ignore[attr-defined]
        others = [callback for callback in callbacks if isinstance(callback, WritesAnswers)]
        extra = [prompt for callback in others for prompt in callback.prompts]
        answers = iter(data.answer([*prompts, *extra]))
        own = list(islice(answers, len(prompts)))
        for callback in others:
            callback.write(data.run, index, list(islice(answers, len(callback.prompts))))
        return own

    def _measure(self, trainer: Trainer, index: int) -> dict[str, float]:
        """Means over the held-out questions; the values of each are written beside its answer."""
        data, module = data_of(trainer), trainer.lightning_module
        loss: Any = module.loss
        pairs, settings = data.held_out_pairs(), data.pair_settings
        prompts = [pair.prompt for pair in pairs]
        questions = list(map(data.policy.strings.question, prompts))
        answers = self._answers(trainer, index, prompts)
        preferred = preferences(
            data.policy,
            loss,
            data.rounds.collator,
            data.tokenized_held_out(),
            data.tokens_per_micro_batch,
            derive_seed(data.seed, "evaluation"),
        )
        embed = data.library.embedder.encode
        formed = forms(data.policy, answers, questions, embed, settings.reflection)
        unasked = thinks_unasked(
            data.policy, questions, settings.system_prompt, data.generation_batch_size
        )
        documents = list(map(document_of, pairs))
        values = values_from_rows(
            prompts, documents, [preferred.get(pair.id, {}) for pair in pairs]
        )
        values.values.update(formed, unasked_thinking=list(map(float, unasked)))
        path = values_path(data.run, index)
        write_values(path, pairs, [item.completion for item in answers], values)
        means = values.means() | {"distinct": distinct([item.parsed.answer for item in answers])}
        if data.task is None:
            return means
        checked = data.answer_items()
        write_item_answers(items_path(data.run, index), checked)
        return means | item_metrics(checked)


def _pair_metrics(data: PreferenceDataModule, index: int) -> dict[str, float]:
    """Metrics of the pairs that the policy of row ``index`` was trained on last."""
    folder = round_folder(data.run, index - 1)
    return metrics_of(read_manifest(folder)) if index and is_complete(folder) else {}


def _values(row: dict[str, str]) -> dict[str, float]:
    return {name: float(cell) for name, cell in row.items() if name.startswith("val/") and cell}
