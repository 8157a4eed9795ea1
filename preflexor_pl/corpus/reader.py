"""A folder of documents, read in a fixed order; what cannot be used is skipped with its reason.

Reads .md .txt .rst .html .htm and .jsonl (a line is a document). Corpus files are untrusted: links
out of the folder are not followed, sizes are bounded, and whatever a file holds, the run goes on.
"""

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from preflexor_pl.core.errors import ConfigError, CorpusError
from preflexor_pl.core.inert import NEVER_TEXT
from preflexor_pl.corpus.formats import decode, html_text, normalise

PLAIN = (".md", ".txt", ".rst")
HTML = (".html", ".htm")
JSONL = ".jsonl"
MAX_FILE_BYTES = 20_000_000
MAX_HTML_BYTES = 2_000_000  # the parser takes about a second and 100 MB for half of that
MAX_LINE_BYTES = 4_000_000  # of a .jsonl file, which may itself be of any size
MAX_CORPUS_CHARS = 1_000_000_000
MIN_WORDS = 20
# One Chinese or Japanese character or Korean syllable counts as a word: they are written unspaced.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")


class Skipped(NamedTuple):
    """A file, line or chunk that is left out: relative posix path (or id) and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Document:
    """A document. ``id``: posix path relative to the corpus folder, for a line ``file.jsonl#3``."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Documents:
    """What was read, in sorted order of paths, and what was not."""

    documents: list[Document] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[str]:
        """How many were skipped for each reason."""
        return Counter(reason for _, reason in self.skipped)

    @property
    def skipped_types(self) -> Counter[str]:
        """How many were skipped of each suffix ("" for none)."""
        return Counter(Path(re.sub(r"#\d+$", "", path)).suffix.lower() for path, _ in self.skipped)


class _Unusable(Exception):
    """The reason why a file or line is skipped."""


def read_folder(folder: str | Path, progress: Callable[[int], None] | None = None) -> Documents:
    """Reads every usable document below a folder, or the one file that is given.

    Args:
        folder: the corpus; hidden files and folders in it are ignored without a word.
        progress: called with the number of files seen so far, after each.

    Returns:
        Documents with normalised text, at least ``MIN_WORDS`` words each and no two alike.

    Raises:
        ConfigError: there is no such folder or file.
        CorpusError: nothing in it is usable; says what was seen.
    """
    root = Path(folder).expanduser()
    if not str(folder) or not root.exists():
        raise ConfigError(f"--data.corpus: there is no folder {str(folder)!r}")
    found = Documents()
    seen: set[bytes] = set()
    room = MAX_CORPUS_CHARS
    for count, path in enumerate(_walk(root, found.skipped), start=1):
        name = _relative(path, root)
        for document in _read_file(path, name, found.skipped):
            key = hashlib.sha256(" ".join(document.text.lower().split()).encode()).digest()
            room -= len(document.text)
            if key in seen:
                found.skipped.append(Skipped(document.id, "duplicate"))
            elif room < 0:
                found.skipped.append(Skipped(document.id, "corpus too large"))
            else:
                seen.add(key)
                found.documents.append(document)
        if progress:
            progress(count)
    if not found.documents:
        raise CorpusError(f"--data.corpus: no usable document in {str(folder)!r}; {_seen(found)}")
    return found


def _seen(found: Documents) -> str:
    """What was there, in words, for the message about a corpus without a document."""
    if not found.skipped:
        return f"it is empty (read are {', '.join([*PLAIN, *HTML, JSONL])})"
    types = ", ".join(f"{n} {s or 'without suffix'}" for s, n in found.skipped_types.most_common(8))
    reasons = ", ".join(f"{n} {reason}" for reason, n in found.reasons.most_common())
    return f"seen: {types}; skipped: {reasons}"


def _walk(root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Files in sorted order; links to folders are not entered, nor links out of the corpus."""
    if root.is_file():
        yield root
        return
    inside = root.resolve()

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(_relative(Path(error.filename), root), "unreadable"))

    for parent, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            path = Path(parent, name)
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                skipped.append(Skipped(_relative(path, root), "link out of the corpus"))
            else:
                yield path


def _relative(path: Path, root: Path) -> str:
    """The path as an id; bytes that are no UTF-8 are written out, as ids go into JSON."""
    relative = path.relative_to(root) if path != root else Path(path.name)
    return relative.as_posix().encode(errors="surrogateescape").decode(errors="backslashreplace")


def _read_file(path: Path, name: str, skipped: list[Skipped]) -> Iterator[Document]:
    """The documents of one file; appends what is unusable of it."""
    suffix = path.suffix.lower()
    try:
        status = path.stat()
        if suffix not in (*PLAIN, *HTML, JSONL):
            raise _Unusable("unsupported type")
        if not stat.S_ISREG(status.st_mode):
            raise _Unusable("not a file")  # opening a pipe would wait for ever
        if suffix == JSONL:
            yield from _read_lines(path, name, skipped)
            return
        limit = MAX_HTML_BYTES if suffix in HTML else MAX_FILE_BYTES
        if status.st_size > limit:
            raise _Unusable("too large")
        with path.open("rb") as handle:
            yield _document(name, handle.read(limit), suffix)
    except _Unusable as reason:
        skipped.append(Skipped(name, str(reason)))
    except OSError:
        skipped.append(Skipped(name, "unreadable"))


def _document(name: str, data: bytes, suffix: str) -> Document:
    text = decode(data)
    if text is None:
        raise _Unusable("not text")
    title = ""
    if suffix in HTML:
        title, text = html_text(text)
    text = _checked(text)
    heading = re.match(r"#+ +(.+)", text)
    return Document(name, title or (heading[1].strip(" #") if heading else Path(name).stem), text)


def _checked(text: str) -> str:
    text = normalise(text)
    if not text:
        raise _Unusable("empty")
    # Counted one by one: a list of the words of 20 MB would be gigabytes.
    if sum(1 for _ in zip(range(MIN_WORDS), WORD.finditer(text), strict=False)) < MIN_WORDS:
        raise _Unusable("too short")
    return text


def _read_lines(path: Path, name: str, skipped: list[Skipped]) -> Iterator[Document]:
    """One document a line, ``{"text": ..., "title": ...}``; memory is bounded by a line's limit."""
    with path.open("rb") as handle:
        number = 0
        while data := handle.readline(MAX_LINE_BYTES + 1):
            number += 1
            line = f"{name}#{number}"
            try:
                if len(data) > MAX_LINE_BYTES:
                    while data and not data.endswith(b"\n"):
                        data = handle.readline(MAX_LINE_BYTES)
                    raise _Unusable("too large")
                if data.strip():
                    yield _line_document(line, data)
            except _Unusable as reason:
                skipped.append(Skipped(line, str(reason)))
    if number == 0:
        raise _Unusable("empty")


def _line_document(line: str, data: bytes) -> Document:
    try:
        record = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        raise _Unusable("not JSON") from None
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise _Unusable("no text")
    title = record.get("title") or record.get("id") or line
    return Document(line, NEVER_TEXT.sub("", str(title)), _checked(text))
