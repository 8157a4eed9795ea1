"""Ends a run on SIGINT or SIGTERM without losing what was trained."""

import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from preflexor_pl.core.errors import Stopped
from preflexor_pl.core.progress import say


class StopOnSignal(Callback):
    """SIGINT and SIGTERM: finish the step in hand, save a checkpoint, end with 130 or 143.

    Outside a step there is nothing to save that is not on disk, so the run ends at once.
    """

    def __init__(self) -> None:
        self._in_step = False
        self._signal: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if not self._in_step or self._signal is not None:
            raise Stopped(number)
        self._signal = number
        say("Stopping at the end of this step; press again to stop at once")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """A step begins."""
        self._in_step = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """A step ended: now is the time to stop."""
        self._in_step = False
        if self._signal is not None:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            name = f"epoch={trainer.current_epoch}-step={trainer.global_step}-stopped.ckpt"
            trainer.save_checkpoint(data.run / "checkpoints" / name)
            raise Stopped(self._signal)
