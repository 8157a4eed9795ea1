"""What callbacks ask of a Trainer: who monitors a metric, and how far the run is and may go."""

from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer

from preflexor_pl.callbacks.protocols import data_of
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.limits import EARLY, Limits
from preflexor_pl.rounds.schedule import begins_round


def publish(trainer: Trainer, values: dict[str, float]) -> None:
    """Give values to those who monitor; log() would keep those of round 0 for the epoch's end."""
    trainer.callback_metrics.update({name: torch.tensor(v) for name, v in values.items()})


def monitoring(trainer: Trainer) -> list[Any]:
    """The callbacks that monitor a metric."""
    return [one for one in _callbacks(trainer) if isinstance(one, EarlyStopping | ModelCheckpoint)]


def check_monitors(trainer: Trainer) -> None:
    """Refuse what would fail, or save nothing, when the first round has ended.

    Raises:
        ConfigError: a callback monitors what is not measured.
    """
    measured = [name.removeprefix("val/") for name in trainer.callback_metrics]
    known = {"step", "epoch", "train/grad_norm", "train/lr"}
    known |= {f"{kind}/{name}" for kind in ("train", "val") for name in measured}
    for callback in monitoring(trainer):
        if measured and callback.monitor is not None and callback.monitor not in known:
            raise ConfigError(
                f"trainer.callbacks: {type(callback).__name__} monitors {callback.monitor!r}, and "
                f"there are {', '.join(sorted(n for n in known if n.startswith('val/')))}"
            )


def limits_of(trainer: Trainer) -> Limits:
    """How far the run may go."""
    times = [timer._duration for timer in _timers(trainer) if timer._duration is not None]
    counts = trainer.max_epochs, trainer.max_steps
    epochs, steps = (n if n is not None and n >= 0 else None for n in counts)
    return Limits(epochs, steps, min(times, default=None))


def how_it_ended(trainer: Trainer) -> dict[str, Any]:
    """How far the run has come, the limit that it met, and all of them."""
    seconds = max((timer.time_elapsed() for timer in _timers(trainer)), default=0.0)
    done = {"epochs": whole_epochs(trainer), "steps": trainer.global_step, "seconds": seconds}
    limits = limits_of(trainer)
    return done | {"by": limits.first_reached(done) or EARLY, "limits": asdict(limits)}


def begun_epochs(trainer: Trainer) -> int:
    """Epochs so far, with one that a limit has cut short."""
    return trainer.fit_loop.epoch_progress.current.ready


def whole_epochs(trainer: Trainer) -> int:
    """Epochs so far that were trained to their last step."""
    return begun_epochs(trainer) - _is_within_epoch(trainer)


def round_after(trainer: Trainer, epochs: int) -> int:
    """How many rounds the policy was trained on after so many epochs, a begun one included."""
    return -(-epochs // data_of(trainer).epochs_per_round)


def starts_a_round(trainer: Trainer) -> bool:
    """Whether training begins, or goes on, with the first step of a round."""
    begins = begins_round(trainer.current_epoch, data_of(trainer).epochs_per_round)
    return begins and not _is_within_epoch(trainer)


def ends_a_round(trainer: Trainer) -> bool:
    """Whether the current epoch is the last one of its round."""
    return begins_round(trainer.current_epoch + 1, data_of(trainer).epochs_per_round)


def _is_within_epoch(trainer: Trainer) -> bool:
    """Whether an epoch was begun and not trained to its last step."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    return progress.current.ready > 0 and not progress.is_last_batch


def _timers(trainer: Trainer) -> list[Timer]:
    return [one for one in _callbacks(trainer) if isinstance(one, Timer)]


def _callbacks(trainer: Trainer) -> list[Callback]:
    return trainer.callbacks  # type: ignore[attr-defined]
