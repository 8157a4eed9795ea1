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
def logged():
    """What Lightning's loggers let through; they begin as its import leaves them."""
    heard = []

    class Heard(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())

    handler = Heard()
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    yield heard
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).removeHandler(handler)


@pytest.mark.usefixtures("teacher")
def test_a_run_and_what_is_made_of_it(call_verb, place, logged):
    told = done(call_verb(fit, "--trainer.max_epochs=1"))
    told += done(call_verb(inspect))
    assert logged == []
    for command in (["evaluate", "runs/mine", "--no_facts"], ["phases", "runs/mine"]):
        program = [sys.executable, "-m", "preflexor_pl", *command]
        ended = subprocess.run(program, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        told += ended.stdout + ended.stderr
    assert "See runs/mine/summary.md" in told
    assert BANNER.search(told) is None, BANNER.search(told)
