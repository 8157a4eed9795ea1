"""Runs the two sides of the training benchmarks, each in a process of its own, on the same files.

A benchmark asks a ``Bench`` for steps of one side; what comes back is what the side printed, with
pairs and useful tokens a second.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from benchmarks.processes import run_module
from benchmarks.training.protocol import Task
from benchmarks.training.workloads import Workload, useful_tokens, warmed, write
from preflexor_pl.batches.collate import Batching
from preflexor_pl.core.settings import PolicySettings
from preflexor_pl.policy.language_model import load_language_model
from preflexor_pl.policy.load import resolve_dtype

OURS = {"head": "own", "reference": "cached", "masked": 0.0, "rows": False}
"""Of ``how`` on our side, what a comparison with the peer leaves alone."""

BATCHINGS = get_args(Batching)

Result = dict[str, Any]
How = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One line of a table: what is stepped over, and what trains.

    Attributes:
        workload: of the pairs.
        loss: dpo, exo or orpo.
        dtype: float32 or bfloat16.
        rank: of the adapters; 0 trains every weight.
        pairs_per_step: pairs in one optimiser step.
    """

    workload: Workload
    loss: str
    dtype: str
    rank: int
    pairs_per_step: int

    @property
    def name(self) -> str:
        """As it is printed."""
        trained = "lora" if self.rank else "full"
        return f"{self.workload.name} {self.loss} {self.dtype} {trained}"

    @property
    def slug(self) -> str:
        """As a file is called."""
        return re.sub(r"[^\w.-]+", "-", self.name)


def dtypes_here(rank: int) -> list[str]:
    """float32 and, where the processor has it and adapters of such a rank train, bfloat16."""
    half = rank and str(resolve_dtype("auto")) == "torch.bfloat16"
    return ["float32", "bfloat16"] if half else ["float32"]


@dataclass(frozen=True)
class Bench:
    """Where the sides find what they need.

    Attributes:
        model: a folder that both load, markers registered.
        vocabulary: ids below it are drawn.
        folder: for files of pairs.
        peer_python: of an environment with TRL; None where our side is measured alone.
    """

    model: Path
    vocabulary: int
    folder: Path
    peer_python: Path | None

    def run(
        self, side: str, row: Row, how: How, steps: int, warm_up: int = 3, bare: bool = False
    ) -> Result:
        """Steps of one side in a fresh process.

        Args:
            side: ours or trl.
            row: what is stepped over.
            how: of the side, as its script has it.
            steps: that are timed.
            warm_up: steps before them, over the same pairs.
            bare: prompts of one token.

        Raises:
            SystemExit: the process failed.
        """
        drawn = row.workload.draw(steps, row.pairs_per_step, self.vocabulary)
        if bare:
            drawn = [pair | {"prompt_ids": pair["prompt_ids"][-1:]} for pair in drawn]
        path = self.folder / "pairs.jsonl"
        write(path, warmed(drawn, warm_up * row.pairs_per_step))
        task = Task(
            model=str(self.model),
            pairs=str(path),
            loss=row.loss,
            dtype=row.dtype,
            rank=row.rank,
            pairs_per_step=row.pairs_per_step,
            warm_up=warm_up,
            steps=steps,
            how=how,
        )
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
    """A bench on a model by its name, the packaged one by default.

    Args:
        model: its name.
        peer_python: of an environment with TRL; None where our side is measured alone.

    Raises:
        SystemExit: there is no such Python.
    """
    if peer_python and not peer_python.exists():
        raise SystemExit(f"error: {peer_python} is not there: run `make venv-peers`, or name one")
    with TemporaryDirectory() as name:
        folder = Path(name)
        loaded = load_language_model(model or PolicySettings().model_name, "--model", "float32")
        loaded.model.save_pretrained(folder / "model")
        loaded.tokenizer.save_pretrained(folder / "model")
        vocabulary = min(loaded.marker_ids)  # the markers come last
        del loaded
        yield Bench(folder / "model", vocabulary, folder, peer_python)
