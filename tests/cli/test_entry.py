"""No traceback: any error is one line and an exit code, from every command."""

import argparse
import errno
import signal
import socket
import subprocess
import sys

import jsonargparse
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from preflexor_pl import __main__ as program
from preflexor_pl.cli import entry
from preflexor_pl.core.errors import (
    ConfigError,
    NumericalError,
    ResourceError,
    Stopped,
    TeacherError,
)

FULL = "No space left on device: "
CHECK = "check the path, its rights and the disk"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("there is no card here"), "there is no card here"),
        (OSError("Can't load\n  the tokenizer"), "Can't load\n  the tokenizer"),
        (OSError(), "OSError"),
        (OSError(None, None), "OSError"),
        (OSError(errno.ENOSPC), f"{FULL}{CHECK}"),
        (OSError(errno.ENOSPC, None), f"{FULL}{CHECK}"),
        (OSError(errno.ENOSPC, "No space left on device", "a"), f"{FULL}a: {CHECK}"),
        (FileNotFoundError(errno.ENOENT, "No", "a", None, "b"), f"No: a -> b: {CHECK}"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Refused"), "Refused: check the network"),
        (socket.gaierror(-2, "Name not known"), "Name not known: check the network"),
        (OfflineModeIsEnabled("the hub is off"), "the hub is off"),
        (LocalEntryNotFoundError("not in the cache"), "not in the cache"),
    ],
)
def test_an_error_of_the_system_keeps_what_it_says(error, line):
    told = entry.as_one_line(error)
    assert (str(told), told.exit_code) == (line, 6)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("data.x: wrong"), 2, "data.x: wrong"),
        (ModuleNotFoundError("no", name="peft"), 2, "the package peft is missing: pip install it"),
        (MemoryError(), 6, "there is not enough memory: take a smaller model or batch"),
        (KeyError("x"), 1, "unexpected KeyError: 'x': run again with --debug and report it"),
    ],
)
def test_any_error_has_a_line_and_a_code(error, code, line):
    told = entry.as_one_line(error)
    assert (told.exit_code, str(told)) == (code, line)


@pytest.fixture
def call(monkeypatch, capfd):
    """``call(*args)`` calls the console script in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr(program, "end_at_once", lambda: None)  # pytest's own handlers stay

    def call(*args, program_name="/usr/bin/preflexor"):
        monkeypatch.setattr(sys, "argv", [program_name, *args])
        capfd.readouterr()
        code = 0
        try:
            program.main()
        except SystemExit as ended:
            code = ended.code
        return code, *capfd.readouterr()

    return call


def inject(monkeypatch, error):
    """Parsing, with which every command begins, raises ``error``."""

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", fail)
    monkeypatch.setattr(jsonargparse.ArgumentParser, "parse_args", fail)  # of fit


@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["", "--debug"])
@pytest.mark.parametrize("command", program.COMMANDS)
def test_what_nobody_foresaw_is_one_line_from_every_command(call, monkeypatch, command, debug):
    inject(monkeypatch, KeyError("injected"))
    code, out, err = call(command, *debug)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "error: unexpected KeyError: 'injected': run again with --debug and report it"
    )
    assert ("Traceback" in err) == bool(debug)
    assert debug or err.count("\n") == 1


@pytest.mark.parametrize("command", ["fit", "phases"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TeacherError("x"), 4),
        (NumericalError("x"), 5),
        (ResourceError("x"), 6),
        (KeyboardInterrupt(), 130),
        (Stopped(signal.SIGTERM), 143),
    ],
)
def test_exit_codes_pass_through(call, monkeypatch, command, error, code):
    inject(monkeypatch, error)
    told = call(command)
    assert (told[0], told[2].count("\n")) == (code, 1)


def test_as_a_module_of_its_own_process():
    for args, code, line in (
        (["fitt"], 2, "error: there is no command 'fitt': did you mean fit?\n"),
        (["phases", "none"], 2, "error: none is no finished run: run its command to the end"),
    ):
        command = [sys.executable, "-m", "preflexor_pl", *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(line)


def test_a_package_that_is_missing_when_a_command_loads(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "preflexor_pl.evaluation.phases_table", None)
    code, _, err = call("phases")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: the package preflexor_pl.evaluation.phases_table is missing")


def test_a_command_that_does_not_exist(call):
    assert call("fitt")[::2] == (2, "error: there is no command 'fitt': did you mean fit?\n")
    code, _, err = call("xyzzy")
    assert (code, "it is one of fit, phases, index" in err) == (2, True)


@pytest.mark.parametrize("command", program.COMMANDS)
def test_the_usage_is_that_of_the_call(call, command):
    for name, usage in (
        ("/usr/bin/preflexor", "usage: preflexor "),
        ("/x/preflexor_pl/__main__.py", "usage: python -m preflexor_pl "),
    ):
        code, out, err = call(command, "--help", program_name=name)
        assert (code, err) == (0, "")
        assert out.startswith(f"{usage}{command} ")
        assert "python -m preflexor_pl." not in out
    assert call(program_name="/usr/bin/preflexor")[1].startswith("usage: preflexor <command>")
