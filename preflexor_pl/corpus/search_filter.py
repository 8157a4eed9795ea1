"""SearchFilter: the ids that searches are restricted to, and what a search needs of them."""

from collections.abc import Collection, Mapping
from functools import cached_property


class SearchFilter:
    """Some ids of a graph, prepared.

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
