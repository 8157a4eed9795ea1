"""What ends a run, and when it goes on: epochs, steps, time, and callbacks that monitor."""

import json
import signal

import pytest

from preflexor_pl import fit
from preflexor_pl.core.csv_rows import read_rows
from preflexor_pl.core.errors import Stopped
from tests.tiny import refused
from tests.verbs import done

pytestmark = pytest.mark.usefixtures("teacher")


def steps(run):
    return [row["step"] for row in read_rows(run / "steps.csv")]


def rounds(run):
    return [row["round"] for row in read_rows(run / "metrics.csv")]


def ended(run):
    record = json.loads((run / "finished.json").read_text())
    return record["epochs"], record["steps"], record["by"]


def test_steps_end_a_run_without_a_limit_of_epochs_and_more_steps_go_on(call_verb, place):
    run = place / "runs/mine"
    done(call_verb(fit, "--trainer.max_epochs=-1", "--trainer.max_steps=2"))
    assert (steps(run), ended(run)) == (["1", "2"], (2, 2, "steps"))  # a step an epoch, and a round
    assert "2 epochs, 2 steps" in done(
        call_verb(fit, "--trainer.max_epochs=null", "--trainer.max_steps=2")
    )
    done(call_verb(fit, "--trainer.max_epochs=-1", "--trainer.max_steps=3"))
    assert (steps(run), ended(run)) == (["1", "2", "3"], (3, 3, "steps"))
    assert rounds(run) == ["0", "1", "2", "3"]
    done(call_verb(fit, "--trainer.max_epochs=4"))
    assert ended(run) == (4, 4, "epochs")


def test_a_limit_within_an_epoch_loses_nothing_of_it(call_verb, place):
    """Three steps an epoch; the run ends after two of them, then after four, then is whole."""
    run, three = place / "runs/mine", ("--data.pairs_per_step=1", "--trainer.max_epochs=2")
    done(call_verb(fit, *three, "--run=whole"))
    done(call_verb(fit, *three, "--trainer.max_steps=2"))
    assert (steps(run), ended(run), rounds(run)) == (["1", "2"], (0, 2, "steps"), ["0", "1"])
    assert "is finished" in done(call_verb(fit, *three, "--trainer.max_steps=2"))
    (run / "finished.json").unlink()  # as if it was killed before it could say so
    done(call_verb(fit, *three, "--trainer.max_steps=2"))
    assert (ended(run), rounds(run)) == ((0, 2, "steps"), ["0", "1"])
    done(call_verb(fit, *three, "--trainer.max_steps=4"))
    assert (ended(run), rounds(run)) == ((1, 4, "steps"), ["0", "1", "2"])
    done(call_verb(fit, *three))
    assert ended(run) == (2, 6, "epochs")
    for name in ("steps.csv", "metrics.csv", "samples/held-out-0002.jsonl"):
        assert (run / name).read_bytes() == (place / "whole" / name).read_bytes(), name


def test_a_run_that_went_back_and_was_stopped_goes_on_there(call_verb, place, monkeypatch):
    more = "--data.pairs_per_step=1", "--trainer.max_epochs=3"
    done(call_verb(fit, more[0], "--trainer.max_epochs=2"))
    from preflexor_pl.datamodule import PreferenceDataModule

    def stop(data):
        raise Stopped(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(PreferenceDataModule, "on_train_batch_start", stop)
        back = "--ckpt_path=runs/mine/checkpoints/epoch=0-step=3.ckpt"
        assert call_verb(fit, *more, back)[0] == 130
    assert "Going on from runs/mine/checkpoints/epoch=0-step=3" in done(call_verb(fit, *more))
    assert steps(place / "runs/mine") == [str(step) for step in range(1, 10)]


def test_time_ends_a_run_and_more_time_goes_on(call_verb, place):
    run = place / "runs/mine"
    done(call_verb(fit, "--trainer.max_epochs=-1", "--trainer.max_time=00:00:00:01"))
    epochs, _, by = ended(run)
    assert (epochs >= 1, by) == (True, "seconds")
    again = call_verb(fit, "--trainer.max_epochs=-1", "--trainer.max_time=00:00:00:01")
    assert "is finished" in done(again)
    more = call_verb(fit, f"--trainer.max_epochs={epochs + 1}", "--trainer.max_time=00:09:00:00")
    assert "is finished" not in done(more)
    assert ended(run)[::2] == (epochs + 1, "epochs")


@pytest.mark.parametrize("key", ["max_epochs", "max_steps", "limit_train_batches"])
def test_a_limit_of_nothing_is_refused(call_verb, key):
    refused(call_verb(fit, f"--trainer.{key}=0"), 2, f"trainer.{key}")


def test_a_trial_of_lightning_leaves_no_run(call_verb, place):
    assert "nothing of them is kept" in done(call_verb(fit, "--trainer.fast_dev_run=true"))
    assert not (place / "runs").exists()


STOP = """
trainer:
  max_epochs: 9
  callbacks:
    - class_path: lightning.pytorch.callbacks.EarlyStopping
      init_args: {monitor: val/loss, mode: max, patience: 1, stopping_threshold: 99.0}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {monitor: val/loss, dirpath: best, filename: "{step}"}
    - class_path: lightning.pytorch.callbacks.Timer
"""


def test_early_stopping_and_checkpoints_monitor_the_held_out_pairs(call_verb, place):
    (place / "mine.yaml").open("a").write(STOP)
    run = place / "runs/mine"
    done(call_verb(fit))
    losses = [float(row["val/loss"]) for row in read_rows(run / "metrics.csv")]
    best = max(range(1, len(losses)), key=lambda index: losses[index])
    assert len(losses) - 1 == best + 1  # one round that is no better: patience is 1
    assert [path.name for path in (place / "best").iterdir()] == [
        f"step={min(range(1, len(losses)), key=lambda index: losses[index])}.ckpt"
    ]
    assert ended(run)[2] == "stopped early"
    assert len(list((run / "rounds").iterdir())) == len(losses) - 1  # none was made for nothing
    assert "raise a limit" in done(call_verb(fit))


def test_what_is_monitored_and_not_measured_is_refused_before_training(call_verb, place):
    (place / "mine.yaml").open("a").write(STOP.replace("val/loss", "val/los"))
    outcome = call_verb(fit)
    refused(outcome, 2, "EarlyStopping", "'val/los'", "val/loss")
    assert not steps(place / "runs/mine")


def test_a_stop_counts_each_round_once_also_where_the_run_was_killed(call_verb, place, monkeypatch):
    """Killed when round 1 was evaluated and its pairs were to be made: nothing counts twice."""
    (place / "mine.yaml").open("a").write(STOP.replace("patience: 1", "patience: 2"))
    from preflexor_pl.datamodule import PreferenceDataModule

    make, killed = PreferenceDataModule.on_train_epoch_end, []

    def kill(data):
        if not killed:
            killed.append(True)
            raise Stopped(signal.SIGINT)
        make(data)

    monkeypatch.setattr(PreferenceDataModule, "on_train_epoch_end", kill)
    assert call_verb(fit)[0] == 130
    assert rounds(place / "runs/mine") == ["0", "1"]
    done(call_verb(fit))
    assert rounds(place / "runs/mine") == ["0", "1", "2", "3"]  # round 1 is best, two are not


def test_a_slurm_shell_is_no_cluster_job(call_verb, place, monkeypatch):
    for name, value in (("NTASKS", "2"), ("JOB_ID", "7"), ("PROCID", "0"), ("LOCALID", "0")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODELIST", "n1")
    done(call_verb(fit, "--trainer.max_epochs=1"))
    assert ended(place / "runs/mine") == (1, 1, "epochs")
