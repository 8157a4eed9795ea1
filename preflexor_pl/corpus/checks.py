"""Input of the graph, checked: hnswlib takes NaN, zeros and a wrong dimension in silence."""

import hashlib
import operator
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

SPACES = ("cosine", "ip", "l2")
MAX_NORM = 1e18  # above, squared distances overflow float32
FAR = 1e200  # squared lengths beyond this, or below 1 / FAR, may have left float64's range


def usable_rows(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """[N] True for the rows of [N, D] that are finite and not all zeros."""
    return np.asarray(np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1))


def checked_vectors(vectors: ArrayLike, dim: int, space: str) -> NDArray[np.float32]:
    """Vectors as the index stores them: float32 [N, D], of length 1 for cosine.

    Raises:
        ValueError: not numbers, not [N, D] with this D, or a row that is not finite, all zeros or
            (but for cosine) longer than 1e18.
    """
    try:
        rows = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"vectors must be numbers, [N, {dim}]") from error
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(f"vectors must be [N, {dim}], not {list(rows.shape)}")
    squares = _squares(rows)
    if len(rows) and not (squares.min() > 1 / FAR and squares.max() < FAR):  # NaN fails both
        bad = np.flatnonzero(~usable_rows(rows))
        if len(bad):
            raise ValueError(f"vector {bad[0]} is not finite or all zeros ({len(bad)} such rows)")
        if space == "cosine":
            rows = rows / np.abs(rows).max(axis=1, keepdims=True)
            squares = _squares(rows)
    if space == "cosine":
        rows = rows / np.sqrt(squares)
    elif len(rows) and squares.max() > MAX_NORM**2:
        raise ValueError(f"vector {squares.argmax()} is longer than {MAX_NORM:g}")
    return np.ascontiguousarray(rows, dtype=np.float32)


def _squares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 1] squared lengths, without an array as large as the rows."""
    return np.asarray(np.einsum("nd,nd->n", rows, rows)[:, None])


def node_keys(rows: NDArray[np.float32], space: str) -> list[bytes]:
    """A key of 16 bytes for each row of [N, D], the same for equal vectors.

    For cosine, equal to 6 decimals: the same direction scaled by 3 differs in the last bits. (Some
    such pairs still fall to either side of a rounding limit, and then are two near nodes.)
    """
    rounded = rows.round(6) if space == "cosine" else rows
    rounded = rounded + np.float32(0)  # there is also a -0.0
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rounded]


def checked_ids(ids: Iterable[str]) -> list[str]:
    """The ids as a list.

    Raises:
        ValueError: one string instead of a list, something that is no string, an id given twice.
    """
    if isinstance(ids, str):
        raise ValueError(f"ids must be a list of strings, not {ids!r}")
    ids = list(ids)
    seen: set[str] = set()
    for id in ids:
        if not isinstance(id, str):
            raise ValueError(f"id {id!r} is not a string")
        if id in seen:
            raise ValueError(f"id {id!r} is given twice")
        seen.add(id)
    return ids


def checked_k(k: int) -> int:
    """The number of neighbours as an int.

    Raises:
        ValueError: not a whole number, or below 1.
    """
    try:
        k = operator.index(k)
    except TypeError as error:
        raise ValueError(f"k must be a whole number, not {k!r}") from error
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return k
