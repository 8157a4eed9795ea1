"""Text of PDF, DOCX, parquet and Arrow files; runs as a script, in a process that may die.

``sandbox`` starts it, sends a request a line, ``{"path": ..., "kind": ...}``, and reads the
answers, a line of JSON each: ``ready``; one ``text`` for each page, paragraph or row (``skip`` for
a row that is left out); and ``end``, with the reason where the file cannot be used. Nothing of this
project is imported here, so that the process is small and starts quickly.
"""

import importlib
import json
import os
import resource
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

MEMORY_BYTES = 2**31  # of addresses; the libraries alone take about a quarter of it
CPU_SECONDS = 400  # for one file, should nobody be left to end this process
WORN_BYTES = 400_000_000  # a process that has grown to this is replaced before the next file
FLUSH_SECONDS = 0.02
MAX_ROWS = 2_000_000  # of one file
MAX_ROW_BYTES = 4_000_000
BATCH_ROWS = 256
MAX_XML_BYTES = 40_000_000  # unpacked; a tree of it takes about ten times as much
MAX_UNPACKED_BYTES = 400_000_000
MAX_TITLE = 1000  # characters; it goes with every piece
TITLES = ("title", "id")  # columns

Piece = dict[str, Any]


class Refused(Exception):
    """Why a file cannot be used, in words for the user."""


def pdf(path: str) -> Iterator[Piece]:
    """The text layer, a page at a time."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

    with open(path, "rb") as file:
        file.seek(-min(2048, os.fstat(file.fileno()).st_size), os.SEEK_END)
        if b"%%EOF" not in file.read():
            raise Refused("truncated")
        try:
            reader = PdfReader(file)
            title = str((reader.metadata and reader.metadata.title) or "")[:MAX_TITLE]
            found = False
            for page in reader.pages:
                text = page.extract_text()
                found = found or bool(text.strip())
                yield {"title": title, "text": text}
        except (DependencyError, FileNotDecryptedError):
            raise Refused("encrypted") from None
        except LimitReachedError:
            raise Refused("too large unpacked") from None
    if not found:
        raise Refused("no text layer")


def docx(path: str) -> Iterator[Piece]:
    """Paragraphs and tables in their order; headings become those of Markdown."""
    from docx import Document
    from docx.table import Table

    with zipfile.ZipFile(path) as archive:  # of a member, no more than its declared size is read
        members = archive.infolist()
    if "word/document.xml" not in {member.filename for member in members}:
        raise Refused("a zip file, not a Word document")
    if any(member.flag_bits & 1 for member in members):
        raise Refused("encrypted")
    xml = sum(m.file_size for m in members if m.filename.endswith((".xml", ".rels")))
    if xml > MAX_XML_BYTES or sum(m.file_size for m in members) > MAX_UNPACKED_BYTES:
        raise Refused("too large unpacked")
    document = Document(path)
    title = (document.core_properties.title or "")[:MAX_TITLE]
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            rows = [" | ".join(cell.text.strip() for cell in row.cells) for row in block.rows]
            yield {"title": title, "text": "\n".join(rows)}
            continue
        style = (block.style and block.style.name) or ""
        level = style.removeprefix("Heading ")
        mark = "#" * min(int(level), 6) + " " if style != level and level.isdecimal() else ""
        yield {"title": title, "text": mark + block.text if block.text.strip() else ""}


def parquet(path: str) -> Iterator[Piece]:
    """Rows, read in batches of the columns that count."""
    from pyarrow import parquet as files

    with files.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        names = _columns(file.schema_arrow)
        batches = file.iter_batches(BATCH_ROWS, columns=names, use_threads=False)
        yield from _rows(batches, names)


def arrow(path: str) -> Iterator[Piece]:
    """Rows of a file as ``datasets`` saves them (Arrow's stream), or of Arrow's file format."""
    from pyarrow import OSFile, ipc

    with OSFile(path) as source:
        stream = source.read(6) != b"ARROW1"
        source.seek(0)
        opened = ipc.open_stream(source) if stream else ipc.open_file(source)
        schema = opened.schema
        names = _columns(schema)
        wanted = [schema.get_field_index(name) for name in names]
        options = ipc.IpcReadOptions(included_fields=wanted, use_threads=False)
        source.seek(0)
        if stream:
            yield from _rows(ipc.open_stream(source, options=options), names)
            return
        reader = ipc.open_file(source, options=options)
        numbers = range(reader.num_record_batches)
        yield from _rows((reader.get_batch(n) for n in numbers), names)


def _columns(schema: Any) -> list[str]:
    """The column of texts, and that of titles where there is one."""
    from pyarrow import types

    def holds_text(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)

    texts = [f.name for f in schema if holds_text(f.type) and f.name not in TITLES]
    if "text" not in texts and len(texts) != 1:
        raise Refused("no column named text")
    text = "text" if "text" in texts else texts[0]
    return [text, *(name for name in TITLES if name in schema.names)][:2]


def _rows(batches: Any, names: list[str]) -> Iterator[Piece]:
    import pyarrow

    count = 0
    for batch in batches:
        texts = batch.column(names[0])
        if pyarrow.types.is_dictionary(texts.type):
            texts = texts.dictionary_decode()
        texts = texts.cast(pyarrow.large_binary())  # not every file's strings are UTF-8
        titles = batch.column(names[1]) if len(names) > 1 else [None] * len(texts)
        for text, title in zip(texts, titles, strict=True):
            count += 1
            if count > MAX_ROWS:
                raise Refused("too many rows")
            if not text.is_valid:
                yield {"skip": "no text"}
            elif text.as_buffer().size > MAX_ROW_BYTES:
                yield {"skip": "too large"}
            else:
                named = "" if title is None or not title.is_valid else str(title)[:MAX_TITLE]
                yield {"title": named, "text": text.as_py().decode(errors="replace")}


PARSERS: dict[str, tuple[str, Callable[[str], Iterator[Piece]]]] = {
    "pdf": ("pypdf", pdf),
    "docx": ("docx", docx),
    "parquet": ("pyarrow.parquet", parquet),
    "arrow": ("pyarrow", arrow),
}


def serve(request: dict[str, str], answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer one request; whatever the file does to its parser, the last answer is an end."""
    library, parse = PARSERS[request["kind"]]
    try:
        importlib.import_module(library)
    except ImportError as error:
        answer({"broken": str(error)})
        return
    answer({"ready": True})
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime)
    _limit(resource.RLIMIT_CPU, spent + CPU_SECONDS, resource.RLIM_INFINITY)
    reason, worn = None, False
    try:
        for piece in parse(request["path"]):
            answer(piece)
    except Refused as refused:
        reason = str(refused)
    except MemoryError:
        reason, worn = "takes too much memory", True
    except RecursionError:
        reason = "nested too deeply"
    except Exception:  # untrusted bytes: the libraries raise nearly everything there is
        reason = "damaged"
    answer({"end": reason, "worn": worn or _resident() > WORN_BYTES})


def _resident() -> int:
    """Bytes of memory in use; where that is not told, the most that ever was (macOS: in bytes)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as told:
            return int(told.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _limit(which: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(which, (soft, hard))
    except (ValueError, OSError):  # a lower limit holds already, or (macOS) there is none
        return


def main() -> None:
    """Serve until the requests end."""
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _limit(resource.RLIMIT_AS, MEMORY_BYTES, MEMORY_BYTES)
    _limit(resource.RLIMIT_FSIZE, 0, 0)
    _limit(resource.RLIMIT_CORE, 0, 0)

    flushed = 0.0

    def answer(message: dict[str, Any]) -> None:
        nonlocal flushed
        line = json.dumps(message, ensure_ascii=False).encode(errors="replace")
        answers.write(line + b"\n")
        now = time.monotonic()
        if now - flushed > FLUSH_SECONDS or "text" not in message:  # rows come by the thousand
            answers.flush()
            flushed = now

    for line in sys.stdin.buffer:
        serve(json.loads(line), answer)


if __name__ == "__main__":
    main()
