"""Can every node of an HNSW index be reached from every other? hnswlib does not promise it.

In tightly clustered data the nodes of a cluster link to each other alone: a search that enters in
another cluster, or is restricted to this one, then finds nothing, whatever ef is.
"""

import hnswlib
import numpy as np


def is_connected(index: hnswlib.Index) -> bool:
    """Whether the bottom layer is strongly connected (a search ends in it, from anywhere).

    Reads the links from the index's pickled state, the only place where hnswlib shows them.
    """
    state = index.__getstate__()[0]
    nodes, size = state["cur_element_count"], state["size_data_per_element"]
    if nodes < 2:
        return True
    rows = np.asarray(state["data_level0"]).view(np.uint8)[: nodes * size].reshape(nodes, size)
    first, width = state["offset_level0"], state["max_M0"]
    # A row begins with the number of links (two of four bytes), then 4 bytes for each link.
    counts = rows[:, first : first + 2].copy().view(np.uint16)[:, 0]
    links = rows[:, first + 4 : first + 4 + 4 * width].copy().view(np.uint32)
    used = np.arange(width) < counts[:, None]  # [N, 2M]
    sources = np.repeat(np.arange(nodes), counts)  # [E]
    targets = links[used].astype(np.int64)  # [E]
    return _reaches_all(sources, targets, nodes) and _reaches_all(targets, sources, nodes)


def _reaches_all(sources: np.ndarray, targets: np.ndarray, nodes: int) -> bool:
    """Breadth-first from node 0 over the edges sources -> targets, each [E]."""
    seen = np.zeros(nodes, dtype=bool)
    frontier = seen.copy()
    seen[0] = frontier[0] = True
    while frontier.any():
        following = np.zeros(nodes, dtype=bool)
        following[targets[frontier[sources]]] = True
        frontier = following & ~seen
        seen |= frontier
    return bool(seen.all())
