"""A corpus of documents, read in a fixed order; what cannot be used is skipped with its reason.

A corpus is a folder (what ``datasets`` saved to disk is one), a file, or a data set on the hub.
Read are .md .markdown .txt .rst .html .htm .xhtml .pdf .docx, and .jsonl .ndjson .json .csv .tsv
.parquet .arrow, whose records are documents. What this project writes, hidden files and caches are
no corpus (``skipped_folders``). Links out of it are not followed; whatever a file holds, the run
goes on.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.corpus.documents import SUFFIXES, read_file
from preflexor_pl.corpus.records import Document, Documents, Skipped
from preflexor_pl.corpus.sandbox import Sandbox
from preflexor_pl.corpus.skipped_folders import HIDDEN, why_no_corpus
from preflexor_pl.corpus.sources import Source, find_corpus

MAX_CORPUS_CHARS = 1_000_000_000
MAX_ENTRIES = 5_000_000  # documents and what is skipped: each takes some hundred bytes
TOO_LARGE = "corpus too large: this and what follows is left out"
# What ``datasets`` writes beside its tables.
NOTES = ("state.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json")


def read_folder(
    folder: str | Path,
    progress: Callable[[int], None] | None = None,
    enough: int | None = None,
    column: str | None = None,
) -> Documents:
    """Reads every usable document of a corpus.

    Args:
        folder: a folder or file, or a hub id.
        progress: called with the number of documents seen so far, the skipped ones too, after each.
        enough: stop after so many usable ones; None: read all.
        column: of records, the one that holds the text; None: see ``columns``.

    Returns:
        Documents with normalised text, at least ``MIN_WORDS`` words each and no two alike.

    Raises:
        ConfigError: there is no such folder, file or data set.
        CorpusError: nothing in it is usable; says what was seen.
        ResourceError: the parser of binary formats does not start.
    """
    source = find_corpus(folder)
    found = Documents()
    seen: set[bytes] = set()
    room = MAX_CORPUS_CHARS
    with Sandbox() as sandbox:
        for count, entry in enumerate(_entries(source, sandbox, column), start=1):
            room -= len(entry.text) if isinstance(entry, Document) else 0
            if room < 0 or count > MAX_ENTRIES:
                name = entry.id if isinstance(entry, Document) else entry.path
                found.skipped.append(Skipped(name, TOO_LARGE))
                break
            if isinstance(entry, Skipped):
                found.skipped.append(entry)
            elif _is_repeated(entry, seen):
                found.skipped.append(Skipped(entry.id, "duplicate"))
            else:
                found.documents.append(entry)
            if progress:
                progress(count)
            if enough is not None and len(found.documents) >= enough:
                break
    if not found.documents:
        raise CorpusError(f"data.corpus: no usable document in {str(folder)!r}; {_seen(found)}")
    return found


def _is_repeated(document: Document, seen: set[bytes]) -> bool:
    """Whether a text was there before, but for case and white space; from now on it was."""
    key = hashlib.sha256(" ".join(document.text.lower().split()).encode()).digest()
    known = key in seen
    seen.add(key)
    return known


def _seen(found: Documents) -> str:
    """What was there, in words, for the message about a corpus without a document."""
    if not found.skipped:
        return f"it is empty (read are {', '.join(SUFFIXES)})"
    types = ", ".join(f"{n} {s or 'without suffix'}" for s, n in found.skipped_types.most_common(8))
    reasons = ", ".join(f"{n} {reason}" for reason, n in found.reasons.most_common())
    return f"seen: {types}; skipped: {reasons}"


def _entries(source: Source, sandbox: Sandbox, column: str | None) -> Iterator[Document | Skipped]:
    for path in _walk(source):
        if isinstance(path, Skipped):
            yield path
        else:
            yield from read_file(path, _relative(path, source.root), sandbox, column)


def _walk(source: Source) -> Iterator[Path | Skipped]:
    """Files in sorted order; links to folders are not entered, nor links out of the corpus."""
    root = source.root
    if root.is_file():
        yield root
        return
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(root, onerror=unreadable.append):
        folder = Path(parent)
        name = "" if folder == root else folder.name  # that of the corpus may be hidden
        if reason := why_no_corpus(name, {*folders, *files}):
            yield Skipped(_relative(folder, root), reason)
            folders.clear()
            continue
        folders.sort()
        for name in sorted(name for name in files if not _is_ignored(name)):
            path = folder / name
            if name.startswith("."):
                yield Skipped(_relative(path, root), HIDDEN)
            elif path.is_symlink() and not _inside(path, source.inside):
                yield Skipped(_relative(path, root), "link out of the corpus")
            else:
                yield path
    for error in unreadable:
        yield Skipped(_relative(Path(error.filename), root), "unreadable")


def _is_ignored(name: str) -> bool:
    cache = name.startswith("cache-") and name.endswith(".arrow")  # of ``datasets``
    return name in NOTES or cache


def _inside(link: Path, folder: Path) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(folder)  # unlike resolve, takes a loop


def _relative(path: Path, root: Path) -> str:
    """The path as an id; bytes that are no UTF-8 are written out, as ids go into JSON."""
    relative = path.relative_to(root) if path != root else Path(path.name)
    return relative.as_posix().encode(errors="surrogateescape").decode(errors="backslashreplace")
