"""How every command begins and ends: quiet libraries, and one line for every error.

Imports nothing heavy, so that ``--help`` is quick where a command needs no Lightning.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from preflexor_pl.core.errors import ConfigError, PreflexorError, Stopped


class Parser(argparse.ArgumentParser):
    """A command's parser: what it refuses is a ConfigError, and every command has ``--debug``."""

    def __init__(self, verb: str, description: str, **options: Any) -> None:
        name = f"python -m preflexor_pl.{verb}"
        super().__init__(name, description=description, allow_abbrev=False, **options)

    def parse_args(self, *args: Any, **options: Any) -> Any:
        """Parse, ``--debug`` as the last of the options in the help."""
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return super().parse_args(*args, **options)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise ConfigError(f"{message} (--help shows the usage)")


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
    try:
        return main(args)
    except PreflexorError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return error.exit_code
    except Stopped as stopped:
        sys.stderr.write(f"stopped by {stopped}: the same command goes on from here\n")
        return stopped.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(
            f"error: {error.strerror}: {error.filename}: check the path, its rights and the disk\n"
        )
        return 6
