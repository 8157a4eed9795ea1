"""What a terminal cannot show, and an output that nobody reads."""

import os
import subprocess
import sys

import pytest

SAY = """
import sys
from preflexor_pl.cli.entry import guarded
from preflexor_pl.core.progress import log_line
def main(args):
    log_line(args[0] * int(args[1]))
    return 0
sys.exit(guarded(main))
"""


def run(*args, stdout=subprocess.PIPE, **env):
    command = [sys.executable, "-c", SAY, *args]
    return subprocess.run(
        command, env=os.environ | env, stdout=stdout, stderr=subprocess.PIPE, check=False
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a · b…", b"a - b...\n"),
        ("caf\u00e9 \U0001f41a", b"caf\\u00e9 \\ud83d\\udc1a\n"),  # as JSON has it
    ],
)
def test_an_ascii_terminal_is_shown_what_it_can_show(text, shown):
    done = run(text, "1", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, b"")
    assert run(text, "1", PYTHONIOENCODING="utf-8").stdout.decode() == f"{text}\n"


@pytest.mark.parametrize("lines", ["1", "100000"])
def test_nobody_who_reads_is_a_quiet_end(lines):
    end, start = os.pipe()
    os.close(end)
    done = run("line", lines, stdout=start)
    os.close(start)
    assert (done.returncode, done.stderr) == (141, b"")
