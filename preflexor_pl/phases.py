"""One table over the phases: ``python -m preflexor_pl.phases runs/orpo runs/exo runs/reflect``.

The first row is the model before the first of the runs; each other row is what a run ended with.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from preflexor_pl.cli.entry import Parser, guarded
from preflexor_pl.core.errors import ConfigError
from preflexor_pl.evaluation.phases_table import phases_table


def main(args: Sequence[str]) -> int:
    """Print the table and return the exit code."""
    parser = Parser("phases", "One table over the phases.")
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs, in their order")
    runs = parser.parse_args(args).runs
    print(phases_table([(run, *_facts(run)) for run in runs]))  # noqa: T201
    return 0


def _facts(run: Path) -> tuple[float, int]:
    """Minutes that a run took, and how many held-out questions it has.

    Raises:
        ConfigError: it is no finished run.
    """
    try:
        finished = json.loads((run / "finished.json").read_text(encoding="utf-8"))
        held_out = json.loads((run / "held_out/manifest.json").read_text(encoding="utf-8"))
        return finished["minutes"], held_out["pairs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{run} is no finished run: run its command to the end first") from error


if __name__ == "__main__":
    sys.exit(guarded(main))
