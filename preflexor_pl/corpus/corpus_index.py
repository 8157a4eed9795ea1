"""CorpusIndex: the chunks of a corpus, the graph of their vectors, and the embedder.

``CorpusIndex.open`` builds it once and finds it again in the run's folder: index.bin, meta.json,
chunks.jsonl, and vectors.bin, from which a graph of a corpus that has changed takes the vectors of
what has not. Texts are escaped on entry, so nothing that comes out can forge a turn or a marker.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.corpus.checks import usable_rows
from preflexor_pl.corpus.chunks import Chunk, split_all
from preflexor_pl.corpus.embedder import Embedder
from preflexor_pl.corpus.graph import CorpusGraph
from preflexor_pl.corpus.hold_out import held_out_documents
from preflexor_pl.corpus.index_meta import META, GraphRefused
from preflexor_pl.corpus.near_copies import near_copies
from preflexor_pl.corpus.reader import read_folder
from preflexor_pl.corpus.records import ColumnRead, Documents, Skipped
from preflexor_pl.corpus.saved_index import (
    BAD_VECTOR,
    FORMAT,
    escaped,
    fingerprint_of,
    read_saved,
    sizes_that_fit,
    write_saved,
)
from preflexor_pl.corpus.seen_documents import Lineage, hashes_of
from preflexor_pl.corpus.vectors import VECTORS, Rows, embed
from preflexor_pl.corpus.walk import walk as walked

log = logging.getLogger(__name__)


@dataclass
class CorpusIndex:
    """A corpus, ready to be searched.

    Attributes:
        chunks: by id, in the order of documents.
        graph: of all chunks' vectors; its ids are those of ``chunks``.
        embedder: the model that made the vectors and makes those of queries.
        skipped: files, rows and chunks that are left out, each with its reason.
        embedded: how many texts were embedded to make this; the others' vectors were there.
        columns: that the texts of records were read from.
    """

    chunks: dict[str, Chunk]
    graph: CorpusGraph
    embedder: Embedder
    skipped: list[Skipped]
    embedded: int = 0
    columns: Sequence[ColumnRead] = ()

    @classmethod
    def open(
        cls,
        corpus_folder: str | Path,
        embedder_name: str,
        chunk_tokens: int,
        chunk_overlap: int,
        folder: str | Path,
        seed: int = 0,
        progress: Callable[[str, int, int], None] | None = None,
        special_tokens: Collection[str] = (),
        text_column: str | None = None,
    ) -> "CorpusIndex":
        """Reads the corpus and loads its graph from ``folder``, or builds and saves it there.

        Args:
            corpus_folder: documents, or a data set's hub id (see ``reader``).
            embedder_name: folder, ``package:...`` or hub id.
            chunk_tokens: most tokens of a chunk; the embedder's limit where that is lower.
            chunk_overlap: most tokens that neighbouring chunks share.
            folder: of the graph. One that is damaged, or of another corpus, embedder or setting,
                is built anew from the vectors that are kept there, with a line in the log.
            seed: of the graph.
            progress: called with (stage, done, total); total 0: not known.
            special_tokens: special and added tokens that are escaped in the text.
            text_column: of records, the one that holds the text; None: see ``columns``.

        Raises:
            ConfigError: no such folder or embedder; chunk sizes that make no sense.
            CorpusError: nothing usable in the corpus.
            ResourceError: ``folder`` cannot be written.
        """
        if chunk_tokens < 1 or not 0 <= chunk_overlap < chunk_tokens:
            raise ConfigError(
                f"data.chunk_tokens must be at least 1 and data.chunk_overlap from 0 to below it, "
                f"not {chunk_tokens} and {chunk_overlap}"
            )
        embedder, folder = Embedder(embedder_name), Path(folder)
        report = progress or (lambda stage, done, total: None)
        found = read_folder(corpus_folder, lambda n: report("reading", n, 0), column=text_column)
        documents = [escaped(document, special_tokens) for document in found.documents]
        settings = [FORMAT, embedder.identity, chunk_tokens, chunk_overlap, seed]
        fingerprint = fingerprint_of(documents, settings)
        library = _load(folder, fingerprint, embedder, found)
        if library is None:
            report("cutting", 0, len(documents))  # the embedder loads, which takes a while
            sizes = sizes_that_fit(embedder, chunk_tokens, chunk_overlap)
            chunks = split_all(documents, embedder.tokenizer, *sizes, partial(report, "cutting"))
            rows, fresh = embed(chunks, embedder, folder / VECTORS, partial(report, "embedding"))
            library = _build(chunks, rows, embedder, seed, found)
            library.embedded = fresh
            library._save(folder, fingerprint)
        library.columns = found.columns
        return library

    @classmethod
    def load(cls, folder: str | Path, embedder_name: str) -> "CorpusIndex":
        """Reads what ``open`` saved, without the corpus.

        Args:
            folder: of the graph.
            embedder_name: the embedder that made it, as ``open`` was given it.

        Raises:
            ConfigError: no such embedder, or another one than that of the graph.
            CorpusError: there is no graph, or it is damaged.
        """
        folder, embedder = Path(folder), Embedder(embedder_name)
        try:
            graph, chunks = read_saved(folder)
        except OSError as error:
            raise CorpusError(f"{folder} holds no graph: give the folder of a run") from error
        if graph.extra.get("embedder") != embedder.identity:
            raise ConfigError(
                f"{embedder.name} is not the embedder of {folder}, which is "
                f"{graph.extra.get('embedder')}"
            )
        return cls(chunks, graph, embedder, [])

    @property
    def documents(self) -> list[str]:
        """Ids of the documents that have chunks, sorted."""
        return sorted({chunk.document for chunk in self.chunks.values()})

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Of the documents' contents, by their ids."""
        return hashes_of(self.chunks.values())

    @cached_property
    def near_copies(self) -> dict[str, str]:
        """The first document of each document's group of near-copies, by their ids."""
        return near_copies(self.chunks.values())

    def hold_out(
        self, count: int, seed: int, lineage: Lineage | None = None
    ) -> tuple[list[str], list[str]]:
        """Splits the chunks by whole documents, near-copies together (``held_out_documents``).

        Args:
            count: documents to hold out, >= 0.
            seed: chooses which.
            lineage: what the phases before used; None for a first phase.

        Returns:
            (train, held): chunk ids, each list in the order of ``chunks``.

        Raises:
            ConfigError: so many cannot be held out, or none would be left to train on.
        """
        held = held_out_documents(self.hashes, self.near_copies, count, seed, lineage or Lineage())
        train = [id for id, chunk in self.chunks.items() if chunk.document not in held]
        return train, [id for id, chunk in self.chunks.items() if chunk.document in held]

    def context(
        self,
        k: int,
        seed: int,
        within: Collection[str] | None = None,
        start: str | None = None,
        walk: bool = False,
    ) -> list[Chunk]:
        """At most k chunks (of ``within``) that a question can rest on.

        Args:
            k: how many, >= 1.
            seed: of what is drawn.
            within: only these ids; None for all.
            start: the first chunk's id; None draws it.
            walk: whether the others lie on a walk from it, or are its nearest neighbours.
        """
        first = self.graph.sample_context(1, seed, within) if start is None else [start]
        if walk and first:
            ids = walked(self.graph, first[0], k, seed, within)
        else:
            near = self.graph.neighbours(first[0], k - 1, within)[0] if first and k > 1 else []
            ids = [*first, *near]
        return [self.chunks[id] for id in ids]

    def search(self, text: str, k: int, within: Collection[str] | None = None) -> list[Chunk]:
        """The k chunks (of ``within``) most similar to a text, most similar first."""
        return [chunk for chunk, _ in self.ranked(text, k, within)]

    def ranked(
        self, query: str | Rows, k: int, within: Collection[str] | None = None
    ) -> list[tuple[Chunk, float]]:
        """As ``search``, for a text or its vector [D], each chunk with its cosine similarity."""
        vectors = self.embedder.encode([query]) if isinstance(query, str) else query[None]
        ids, similarities = self.graph.search(vectors, k, within)
        return [(self.chunks[id], near) for id, near in zip(ids[0], similarities[0], strict=True)]

    def keep(self, folder: Path) -> None:
        """Save it, unless there is one already; for a run with a graph from elsewhere."""
        if not (folder / META).exists():
            self._save(folder, "from elsewhere")

    def _save(self, folder: Path, fingerprint: str) -> None:
        made_with = self.embedder.identity
        write_saved(folder, self.graph, self.chunks, fingerprint, made_with, self.skipped)


def _build(
    chunks: list[Chunk], rows: Rows, embedder: Embedder, seed: int, found: Documents
) -> CorpusIndex:
    usable = usable_rows(rows)
    if not usable.any():
        raise CorpusError(f"data.embedder: {embedder.name} gives no usable vector for any chunk")
    dropped = [Skipped(chunks[i].id, BAD_VECTOR) for i in np.flatnonzero(~usable)]
    kept = {chunks[i].id: chunks[i] for i in np.flatnonzero(usable)}
    graph = CorpusGraph.build(list(kept), rows[usable], seed=seed)
    return CorpusIndex(kept, graph, embedder, [*found.skipped, *dropped])


def _load(
    folder: Path, fingerprint: str, embedder: Embedder, found: Documents
) -> CorpusIndex | None:
    """The saved index, or None (with a line in the log) where it has to be built."""
    if not (folder / META).exists():
        return None
    try:
        graph, chunks = read_saved(folder)
        if graph.extra.get("fingerprint") != fingerprint:
            raise GraphRefused("the corpus, the embedder or a setting has changed")
    except (GraphRefused, OSError) as reason:
        log.info("building the graph in %s anew: %s", folder, reason)
        return None
    dropped = [Skipped(*entry) for entry in graph.extra["dropped"]]
    return CorpusIndex(chunks, graph, embedder, found.skipped + dropped)
