"""Records of text files, .jsonl .json .csv .tsv, read in bounded memory whatever their size.

JSON may be an object a line, one array, one object around an array (``{"data": [...]}``), or
objects one after another over any number of lines; a record that is a string is a text. Numbers are
those of lines where a record is a line.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from preflexor_pl.corpus.charset import SAMPLE_BYTES, decode, encoding_of
from preflexor_pl.corpus.columns import title_column
from preflexor_pl.corpus.records import Unusable

MAX_RECORD_CHARS = 4_000_000
WHOLE = ("cp932", "euc_jp", "gb18030", "big5", "cp949", "iso2022_jp")
MAX_NAME = 60  # of the only column of a table; a longer one is a text
BLOCK_CHARS = 2**16
# What the array of records is called in an object around it, as web services and exports have it.
AROUND = (
    "data", "rows", "records", "documents", "docs", "items", "entries", "examples", "articles",
    "results",
)  # fmt: skip
DELIMITERS = ",;\t|"
ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, one by one
SPACE = re.compile(r"[\s\ufeff]*")
BETWEEN = re.compile(r"[\s,]*")
NOT_JSON, TOO_LARGE = "not JSON", "too large"
REST = "not JSON from here on"
TOO_LARGE_REST = "too large, with what follows in the file"

Row = tuple[int, Any]  # its number, and its value, or Unusable: the reason

_DECODER = json.JSONDecoder()


def json_rows(path: Path, wanted: str | None = None) -> Iterator[Row]:
    """The records of a JSON file, each with its number.

    Args:
        path: of the file.
        wanted: the column of the text, which an array of records is not taken out of.
    """
    rows = _json_rows(path)
    first, second = next(rows, None), next(rows, None)
    inside = _array_in(first[1], wanted) if first and second is None else None
    if inside:
        yield from enumerate(inside, start=1)
    else:
        yield from chain(filter(None, (first, second)), rows)


def _array_in(record: Any, wanted: str | None) -> list[Any] | None:
    """The records that a file's only object is put around; None where it is a record itself."""
    if not isinstance(record, dict) or title_column([*record]) or "text" in record:
        return None
    arrays = [name for name in AROUND if name in record and isinstance(record[name], list)]
    if len(arrays) != 1 or (wanted or "").partition(".")[0] == arrays[0]:
        return None
    [name] = arrays
    return record[name] if all(isinstance(one, dict | str) for one in record[name]) else None


def _json_rows(path: Path) -> Iterator[Row]:
    file, encoding = _opened(path)
    with file:
        lines = _has_record_a_line(file)
        file.seek(0)
        for number, value in _lines(file) if lines else _values(file):
            yield number, _parsed(value, encoding) if isinstance(value, str) else value


def csv_rows(path: Path) -> Iterator[Row]:
    """The rows of a table as objects: its first line names the columns."""
    csv.field_size_limit(MAX_RECORD_CHARS)
    number, read = 0, Counter[str]()
    file, encoding = _opened(path)
    with file:
        first = file.readline(BLOCK_CHARS)
        file.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(DELIMITERS, key=first.count)
        try:
            reader = csv.reader(_bounded_lines(file, read), delimiter=delimiter)
            names = [_repaired(name, encoding).strip("\ufeff ") for name in next(reader, [])]
            if len(names) == 1 and len(names[0]) > MAX_NAME:
                number = 1
                yield number, names[0]  # a text, and no name
                names = ["text"]
            for cells in reader:
                number += 1
                read.clear()
                if cells:
                    texts = (_repaired(cell, encoding) for cell in cells)
                    yield number, dict(zip(names, texts, strict=False))
        except (csv.Error, Unusable):
            yield number + 1, Unusable(TOO_LARGE)


def _opened(path: Path) -> tuple[TextIO, str]:
    """The file as text, and the encoding of the lines that are not UTF-8.

    Their bytes are lone surrogates in the text until ``_repaired`` has them. A file in UTF-16 or
    in an East Asian encoding is in that as a whole: a byte of it may look like a bracket.
    """
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    encoding = encoding_of(sample)
    if encoding in WHOLE or encoding.startswith(("utf-16", "utf-32")):
        return path.open(encoding=encoding, errors="replace", newline=""), encoding
    others = b"\n".join(line for line in sample.split(b"\n") if not _is_utf8(line))
    text = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    return text, encoding_of(others)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _repaired(text: str, encoding: str) -> str:
    """The text of a record that may be in another encoding than UTF-8."""
    if not ESCAPED.search(text):
        return text
    data = text.encode("utf-8", "surrogateescape")
    return (decode(data) or "") if encoding == "utf-8" else data.decode(encoding, "replace")


def _has_record_a_line(file: TextIO) -> bool:
    """Whether the first record is one line."""
    text = file.read(BLOCK_CHARS)
    start = SPACE.match(text).end()  # type: ignore[union-attr]
    if text.startswith("[", start):
        return False
    while True:
        try:
            _, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            more = file.read(len(text)) if len(text) < MAX_RECORD_CHARS else ""
            if not more:
                first = text[start:].partition("\n")[0].rstrip()
                return first.endswith(("}", '"'))  # a line whose beginning is lost
            text += more
            continue
        following = text[end : end + 100].lstrip(" \t")
        return "\n" not in text[start:end] and following[:1] in ("", "\n", "\r")


def _lines(file: TextIO) -> Iterator[Row]:
    for number, line in enumerate(_bounded_reads(file), start=1):
        if line is None:
            yield number, Unusable(TOO_LARGE)
        elif text := line.strip("\ufeff\x1e \t\r\n"):
            yield number, text


def _parsed(text: str, encoding: str) -> Any:
    try:
        return json.loads(_repaired(text, encoding))
    except (ValueError, RecursionError):
        return Unusable(NOT_JSON)


def _values(file: TextIO) -> Iterator[Row]:
    """Values as text, one after another; those of an array each by itself."""
    text, at, number, inside = "", 0, 0, False
    while True:
        at = (BETWEEN if number or inside else SPACE).match(text, at).end()  # type: ignore[union-attr]
        mark = text[at : at + 1]
        if mark == ("]" if inside else "["):
            inside, at = not inside, at + 1
            continue
        try:
            _, end = _DECODER.raw_decode(text, at)
        except RecursionError:
            yield number + 1, Unusable(REST)
            return
        except ValueError:
            more = file.read(max(BLOCK_CHARS, len(text) - at))
            if more and len(text) - at < MAX_RECORD_CHARS:
                text, at = text[at:] + more, 0
                continue
            if mark:
                yield number + 1, Unusable(TOO_LARGE_REST if more else REST)
            return
        number += 1
        yield number, text[at:end]
        at = end


def _bounded_reads(file: TextIO) -> Iterator[str | None]:
    """Lines; None for one that is too long."""
    while line := file.readline(MAX_RECORD_CHARS + 1):
        if len(line) <= MAX_RECORD_CHARS:
            yield line
            continue
        while line and not line.endswith("\n"):
            line = file.readline(MAX_RECORD_CHARS)
        yield None


def _bounded_lines(file: TextIO, read: Counter[str]) -> Iterator[str]:
    """Lines, as long as ``read`` is cleared before a row of them is too long."""
    for line in _bounded_reads(file):
        read["chars"] += len(line or "")
        if line is None or read["chars"] > 2 * MAX_RECORD_CHARS:
            raise Unusable(TOO_LARGE)
        yield line.replace("\x00", "")
