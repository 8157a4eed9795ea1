"""How every benchmark leaves its numbers: on which machine, with which versions, each repeat."""

import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def setting(*packages: str) -> dict[str, Any]:
    """The machine, what of it this process may use, versions of ``packages``, the command line."""
    import torch

    cpus = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", cpus.read_text()) if cpus.exists() else None
    return {
        "machine": {
            "architecture": platform.machine(),
            "processor": named.group(1) if named else platform.processor(),
            "cores": len(os.sched_getaffinity(0)),
            "torch threads": torch.get_num_threads(),
            "load over the last minute": round(os.getloadavg()[0], 1),  # others' work slows ours
        },
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "arguments": sys.argv[1:],
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    made = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, 3) for name, value in made.items()}


def save(name: str, result: dict[str, Any], folder: Path) -> None:
    """Write ``<folder>/<name>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
