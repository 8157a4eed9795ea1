"""The graph of chunks and notes as a network: what is in it, its numbers, and its GraphML.

Nodes are chunks and notes. A chunk has an edge to each of its nearest neighbours, a note to each
chunk or note that it rests on; edges have no direction. (What is searched is ``CorpusGraph``; this
is for looking at.)
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import networkx as nx
import numpy as np

from preflexor_pl.core.files import replaced
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.earlier_answers import Note
from preflexor_pl.corpus.graph import CorpusGraph

NEIGHBOURS = 5
BLOCK = 256
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Near = Mapping[str, Sequence[tuple[str, float]]]


def nearest(
    graph: CorpusGraph, centres: Sequence[str], ids: Sequence[str], k: int = NEIGHBOURS
) -> dict[str, list[tuple[str, float]]]:
    """The k ids most similar to each of some others, by a matrix product over all.

    For all of thousands of nodes at once that takes seconds where searches one by one take minutes.

    Args:
        graph: with a cosine similarity.
        centres: C ids.
        ids: N ids to choose from, ``centres`` among them.
        k: how many.

    Returns:
        For each centre at most k (id, similarity), itself left out, most similar first.
    """
    place = {id: n for n, id in enumerate(ids)}
    own = np.array([place[id] for id in centres])  # [C]
    queries = graph.vectors(centres)  # [C, D]
    best = np.full((len(centres), k), -np.inf, dtype=np.float32)  # [C, k] the highest so far
    whose = np.full((len(centres), k), -1)  # [C, k] and their places in ids
    for first in range(0, len(ids), BLOCK):
        # Rounded: the last bits of a product depend on the number of threads.
        similar = (queries @ graph.vectors(ids[first : first + BLOCK]).T).round(6)  # [C, BLOCK]
        inside = np.flatnonzero((first <= own) & (own < first + BLOCK))
        similar[inside, own[inside] - first] = -np.inf
        top = np.argpartition(-similar, min(k, similar.shape[1]) - 1, axis=1)[:, :k]
        best = np.hstack([best, np.take_along_axis(similar, top, 1)])  # [C, <= 2k]
        whose = np.hstack([whose, top + first])
        top = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, whose = np.take_along_axis(best, top, 1), np.take_along_axis(whose, top, 1)
    return {
        centre: [
            (ids[n], float(near)) for n, near in zip(row, nears, strict=True) if near > -np.inf
        ]
        for centre, row, nears in zip(centres, whose, best, strict=True)
    }


def network(chunks: Mapping[str, Chunk], near: Near, notes: Sequence[Note]) -> nx.Graph:
    """Chunks, their neighbours and the notes on them.

    Args:
        chunks: by id.
        near: the neighbours of those that are shown.
        notes: that rest on these, or on each other.
    """
    made = nx.Graph()
    for id in dict.fromkeys([*near, *(other for others in near.values() for other, _ in others)]):
        chunk = chunks[id]
        title = _printable(chunk.title)
        made.add_node(id, kind="chunk", document=_printable(chunk.document), title=title)
    for id, others in near.items():
        made.add_edges_from((id, other, {"weight": w, "kind": "near"}) for other, w in others)
    for note in notes:
        made.add_node(note.id, kind="note", question=_printable(note.question), round=note.round)
        links = ((note.id, link) for link in note.links)
        made.add_edges_from(links, weight=1.0, kind="rests on")
    return made


def measure(made: nx.Graph, seed: int) -> dict[str, int | float]:
    """Numbers of a network; each node gets its community as an attribute.

    Communities are Louvain's, without weights, since similarities may be negative; their modularity
    is 0 where all is one.

    Args:
        made: of at least one node.
        seed: of Louvain's order.
    """
    degrees = [degree for _, degree in made.degree()]
    communities = nx.community.louvain_communities(made, weight=None, seed=seed % 2**32)
    communities.sort(key=lambda one: (-len(one), min(one)))
    for number, members in enumerate(communities):
        nx.set_node_attributes(made, dict.fromkeys(members, number), "community")
    kinds = nx.get_node_attributes(made, "kind")
    used = {end for *ends, kind in made.edges(data="kind") if kind == "rests on" for end in ends}
    modularity = nx.community.modularity(made, communities, weight=None) if made.size() else 0.0
    return {
        "nodes": len(made),
        "chunks": sum(kind == "chunk" for kind in kinds.values()),
        "notes": sum(kind == "note" for kind in kinds.values()),
        "chunks_used": sum(kinds.get(id) == "chunk" for id in used),
        "edges": made.size(),
        "mean_degree": round(2 * made.size() / len(made), 4),
        "max_degree": max(degrees),
        "components": nx.number_connected_components(made),
        "communities": len(communities),
        "modularity": round(modularity, 4),
    }


def write_graphml(made: nx.Graph, path: Path) -> None:
    """Write a network as GraphML, whole or not at all.

    Raises:
        ResourceError: the disk or the permissions do not allow it.
    """
    with replaced(path) as part:
        nx.write_graphml(nx.relabel_nodes(made, _printable), part)


def _printable(text: str) -> str:
    r"""Text that XML can hold: control characters and lone surrogates as ``\x1b``, ``\ud800``."""
    return NOT_XML.sub(lambda found: ascii(found.group())[1:-1], text)
