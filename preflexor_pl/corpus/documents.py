"""One file of a corpus to documents: what it is, by its suffix and its content, and its limits.

Corpus files are untrusted: sizes are bounded, binary formats and HTML are parsed in another process
(``sandbox``), and what cannot be used is left out with its reason.
"""

import re
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from preflexor_pl.core.segmentation import words
from preflexor_pl.core.special_tokens import NEVER_TEXT
from preflexor_pl.corpus.charset import declared_in, decode, encoding_of
from preflexor_pl.corpus.clean_text import front_matter, is_text, normalise, printed_text
from preflexor_pl.corpus.columns import NoColumn, part, plain_text, text_column, title_column
from preflexor_pl.corpus.records import Document, Skipped, Unusable
from preflexor_pl.corpus.rows import csv_rows, json_rows
from preflexor_pl.corpus.sandbox import Sandbox

MARKDOWN = (".md", ".markdown")
PLAIN = (*MARKDOWN, ".txt", ".rst")
HTML = (".html", ".htm", ".xhtml")
JSON = (".jsonl", ".ndjson", ".json")
CSV = (".csv", ".tsv")
PRINTED = (".pdf", ".docx")
ROWS = (".parquet", ".arrow")
SUFFIXES = (*PLAIN, *HTML, *PRINTED, *JSON, *CSV, *ROWS)
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar", ".tar", ".tgz")
MAX_FILE_BYTES = 20_000_000  # of text, in a PDF too; records may lie in a file of any size
MAX_PRINTED_BYTES = 200_000_000  # with its pictures
MAX_TITLE = 300
MIN_WORDS = 20
MUCH_MARKUP = 2000  # characters of a page that has fewer words than that
MAGIC = {b"%PDF-": ".pdf", b"PK\x03\x04": ".docx", b"PAR1": ".parquet", b"ARROW1": ".arrow"}
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # what Word wraps an encrypted document in, and old ones
STREAM = b"\xff\xff\xff\xff"  # how Arrow's streams begin
HEAD_BYTES = 1024  # a PDF may begin anywhere in them


def read_file(
    path: Path, name: str, sandbox: Sandbox, column: str | None = None
) -> Iterator[Document | Skipped]:
    """The documents of one file, and what is unusable of it.

    Args:
        path: of the file.
        name: its id.
        sandbox: where binary formats are parsed.
        column: of records, the one that holds the text; None: see ``columns``.
    """
    try:
        status = path.stat()
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise Unusable("packed: unpack it" if suffix in PACKED else "unsupported type")
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("not a file")  # opening a pipe would wait for ever
        if status.st_size == 0:
            raise Unusable("empty")
        suffix = _by_content(path, suffix)
        if suffix in ROWS:
            yield from _rows(path, name, suffix, sandbox, column)
        elif suffix in (*JSON, *CSV):
            yield from _records(path, name, suffix, column)
        elif status.st_size > (MAX_PRINTED_BYTES if suffix in PRINTED else MAX_FILE_BYTES):
            raise Unusable("too large")
        elif suffix in PRINTED:
            yield _printed(path, name, suffix, sandbox)
        elif suffix in HTML:
            yield _page(path, name, sandbox)
        else:
            yield _text(path, name, suffix)
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


def _read(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(MAX_FILE_BYTES)


def _text(path: Path, name: str, suffix: str) -> Document:
    text = decode(_read(path))
    if text is None:
        raise Unusable("not text")
    title = ""
    if suffix in MARKDOWN:
        title, text = front_matter(normalise(text))
    return _named(name, title, _checked(text))


def _page(path: Path, name: str, sandbox: Sandbox) -> Document:
    """An HTML page, as it is shown."""
    data = _read(path)
    encoding = encoding_of(data, declared_in(data))
    if decode(data, encoding) is None:
        raise Unusable("not text")
    title, parts = _parsed(sandbox, path, "html", encoding=encoding)
    lines = "".join(parts).split("\n")
    try:
        text = _checked("\n".join(line.strip() for line in lines))
    except Unusable:
        if len(data) > MUCH_MARKUP:
            raise Unusable("much markup, no text") from None
        raise
    return _named(name, title, text)


def _printed(path: Path, name: str, suffix: str, sandbox: Sandbox) -> Document:
    """A PDF or a Word document, from its pages or paragraphs."""
    title, parts = _parsed(sandbox, path, suffix[1:])
    text = printed_text(parts) if suffix == ".pdf" else "\n\n".join(filter(None, parts))
    if not is_text(text):  # fonts that do not say which letters they draw
        raise Unusable("not text")
    return _named(name, title, _checked(text))


def _parsed(sandbox: Sandbox, path: Path, kind: str, **options: Any) -> tuple[str, list[str]]:
    """Title and parts of a file, within the limit on its text."""
    title, parts, room = "", list[str](), MAX_FILE_BYTES
    with closing(sandbox.read(path, kind, **options)) as pieces:
        for piece in pieces:
            title = piece.title
            parts.append(piece.text)
            room -= len(piece.text)
            if room < 0:
                raise Unusable("too large unpacked")
    return title, parts


def _rows(
    path: Path, name: str, suffix: str, sandbox: Sandbox, column: str | None
) -> Iterator[Document | Skipped]:
    with closing(sandbox.read(path, suffix[1:], wanted=column)) as pieces:
        for number, piece in enumerate(pieces, start=1):
            if piece.skip:
                yield Skipped(f"{name}#{number}", piece.skip)
            else:
                yield _row(f"{name}#{number}", piece.title, piece.text, piece.column)


def _records(
    path: Path, name: str, suffix: str, column: str | None
) -> Iterator[Document | Skipped]:
    """A document a record, ``{"text": ..., "title": ...}``, or a string."""
    for number, record in json_rows(path, column) if suffix in JSON else csv_rows(path):
        id = f"{name}#{number}"
        try:
            if isinstance(record, Unusable):
                raise record
            title, text, chosen = _record(record, column)
        except (Unusable, NoColumn) as reason:
            yield Skipped(id, str(reason))
        else:
            yield _row(id, title, text, chosen) if text else Skipped(id, "no text")


def _record(record: Any, column: str | None) -> tuple[str, str, str]:
    """Title, text, and the column that it is from."""
    if isinstance(record, str) and column is None:
        return "", record, ""
    if not isinstance(record, dict) or not record:
        return "", "", ""
    chosen = _chosen(record, column)
    named = title_column([name for name in record if name != chosen])
    title = record[named] if named else ""
    return (
        str(title or "") if isinstance(title, str | int) else "",
        plain_text(part(record, chosen)),
        chosen,
    )


def _chosen(record: dict[str, Any], column: str | None) -> str:
    """The column of the text: one that holds something comes before an empty one."""
    filled = [name for name, value in record.items() if value not in (None, "", [], {})]
    try:
        return text_column([*record], column, filled)
    except NoColumn:
        return text_column([*record], column)


def _row(id: str, title: str, text: str, column: str) -> Document | Skipped:
    try:
        return Document(id, NEVER_TEXT.sub("", title or id), _checked(text), column)
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
    if sum(1 for _ in zip(range(MIN_WORDS), words(text), strict=False)) < MIN_WORDS:
        raise Unusable("too short")
    return text
