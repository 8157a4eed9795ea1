"""``preflexor <command>`` and ``python -m preflexor_pl <command>``: every command by one name."""

import runpy
import sys
from pathlib import Path

from preflexor_pl.cli.entry import CALLED, print_error, wants_traceback
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.signals import end_at_once

COMMANDS = {
    "fit": "train",
    "phases": "compare the three phases of a run in one table",
    "index": "build or update the graph of a corpus",
    "preview": "show pairs before training",
    "estimate": "say what a run will cost",
    "generate": "make a run's pairs without training",
    "inspect": "show pairs as the model sees them",
    "dataset": "write the pairs of runs as one data set",
    "reason": "ask a model, and see it think",
    "evaluate": "compare models on held-out questions and facts",
    "export": "write one plain model from a finished run",
    "doctor": "check the machine, a config, a run and a teacher",
}


def usage(called: str) -> str:
    """The commands, one a line.

    Args:
        called: how this program was called.
    """
    lines = [f"  {name:<10} {what}" for name, what in COMMANDS.items()]
    return "\n".join([f"usage: {called}<command> [options]", "", *lines, "", "Each has --help."])


def main() -> None:
    """Run the command that the first argument names, in this process."""
    called = CALLED[Path(sys.argv[0]).name == "__main__.py"]
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        sys.stdout.write(usage(called) + "\n")
        return
    try:
        _run(name, called)
    except Exception as error:  # while the command's module loads; later it prints its own
        sys.exit(print_error(error, wants_traceback()))


def _run(name: str, called: str) -> None:
    """Run a command's module as ``python -m`` would.

    Raises:
        ConfigError: there is no such command.
    """
    if name not in COMMANDS:
        from difflib import get_close_matches

        nearest = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"it is one of {', '.join(COMMANDS)}"
        raise ConfigError(f"there is no command {name!r}: {hint}")
    sys.argv = [f"{called}{name}", *sys.argv[2:]]
    end_at_once()
    runpy.run_module(f"preflexor_pl.{name}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
