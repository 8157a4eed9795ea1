"""How every benchmark records its numbers: machine, package versions, each repeat."""

import json
import math
import os
import platform
import re
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from preflexor_pl.core.files import replaced

RESULTS = Path(__file__).parents[1] / "results"

Way = TypeVar("Way")


def setting(*packages: str) -> dict[str, Any]:
    """The machine, the CPUs this process may use, versions of ``packages``, the command line."""
    import torch

    cpus = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", cpus.read_text()) if cpus.exists() else None
    return {
        "machine": {
            "architecture": platform.machine(),
            "processor": named.group(1) if named else platform.processor(),
            "cores": len(os.sched_getaffinity(0)),
            "torch threads": torch.get_num_threads(),
            "load over the last minute": round(os.getloadavg()[0], 1),  # other work slows ours
        },
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "arguments": sys.argv[1:],
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    made = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, 3) for name, value in made.items()}


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log(cost) over log(size) by least squares: 1 is linear, 2 quadratic."""
    logs = [[math.log(value) for value in values] for values in (sizes, costs)]
    return round(statistics.linear_regression(*logs).slope, 3)


def in_turn(ways: Sequence[Way], repeat: int) -> Sequence[Way]:
    """``ways`` forwards in even repeats and backwards in odd ones: A B B A.

    A machine that becomes slower during the measurement then favours none of them.
    """
    return ways if repeat % 2 == 0 else ways[::-1]


def read(path: Path) -> dict[str, Any]:
    """The JSON of a file; empty if there is no file."""
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return result


def write(path: Path, result: dict[str, Any]) -> None:
    """Write JSON; the file is replaced as a whole."""
    with replaced(path) as part:
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def save(name: str, result: dict[str, Any], folder: Path) -> None:
    """Write ``<folder>/<name>.json``."""
    write(folder / f"{name}.json", result)
