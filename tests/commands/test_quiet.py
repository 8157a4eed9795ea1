"""Lightning's banner, tips and hints are silent: what a user reads is ours."""

import logging
import re
import subprocess
import sys

import pytest

from preflexor_pl import fit, inspect
from tests.verbs import done

BANNER = re.compile(
    r"(GPU|TPU|HPU) available|Tip:|litlogger|litmodels|LOCAL_RANK|Seed set to|`Trainer|num_workers"
    r"|number of training batches|Warning|INFO|torchmetrics|lightning",
    re.IGNORECASE,
)


@pytest.fixture
def loud(monkeypatch):
    """Lightning's loggers as its import leaves them, whatever earlier tests made of them."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
        logging.getLogger(name).manager._clear_cache()


@pytest.mark.usefixtures("teacher", "loud")
def test_a_run_and_what_is_made_of_it(call_verb, place):
    told = done(call_verb(fit, "--trainer.max_epochs=2"))
    told += done(call_verb(inspect))
    for command in (["evaluate", "runs/mine", "--no_facts"], ["phases", "runs/mine"]):
        program = [sys.executable, "-m", "preflexor_pl", *command]
        ended = subprocess.run(program, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        told += ended.stdout + ended.stderr
    assert "See runs/mine/summary.md" in told
    assert BANNER.search(told) is None, BANNER.search(told)
