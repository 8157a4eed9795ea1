"""A short walk over the graph, for contexts that join what lies apart.

Neighbours of a chunk mostly say the same thing again. A walk goes from neighbour to neighbour and
keeps a node now and then, so that a question has to join them.
"""

import random
from collections.abc import Collection

from preflexor_pl.corpus.graph import CorpusGraph

REACH = 8  # nearest nodes that a step chooses from
STRIDE = 3  # steps from one node that is kept to the next


def walk(
    graph: CorpusGraph, start: str, k: int, seed: int, within: Collection[str] | None = None
) -> list[str]:
    """At most k ids that lie on one walk, ``start`` first; fewer where the walk finds no way on.

    Args:
        graph: its nodes.
        start: the first id.
        k: how many, >= 1.
        seed: of the steps.
        within: only these ids; None for all.

    Raises:
        ValueError: k < 1, an unknown id.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    rng, seen, kept = random.Random(seed), [start], [start]
    while len(kept) < k:
        # Of so many, one at least was not walked over, unless there is none left.
        near, _ = graph.neighbours(seen[-1], REACH + len(seen), within)
        fresh = [id for id in near if id not in seen][:REACH]
        if not fresh:
            break
        seen.append(rng.choice(fresh))
        if (len(seen) - 1) % STRIDE == 0:
            kept.append(seen[-1])
    return kept
