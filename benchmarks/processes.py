"""Runs a module of the benchmarks in a fresh process and reads the JSON that it prints.

Imports the standard library alone: the environment of the peers has nothing of this project.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEER_PYTHON = ROOT / ".venv-peers/bin/python"
PREFIX = "result: "  # of the line with the JSON: libraries print lines of their own


def print_result(result: Any) -> None:
    """Print a result for the process that waits for it."""
    print(PREFIX + json.dumps(result), flush=True)


def command(module: str, *arguments: str, python: Path | str = sys.executable) -> list[str]:
    """The command line that runs ``benchmarks.<module>``; it must be started in ``ROOT``."""
    return [str(python), "-m", f"benchmarks.{module}", *arguments]


def run_module(
    module: str,
    *arguments: str,
    python: Path | str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """The result that a module prints in a fresh process.

    Args:
        module: its name below ``benchmarks``.
        arguments: of its command line.
        python: the interpreter, and with it the environment.
        environment: variables to set besides those of this process.

    Raises:
        SystemExit: the process failed or printed no result; shows the end of its stderr.
    """
    done = subprocess.run(
        command(module, *arguments, python=python),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(PREFIX)]
    if done.returncode or not lines:
        raise SystemExit(f"error: benchmarks.{module} failed:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix(PREFIX))
