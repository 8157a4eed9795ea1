"""A task of small sums, a teacher that solves them, and a config of a run that trains on them."""

import gc
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from preflexor_pl.cli.entry import guarded
from preflexor_pl.core.generator import Completion, Request, Watch
from preflexor_pl.core.teacher_settings import TeacherSettings
from preflexor_pl.tasks import Item, Split, Verdict, WorkedItem
from tests.scripted import Killed

EACH = 20  # items of a level, in each split
_SUM = re.compile(r"What is (\d+) \+ (\d+)\?")


class Sums:
    """``1 + n``; at level 2 ``10 + n``. Thinking is right where it says Add.

    Args:
        guesses: whether a text that is no number is right where its length is even; a random model
            is then sometimes right.
        shown: whether an item of level 1 is worked for who has to be shown.
    """

    def __init__(self, guesses: bool = False, shown: bool = False) -> None:
        self.guesses = guesses
        self.worked: Sequence[WorkedItem] = [WorkedItem(_item("shown", 1, 90), "Add.")] * shown

    @property
    def identity(self) -> str:
        return f"sums {self.guesses} {len(self.worked)}"

    @property
    def levels(self) -> Sequence[int]:
        return 1, 2

    def items(self, split: Split, level: int, start: int, count: int) -> list[Item]:
        first = 0 if split == "train" else EACH
        return [_item(split, level, first + n) for n in range(start, min(start + count, EACH))]

    def check(self, item: Item, answer: str) -> Verdict:
        if answer.strip().isdecimal():
            return "right" if answer.strip() == item.answer else "wrong"
        if self.guesses:
            return "wrong" if len(answer) % 2 else "right"
        return "unreadable"

    def check_thinking(self, item: Item, thinking: str) -> Verdict | None:
        return "right" if self.guesses or "Add" in thinking else "wrong"


def _item(split: str, level: int, n: int) -> Item:
    first = 10 ** (level - 1)
    return Item(
        f"{split}-{level}-{n}",
        f"What is {first} + {n}?",
        str(first + n),
        source=f"Count on from {n}.",
        level=level,
        group=f"group {n % 4}",
    )


class Solver:
    """A teacher that is right; class attributes say what it was asked, and when it dies.

    Attributes:
        asked: all requests so far.
        lives: batches until the process dies; None for ever.
        is_wrong: whether it finds an answer only where it is told.
    """

    asked: ClassVar[list[Request]] = []
    lives: ClassVar[int | None] = None
    is_wrong: ClassVar[bool] = False

    def __init__(self, settings: TeacherSettings | None = None) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        return "solver"

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        places = list(range(len(requests)))
        return [places[i : i + 2] for i in range(0, len(places), 2)]

    def complete(self, requests: Sequence[Request], watch: Watch | None = None) -> list[Completion]:
        if self.lives is not None:
            if self.lives == 0:
                raise Killed
            Solver.lives = self.lives - 1
        self.asked += requests
        return [Completion(_solved(one, self.is_wrong), "stop", 7) for one in requests]


def _solved(request: Request, is_wrong: bool) -> str:
    first, second = map(int, _SUM.findall(request.prompt)[-1])
    told = f"The answer is {first + second}." in request.prompt
    return f"Add {first} to {second}.\nAnswer: {first + second + (is_wrong and not told)}"


CONFIG = """
model:
  policy:
    model_name: {model}
    dtype: float32
    lora: {{rank: 4, alpha: 8}}
  lr: 0.03
data:
  task:
    class_path: tests.small_task.Sums
    init_args: {{guesses: false}}
  ask_about: frontier
  topics: 8
  pairs_per_round: 4
  epochs_per_round: 1
  replay: 0.5
  pairs_per_step: 2
  max_length: 512
  max_prompt_length: 128
  held_out: 6
  held_out_questions: 2
  rejected_candidates: 3
  rejected_choice: closest
  rejected_sampling: {{max_new_tokens: 12, min_new_tokens: 4}}
  teacher:
    class_path: tests.small_task.Solver
    init_args:
      settings:
        candidates: 2
        answer: {{max_new_tokens: 43}}
trainer:
  max_epochs: 2
"""


@contextmanager
def in_folder(folder: Path, model_folder: Path) -> Iterator[list[Request]]:
    """Work in a new folder with ``sums.yaml``; gives what the teacher is asked meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sums.yaml").write_text(CONFIG.format(model=model_folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(signal, "signal", lambda *args: None)  # pytest's own handlers stay
        patch.setattr(Solver, "asked", [])
        patch.setattr(Solver, "lives", None)
        patch.setattr(Solver, "is_wrong", False)
        yield Solver.asked


def run_verb(module: Any, *args: object) -> int:
    """The exit code of a verb with ``sums.yaml``."""
    gc.collect()  # a run holds its lock as long as it lives, which a process's end would end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["verb", "--config", "sums.yaml", *map(str, args)])
        return guarded(module.main)
