"""What journals of complete rounds tell of the texts in them: how long, and how often of no use.

A journal's calls are named ``stage/item/part/attempt``; only a first rejected answer has no attempt.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preflexor_pl.core.errors import CorpusError


@dataclass(frozen=True)
class Habit:
    """How the texts of one stage come out.

    Attributes:
        tokens: mean length of a text.
        fails: share of texts of no use, of first, second, ... attempts.
    """

    tokens: float
    fails: tuple[float, ...] = ()

    def fails_at(self, attempt: int) -> float:
        """The share of an attempt; 0 where nothing tells of it."""
        return self.fails[attempt] if attempt < len(self.fails) else 0.0


@dataclass
class _Stage:
    lengths: list[int] = field(default_factory=list)
    attempts: Counter[int] = field(default_factory=Counter)
    dropped: int = 0

    def habit(self) -> Habit:
        calls = [self.attempts[n] for n in range(max(self.attempts) + 1)]
        again = [*calls[1:], self.dropped]  # what fails is asked again, or its item dropped
        fails = [min(1.0, after / max(1, before)) for before, after in zip(calls, again, strict=True)]
        return Habit(sum(self.lengths) / len(self.lengths), tuple(fails))


def stage_of(call: str) -> tuple[str, str, int]:
    """The stage, the item and the attempt of a call."""
    stage, item, *rest = call.split("/")
    return stage, item, int(rest[-1]) if rest and rest[-1].isdecimal() else 0


def habits_of(folders: Sequence[Path]) -> tuple[dict[str, Habit], int]:
    """How the texts of each stage came out, and from how many calls that is known.

    Args:
        folders: of complete rounds.

    Raises:
        CorpusError: a line is no record; names the file and the line.
    """
    stages: defaultdict[str, _Stage] = defaultdict(_Stage)
    for folder in folders:
        # A call that a kill had made twice counts once, as it was used.
        calls = {call: tokens for call, tokens in _records(folder / "calls.jsonl", "call", "tokens")}
        last: dict[str, str] = {}
        for call, tokens in calls.items():
            stage, item, attempt = stage_of(str(call))
            stages[stage].lengths.append(int(tokens))
            stages[stage].attempts[attempt] += 1
            last[item] = stage
        for item, _ in _records(folder / "drops.jsonl", "id", "reason"):
            stages[last[str(item)]].dropped += 1
    habits = {name: stage.habit() for name, stage in stages.items()}
    return habits, sum(stage.attempts.total() for stage in stages.values())


def _records(path: Path, *names: str) -> Iterator[list[str | int]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], 1):
        try:
            record = json.loads(line)
            yield [record[name] for name in names]
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}:{number} is no record of a round ({error!r})") from error
