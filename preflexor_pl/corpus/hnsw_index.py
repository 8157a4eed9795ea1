"""HNSWIndex: the only place that calls hnswlib (0.8), for unique, checked, numbered vectors.

hnswlib crashes or answers wrongly, without a word, on most misuse. Here:
- nodes go in on one thread and in a seeded random order: the same on every machine, and clusters
  stay linked; where they do not (``connectivity``), the index is built again with more links;
- up to ``EXACT_NODES`` nodes every query visits all of them, so its answer is the exact one.
"""

import logging
from collections.abc import Sequence, Set
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from preflexor_pl.corpus.connectivity import is_connected
from preflexor_pl.corpus.node_ids import Ranking

LINKS = 32  # hnswlib's M: 16 leaves a few nodes of clustered data out of reach
MAX_LINKS = 64
EF_CONSTRUCTION = 200
MIN_EF = 200
EXACT_NODES = 5000

Vectors = NDArray[np.float32]


class HNSWIndex:
    """An HNSW index of nodes 0, 1, 2, ...; removed nodes keep their number.

    Args:
        dim: D.
        space: "cosine" (vectors of length 1), "ip" or "l2".
        seed: of layers and order of insertion.
        links: hnswlib's M; grows where the data needs it.
    """

    def __init__(self, dim: int, space: str, seed: int, links: int = LINKS):
        self.dim, self.space, self.seed, self.links = dim, space, seed, links
        self.count = 0  # of nodes, removed ones too
        self.removed: set[int] = set()
        self._index = self._empty(1)

    def _bare(self) -> hnswlib.Index:
        # Vectors for "cosine" come in with length 1, and so stay as they are to the last bit.
        return hnswlib.Index(space="l2" if self.space == "l2" else "ip", dim=self.dim)

    def _empty(self, capacity: int) -> hnswlib.Index:
        index = self._bare()
        index.init_index(
            max_elements=capacity,
            M=self.links,
            ef_construction=max(EF_CONSTRUCTION, 6 * self.links),
            random_seed=self.seed % 2**32,
        )
        return index

    def add(self, rows: Vectors) -> None:
        """Adds [N, D] as nodes ``count`` to ``count + N - 1``."""
        if not len(rows):
            return
        first, self.count = self.count, self.count + len(rows)
        if self.count > self._index.get_max_elements():
            self._index.resize_index(self.count)  # past its capacity it overwrites
        self._fill(rows, first)
        if self.links < MAX_LINKS and not is_connected(self._index):
            self._rebuild()

    def _fill(self, rows: Vectors, first: int) -> None:
        order = np.random.default_rng(abs(self.seed)).permutation(len(rows))
        self._index.add_items(rows[order], first + order, num_threads=1)

    def _rebuild(self) -> None:
        rows, removed = self.vectors(), self.removed
        while self.links < MAX_LINKS:
            self.links *= 2
            self._index = self._empty(self.count)
            self._fill(rows, 0)
            if is_connected(self._index):
                break
        else:
            logging.getLogger(__name__).info("a few nodes may be out of reach of some searches")
        self.removed = set()
        for node in removed:
            self.remove(node)

    def vectors(self) -> Vectors:
        """[count, D] all nodes' vectors, of removed ones too."""
        if not self.count:
            return np.zeros((0, self.dim), dtype=np.float32)
        for node in self.removed:  # hnswlib does not give out the vector of a removed one
            self._index.unmark_deleted(node)
        rows: Vectors = np.asarray(self._index.get_items(range(self.count)), dtype=np.float32)
        for node in self.removed:
            self._index.mark_deleted(node)
        return rows

    def vectors_of(self, nodes: Sequence[int]) -> Vectors:
        """[N, D] the vectors of nodes that are not removed."""
        if not nodes:
            return np.zeros((0, self.dim), dtype=np.float32)
        rows: Vectors = np.asarray(self._index.get_items(nodes), dtype=np.float32)
        return rows

    def remove(self, node: int) -> None:
        """Takes a node out of every later answer."""
        self._index.mark_deleted(node)
        self.removed.add(node)

    def restore(self, node: int) -> None:
        """Brings a removed node back."""
        self._index.unmark_deleted(node)
        self.removed.discard(node)

    def nearest(self, queries: Vectors, k: int, within: Set[int] | None = None) -> list[Ranking]:
        """The nodes nearest to each query.

        Args:
            queries: [Q, D].
            k: how many, >= 0.
            within: choose from these, none of them removed; None: from all.

        Returns:
            Q lists of at most k (distance, node): 1 - inner product, or the squared distance. Of
            equally near nodes those of lower number.
        """
        there = self.count - len(self.removed) if within is None else len(within)
        wanted = min(k, there)
        if wanted < 1 or not len(queries):
            return [[] for _ in queries]  # hnswlib raises
        asked = min(wanted + 1, there)
        found = self._ask(queries, asked, self._ef(asked), within)
        found = found or [self._in_reach(query, asked, within) for query in queries]
        for place, near in enumerate(found):
            # Until the last one is farther than the k-th: no equal one is left out.
            more = asked
            while more < there and len(near) == more and near[-1][0] <= near[wanted - 1][0]:
                more = min(2 * more, there)
                near = self._in_reach(queries[place], more, within)
            found[place] = near[:wanted]
        return found

    def _in_reach(self, query: Vectors, k: int, within: Set[int] | None) -> Ranking:
        """The k nearest to a query [D], or as many as a search can reach."""
        for ef in (self._ef(k), self.count):
            if answer := self._ask(query[None], k, ef, within):
                return answer[0]
        found: Ranking = []
        low, high = 0, k
        while high - low > 1:  # halves the interval for the number that is in reach
            middle = (low + high) // 2
            answer = self._ask(query[None], middle, self.count, within)
            low, high, found = (middle, high, answer[0]) if answer else (low, middle, found)
        return found

    def _ef(self, k: int) -> int:
        return self.count if self.count <= EXACT_NODES else max(MIN_EF, 4 * k)

    def _ask(self, queries: Vectors, k: int, ef: int, within: Set[int] | None) -> list[Ranking]:
        """Exactly k for each query; no list at all where a search met fewer."""
        self._index.set_ef(max(ef, k))  # every time: it is back at 10 after a load
        chosen = None if within is None else within.__contains__
        try:
            nodes, distances = self._index.knn_query(queries, k, num_threads=1, filter=chosen)
        except RuntimeError:
            return []
        rows = zip(distances.tolist(), nodes.tolist(), strict=True)  # [Q, k] each
        return [sorted(zip(*row, strict=True)) for row in rows]

    def save(self, path: Path) -> None:
        """Writes the index.

        Raises:
            OSError: it is not whole on the disk (hnswlib does not look).
        """
        self._index.save_index(str(path))
        if path.stat().st_size != self._index.index_file_size():
            raise OSError("the disk is full")

    def load(self, path: Path, count: int, removed: set[int]) -> None:
        """Reads an index of the same dim, space and links; the file must be known to be whole.

        Raises:
            ValueError: it does not hold ``count`` nodes.
        """
        self._index = self._bare()
        try:
            self._index.load_index(str(path), max_elements=max(count, 1))
        except RuntimeError as error:
            raise ValueError(f"{path}: {error}") from error
        if self._index.get_current_count() != count:
            raise ValueError(f"{path} holds {self._index.get_current_count()} nodes, not {count}")
        self.count, self.removed = count, removed
