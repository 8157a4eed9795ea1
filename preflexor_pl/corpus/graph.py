"""CorpusGraph: nearest neighbours of chunks, by id, over one HNSW index (``hnsw_index``).

Ids of equal vectors share a node of the index (``node_ids``). Every input is checked here, because
the library below does not, and ``load`` takes only what meta.json beside the index vouches for.
"""

import operator
import random
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from preflexor_pl.corpus import index_meta
from preflexor_pl.corpus.checks import SPACES, checked_ids, checked_k, checked_vectors, node_keys
from preflexor_pl.corpus.hnsw_index import HNSWIndex, Vectors
from preflexor_pl.corpus.node_ids import NodeIds, SearchFilter

NEAR = 1e-6  # of a vector to itself, in float32

Found = tuple[list[list[str]], list[list[float]]]


class CorpusGraph:
    """Ids and their vectors, searched by similarity; see ``build``.

    Attributes:
        dim: D, dimension of the vectors.
        space: "cosine", "ip" (inner product) or "l2".
        seed: of the build.
        extra: what was given to ``save`` beside the graph, e.g. the embedder's identity.
    """

    def __init__(self, dim: int, space: str = "cosine", seed: int = 0):
        if space not in SPACES:
            raise ValueError(f"space must be one of {', '.join(SPACES)}, not {space!r}")
        if dim < 1:
            raise ValueError(f"vectors need a dimension of at least 1, not {dim}")
        self.dim, self.space, self.seed = dim, space, operator.index(seed)
        self.extra: dict[str, Any] = {}
        self._nodes = HNSWIndex(dim, space, self.seed)
        self._ids = NodeIds([], [])

    @classmethod
    def build(
        cls, ids: Sequence[str], vectors: ArrayLike, space: str = "cosine", seed: int = 0
    ) -> Self:
        """Builds the graph.

        Args:
            ids: N different strings.
            vectors: float32 [N, D], finite, no row all zeros. Equal vectors are fine.
            space: "cosine" (vectors of any length), "ip" or "l2".
            seed: same seed, ids and vectors: same graph, whatever the number of threads.

        Raises:
            ValueError: see above; the first offending row or id is named.
        """
        dim = np.shape(vectors)[-1] if np.ndim(vectors) == 2 else 0
        graph = cls(dim, space, seed)
        graph.add(ids, vectors)
        return graph

    def __len__(self) -> int:
        return len(self._ids.node_of)

    def __contains__(self, id: object) -> bool:
        return id in self._ids.node_of

    @property
    def ids(self) -> list[str]:
        """All ids, sorted."""
        return sorted(self._ids.node_of)

    def add(self, ids: Sequence[str], vectors: ArrayLike) -> None:
        """Adds N ids with vectors [N, D]; all of them or, on an error, none.

        Raises:
            ValueError: as ``build``; also for an id that is there already.
        """
        rows = checked_vectors(vectors, self.dim, self.space)
        ids = checked_ids(ids)
        if len(ids) != len(rows):
            raise ValueError(f"{len(ids)} ids for {len(rows)} vectors")
        known = [id for id in ids if id in self]
        if known:
            raise ValueError(f"id {known[0]!r} is in the graph already; remove it first")
        fresh, restored = self._ids.add(ids, node_keys(rows, self.space))
        for node in restored:
            self._nodes.restore(node)
        self._nodes.add(rows[fresh])

    def remove(self, ids: Iterable[str]) -> None:
        """Removes ids; all of them or, on an error, none.

        Raises:
            ValueError: an unknown id, or one that is given twice.
        """
        ids = checked_ids(ids)
        self._ids.require(ids)
        for node in self._ids.remove(ids):
            self._nodes.remove(node)

    def search(self, vectors: ArrayLike, k: int, within: Collection[str] | None = None) -> Found:
        """The k most similar ids for each query.

        Args:
            vectors: [Q, D] queries, under the same conditions as those of ``build``.
            k: how many, >= 1.
            within: only these ids; None for all. A frozenset is prepared once, and so is the best
                for many searches.

        Returns:
            (ids, similarities): Q lists each, of min(k, ids to choose from) entries, most similar
            first. Similarity is the cosine, the inner product, or minus the squared distance. Ids
            of equal similarity come in the order in which they were added.

        Raises:
            ValueError: k < 1, a wrong dimension, a non-finite or zero query, an unknown id.
        """
        queries = checked_vectors(vectors, self.dim, self.space)
        return self._nearest(queries, checked_k(k), self._ids.filtered(within))

    def neighbours(
        self, id: str, k: int, within: Collection[str] | None = None
    ) -> tuple[list[str], list[float]]:
        """The k ids (of ``within``) most similar to that of a node, without itself.

        Returns:
            (ids, similarities), most similar first.

        Raises:
            ValueError: k < 1, an unknown id.
        """
        k = checked_k(k)
        [ids], [similarities] = self._nearest(self.vectors([id]), k + 1, self._ids.filtered(within))
        pairs = [pair for pair in zip(ids, similarities, strict=True) if pair[0] != id][:k]
        return [other for other, _ in pairs], [similarity for _, similarity in pairs]

    def lost(self, ids: Collection[str]) -> list[str]:
        """Those of ``ids`` that a search for their own vector does not find; in a sound index none.

        Not for "ip", where longer vectors come before a vector itself.

        Raises:
            ValueError: an unknown id.
        """
        self._ids.require(ids)
        own = (0.0 if self.space == "l2" else 1.0) - NEAR
        missed = []
        for id in ids:
            same = len(self._ids.by_node[self._ids.node_of[id]])
            [found], [near] = self._nearest(self.vectors([id]), same, None)
            if id not in found and not (near and near[-1] > own):  # else others are equally near
                missed.append(id)
        return missed

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """[N, D] the vectors of ids; for cosine, of length 1.

        Raises:
            ValueError: an unknown id.
        """
        self._ids.require(ids)
        return self._nodes.vectors_of([self._ids.node_of[id] for id in ids])

    def sample_context(self, k: int, seed: int, within: Collection[str] | None = None) -> list[str]:
        """A random id (of ``within``) and its k - 1 nearest neighbours there.

        Returns:
            At most k ids, the random one first; [] where there is none to choose from.

        Raises:
            ValueError: k < 1, an unknown id.
        """
        k = checked_k(k)
        choice = self._ids.filtered(within)
        pool = self.ids if choice is None else choice.ordered
        if not pool:
            return []
        first = random.Random(seed).choice(pool)
        return [first, *(self.neighbours(first, k - 1, within)[0] if k > 1 else [])]

    def save(self, folder: str | Path, **extra: Any) -> None:
        """Writes index.bin and meta.json, each atomically; makes the folder.

        Args:
            folder: a graph in it is replaced.
            extra: JSON values that come back as ``extra`` after ``load``.

        Raises:
            ResourceError: the folder cannot be written, or the disk is full.
        """
        folder = Path(folder)
        self.extra = {**self.extra, **extra}
        index_meta.write_atomically(folder / index_meta.INDEX, self._nodes.save)
        shape = {"dim": self.dim, "space": self.space, "count": len(self), "seed": self.seed}
        meta = {**shape, "M": self._nodes.links, "extra": self.extra, "ids": self._ids.by_node}
        index_meta.write_meta(folder, meta)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads a saved graph.

        Raises:
            GraphRefused: (a CorpusError and a ValueError) a file is missing, truncated or changed,
                or is not what meta.json vouches for.
        """
        folder = Path(folder)
        meta = index_meta.read_meta(folder)
        graph = cls(meta["dim"], meta["space"], meta["seed"])
        graph.extra, by_node = meta["extra"], meta["ids"]
        graph._nodes = HNSWIndex(graph.dim, graph.space, graph.seed, links=meta["M"])
        removed = {node for node, ids in enumerate(by_node) if not ids}
        try:
            graph._nodes.load(folder / index_meta.INDEX, len(by_node), removed)
        except ValueError as error:
            raise index_meta.GraphRefused(f"{error}; delete {folder} to rebuild") from error
        graph._ids = NodeIds(by_node, node_keys(graph._nodes.vectors(), graph.space))
        return graph

    def _nearest(self, queries: Vectors, k: int, choice: SearchFilter | None) -> Found:
        """At most k ids and similarities for each of the checked queries [Q, D]."""
        rankings = self._nodes.nearest(queries, k, None if choice is None else choice.nodes)
        found = [self._ids.ranked(ranking, k, choice) for ranking in rankings]
        ids = [[id for id, _ in pairs] for pairs in found]
        return ids, [[self._similarity(distance) for _, distance in pairs] for pairs in found]

    def _similarity(self, distance: float) -> float:
        if self.space == "l2":
            return -distance
        similarity = 1.0 - distance
        if self.space == "cosine" and not -1.0 <= similarity <= 1.0:  # by the last bits
            return 1.0 if similarity > 0 else -1.0
        return similarity
