"""What reading a corpus gives: documents, and what was left out with its reason."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROW = re.compile(r"#\d+\Z")


class Skipped(NamedTuple):
    """A file, row or chunk that is left out: relative posix path (or id) and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Document:
    """A document. ``id``: posix path relative to the corpus folder, for a row ``file.jsonl#3``."""

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
        return Counter(suffix_of(path) for path, _ in self.skipped)


class Unusable(Exception):
    """The reason why a file or row is skipped."""


def file_of(id: str) -> str:
    """The file that a document lies in: its id without the number of its row."""
    return ROW.sub("", id)


def suffix_of(id: str) -> str:
    """The suffix of a document's file, in small letters; "" for none."""
    return Path(file_of(id)).suffix.lower()
