"""Ends a run on a signal, or at a limit within an epoch, with a checkpoint of its last step."""

import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from preflexor_pl.callbacks.protocols import check_data, data_of
from preflexor_pl.core.errors import Stopped
from preflexor_pl.core.progress import log_line


class StopOnSignal(Callback):
    """SIGINT and SIGTERM: finish the current step, save a checkpoint, end with 130 or 143.

    Outside a step everything is on disk already, so the run ends at once.
    """

    def __init__(self) -> None:
        self._in_step = False
        self._signal: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the signals; refuse other data than ours."""
        check_data(trainer, self)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if not self._in_step or self._signal is not None:
            raise Stopped(number)
        self._signal = number
        log_line("Stopping at the end of this step; press again to stop at once")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """A step begins."""
        self._in_step = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """A step ended: now is the time to stop."""
        self._in_step = False
        if self._signal is not None:
            _save(trainer)
            raise Stopped(self._signal)


class SaveAtLimit(Checkpoint):
    """Saves a checkpoint where a limit of steps or time ends a run within an epoch.

    A higher limit then resumes with the next step.

    It is a ``Checkpoint`` so that Lightning runs it after Timer, which watches the time.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse other data than ours."""
        check_data(trainer, self)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save if this is the run's last step, and not the epoch's."""
        loop = trainer.fit_loop
        out_of_steps = 0 <= trainer.max_steps <= trainer.global_step
        ends = out_of_steps or (trainer.should_stop and loop._can_stop_early)
        if ends and not loop.epoch_loop.batch_progress.is_last_batch:
            _save(trainer)


def _save(trainer: Trainer) -> None:
    name = f"epoch={trainer.current_epoch}-step={trainer.global_step}-stopped.ckpt"
    trainer.save_checkpoint(data_of(trainer).run / "checkpoints" / name)
