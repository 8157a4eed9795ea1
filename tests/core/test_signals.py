"""Ctrl-C at any time: one line, and 128 + the number of the signal."""

import os
import signal
import subprocess
import sys
import time

import pytest

from preflexor_pl.core import signals
from preflexor_pl.core.errors import Stopped

SLOW = "import time; open('here', 'w').close(); time.sleep(60)"  # a module that takes long to load
GUARDED = """
import sys
from preflexor_pl.cli.entry import guarded
def main(args):
    import slow
sys.exit(guarded(main))
"""


@pytest.mark.parametrize("number", signals.SIGNALS)
@pytest.mark.parametrize(
    "command", [["-m", "preflexor_pl.fit"], ["-c", GUARDED]], ids=["-m", "late"]
)
def test_a_signal_while_modules_load(tmp_path, command, number):
    for name in ("slow", "jsonargparse"):  # the second: fit itself imports it
        (tmp_path / f"{name}.py").write_text(SLOW)
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', os.getcwd())}"
    process = subprocess.Popen(
        [sys.executable, *command], env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not (tmp_path / "here").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (128 + number, f"stopped by {number.name}\n".encode())


def test_a_signal_elsewhere_is_raised_once_and_the_handlers_come_back():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with pytest.raises(Stopped, match="SIGTERM"), signals.stopping():
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
