"""What a callback asks of its trainer."""

from lightning.pytorch import Trainer

from preflexor_pl.datamodule import PreferenceDataModule


def data_of(trainer: Trainer) -> PreferenceDataModule:
    """The data module that is being trained on."""
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning attaches it
