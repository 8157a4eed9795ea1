"""How every command begins and ends: quiet libraries, and one line for every error.

Imports nothing heavy, so that ``--help`` is quick where a command needs no Lightning.
"""

import argparse
import os
import signal
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
    args = sys.argv[1:]
    debug = any(argument in ("--debug", "--debug=true") for argument in args)
    replace_unencodable_letters()
    try:
        with stopping():
            code = main(args)
            sys.stdout.flush()
            return code
    except PreflexorError as error:
        return _told(error, str(error), error.exit_code, debug)
    except (Stopped, KeyboardInterrupt) as error:
        stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
        sys.stderr.write(f"stopped by {stopped}: the same command goes on from here\n")
        return stopped.exit_code
    except BrokenPipeError as error:
        if discard_if_closed(sys.stdout):
            return CLOSED_PIPE
        return _told(error, _of_the_system(error), ResourceError.exit_code, debug)
    except OSError as error:
        return _told(error, _of_the_system(error), ResourceError.exit_code, debug)
    finally:
        for stream in (sys.stdout, sys.stderr):
            discard_if_closed(stream)  # such as --help's; the interpreter would print a traceback


def _told(error: BaseException, line: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    with suppress(BrokenPipeError):
        sys.stderr.write(f"error: {' '.join(line.split())}\n")
    return code


def _of_the_system(error: OSError) -> str:
    """What an OSError says; a library may have raised it with a message of its own."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{error.strerror}: {where}check the path, its rights and the disk"
