"""How every command begins and ends: quiet libraries, and one line for every error.

Imports nothing heavy, so that ``--help`` is quick where a command needs no Lightning.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence

from preflexor_pl.core.errors import PreflexorError, Stopped


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
