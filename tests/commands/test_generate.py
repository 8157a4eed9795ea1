"""Rounds without training: byte for byte those of fit, and fit does not make them again."""

import json

import pytest

from preflexor_pl import fit, generate
from preflexor_pl.cli.run_folder import RunFolder
from tests.tiny import refused
from tests.verbs import done, files

MADE = "calls.jsonl", "drops.jsonl", "manifest.json", "pairs.jsonl", "plan.json"
FIT = "--trainer.max_epochs", "1"


@pytest.fixture
def run(place):
    return place / "runs/mine"


def made(run, *folders):
    """Every file of held-out pairs and rounds, but for what only training writes there."""
    found = {name: files(run / name) for name in folders or ("held_out", "rounds/round-0000")}
    return {name: content for name, content in found.items() if content}


def test_round_0_is_that_of_fit_and_fit_does_not_make_it_again(call_verb, teacher, run, place):
    told = done(call_verb(generate))
    assert "\nheld_out: 2 pairs, 0 dropped\n" in told
    assert "\nround-0000: 3 pairs, 0 dropped\n" in told
    assert "off-policy" not in told
    before = made(run)
    assert set(MADE) <= before["held_out"].keys()
    assert {*MADE, "policy/adapter_model.safetensors"} <= before["rounds/round-0000"].keys()

    asked = len(teacher.asked)
    done(call_verb(fit, *FIT))
    assert len(teacher.asked) == asked
    assert made(run) == before
    done(call_verb(fit, *FIT, "--run", "runs/other"))
    assert len(teacher.asked) == 2 * asked
    assert made(place / "runs/other") == before


def test_what_is_there_is_not_made_again(call_verb, teacher, run):
    done(call_verb(generate))
    before, asked = files(run), len(teacher.asked)
    assert done(call_verb(generate)) == (
        "runs/mine has its held-out pairs and rounds 0 to 0: nothing to make\n"
    )
    assert (files(run), len(teacher.asked)) == (before, asked)
    refused(call_verb(generate, "--data.pairs_per_round", "2"), 2, "data.pairs_per_round (3 -> 2)")


def test_later_rounds_are_off_policy_and_say_so(call_verb, teacher, run):
    first = made(run, *(done(call_verb(generate)) and ["held_out", "rounds/round-0000"]))
    told = done(call_verb(generate, "--rounds", "2"))
    assert "round-0001: 3 pairs, 0 dropped · off-policy" in told
    assert made(run) == first
    manifest = json.loads((run / "rounds/round-0001/manifest.json").read_text())
    assert (manifest["round"], manifest["policy_step"]) == (1, 0)
    asked = len(teacher.asked)
    done(call_verb(fit, "--trainer.max_epochs", "2"))
    assert len(teacher.asked) == asked


def test_killed_it_goes_on(call_verb, teacher, run, place):
    teacher.lives[:] = [8]
    code, _, error = call_verb(generate)
    assert (code, "Killed" in error) == (1, True)
    assert (run / "held_out/manifest.json").exists()
    assert not (run / "rounds/round-0000/manifest.json").exists()
    teacher.lives.clear()
    done(call_verb(generate))
    done(call_verb(generate, "--run", "runs/other"))
    assert made(run) == made(place / "runs/other")


def test_a_run_in_training_makes_its_own_rounds(call_verb, teacher, run):
    done(call_verb(fit, *FIT))
    refused(call_verb(generate, "--rounds", "2"), 2, "runs/mine", "round-0001", "--run OTHER")
    assert not (run / "rounds/round-0001").exists()


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--rounds", "0"], "--rounds"),
        (["--ckpt_path", "x"], "--ckpt_path"),
        (["--round", "1"], ""),
    ],
)
def test_a_mistake_is_one_line(call_verb, args, named):
    refused(call_verb(generate, *args), 2, named)


def test_a_run_that_lives_keeps_its_folder(call_verb, run):
    folder = RunFolder(run)
    folder.take(fresh=False)
    try:
        refused(call_verb(generate), 6, "in use by a run")
    finally:
        folder.release()
