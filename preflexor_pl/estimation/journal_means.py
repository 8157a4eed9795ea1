"""Means over the journals of complete rounds: calls and tokens of each stage, and the yield."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.pairs.call_key import (
    DRAWN_ALIKE,
    JUDGING,
    QUESTION,
    REFLECTION,
    REJECTED,
    CallKey,
)
from preflexor_pl.pairs.stages import REFLECTED, SPARE
from preflexor_pl.pairs.task_maker import TRIES, read_tries

_OWN = "-own-"  # in the id of a pair of the user's own


@dataclass(frozen=True)
class StageMeans:
    """Means over the calls of one stage.

    Attributes:
        repeats: calls per call that is needed where every text is usable.
        tokens: completion tokens of a call, the model's own thoughts included.
        text_tokens: tokens of its text alone, in the policy's tokenizer.
    """

    repeats: float
    tokens: float
    text_tokens: float


@dataclass(frozen=True)
class JournalMeans:
    """Means over complete rounds; without any, every text is usable.

    Attributes:
        stages: by name.
        calls: that were counted.
        usable: share of the candidates followed to their end that became pairs.
    """

    stages: dict[str, StageMeans] = field(default_factory=dict)
    calls: int = 0
    usable: float = 1.0


def items_needed(stage: str, pairs: int, reflection: bool) -> int:
    """Items that a stage asks about for ``pairs`` pairs where every text is usable."""
    tried, kept = REFLECTED if reflection else (1, 1)
    goal = -(-pairs * tried // kept)
    return goal + -(-goal // SPARE) if stage == QUESTION else goal


def journal_means(folders: Sequence[Path], count_tokens: Callable[[str], int]) -> JournalMeans:
    """The means over all calls of complete rounds.

    Args:
        folders: of the rounds.
        count_tokens: tokens of a text, in the policy's tokenizer.

    Raises:
        CorpusError: a file is damaged; names it and the line.
    """
    needed: Counter[str] = Counter()
    tokens: defaultdict[str, list[int]] = defaultdict(list)
    texts: defaultdict[str, list[int]] = defaultdict(list)
    made = dropped = 0
    for folder in folders:
        pairs, drops = _ids(folder / "pairs.jsonl"), _ids(folder / "drops.jsonl")
        made, dropped = made + len(pairs), dropped + len(drops)
        items = len(read_tries(folder / TRIES))  # of a task; they are tried in their order
        calls = _calls(folder / "calls.jsonl", pairs + drops, len(pairs), items)
        needed.update(_needed(calls, len(pairs)))
        for call, (count, text) in calls.items():
            tokens[call.stage].append(count)
            texts[call.stage] += [count_tokens(text)] if text else []
    stages = {
        stage: StageMeans(len(counts) / max(1, needed[stage]), _mean(counts), _mean(texts[stage]))
        for stage, counts in tokens.items()
    }
    usable = made / (made + dropped) if made else 1.0
    return JournalMeans(stages, sum(map(len, tokens.values())), usable)


def _mean(counts: list[int]) -> float:
    return sum(counts) / max(1, len(counts))


def _calls(
    path: Path, finished: Collection[str], made: int, tried: int
) -> dict[CallKey, tuple[int, str]]:
    """Tokens and text of each call; one that was repeated after a kill counts once.

    A preview's journal keeps the calls of earlier, larger previews: they are left out.
    """
    calls = {
        CallKey.parse(call): (tokens, text)
        for call, tokens, text in _records(path, "call", "tokens", "text")
    }
    reflection = any(call.stage == REFLECTION for call in calls)
    spare = items_needed(QUESTION, made, reflection)
    most = max([spare, tried, *(_place(item) + 1 for item in finished)])
    return {call: of for call, of in calls.items() if _OWN in call.item or _place(call.item) < most}


def _needed(calls: Collection[CallKey], made: int) -> dict[str, int]:
    """By stage, the calls that ``made`` pairs need, and one for each rejected answer of own pairs.

    An item takes one call, or one a category or candidate.
    """
    stages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for call in calls:
        is_first = call.stage in DRAWN_ALIKE or call.number == 0
        stages[call.stage][call.item] += is_first
    each = {
        stage: math.gcd(*(count for item, count in items.items() if _OWN not in item))
        for stage, items in stages.items()
    }
    each[JUDGING] = each.get(REJECTED, 1)  # unusable ones are not judged
    return {
        stage: each[stage] * items_needed(stage, made, REFLECTION in stages)
        + sum(_OWN in item for item in items)
        for stage, items in stages.items()
    }


def _ids(path: Path) -> list[str]:
    return [id for (id,) in _records(path, "id") if _OWN not in id]


def _place(item: str) -> int:
    """The place of an item in its round's plan."""
    return int(item.rpartition("-")[2])


def _records(path: Path, *names: str) -> Iterator[list[Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], 1):
        try:
            record = json.loads(line)
            yield [record[name] for name in names]
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}:{number} is no record of a round ({error!r})") from error
