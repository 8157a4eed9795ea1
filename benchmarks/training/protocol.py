"""What both sides of the training benchmark share: the task, the measurement, the first adapters.

A side is a module that takes a task as JSON, makes its steps and prints one line of JSON. Imports
torch and nothing of this project, which the peers' environment lacks.
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
    """The steps to make.

    Attributes:
        model: folder of the model.
        pairs: file written by ``workloads.write``, in the order of the steps.
        loss: dpo, exo or orpo.
        dtype: dtype of the weights; of the frozen ones if adapters train.
        rank: rank of the adapters on every linear layer but the head; 0 trains every weight.
        pairs_per_step: pairs in one optimiser step.
        warm_up: steps that are not timed.
        steps: timed steps after them.
        how: options in which the sides may differ; each takes its fastest, see ``--tune``.
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
    def from_command_line(cls) -> "Task":
        """The task on the command line; uses all cores that this process may use."""
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        return cls(**json.loads(sys.argv[1]))


class Measurement:
    """Times of steps, and their peak memory above that of the idle process."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.ends: list[float] = []
        self.tokens = self.positions = self.idle = 0

    def begin(self, model: torch.nn.Module) -> None:
        """Start measuring: ``model`` is loaded and nothing trains yet."""
        for weight in model.parameters():
            weight.sum()  # files are mapped: a weight that was not read is not resident
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.idle = torch.cuda.memory_allocated()
        else:
            ctypes.CDLL(None).malloc_trim(0)  # memory freed after loading is not in use
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
            self.idle = _resident("VmRSS")
        self.step_ended()

    def step_ended(self) -> None:
        """The optimiser has stepped; a time runs from one such end to the next."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def count(self, attention_mask: torch.Tensor) -> None:
        """Count the padding of a batch: ``attention_mask`` is 1 at tokens."""
        self.tokens += int(attention_mask.sum())
        self.positions += attention_mask.numel()

    def report(self, loss: float, gradient_norm: float, packages: Sequence[str]) -> None:
        """Print the result; loss and norm are those of the first step, the norm before clipping."""
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
    """Fill a peft model's A matrices with values that depend on their names alone; B stays 0.

    The gradient of B, and so the norm that is compared, depends on A.
    """
    for name, weight in model.named_parameters():
        if ".lora_A." in name:
            rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            bound = weight.shape[1] ** -0.5  # as peft does
            weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=rng))
