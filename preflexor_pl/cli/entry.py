"""How every command begins and ends: quiet libraries, and one line for every error.

Imports nothing heavy, so that ``--help`` is quick where a command needs no Lightning.
"""

import argparse
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from preflexor_pl.core.errors import ConfigError, PreflexorError, ResourceError, Stopped
from preflexor_pl.core.signals import stopping
from preflexor_pl.core.streams import discard_if_closed, replace_unencodable_letters

CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell has it
LONGEST = 400  # letters of a message that is not ours
NETWORK = ConnectionError, TimeoutError, socket.gaierror
CALLED = "preflexor ", "python -m preflexor_pl "  # before a command's name in sys.argv[0]


def command_line(name: str) -> str:
    """How to call a command, in the way that this one was called."""
    called = next((begin for begin in CALLED if sys.argv[0].startswith(begin)), None)
    return f"{called}{name}" if called else f"python -m preflexor_pl.{name}"


class Parser(argparse.ArgumentParser):
    """A command's parser: what it refuses is a ConfigError, and every command has ``--debug``."""

    def __init__(self, verb: str, description: str, **options: Any) -> None:
        name = command_line(verb)
        if "usage" in options:
            options["usage"] = f"{name} {options['usage']}"
        super().__init__(name, description=description, allow_abbrev=False, **options)

    def parse_args(self, *args: Any, **options: Any) -> Any:
        """Parse, ``--debug`` as the last of the options in the help."""
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return super().parse_args(*args, **options)

    def parse_known_args(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parse; a path may begin with ``~``, which a shell leaves alone in ``--out=~/x``."""
        own, rest = super().parse_known_args(*args, **options)
        for name, value in vars(own).items():
            setattr(own, name, _expanded(value))
        return own, rest

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise ConfigError(f"{message} (--help shows the usage)")


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    return value.expanduser() if isinstance(value, Path) else value


def quiet_libraries() -> None:
    """Silence chatter that is not ours; what a user must act on is an error or one of our lines."""
    import logging
    import warnings

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    warnings.filterwarnings(
        "ignore", module=r"(lightning|torch|transformers|peft|jsonargparse|hnswlib)"
    )
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in (
        "lightning",
        "lightning.pytorch",
        "lightning.fabric",
        "sentence_transformers",
        "bitsandbytes",
        "httpx",
        "httpx2",
        "openai",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)


def guarded(main: Callable[[Sequence[str]], int]) -> int:
    """Run ``main`` on the arguments; an error is one line on stderr and its exit code."""
    args, debug = sys.argv[1:], wants_traceback()  # before fit's parser empties sys.argv
    replace_unencodable_letters()
    try:
        with stopping():
            code = main(args)
            sys.stdout.flush()
            return code
    except (Stopped, KeyboardInterrupt) as error:
        stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
        sys.stderr.write(f"stopped by {stopped}: the same command goes on from here\n")
        return stopped.exit_code
    except BrokenPipeError as error:
        return CLOSED_PIPE if discard_if_closed(sys.stdout) else print_error(error, debug)
    except Exception as error:
        return print_error(error, debug)
    finally:
        for stream in (sys.stdout, sys.stderr):
            discard_if_closed(stream)  # such as --help's; the interpreter would print a traceback


def wants_traceback() -> bool:
    """Whether ``--debug`` is among the arguments."""
    return not {"--debug", "--debug=true"}.isdisjoint(sys.argv)


def print_error(error: Exception, debug: bool) -> int:
    """Print an error as one line, with ``debug`` after its traceback, and give its exit code."""
    ours = as_one_line(error)
    if debug:
        traceback.print_exception(error)
    with suppress(BrokenPipeError):
        sys.stderr.write(f"error: {' '.join(str(ours).split())}\n")
    return ours.exit_code


def as_one_line(error: Exception) -> PreflexorError:
    """Any error as one of ours, which says what to do; exit code 1 where it is not foreseen."""
    if isinstance(error, PreflexorError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return ConfigError(f"the package {error.name} is missing: pip install it")
    if isinstance(error, MemoryError):
        return ResourceError("there is not enough memory: take a smaller model or batch")
    if isinstance(error, OSError):
        return ResourceError(_of_the_system(error))
    told = f"unexpected {type(error).__name__}: {str(error)[:LONGEST]}"
    return PreflexorError(f"{told}: run again with --debug and report it")


def _of_the_system(error: OSError) -> str:
    """What an OSError says; a library may have raised it with a message of its own."""
    number = error.errno or next((one for one in error.args if isinstance(one, int)), None)
    reason = error.strerror or (os.strerror(number) if number else "")
    if not reason:
        told = " ".join(str(one) for one in error.args if one is not None)
        return told[:LONGEST] or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    if not names and isinstance(error, NETWORK):
        return f"{reason}: check the network"
    where = f"{' -> '.join(names)}: " if names else ""
    return f"{reason}: {where}check the path, its rights and the disk"
