"""What a round asks about: topics, or draws of chunks from the graph.

``random`` draws chunks alike; ``coverage`` those that the fewest pairs and draws rest on so far;
``uncertain`` those around the pairs that the policy tells apart worst, which is active learning
over the graph.
"""

import heapq
import random
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.corpus.library import Library
from preflexor_pl.corpus.notes import Note
from preflexor_pl.pairs.settings import PairSettings

DOUBTED = 0.5  # the share of all pairs, those of the smallest margins, that is asked around


@dataclass(frozen=True)
class Past:
    """What the rounds so far have used.

    Attributes:
        questions: that were asked.
        uses: how many pairs rest on each chunk or note.
        doubted: a chunk for each pair, that of the smallest margin first.
        notes: earlier pairs that new ones may rest on.
    """

    questions: tuple[str, ...] = ()
    uses: Counter[str] = field(default_factory=Counter)
    doubted: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def plan(
    settings: PairSettings,
    library: Library,
    within: Collection[str],
    past: Past,
    seed: int,
    round_index: int,
) -> list[dict[str, Any]]:
    """The candidates of a round: id, topic and chunk ids of each.

    Args:
        settings: what is asked about, and how many chunks a question rests on.
        library: chunks and their graph.
        within: ids of the chunks that may be used.
        past: what earlier rounds used.
        seed: of the run.
        round_index: -1 for the held-out set.
    """
    topics = settings.topics
    draws = [""] * topics if isinstance(topics, int) else topics
    walk, k = settings.contexts == "walk", settings.chunks_per_context
    uses = Counter(past.uses)
    pool = frozenset(within)  # one object for all draws: the graph prepares its searches once
    beginnings: dict[str, Iterator[str | None]] = {
        "random": repeat(None),  # leaves it to the draw's own seed
        "coverage": _least_used(pool, uses, derive_seed(seed, round_index, "starts")),
        "uncertain": _around_doubts(library, pool, past),
    }
    starts = beginnings[settings.ask_about]
    name = f"{round_index:04d}" if round_index >= 0 else "held"
    items: list[dict[str, Any]] = []
    for draw, topic in enumerate(draws):
        if topic and not walk:
            chunks = library.search(topic, k, pool)
        else:
            start = library.search(topic, 1, pool)[0].id if topic else next(starts, None)
            own = derive_seed(seed, round_index, draw, "context")
            chunks = library.context(k, own, pool, start, walk)
        ids = [chunk.id for chunk in chunks]
        uses.update(ids)
        for _ in range(settings.questions_per_topic):
            items.append({"id": f"{name}-{len(items):04d}", "topic": topic, "chunk_ids": ids})
    return items


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


def _around_doubts(library: Library, within: frozenset[str], past: Past) -> Iterator[str]:
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
