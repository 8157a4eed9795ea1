"""A run that was stopped and goes on ends with the weights and pairs of one that never was."""

import signal
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from losses import DPOLoss, EXOLoss, ORPOLoss
from preflexor_pl.callbacks import StepsCSV
from preflexor_pl.callbacks.stop_on_signal import StopOnSignal
from preflexor_pl.cli.run_folder import RunFolder
from preflexor_pl.core.errors import ConfigError, Stopped
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.module import PreferenceModule
from preflexor_pl.policy.adapters import trained_state
from preflexor_pl.policy.schedules import WarmupCosine
from tests.policy.test_adapters import disturb
from tests.rounds.test_regeneration import make_data
from tests.scripted import Killed, Scripted, kind_of
from tests.tiny import tiny_policy

KINDS = {
    "orpo": (ORPOLoss(), {}),
    "exo": (EXOLoss(), {}),  # from an earlier phase, with the reference's log-probs kept
    "full": (DPOLoss(), {"lora": None}),
    "cosine": (ORPOLoss(), {}),
}
RATES = {
    "cosine": {
        "optimizer": partial(torch.optim.AdamW, lr=0.03, weight_decay=0.1),
        "lr_scheduler": partial(WarmupCosine, warmup=0.3),
    }
}
LR = 0.03
EPOCHS = 4  # two rounds of two epochs of two steps


class Asks(Scripted):
    """Asks another question for each seed, the same one in every process."""

    def _answer(self, request):
        made = super()._answer(request)
        if kind_of(request) != "question":
            return made
        return replace(made, text=made.text.replace("?", f" {request.seed % 10**6}?"))


class SignalAt(Callback):
    """Sends a signal to this process during a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step:
            signal.raise_signal(signal.SIGTERM)


def train(folder, model_folder, corpus, stop=None, lives=None, kind="orpo"):
    """One process's part of a run; returns its trained weights."""
    loss, settings = KINDS[kind]
    data = make_data(folder, Asks("script", lives=lives or []), corpus)
    if kind == "exo":
        settings = {"start_from": str(earlier_phase(folder.parent / "earlier", model_folder))}
    options = {"lora": LoRASettings(rank=4, alpha=8)} | settings
    rates = RATES.get(kind, {"lr": LR})
    module = PreferenceModule(
        PolicySettings(str(model_folder), "float32", **options), loss, **rates
    )
    checkpoints = ModelCheckpoint(
        data.run / "checkpoints", "{epoch}-{step}", monitor="step", mode="max", save_top_k=2,
        save_on_train_epoch_end=True,
    )  # fmt: skip
    callbacks = [
        StepsCSV(),
        StopOnSignal(),
        *([SignalAt(stop)] if stop is not None else []),
        checkpoints,
    ]
    trainer = Trainer(
        max_epochs=EPOCHS, logger=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", callbacks=callbacks,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=RunFolder(data.run).checkpoint(), weights_only=True)
    assert trainer.global_step == EPOCHS * 2
    return {name: weight.clone() for name, weight in trained_state(module.policy).items()}


def earlier_phase(folder, model_folder):
    """An adapter that a phase before this one left."""
    if not folder.exists():
        policy = tiny_policy(model_folder, seed=4)
        disturb(policy)
        policy.save(folder)
    return folder


@pytest.fixture(autouse=True)
def handlers():
    """StopOnSignal takes the signals; pytest gets them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, model_folder):
    """kind -> (corpus, weights, pairs by file) of a run that was never stopped."""

    @cache
    def run(kind):
        folder = tmp_path_factory.mktemp("undisturbed")
        weights = train(folder, model_folder, None, kind=kind)
        return folder / "corpus", weights, pairs(folder)

    return run


def pairs(folder):
    """The pairs, what is kept of how they cover the corpus, and a row for each step."""
    run = folder / "run"
    others = (run / name for name in ("graph.csv", "graph/graph.graphml", "steps.csv"))
    files = sorted([*run.rglob("pairs.jsonl"), *others])
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("kind", "step"),
    [("orpo", 1), ("orpo", 2), ("orpo", 6), ("exo", 5), ("full", 5), ("cosine", 5)],
)
def test_stopped_in_a_step(tmp_path, model_folder, undisturbed, kind, step):
    corpus, weights, made = undisturbed(kind)
    with pytest.raises(Stopped):
        train(tmp_path, model_folder, corpus, stop=step, kind=kind)
    same(train(tmp_path, model_folder, corpus, kind=kind), weights)
    assert pairs(tmp_path) == made


@pytest.mark.parametrize(("kind", "lives"), [("orpo", 7), ("exo", 14)])
def test_killed_while_pairs_are_made(tmp_path, model_folder, undisturbed, kind, lives):
    corpus, weights, made = undisturbed(kind)
    with pytest.raises(Killed):
        train(tmp_path, model_folder, corpus, lives=[lives], kind=kind)
    same(train(tmp_path, model_folder, corpus, kind=kind), weights)
    assert pairs(tmp_path) == made


@pytest.mark.parametrize(("stop", "lives"), [(1, None), (None, [7])], ids=["step", "pairs"])
def test_a_start_that_changed_is_refused(tmp_path, model_folder, undisturbed, stop, lives):
    corpus, *_ = undisturbed("exo")
    (tmp_path / "a").mkdir()
    with pytest.raises((Stopped, Killed)):
        train(tmp_path / "a", model_folder, corpus, stop, lives, kind="exo")
    earlier = tiny_policy(model_folder, seed=5)
    disturb(earlier, 5)
    earlier.save(tmp_path / "earlier")
    told = r"has changed since this run began|another model to start from"
    with pytest.raises(ConfigError, match=told):
        train(tmp_path / "a", model_folder, corpus, kind="exo")


def same(weights, others):
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name
