"""When things happen in a run; how they are done is in other packages.

Order at the end of an epoch: the checkpoint; then, where a round ends, the held-out evaluation of
the policy and the callbacks that monitor it; then the pairs of the next round. Round 0 is evaluated
before the first step. Each callback works alone in a plain Trainer with a PreferenceDataModule, and
refuses other data; what they ask of each other is in `protocols.py`.
"""

from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from preflexor_pl.callbacks.evaluate_rounds import EvaluateRounds
from preflexor_pl.callbacks.finish_run import FinishRun
from preflexor_pl.callbacks.progress import TrainingProgress
from preflexor_pl.callbacks.push_to_hub import PushToHub
from preflexor_pl.callbacks.sample_answers import SampleAnswers
from preflexor_pl.callbacks.steps_csv import StepsCSV
from preflexor_pl.callbacks.stop_on_signal import SaveAtLimit, StopOnSignal
from preflexor_pl.rounds.regenerate import RegenerateRounds

__all__ = [
    "EvaluateRounds",
    "FinishRun",
    "PushToHub",
    "RegenerateRounds",
    "SampleAnswers",
    "SaveAtLimit",
    "StepsCSV",
    "StopOnSignal",
    "TrainingProgress",
]


def run_callbacks(run: Path) -> list[Callback]:
    """The callbacks of every run from the command line, in the order that they need."""
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
            save_top_k=2,  # a second one, should the newest be damaged
            save_on_train_epoch_end=True,
        ),
        SaveAtLimit(),
    ]
