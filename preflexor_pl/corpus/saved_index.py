"""A corpus index on disk: what it belongs to, how it is written and read again."""

import hashlib
import json
import logging
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from preflexor_pl.core.files import write_atomically
from preflexor_pl.core.special_tokens import escape_special_tokens
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.corpus.graph import CorpusGraph
from preflexor_pl.corpus.index_meta import GraphRefused, sha256_of
from preflexor_pl.corpus.records import Document, Skipped

CHUNKS = "chunks.jsonl"
BAD_VECTOR = "bad vector"  # why a chunk is left out
FORMAT = 1  # of chunks.jsonl and of how documents are cut: another number, another fingerprint

log = logging.getLogger(__name__)


def escaped(document: Document, special_tokens: Collection[str]) -> Document:
    """The document with its special tokens escaped."""
    title = escape_special_tokens(document.title, special_tokens)
    return replace(document, title=title, text=escape_special_tokens(document.text, special_tokens))


def fingerprint_of(documents: list[Document], settings: list[Any]) -> str:
    """SHA-256 of everything that determines the chunks and their graph."""
    total = hashlib.sha256(json.dumps(settings).encode())
    for document in documents:
        total.update(json.dumps([document.id, document.title, document.text]).encode())
    return total.hexdigest()


def sizes_that_fit(embedder: Embedder, tokens: int, overlap: int) -> tuple[int, int]:
    """Chunk size and overlap, at most what the embedder reads."""
    limit = embedder.max_tokens
    if tokens <= limit:
        return tokens, overlap
    log.info("data.chunk_tokens: %d, as %s reads no more than that", limit, embedder.name)
    return limit, min(overlap, limit - 1)


def write_saved(
    folder: Path,
    graph: CorpusGraph,
    chunks: dict[str, Chunk],
    fingerprint: str,
    embedder: str,
    skipped: list[Skipped],
) -> None:
    """Save a graph and its chunks, with what they belong to and the chunks without a vector.

    Raises:
        ResourceError: the folder cannot be written, or the disk is full.
    """
    lines = "".join(json.dumps(asdict(chunk)) + "\n" for chunk in chunks.values())
    write_atomically(folder / CHUNKS, lines)
    graph.save(
        folder,
        fingerprint=fingerprint,
        embedder=embedder,
        chunks_sha256=sha256_of(folder / CHUNKS),
        dropped=[one for one in skipped if one.reason == BAD_VECTOR],
    )


def read_saved(folder: Path) -> tuple[CorpusGraph, dict[str, Chunk]]:
    """A saved graph and its chunks, by id.

    Raises:
        GraphRefused: a file is not as it was saved.
        OSError: a file cannot be read.
    """
    graph = CorpusGraph.load(folder)
    if sha256_of(folder / CHUNKS) != graph.extra.get("chunks_sha256"):
        raise GraphRefused(f"{folder / CHUNKS} has changed")
    with (folder / CHUNKS).open(encoding="utf-8") as lines:
        chunks = [Chunk(**json.loads(line)) for line in lines]
    return graph, {chunk.id: chunk for chunk in chunks}
