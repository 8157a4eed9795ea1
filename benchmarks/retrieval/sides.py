"""One index over some vectors, measured in this process alone.

``python -m benchmarks.retrieval.sides SIDE VECTORS.npz`` prints JSON. ``compare.py`` and
``scaling.py`` start it in a fresh process each time, in the environment that has the library. All
sides have one thread, the same vectors of length 1 and the inner product; the HNSW indexes also
have the same links and ef of construction.

Recall counts a neighbour that is at least as similar as the exact 10th, so ties are all correct.
"""

import ctypes
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np

from benchmarks.processes import print_result

K = 10
LINKS, EF_CONSTRUCTION, EF = 32, 200, 200  # those of CorpusGraph
EFS = (50, 100, EF, 400)
PASSES = 3  # over all queries; their median is reported
EQUAL = 1e-6  # difference of two similarities in float32


class Side(Protocol):
    """An index over [N, D].

    Attributes:
        package: distribution of the index.
        efs: values of ef to measure; 0 for an exact search.
    """

    package: str
    efs: tuple[int, ...]

    def __init__(self, rows: np.ndarray) -> None: ...

    def search(self, queries: np.ndarray, ef: int) -> Any:
        """Row numbers of the K nearest to each of [Q, D]: [Q, K], as an array or lists of ids."""
        ...


class Graph:
    """CorpusGraph, which chooses ef itself."""

    package, efs = "hnswlib", (EF,)

    def __init__(self, rows: np.ndarray) -> None:
        from preflexor_pl.corpus.graph import CorpusGraph

        self.graph = CorpusGraph.build([str(number) for number in range(len(rows))], rows)

    def search(self, queries: np.ndarray, ef: int) -> Any:
        """See ``Side``; ids are row numbers as text."""
        return self.graph.search(queries, K)[0]


class Hnswlib:
    """The library under CorpusGraph, used as its documentation shows."""

    package, efs = "hnswlib", EFS

    def __init__(self, rows: np.ndarray) -> None:
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=rows.shape[1])
        self.index.init_index(len(rows), ef_construction=EF_CONSTRUCTION, M=LINKS)
        self.index.add_items(rows, num_threads=1)

    def search(self, queries: np.ndarray, ef: int) -> Any:
        """See ``Side``."""
        self.index.set_ef(ef)
        return self.index.knn_query(queries, K, num_threads=1)[0]


class FaissHNSW:
    """faiss's HNSW index."""

    package, efs = "faiss-cpu", EFS

    def __init__(self, rows: np.ndarray) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION
        self.index.add(rows)

    def search(self, queries: np.ndarray, ef: int) -> Any:
        """See ``Side``."""
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, K)[1]


class FaissFlat:
    """faiss's exact index."""

    package, efs = "faiss-cpu", (0,)

    def __init__(self, rows: np.ndarray) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexFlatIP(rows.shape[1])
        self.index.add(rows)

    def search(self, queries: np.ndarray, ef: int) -> Any:
        """See ``Side``."""
        return self.index.search(queries, K)[1]


class Exact:
    """Exact search by a matrix product in numpy."""

    package, efs = "numpy", (0,)

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def search(self, queries: np.ndarray, ef: int) -> Any:
        """See ``Side``."""
        similar = queries @ self.rows.T  # [Q, N]
        top = np.argpartition(-similar, K - 1, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(similar, top, 1), axis=1)
        return np.take_along_axis(top, order, 1)


SIDES: dict[str, type[Side]] = {
    "CorpusGraph": Graph,
    "hnswlib": Hnswlib,
    "faiss HNSW": FaissHNSW,
    "faiss flat": FaissFlat,
    "numpy": Exact,
}


def measure(side: type[Side], rows: np.ndarray, queries: np.ndarray, tenth: np.ndarray) -> Any:
    """Build and search: times, memory above that of the process before, and recall.

    Args:
        side: index to build.
        rows: [N, D].
        queries: [Q, D].
        tenth: [Q] similarity of the exact 10th neighbour.
    """
    side(rows[:K]).search(queries[:1], side.efs[0])  # imports
    before, started = memory("VmRSS"), time.perf_counter()
    index = side(rows)
    built = time.perf_counter() - started
    return {
        "version": version(side.package),
        "build seconds": round(built, 3),
        "MB": round(memory("VmRSS") - before, 1),
        "MB at the peak of the build": round(memory("VmHWM") - before, 1),
        "searches": [search(index, ef, rows, queries, tenth) for ef in side.efs],
    }


def search(
    index: Side, ef: int, rows: np.ndarray, queries: np.ndarray, tenth: np.ndarray
) -> dict[str, float]:
    """Queries per second, all at once and one at a time, and recall."""
    together, alone = [], []
    index.search(queries[: len(queries) // 10], ef)
    for _ in range(PASSES):
        started = time.perf_counter()
        nearest = index.search(queries, ef)
        together.append(time.perf_counter() - started)
        started = time.perf_counter()
        for query in queries:
            index.search(query[None], ef)
        alone.append(time.perf_counter() - started)
    numbers = np.asarray(nearest).astype(int)  # [Q, K]
    similar = np.einsum("qd,qkd->qk", queries, rows[numbers])
    hits = [
        len(set(row[near].tolist()))
        for row, near in zip(numbers, similar >= tenth[:, None] - EQUAL, strict=True)
    ]
    return {
        "ef": ef,
        "recall@10": round(float(np.mean(hits)) / K, 5),
        "queries/s together": round(len(queries) / median(together), 1),
        "queries/s one at a time": round(len(queries) / median(alone), 1),
    }


def memory(key: str) -> float:
    """MB of this process: VmRSS is the current value, VmHWM the peak."""
    ctypes.CDLL(None).malloc_trim(0)  # return memory that the C library keeps for later
    [line] = [s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith(key)]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    given = np.load(sys.argv[2])
    print_result(measure(SIDES[sys.argv[1]], given["rows"], given["queries"], given["tenth"]))
