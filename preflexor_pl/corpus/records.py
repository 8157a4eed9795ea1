"""What reading a corpus gives: documents, and what was left out with its reason."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

FIRST_CHARS = 60  # of a row, shown for the column that it is from
ROW = re.compile(r"#\d+\Z")


class Skipped(NamedTuple):
    """A file, row or chunk that is left out: relative posix path (or id) and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Document:
    """A document.

    Attributes:
        id: posix path relative to the corpus folder, for a row ``file.jsonl#3``.
        title: never empty.
        text: normalised.
        column: that a row's text is from; "" for other files.
    """

    id: str
    title: str
    text: str
    column: str = ""


class ColumnRead(NamedTuple):
    """A column that texts were read from: of how many rows, the first one and its first words."""

    name: str
    documents: int
    first: str
    words: str


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
    def columns(self) -> list[ColumnRead]:
        """The columns that texts were read from."""
        counts = Counter(document.column for document in self.documents if document.column)
        first = {document.column: document for document in reversed(self.documents)}
        return [
            ColumnRead(
                name, count, first[name].id, " ".join(first[name].text[:FIRST_CHARS].split())
            )
            for name, count in counts.most_common()
        ]

    @property
    def skipped_types(self) -> Counter[str]:
        """How many were skipped of each suffix ("" for none)."""
        return Counter(suffix_of(path) for path, _ in self.skipped)


class Unusable(Exception):
    """The reason why a file or row is skipped."""


def file_of(id: str) -> str:
    """The file that a document lies in: its id without the number of its row."""
    return ROW.sub("", id)


def suffix_of(id: str) -> str:
    """The suffix of a document's file, in small letters; "" for none."""
    return Path(file_of(id)).suffix.lower()
