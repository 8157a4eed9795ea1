"""One file of a corpus to documents: what it is, by its suffix and its content, and its limits.

Corpus files are untrusted: sizes are bounded, binary formats are parsed in another process
(``sandbox``), and what cannot be used is left out with its reason.
"""

import json
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from preflexor_pl.core.inert import NEVER_TEXT
from preflexor_pl.corpus.formats import decode, html_text, is_text, normalise, printed_text
from preflexor_pl.corpus.records import Document, Skipped, Unusable
from preflexor_pl.corpus.sandbox import Sandbox

PLAIN = (".md", ".txt", ".rst")
HTML = (".html", ".htm")
JSONL = ".jsonl"
PRINTED = (".pdf", ".docx")
ROWS = (".parquet", ".arrow")
SUFFIXES = (*PLAIN, *HTML, *PRINTED, JSONL, *ROWS)
MAX_FILE_BYTES = 20_000_000  # of text, in a PDF too
MAX_HTML_BYTES = 2_000_000  # the parser takes about a second and 100 MB for half of that
MAX_PRINTED_BYTES = 200_000_000  # with its pictures
MAX_LINE_BYTES = 4_000_000  # of a .jsonl file, which may itself be of any size, as one of ROWS
MAX_TITLE = 300
MIN_WORDS = 20
# One Chinese or Japanese character or Korean syllable counts as a word: they are written unspaced.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
MAGIC = {b"%PDF-": ".pdf", b"PK\x03\x04": ".docx", b"PAR1": ".parquet", b"ARROW1": ".arrow"}
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # what Word wraps an encrypted document in, and old ones
STREAM = b"\xff\xff\xff\xff"  # how Arrow's streams begin
HEAD_BYTES = 1024  # a PDF may begin anywhere in them


def read_file(path: Path, name: str, sandbox: Sandbox) -> Iterator[Document | Skipped]:
    """The documents of one file, and what is unusable of it.

    Args:
        path: of the file.
        name: its id.
        sandbox: where binary formats are parsed.
    """
    try:
        status = path.stat()
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise Unusable("unsupported type")
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("not a file")  # opening a pipe would wait for ever
        if status.st_size == 0:
            raise Unusable("empty")
        suffix = _by_content(path, suffix)
        if suffix in ROWS:
            yield from _rows(path, name, suffix, sandbox)
        elif suffix == JSONL:
            yield from _json_lines(path, name)
        elif status.st_size > _limit(suffix):
            raise Unusable("too large")
        elif suffix in PRINTED:
            yield _printed(path, name, suffix, sandbox)
        else:
            with path.open("rb") as handle:
                yield _text(name, handle.read(_limit(suffix)), suffix)
    except Unusable as reason:
        yield Skipped(name, str(reason))
    except OSError:
        yield Skipped(name, "unreadable")


def _by_content(path: Path, suffix: str) -> str:
    """The suffix that a file should have: a renamed PDF is read as what it is."""
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    for magic, true_suffix in MAGIC.items():
        if head.startswith(magic):
            return true_suffix
    if suffix == ".docx" and head.startswith(OLE):
        raise Unusable("encrypted, or of an old Word")
    if suffix == ".pdf" and b"%PDF-" in head:
        return suffix
    if suffix == ".arrow" and head.startswith(STREAM):
        return suffix
    if suffix in (*PRINTED, *ROWS):
        raise Unusable(f"not a {suffix} file")
    return suffix


def _limit(suffix: str) -> int:
    if suffix in HTML:
        return MAX_HTML_BYTES
    return MAX_PRINTED_BYTES if suffix in PRINTED else MAX_FILE_BYTES


def _text(name: str, data: bytes, suffix: str) -> Document:
    text = decode(data)
    if text is None:
        raise Unusable("not text")
    title = ""
    if suffix in HTML:
        title, text = html_text(text)
    return _named(name, title, _checked(text))


def _printed(path: Path, name: str, suffix: str, sandbox: Sandbox) -> Document:
    """A PDF or a Word document, from its pages or paragraphs."""
    title, parts, room = "", list[str](), MAX_FILE_BYTES
    with closing(sandbox.read(path, suffix[1:])) as pieces:
        for piece in pieces:
            title = piece.title
            parts.append(piece.text)
            room -= len(piece.text)
            if room < 0:
                raise Unusable("too large unpacked")
    text = printed_text(parts) if suffix == ".pdf" else "\n\n".join(filter(None, parts))
    if not is_text(text):  # fonts that do not say which letters they draw
        raise Unusable("not text")
    return _named(name, title, _checked(text))


def _rows(path: Path, name: str, suffix: str, sandbox: Sandbox) -> Iterator[Document | Skipped]:
    with closing(sandbox.read(path, suffix[1:])) as pieces:
        for number, piece in enumerate(pieces, start=1):
            if piece.skip:
                yield Skipped(f"{name}#{number}", piece.skip)
            else:
                yield _row(f"{name}#{number}", piece.title, piece.text)


def _json_lines(path: Path, name: str) -> Iterator[Document | Skipped]:
    """One document a line, ``{"text": ..., "title": ...}``; memory is bounded by a line's limit."""
    with path.open("rb") as handle:
        number = 0
        while data := handle.readline(MAX_LINE_BYTES + 1):
            number += 1
            line = f"{name}#{number}"
            if len(data) > MAX_LINE_BYTES:
                while data and not data.endswith(b"\n"):
                    data = handle.readline(MAX_LINE_BYTES)
                yield Skipped(line, "too large")
            elif data.strip():
                yield _json_line(line, data)


def _json_line(line: str, data: bytes) -> Document | Skipped:
    try:
        record = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return Skipped(line, "not JSON")
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        return Skipped(line, "no text")
    return _row(line, str(record.get("title") or record.get("id") or ""), text)


def _row(id: str, title: str, text: str) -> Document | Skipped:
    try:
        return Document(id, NEVER_TEXT.sub("", title or id), _checked(text))
    except Unusable as reason:
        return Skipped(id, str(reason))


def _named(name: str, title: str, text: str) -> Document:
    """A document under its title, its first heading, or the name of its file."""
    title = " ".join(NEVER_TEXT.sub("", title).split())[:MAX_TITLE]
    heading = re.match(r"#+ +(.+)", text)
    return Document(name, title or (heading[1].strip(" #") if heading else Path(name).stem), text)


def _checked(text: str) -> str:
    text = normalise(text)
    if not text:
        raise Unusable("empty")
    # Counted one by one: a list of the words of 20 MB would be gigabytes.
    if sum(1 for _ in zip(range(MIN_WORDS), WORD.finditer(text), strict=False)) < MIN_WORDS:
        raise Unusable("too short")
    return text
