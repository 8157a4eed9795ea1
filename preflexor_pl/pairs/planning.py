"""What a round asks about: topics, or draws of chunks from the graph.

``random`` draws chunks alike; ``coverage`` those that the fewest pairs and draws rest on so far;
``uncertain`` those around the pairs that the policy tells apart worst, which is active learning
over the graph.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any

from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.earlier_answers import Note
from preflexor_pl.pairs.settings import PairSettings

DOUBTED = 0.5  # the share of all pairs, those of the smallest margins, that is asked around


@dataclass(frozen=True)
class EarlierRounds:
    """What the rounds so far have used.

    Attributes:
        questions: that were asked.
        uses: how many pairs rest on each chunk or note.
        doubted: a chunk for each pair, that of the smallest margin first.
        notes: earlier pairs that new ones may rest on.
        topics: how many pairs each topic has.
    """

    questions: tuple[str, ...] = ()
    uses: Counter[str] = field(default_factory=Counter)
    doubted: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    topics: Counter[str] = field(default_factory=Counter)


def plan(
    settings: PairSettings,
    library: CorpusIndex,
    within: Collection[str],
    past: EarlierRounds,
    seed: int,
    round_index: int,
) -> list[dict[str, Any]]:
    """The candidates of a round: id, topic and chunk ids of each, in the order of their use.

    A round seldom needs them all, so they are interleaved: one question to each topic (or draw)
    before a second one to any.

    Args:
        settings: what is asked about, and how many chunks a question rests on.
        library: chunks and their graph.
        within: ids of the chunks that may be used.
        past: what earlier rounds used.
        seed: of the run.
        round_index: -1 for the held-out set.
    """
    pool = frozenset(within)  # one object for all draws: the graph prepares its searches once
    own_seed = partial(derive_seed, seed, round_index)
    if isinstance(settings.topics, int):
        drawn = _drawn(settings, library, pool, past, own_seed)
        candidates = [("", ids) for ids in drawn] * settings.questions_per_topic
    else:
        candidates = _on_topics(settings.topics, settings, library, pool, past, own_seed)
    name = f"{round_index:04d}" if round_index >= 0 else "held"
    return [
        {"id": f"{name}-{number:04d}", "topic": topic, "chunk_ids": ids}
        for number, (topic, ids) in enumerate(candidates)
    ]


def _drawn(
    settings: PairSettings,
    library: CorpusIndex,
    pool: frozenset[str],
    past: EarlierRounds,
    own_seed: Callable[..., int],
) -> list[list[str]]:
    """The chunk ids of each draw."""
    uses = Counter(past.uses)
    beginnings: dict[str, Iterator[str | None]] = {
        "random": repeat(None),  # leaves it to the draw's own seed
        "coverage": _least_used(pool, uses, own_seed("starts")),
        "uncertain": _around_doubts(library, pool, past),
    }
    starts = beginnings[settings.ask_about]
    walk, k = settings.contexts == "walk", settings.chunks_per_context
    drawn = []
    for draw in range(int(settings.topics)):  # type: ignore[arg-type]
        context = library.context(k, own_seed(draw, "context"), pool, next(starts, None), walk)
        drawn.append([chunk.id for chunk in context])
        uses.update(drawn[-1])
    return drawn


def _on_topics(
    topics: list[str],
    settings: PairSettings,
    library: CorpusIndex,
    pool: frozenset[str],
    past: EarlierRounds,
    own_seed: Callable[..., int],
) -> list[tuple[str, list[str]]]:
    """Topics and chunk ids: topics of the fewest pairs first, and for each its least used chunks.

    Among contexts of equal use the one nearest to its topic comes first.
    """
    contexts = [
        _around(topic, number, settings, library, pool, own_seed)
        for number, topic in enumerate(topics)
    ]
    uses = Counter(past.uses)
    turns = sorted(
        (past.topics[topic] + turn, number)
        for number, topic in enumerate(topics)
        for turn in range(settings.questions_per_topic)
    )
    candidates = []
    for _, number in turns:
        ids = min(contexts[number], key=lambda ids: sum(uses[id] for id in ids))
        uses.update(ids)
        candidates.append((topics[number], ids))
    return candidates


def _around(
    topic: str,
    number: int,
    settings: PairSettings,
    library: CorpusIndex,
    pool: frozenset[str],
    own_seed: Callable[..., int],
) -> list[list[str]]:
    """Contexts for the questions to a topic, the nearest to it first, no chunk in two of them.

    Walks begin at the nearest chunks, and may meet.
    """
    k, wanted = settings.chunks_per_context, settings.questions_per_topic
    if settings.contexts == "walk":
        starts = [chunk.id for chunk in library.search(topic, wanted, pool)]
        walks = [
            library.context(k, own_seed(number, turn, "context"), pool, start, True)
            for turn, start in enumerate(starts)
        ]
        return [[chunk.id for chunk in chunks] for chunks in walks]
    near = [chunk.id for chunk in library.search(topic, k * wanted, pool)]
    whole = range(0, max(1, len(near) - k + 1), k)  # a corpus may end before the last is full
    return [near[start : start + k] for start in whole]


def _least_used(within: frozenset[str], uses: Counter[str], seed: int) -> Iterator[str]:
    """Each time the chunk of the fewest uses, as they are counted by then; lots break ties.

    Uses may only grow: so what was least before is at most the least now.
    """
    rng = random.Random(seed)
    heap = [(uses[id], rng.random(), id) for id in sorted(within)]  # uses as they were once
    heapq.heapify(heap)
    while heap:
        known, lot, id = heap[0]
        if known == uses[id]:
            yield id
        else:
            heapq.heapreplace(heap, (uses[id], lot, id))


def _around_doubts(
    library: CorpusIndex, within: frozenset[str], past: EarlierRounds
) -> Iterator[str]:
    """First the doubted pairs' own chunks, then the nearest neighbour of each, then the next.

    Each chunk comes once.
    """
    doubted = [id for id in past.doubted if id in within]
    centres = dict.fromkeys(doubted[: max(1, round(DOUBTED * len(doubted)))])
    seen: set[str] = set()
    for away in range(len(within)):
        for id in centres:
            near = library.context(away + 1, 0, within, id)
            if len(near) > away and near[away].id not in seen:
                seen.add(near[away].id)
                yield near[away].id
