"""Checkpoints on disk: their order, and whether one can be read."""

import re
import zipfile
from pathlib import Path

import torch

_STEP = re.compile(r"step=(\d+)")


def order(checkpoint: Path) -> tuple[int, bool, int, str]:
    """Sorts checkpoints by their step, -1 for a name without one.

    The time of the file, which a copy may change, counts only within a step. There the checkpoint
    of a stop within an epoch comes after that of the epoch's end.
    """
    named = _STEP.search(checkpoint.name)
    step = int(named.group(1)) if named else -1
    return step, "-stopped" in checkpoint.name, checkpoint.stat().st_mtime_ns, checkpoint.name


def readable(checkpoint: Path) -> bool:
    """Whether a checkpoint can be loaded without running code from it."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            if archive.testzip() is not None:  # torch.load does not compare the checksums
                return False
        torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)
    except Exception:  # a damaged file gives EOFError, KeyError, UnicodeDecodeError, ...
        return False
    return True
