"""Each callback is the only one of a plain Trainer: it works on our data and refuses other data."""

import signal

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

from losses import ORPOLoss
from preflexor_pl import callbacks
from preflexor_pl.callbacks import (
    EvaluateRounds,
    FinishRun,
    PushToHub,
    SampleAnswers,
    StepsCSV,
    TrainingProgress,
)
from preflexor_pl.callbacks.protocols import FinishesRun
from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.settings import LoRASettings, PolicySettings
from preflexor_pl.datamodule import PreferenceDataModule
from preflexor_pl.fit import _finish
from preflexor_pl.module import PreferenceModule
from tests.run_helpers import Letters

ROUNDS, STEPS = 2, 2  # rounds of an epoch, steps of an epoch
OWN_PAIRS = [
    {
        "prompt": f"Why {n}? Use <|thinking|>.",
        "chosen": f"<|thinking|>\nIt is {n}.\n<|/thinking|>\nSo {n}.",
        "rejected": f"No {n}.",
    }
    for n in range(8)
]


@pytest.fixture
def fit(tmp_path, model_folder, monkeypatch):
    """``fit(*callbacks, **options)`` trains on own pairs; the trainer, which has ended."""
    monkeypatch.setattr("preflexor_pl.rounds.build.Embedder", Letters)
    monkeypatch.setattr(signal, "signal", lambda *args: None)  # pytest's own handlers stay

    def fit(*given, **options):
        data = PreferenceDataModule(
            run=str(tmp_path / "run"),
            pairs=OWN_PAIRS,
            pairs_per_round=4,
            pairs_per_step=4 // STEPS,
            epochs_per_round=1,
            held_out_questions=2,
            max_length=192,
        )
        policy = PolicySettings(str(model_folder), "float32", lora=LoRASettings(rank=4, alpha=8))
        trainer = plain_trainer(*given, **{"max_epochs": ROUNDS} | options)
        trainer.fit(PreferenceModule(policy, ORPOLoss()), datamodule=data)
        return trainer

    return fit


def plain_trainer(*given, **options):
    return Trainer(
        logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        enable_checkpointing=any(isinstance(one, Checkpoint) for one in given),
        callbacks=list(given), **options,
    )  # fmt: skip


def count_batches(monkeypatch):
    """The prompts of every call that the policy answers them in."""
    batches, answer = [], PreferenceDataModule.answer

    def counted(data, prompts):
        batches.append(list(prompts))
        return answer(data, prompts)

    monkeypatch.setattr(PreferenceDataModule, "answer", counted)
    return batches


def test_sample_answers(fit, tmp_path, monkeypatch):
    batches = count_batches(monkeypatch)
    trainer = fit(SampleAnswers(["Why silk?"]))
    files = sorted((tmp_path / "run/samples").iterdir())
    assert [file.name for file in files] == [f"round-000{n}.md" for n in (0, 1, 2)]
    assert all(file.read_text().startswith("## Why silk?\n\n```\n") for file in files)
    assert batches == [["Why silk?"]] * 3
    _finish(trainer)
    assert len(batches) == 3  # the last step has its answers


@pytest.mark.parametrize("first", [True, False])
def test_sample_answers_share_the_batch_of_evaluate_rounds(fit, tmp_path, monkeypatch, first):
    batches, both = count_batches(monkeypatch), [SampleAnswers(["Why silk?"]), EvaluateRounds()]
    fit(*(both if first else both[::-1]))
    assert [batch[2:] for batch in batches] == [["Why silk?"]] * 3  # after the two held out
    assert len(list((tmp_path / "run/samples").glob("round-*.md"))) == 3


def test_any_callback_with_prompts_gets_its_answers(fit):
    written = []

    class Own(Callback):
        prompts = ("Why bone?",)

        def write(self, run, index, answers):
            written.append((index, [answer.question for answer in answers]))

    fit(EvaluateRounds(), Own())
    assert written == [(index, ["Why bone?"]) for index in range(3)]


def test_evaluate_rounds(fit, tmp_path):
    fit(EvaluateRounds())
    rows = read_rows(tmp_path / "run/metrics.csv")
    assert [(row["round"], row["step"]) for row in rows] == [("0", "0"), ("1", "2"), ("2", "4")]


def test_steps_csv(fit, tmp_path):
    fit(StepsCSV())
    rows = read_rows(tmp_path / "run/steps.csv", "step")
    assert [(row["step"], row["round"]) for row in rows] == [
        (str(step), str((step - 1) // STEPS)) for step in range(1, 5)
    ]


def test_finish_run(fit, tmp_path, capsys):
    fit(FinishRun())
    run = tmp_path / "run"
    assert (run / "adapter/adapter_model.safetensors").is_file()
    summary = (run / "summary.md").read_text()
    assert "has not been evaluated yet" in summary
    assert "preflexor_pl.fit" not in summary  # there is no config to give it
    assert f"See {run / 'summary.md'}" in capsys.readouterr().out


def test_training_progress(fit, capfd):
    fit(TrainingProgress())
    out = capfd.readouterr().out
    assert "round 0 · training, epoch 0" in out
    assert "round 1 · training, epoch 1" in out


def test_push_to_hub(fit, hub):
    fit(PushToHub("owner/name", endpoint=hub.url), fast_dev_run=True)
    assert not hub.repositories
    fit(PushToHub("owner/name", endpoint=hub.url))
    model, data = hub.model("owner/name"), hub.dataset("owner/name_data")
    assert model.messages == ["round_0", "round_1"]
    assert {"data/round-0000.jsonl", "data/round-0001.jsonl"} <= data.files.keys()


@pytest.mark.parametrize("name", [name for name in callbacks.__all__ if name != "RegenerateRounds"])
def test_other_data_are_refused_in_one_line(name, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *args: None)
    arguments = {"SampleAnswers": [["Why?"]], "PushToHub": ["owner/name"]}.get(name, [])
    refusal = rf"^{name} needs a PreferenceDataModule, got BoringDataModule$"
    trainer = plain_trainer(getattr(callbacks, name)(*arguments), max_steps=1)
    with pytest.raises(ConfigError, match=refusal):
        trainer.fit(BoringModel(), datamodule=BoringDataModule())


def test_no_data_module_is_refused_too():
    loader = BoringDataModule()
    loader.setup("fit")
    with pytest.raises(ConfigError, match=r"^StepsCSV needs a PreferenceDataModule, got none$"):
        plain_trainer(StepsCSV(), max_steps=1).fit(BoringModel(), loader.train_dataloader())


def test_what_fit_has_left_to_do_is_known_by_a_method():
    classes = {name: getattr(callbacks, name) for name in callbacks.__all__}
    names = {name for name, kind in classes.items() if issubclass(kind, FinishesRun)}
    assert names == {"EvaluateRounds", "FinishRun", "PushToHub", "SampleAnswers"}
