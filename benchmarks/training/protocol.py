"""What the two sides of the training benchmark share: the task, the watch and the first adapters.

A side is a script that takes a task as JSON, steps, and prints one line of JSON. Imports torch and
nothing of this project, which the peers' environment lacks.
"""

import ctypes
import gc
import itertools
import json
import os
import re
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.processes import print_result

BETA, EXO_SMOOTHING = 0.1, 5e-3
LR, MAX_GRAD_NORM = 1e-6, 1.0


@dataclass(frozen=True)
class Task:
    """Steps to make.

    Attributes:
        model: a folder.
        pairs: a file of ``workloads.write``, in the order of the steps.
        loss: dpo, exo or orpo.
        dtype: of the weights; of the frozen ones where adapters train.
        rank: of the adapters, on every linear layer but the head, without dropout; 0 trains every
            weight.
        pairs_per_step: pairs in one optimiser step.
        warm_up: steps before the watch counts.
        steps: steps that count.
        how: what is free to differ between the sides: each takes its fastest, see ``--tune``.
    """

    model: str
    pairs: str
    loss: str
    dtype: str
    rank: int
    pairs_per_step: int
    warm_up: int
    steps: int
    how: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def given(cls) -> "Task":
        """The one on the command line; takes all the cores that this process may use."""
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        return cls(**json.loads(sys.argv[1]))


class Watch:
    """Times of steps, and the most memory that they took over what the idle process holds."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.ends: list[float] = []
        self.tokens = self.positions = self.idle = 0

    def begin(self, model: torch.nn.Module) -> None:
        """``model`` is loaded and nothing trains yet."""
        for weight in model.parameters():
            weight.sum()  # files are mapped: what nobody read yet is not resident
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.idle = torch.cuda.memory_allocated()
        else:
            ctypes.CDLL(None).malloc_trim(0)  # what loading left free is not in use
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            self.idle = _resident("VmRSS")
        self.step_ended()

    def step_ended(self) -> None:
        """The optimiser has stepped. Times run from end to end: whatever is between counts."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def saw(self, attention_mask: torch.Tensor) -> None:
        """A batch went through the model: ``attention_mask`` is 1 where a token is."""
        self.tokens += int(attention_mask.sum())
        self.positions += attention_mask.numel()

    def report(self, loss: float, gradient_norm: float, packages: Sequence[str]) -> None:
        """Print the result; loss and norm are of the first step, the norm before clipping."""
        cuda = torch.cuda.is_available()
        peak = torch.cuda.max_memory_allocated() if cuda else _resident("VmHWM")
        counted = self.ends[self.task.warm_up :]
        result = {
            "loss": loss,
            "gradient norm": gradient_norm,
            "seconds": [round(end - start, 4) for start, end in itertools.pairwise(counted)],
            "peak MB": round((peak - self.idle) / 1e6, 1),
            "idle MB": round(self.idle / 1e6, 1),
            "positions": self.positions,
            "padding": round(1 - self.tokens / self.positions, 4),
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "versions": {package: version(package) for package in packages},
        }
        print_result(result)


def device() -> torch.device:
    """The GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", status)[1])  # type: ignore[index]


@torch.no_grad()
def same_adapters(model: torch.nn.Module) -> None:
    """Give a peft model's A matrices values that depend on their names alone; B stays 0.

    The gradient of B, and so the norm that the gate compares, depends on A.
    """
    for name, weight in model.named_parameters():
        if ".lora_A." in name:
            rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            bound = weight.shape[1] ** -0.5  # peft's own
            weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=rng))
