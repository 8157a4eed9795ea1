"""What journals of complete rounds tell of the texts in them: how long, and how often of no use.

A journal's calls are named ``stage/item/part/attempt``, those of rejected answers and of judgements
on them ``stage/item/number``.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.pairs.journal import read_manifest

ANSWER = "answer"  # of which there may be candidates: an item fails where all of them do
REJECTED, JUDGING = ALIKE = "rejected", "judging"  # of each item some are drawn, all alike


@dataclass(frozen=True)
class StageStatistics:
    """How the texts of one stage come out.

    Attributes:
        tokens: mean length of a text.
        fails: share of texts of no use, of first, second, ... attempts. Of judgements: share of
            those that do not say wrong.
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
    items: set[str] = field(default_factory=set)
    dropped: int = 0

    def habit(self, alike: bool) -> StageStatistics:
        mean = sum(self.lengths) / len(self.lengths)
        if alike:  # of each item one is of use, or it was dropped
            used = len(self.items) - self.dropped
            return StageStatistics(mean, (1 - used / len(self.lengths),))
        calls = [self.attempts[n] for n in range(max(self.attempts) + 1)]
        again = [*calls[1:], self.dropped]  # what fails is asked again, or its item dropped
        fails = [
            min(1.0, after / max(1, before)) for before, after in zip(calls, again, strict=True)
        ]
        return StageStatistics(mean, tuple(fails))


def read_call(call: str) -> tuple[str, str, int]:
    """The stage, the item and the attempt of a call; what is drawn alike has no attempts."""
    stage, item, *rest = call.split("/")
    has_attempt = rest and rest[-1].isdecimal() and stage not in ALIKE
    return stage, item, int(rest[-1]) if has_attempt else 0


def stage_statistics(folders: Sequence[Path]) -> tuple[dict[str, StageStatistics], int]:
    """How the texts of each stage came out, and from how many calls that is known.

    Args:
        folders: of complete rounds.

    Raises:
        CorpusError: a file is not what a round leaves; names it and the line.
    """
    stages: defaultdict[str, _Stage] = defaultdict(_Stage)
    counts: Counter[str] = Counter()
    for folder in folders:
        # A call that a kill had made twice counts once, as it was used.
        calls = dict(_records(folder / "calls.jsonl", "call", "tokens"))
        last: dict[str, str] = {}
        answered: set[tuple[str, int]] = set()
        for call, tokens in calls.items():
            stage, item, attempt = read_call(call)
            stages[stage].lengths.append(int(tokens))
            stages[stage].attempts[attempt] += stage != ANSWER or (item, attempt) not in answered
            answered |= {(item, attempt)} if stage == ANSWER else set()
            stages[stage].items.add(f"{folder} {item}")
            last[item] = stage
        for item, _ in _records(folder / "drops.jsonl", "id", "reason"):
            stages[last[item]].dropped += 1
        counts.update(read_manifest(folder).get("rejected") or {})
    known = sum(len(stage.lengths) for stage in stages.values())
    habits = {name: stage.habit(name in ALIKE) for name, stage in stages.items()}
    return habits | _counted(habits, counts), known


def _counted(
    habits: dict[str, StageStatistics], counts: Counter[str]
) -> dict[str, StageStatistics]:
    """Of rejected answers and judgements, where several are drawn: what the rounds have counted."""
    found = {}
    if counts["drawn"] and REJECTED in habits:
        share = 1 - counts["of_use"] / counts["drawn"]
        found[REJECTED] = StageStatistics(habits[REJECTED].tokens, (share,))
    ruled = counts["right"] + counts["wrong"] + counts["unclear"]
    if ruled:
        tokens = habits[JUDGING].tokens if JUDGING in habits else 0.0
        found[JUDGING] = StageStatistics(tokens, (1 - counts["wrong"] / ruled,))
    return found


def _records(path: Path, first: str, second: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], 1):
        try:
            record = json.loads(line)
            yield str(record[first]), record[second]
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}:{number} is no record of a round ({error!r})") from error
