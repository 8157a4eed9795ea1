"""What the sections of the GPU benchmark share: job, sizes, and how numbers are recorded.

A section is a function of a job that runs in its own process, so nothing of it stays on the card
for the next one. It adds each number to one JSON file as soon as it is known.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.report.record import read, write

STARTED = time.monotonic()  # of this process, which runs one section


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        equality: workload of the equality check, whose plain batches hold all logits.
        workloads: workloads of the steps.
        pairs_per_step: pairs in one optimiser step.
        steps: steps that are timed together.
        repeats: repeats of a measurement, if time is left.
        budgets: tokens in our micro-batch; the fastest counts.
        micros: pairs in the peer's micro-batch; the fastest that fits counts.
        texts: texts that we generate.
        alone: how many of them are generated one at a time.
        new_tokens: tokens of each text, exactly.
        batch_sizes: batch sizes of our generator.
    """

    equality: str
    workloads: tuple[str, ...]
    pairs_per_step: int
    steps: int
    repeats: int
    budgets: tuple[int, ...]
    micros: tuple[int, ...]
    texts: int
    alone: int
    new_tokens: int
    batch_sizes: tuple[int, ...]


SIZES = {
    "llama-3.2-1b": Sizes(
        equality="W2/4",
        workloads=("W2", "W1"),
        pairs_per_step=16,
        steps=4,
        repeats=5,
        budgets=(8192, 16384),
        micros=(4, 2, 8, 16),
        texts=128,
        alone=4,
        new_tokens=128,
        batch_sizes=(32, 64, 128),
    ),
    "tiny": Sizes(
        equality="W2/16",
        workloads=("W2/32", "W1/32"),
        pairs_per_step=4,
        steps=1,
        repeats=2,
        budgets=(128, 1024),
        micros=(2, 4),
        texts=4,
        alone=2,
        new_tokens=6,
        batch_sizes=(2, 4),
    ),
}


@dataclass(frozen=True)
class Job:
    """The job of a section.

    Attributes:
        shape: name of the model's config.
        model: folder of its weights and tokenizer.
        results: the JSON file.
        peer_python: interpreter of an environment with TRL.
        seconds: limit after which a section starts no new measurement.
    """

    shape: str
    model: str
    results: str
    peer_python: str
    seconds: float

    @property
    def sizes(self) -> Sizes:
        """How much is measured."""
        return SIZES[self.shape]

    def over(self) -> bool:
        """Whether the time of the section is used up."""
        return time.monotonic() - STARTED > self.seconds

    def repeats(self) -> Iterator[int]:
        """Numbers of the repeats: the first one, and more while time is left."""
        for repeat in range(self.sizes.repeats):
            if repeat and self.over():
                return
            yield repeat

    def keep(self, section: str, name: str, value: Any) -> None:
        """Add a value to the file and print it."""
        path = Path(self.results)
        found = read(path)
        found.setdefault(section, {})[name] = value
        write(path, found)
        print(f"{section} · {name}: {json.dumps(value)[:300]}", flush=True)


def card() -> str:
    """The driver's name of the card."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def seconds(work: Callable[[], Any]) -> float:
    """Seconds that ``work`` takes, until the device has finished too."""
    _wait()
    started = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
