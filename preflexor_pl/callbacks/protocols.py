"""What one callback or the command asks of another: a method, never a class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.evaluation.held_out import AnsweredPrompt


@runtime_checkable
class WritesAnswers(Protocol):
    """A callback with prompts of its own, which EvaluateRounds answers with the held-out ones.

    A few more rows in a batch cost little, a batch of their own costs much.
    """

    prompts: Sequence[str]

    def write(self, run: Path, index: int, answers: Sequence[AnsweredPrompt]) -> None:
        """Write the answers to ``prompts`` after ``index`` rounds."""


@runtime_checkable
class FinishesRun(Protocol):
    """A callback with work after the last step.

    Lightning reaches it through ``on_train_end``; where a run was stopped between its last step and
    its summary there is no training left to end, and ``fit`` calls ``finish`` itself.
    """

    def finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do what is left; a second call at the same step changes nothing."""


def answers_extra_prompts(trainer: Trainer) -> bool:
    """Whether a callback of the trainer answers the prompts of the others."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return any(getattr(callback, "answers_extra_prompts", False) for callback in callbacks)


def data_of(trainer: Trainer) -> PreferenceDataModule:
    """The data module in training, which :func:`check_data` has accepted."""
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning attaches it


def check_data(trainer: Trainer, callback: Callback) -> None:
    """Refuse other data than ours before training begins.

    Raises:
        ConfigError: names the callback and what the trainer has.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, PreferenceDataModule):
        found = "none" if data is None else type(data).__name__
        raise ConfigError(f"{type(callback).__name__} needs a PreferenceDataModule, got {found}")
