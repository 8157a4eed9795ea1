"""NodeIds: the ids of a graph, those of equal vectors sharing a node of its index.

A node is a unique vector, as many equal vectors make an HNSW index lose nodes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

Ranking = list[tuple[float, int]]  # (distance, node), nearest first


class SearchFilter:
    """Some ids of a graph, prepared for searches that are restricted to them.

    Args:
        ids: all in the graph.
        node_of: the graph's node of each id.

    Attributes:
        ids: the same object where it was a frozenset.
        nodes: theirs.
    """

    def __init__(self, ids: Collection[str], node_of: Mapping[str, int]) -> None:
        self.ids = frozenset(ids)
        self.nodes = frozenset(node_of[id] for id in self.ids)

    @cached_property
    def ordered(self) -> list[str]:
        """The ids, sorted."""
        return sorted(self.ids)


class NodeIds:
    """Ids by node, and the node of each id.

    Args:
        by_node: ids of each node.
        keys: of the nodes, the same for equal vectors.

    Attributes:
        by_node: ids of each node in the order in which they were added; empty where all were
            removed.
        node_of: the node of each id.
    """

    def __init__(self, by_node: list[list[str]], keys: Sequence[bytes]) -> None:
        self.by_node = by_node
        self.node_of = {id: node for node, ids in enumerate(by_node) for id in ids}
        self._node_by_key = {key: node for node, key in enumerate(keys)}
        self._filter: SearchFilter | None = None  # of the last frozenset that was given

    def add(self, ids: Sequence[str], keys: Sequence[bytes]) -> tuple[list[int], list[int]]:
        """Add ids that are not there, each to the node of its key.

        Returns:
            (fresh, restored): places in ``ids`` of those that begin a new node, in the order of
            these nodes, and the nodes that had no ids left.
        """
        self._filter = None
        fresh, restored = [], []
        for place, (id, key) in enumerate(zip(ids, keys, strict=True)):
            node = self._node_by_key.setdefault(key, len(self.by_node))
            if node == len(self.by_node):
                self.by_node.append([])
                fresh.append(place)
            elif not self.by_node[node]:
                restored.append(node)
            self.by_node[node].append(id)
            self.node_of[id] = node
        return fresh, restored

    def remove(self, ids: Sequence[str]) -> list[int]:
        """Remove ids that are there; gives the nodes that have none left."""
        self._filter = None
        nodes = [self.node_of.pop(id) for id in ids]
        for id, node in zip(ids, nodes, strict=True):
            self.by_node[node].remove(id)
        return [node for node in dict.fromkeys(nodes) if not self.by_node[node]]

    def require(self, ids: Iterable[str]) -> None:
        """Refuse ids that are not there.

        Raises:
            ValueError: names the first.
        """
        unknown = next((id for id in ids if id not in self.node_of), None)
        if unknown is not None:
            raise ValueError(f"id {unknown!r} is not in the graph")

    def filtered(self, within: Collection[str] | None) -> SearchFilter | None:
        """What restricts a search to ``within``; None where it is None.

        Raises:
            ValueError: an unknown id.
        """
        if within is None:
            return None
        known = self._filter
        if known is not None and known.ids is within:  # no other collection stays as it is
            return known
        self.require(within)
        made = SearchFilter(within, self.node_of)
        if made.ids is within:
            self._filter = made
        return made

    def ranked(
        self, ranking: Ranking, k: int, chosen: SearchFilter | None
    ) -> list[tuple[str, float]]:
        """The first k ids (of ``chosen``) of ranked nodes, each with its node's distance."""
        return [
            (id, distance)
            for distance, node in ranking
            for id in self.by_node[node]
            if chosen is None or id in chosen.ids
        ][:k]
