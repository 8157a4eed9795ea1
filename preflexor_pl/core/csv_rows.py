"""Rows of a CSV file with a header and a key: read, appended or replaced."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from preflexor_pl.core.errors import CorpusError
from preflexor_pl.core.files import write_atomically

Row = dict[str, str]


def read_rows(csv_path: Path, key: str = "round") -> list[Row]:
    """The rows of a CSV file with a header; no file, no rows.

    A cell that is missing is "", one beyond the header is left out, and a last line without its
    newline is dropped: it was cut off, and its last number may be half a number. Files saved by a
    spreadsheet are read too: a byte order mark, semicolons or tabs, and with them decimal commas.

    Raises:
        CorpusError: there is a header, and it has no column ``key``.
    """
    try:
        with open(csv_path, encoding="utf-8-sig", errors="replace", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    complete = text[: text.rfind("\n") + 1]
    header = complete.partition("\n")[0]
    mark = max(",;\t", key=header.count)  # the first of them where there is none
    rows = csv.DictReader(io.StringIO(complete, newline=""), restval="", delimiter=mark)
    if key not in (rows.fieldnames or [key]):
        raise CorpusError(
            f"{csv_path} is damaged: its header has no column {key!r}: restore it from a copy, or "
            "delete it, and new rows begin a new file"
        )
    cells = [{name: cell for name, cell in row.items() if name is not None} for row in rows]
    if mark == ",":
        return cells
    return [{name: cell.replace(",", ".") for name, cell in row.items()} for row in cells]


def write_row(csv_path: Path, row: Mapping[str, object], key: str = "round") -> None:
    """Put a row in a CSV file: in the place of the row with the same key, else at the end.

    The file is replaced as a whole, so a reader sees the old one or the new one. New columns go to
    the end of the header; None becomes an empty cell. One process writes a file, not two.

    Raises:
        ValueError: If the row has no value under ``key``.
    """
    cells = {name: "" if value is None else str(value) for name, value in row.items()}
    if not cells.get(key):
        raise ValueError(f"a row of {csv_path} needs a value under {key!r}, got {dict(row)}")
    rows = read_rows(csv_path, key)
    names = dict.fromkeys([*(rows[0] if rows else ()), *cells])
    position = next((i for i, old in enumerate(rows) if old.get(key) == cells[key]), len(rows))
    rows[position : position + 1] = [cells]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(csv_path, text.getvalue())
