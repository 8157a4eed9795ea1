"""``preflexor <command>`` and ``python -m preflexor_pl <command>``: every command by one name."""

import runpy
import sys

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


def usage() -> str:
    """The commands, one a line."""
    lines = [f"  {name:<10} {what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: preflexor <command> [options]", "", *lines, "", "Each has --help."])


def main() -> None:
    """Run the command that the first argument names, in this process."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        sys.argv = [f"preflexor {name}", *sys.argv[2:]]
        runpy.run_module(f"preflexor_pl.{name}", run_name="__main__", alter_sys=False)
        return
    if name in ("-h", "--help"):
        sys.stdout.write(usage() + "\n")
        return
    from difflib import get_close_matches

    nearest = get_close_matches(name, COMMANDS, 1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"it is one of {', '.join(COMMANDS)}"
    sys.stderr.write(f"error: there is no command {name!r}: {hint}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
