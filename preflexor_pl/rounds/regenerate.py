"""Calls the hooks of ``PreferenceDataModule`` that Lightning gives data no such of."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class RegenerateRounds(Checkpoint):
    """Has the data made anew when an epoch has ended and its checkpoint is saved.

    A ``Checkpoint`` only so that Lightning runs it after ModelCheckpoint: what was trained is on
    disk before the slow part starts.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have Lightning ask for the data at every epoch: the next one may be another round."""
        trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Pass the hook on to data that have it."""
        _pass_on(trainer, "on_train_batch_start")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call ``on_epoch_saved`` of the callbacks that have it, then pass the hook on to data."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if hasattr(callback, "on_epoch_saved"):
                callback.on_epoch_saved(trainer, pl_module)
        _pass_on(trainer, "on_train_epoch_end")


def _pass_on(trainer: Trainer, hook: str) -> None:
    own = getattr(trainer.datamodule, hook, None)  # type: ignore[attr-defined]
    if own:
        own()
