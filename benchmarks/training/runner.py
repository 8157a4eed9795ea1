"""Runs the two sides of the training benchmarks, each in its own process, on the same files.

A benchmark asks a ``Bench`` for the steps of one side and gets what the side printed, with pairs
and useful tokens per second added.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from benchmarks.processes import PEER_PYTHON, run_module
from benchmarks.report.record import RESULTS
from benchmarks.training.protocol import Task
from benchmarks.training.workloads import Workload, useful_tokens, warmed, write
from preflexor_pl.batches.collate import Batching
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy.language_model import load_language_model
from preflexor_pl.policy.load import resolve_dtype

OURS = {"head": "own", "reference": "cached", "masked": 0.0, "rows": False}
"""Options of our side that a comparison with the peer does not vary."""

BATCHINGS = get_args(Batching)
OPTIONS: dict[str, dict[str, Any]] = {
    "rank": {"type": int, "default": 16, "help": "of the adapters; 0 trains all weights"},
    "steps": {"type": int, "default": 2, "help": "timed steps, after three warm-up steps"},
    "model": {"help": "folder or hub id; default: the packaged model"},
    "peer_python": {"type": Path, "default": PEER_PYTHON, "help": "of an environment with TRL"},
    "out": {"type": Path, "default": RESULTS, "help": "folder for the result"},
}

Result = dict[str, Any]
How = dict[str, Any]


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add command-line options that several benchmarks have."""
    for name in names:
        parser.add_argument(f"--{name}", **OPTIONS[name])


@dataclass(frozen=True)
class Row:
    """One row of a table: the pairs, the loss, and which weights train.

    Attributes:
        workload: lengths of the pairs.
        loss: dpo, exo or orpo.
        dtype: float32 or bfloat16.
        rank: rank of the adapters; 0 trains every weight.
        pairs_per_step: pairs in one optimiser step.
    """

    workload: Workload
    loss: str
    dtype: str
    rank: int
    pairs_per_step: int

    @property
    def name(self) -> str:
        """Name in the tables."""
        trained = "lora" if self.rank else "full"
        return f"{self.workload.name} {self.loss} {self.dtype} {trained}"

    @property
    def slug(self) -> str:
        """Name in file names."""
        return re.sub(r"[^\w.-]+", "-", self.name)


def dtypes_here(rank: int) -> list[str]:
    """float32, and bfloat16 if the processor computes in it and adapters train."""
    half = rank and str(resolve_dtype("auto")) == "torch.bfloat16"
    return ["float32", "bfloat16"] if half else ["float32"]


@dataclass(frozen=True)
class Bench:
    """Runs the sides on one model.

    Attributes:
        model: folder that both load; its tokenizer has the markers.
        vocabulary: the ids of the pairs are below it.
        folder: for files of pairs.
        peer_python: interpreter of an environment with TRL; None if only our side is measured.
    """

    model: Path
    vocabulary: int
    folder: Path
    peer_python: Path | None

    def run(
        self, side: str, row: Row, how: How, steps: int, warm_up: int = 3, bare: bool = False
    ) -> Result:
        """Result of the steps of one side in a fresh process.

        Args:
            side: ours or trl.
            row: pairs, loss and trained weights.
            how: options of the side, see its module.
            steps: timed steps.
            warm_up: steps before them, over the same pairs.
            bare: keep only the last token of each prompt.

        Raises:
            SystemExit: the process failed.
        """
        drawn = row.workload.draw(steps, row.pairs_per_step, self.vocabulary)
        if bare:
            drawn = [pair | {"prompt_ids": pair["prompt_ids"][-1:]} for pair in drawn]
        path = self.folder / "pairs.jsonl"
        write(path, warmed(drawn, warm_up * row.pairs_per_step))
        fields = {name: getattr(row, name) for name in ("loss", "dtype", "rank", "pairs_per_step")}
        given = str(self.model), str(path)
        task = Task(*given, **fields, warm_up=warm_up, steps=steps, how=how)
        result: Result = run_module(
            f"training.{side}",
            json.dumps(asdict(task)),
            python=self.peer_python if side == "trl" and self.peer_python else sys.executable,
            environment={"HF_HUB_OFFLINE": "1"},
        )
        seconds = sum(result["seconds"])
        result["pairs/s"] = round(len(drawn) / seconds, 4)
        result["useful tokens/s"] = round(useful_tokens(drawn) / seconds, 1)
        return result


@contextmanager
def opened(model: str | None, peer_python: Path | None = None) -> Iterator[Bench]:
    """A bench for a model.

    Args:
        model: folder or hub id; None is the packaged model.
        peer_python: interpreter of an environment with TRL; None if only our side is measured.

    Raises:
        SystemExit: that interpreter does not exist.
    """
    if peer_python and not peer_python.exists():
        raise SystemExit(f"error: no {peer_python}: run `make venv-peers` or give --peer_python")
    with TemporaryDirectory() as name:
        folder = Path(name)
        loaded = load_language_model(model or PolicySettings().model_name, "--model", "float32")
        loaded.model.save_pretrained(folder / "model")
        loaded.tokenizer.save_pretrained(folder / "model")
        vocabulary = min(loaded.marker_ids)  # markers have the highest ids
        del loaded
        yield Bench(folder / "model", vocabulary, folder, peer_python)
