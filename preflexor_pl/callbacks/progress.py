"""The progress of an epoch on the screen."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from preflexor_pl.callbacks.protocols import check_data, data_of
from preflexor_pl.core.progress import Stage, stage


class _LazyNumber:
    """Copies a value from the device only when it is printed."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return f"{float(self.value):.3f}"


class TrainingProgress(Callback):
    """Shows each epoch: steps done, rate, loss and margin."""

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse other data than ours."""
        check_data(trainer, self)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Open the epoch's line; a run resumed within an epoch has no epoch start."""
        if self._stage is None:
            title = f"round {data_of(trainer).round} · training, epoch {trainer.current_epoch}"
            self._context = stage(title, int(trainer.num_training_batches))
            self._stage = self._context.__enter__()
            self._stage.done = batch_idx

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Count a step."""
        assert self._stage is not None
        logged = trainer.logged_metrics
        names = {"loss": "train/loss", "margin": "train/rewards/margins"}
        notes = {k: _LazyNumber(logged[name]) for k, name in names.items() if name in logged}
        self._stage.advance(1, **notes)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the line before the next round's pairs are made."""
        if self._stage is not None:
            self._context.__exit__(None, None, None)
            self._stage = None
