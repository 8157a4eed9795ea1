"""Vectors of texts, kept on disk by what they were made from: a text is embedded once.

Texts are embedded in blocks, neighbouring chunks of one file, and batches stay within their block:
the last bits of a vector depend on what was in its batch. So the vectors of a block follow from its
texts alone (on one machine), and a graph of kept vectors is to the bit the graph built anew. A file
that is new or has changed is embedded; the others are read from here.

The file is a line of JSON (embedder, dimension), then blocks: sha256 of the texts, their number N,
N x D float32, sha256 of all that. They are appended as they are made, so that nothing is lost when
a run is killed; what is not whole at the end is written over.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preflexor_pl.core.errors import ResourceError
from preflexor_pl.corpus.checks import usable_rows
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.corpus.index_meta import write_atomically
from preflexor_pl.corpus.records import file_of

VECTORS = "vectors.bin"
FORMAT = 1
BLOCK = 256  # texts, at most
SHA = 32  # bytes

Rows = NDArray[np.float32]

log = logging.getLogger(__name__)


def embed(
    chunks: Sequence[Chunk],
    embedder: Embedder,
    path: Path,
    progress: Callable[[int, int], None],
) -> tuple[Rows, int]:
    """Vectors of chunks, from the file where it has them.

    Args:
        chunks: N, those of a file beside each other.
        embedder: makes what is missing; blocks with a vector that is NaN or zero are not kept.
        path: of the file; made, added to, or started anew where it is another embedder's.
        progress: called with (done, N) after each block.

    Returns:
        ([N, D], how many texts were embedded now).

    Raises:
        ResourceError: the file cannot be written.
    """
    store = VectorStore(path, embedder.identity, embedder.dim)
    rows = np.empty((len(chunks), embedder.dim), dtype=np.float32)
    done, fresh, used = 0, 0, set[bytes]()
    for texts in _blocks(chunks):
        key = hashlib.sha256(json.dumps(texts).encode()).digest()
        block = store.get(key)
        if block is None:
            block = embedder.encode(texts)
            fresh += len(texts)
            if usable_rows(block).all():
                store.add(key, block)
        used.add(key)
        rows[done : done + len(texts)] = block
        done += len(texts)
        progress(done, len(chunks))
    store.tidy(used)
    return rows, fresh


def _blocks(chunks: Sequence[Chunk]) -> Iterator[list[str]]:
    for _, group in groupby(chunks, key=lambda chunk: file_of(chunk.document)):
        texts = [chunk.text for chunk in group]
        for first in range(0, len(texts), BLOCK):
            yield texts[first : first + BLOCK]


class VectorStore:
    """The file of one embedder's vectors.

    Args:
        path: of the file.
        identity: of the embedder.
        dim: D.

    Raises:
        ResourceError: it cannot be written.
    """

    def __init__(self, path: Path, identity: str, dim: int) -> None:
        self.path, self.dim = path, dim
        self._header = json.dumps({"format": FORMAT, "embedder": identity, "dim": dim}) + "\n"
        self._places: dict[bytes, tuple[int, int]] = {}  # key -> (where its numbers begin, N)
        self._end = 0
        self._scan()

    def get(self, key: bytes) -> Rows | None:
        """[N, D] of a block, or None where it is not there."""
        if key not in self._places:
            return None
        start, count = self._places[key]
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(count * self.dim * 4)
        return np.frombuffer(data, dtype="<f4").reshape(count, self.dim).astype(np.float32)

    def add(self, key: bytes, rows: Rows) -> None:
        """Keeps a block, at once."""
        record = key + len(rows).to_bytes(4, "little") + rows.astype("<f4").tobytes()
        try:
            if not self._end:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text(self._header, encoding="utf-8")
                self._end = len(self._header.encode())
            with self.path.open("r+b") as file:
                file.seek(self._end)
                file.write(record + hashlib.sha256(record).digest())
                file.truncate()
        except OSError as error:
            raise ResourceError(f"cannot write {self.path}: {error.strerror}") from error
        self._places[key] = self._end + SHA + 4, len(rows)
        self._end += len(record) + SHA

    def tidy(self, used: set[bytes]) -> None:
        """Drops the blocks that are not ``used``, once they are more than half of the file."""
        stale = [count for key, (_, count) in self._places.items() if key not in used]
        if 2 * sum(stale) <= sum(count for _, count in self._places.values()):
            return
        kept = {key: place for key, place in self._places.items() if key in used}
        write_atomically(self.path, lambda part: self._copy(part, kept))
        self._places.clear()
        self._scan()

    def _copy(self, part: Path, kept: dict[bytes, tuple[int, int]]) -> None:
        with self.path.open("rb") as old, part.open("wb") as new:
            new.write(self._header.encode())
            for start, count in kept.values():
                old.seek(start - SHA - 4)
                new.write(old.read(SHA + 4 + count * self.dim * 4 + SHA))

    def _scan(self) -> None:
        """Finds the blocks of the file; ``_end`` is that of the last whole one, 0 without any."""
        self._end = 0
        with suppress(FileNotFoundError, NotADirectoryError), self.path.open("rb") as file:
            if file.readline(10_000) != self._header.encode():
                log.info("embedding anew: %s is of another embedder, or damaged", self.path)
                return
            self._end = file.tell()
            while head := file.read(SHA + 4):
                count = int.from_bytes(head[SHA:], "little")
                numbers = file.read(count * self.dim * 4) if count <= BLOCK else b""
                if file.read(SHA) != hashlib.sha256(head + numbers).digest():
                    log.info("%s is damaged: embedding anew what it held from there on", self.path)
                    return
                self._places[head[:SHA]] = self._end + SHA + 4, count
                self._end = file.tell()
