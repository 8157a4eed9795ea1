"""``--help`` comes without what it does not need."""

import subprocess
import sys

import pytest

from benchmarks.startup import FIT, HELP, heavy, imported


@pytest.mark.parametrize("command", HELP.values(), ids=HELP)
def test_the_help_of_a_verb_of_its_own_needs_no_torch(command):
    packages = {name.partition(".")[0] for name in imported(command)}
    assert "argparse" in packages
    assert (
        packages & {"torch", "lightning", "transformers", "peft", "sentence_transformers"} == set()
    )


def test_the_help_of_fit_needs_no_model():
    names = imported((*FIT, "--help"))
    assert "lightning.pytorch.cli" in names
    assert heavy(names) == []


def test_what_is_heavy():
    names = ["peft", "transformers.models.llama.modeling_llama", "transformers.modeling_utils"]
    light = [
        "transformers",
        "transformers.models.auto.modeling_auto",
        "transformers.utils.peft_utils",
    ]
    assert heavy([*light, *names]) == names


@pytest.mark.parametrize("verb", ["preview", "estimate", "generate", "inspect"])
def test_a_wrong_flag_of_a_verb_is_told_without_torch(verb):
    flag = {"preview": "--count", "generate": "--rounds", "estimate": "--price_in"}.get(
        verb, "--round"
    )
    command = [sys.executable, "-X", "importtime", "-m", f"preflexor_pl.{verb}", flag, "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"error: argument {flag}" in done.stderr
    assert "| torch\n" not in done.stderr
