"""Which column of a record is its text, and what text it holds.

A column is never taken for what its values look like: a licence note is long text, too.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

TEXTS = ("content", "body", "messages", "conversations", "conversation")  # where none is "text"
TITLES = ("title", "id")
PARTS = ("text", "content", "value", "body")  # of a message, a paragraph or a section
KEY = "data.text_column"
MAX_NAMES, MAX_NAME = 8, 30  # of columns that are shown
MAX_DEPTH = 20


class NoColumn(Exception):
    """Why no column can be taken for the text: it names those there are, and the key."""


def text_column(
    names: Sequence[str], wanted: str | None = None, texts: Sequence[str] | None = None
) -> str:
    """The column that holds the text.

    Args:
        names: of all columns.
        wanted: ``data.text_column``; ``a.b`` is the part ``b`` of the column ``a``.
        texts: those that can hold text; None: all of them.

    Returns:
        ``wanted``; else ``text``; else the only one whose name says that it holds text; else the
        only one there is beside ``title`` and ``id``.

    Raises:
        NoColumn: it is not there, or it is not plain which one is meant.
    """
    return _text_column(tuple(names), wanted, tuple(names if texts is None else texts))


@lru_cache(maxsize=64)  # a file's records mostly have the same columns
def _text_column(names: tuple[str, ...], wanted: str | None, texts: tuple[str, ...]) -> str:
    if wanted is not None:
        if wanted in texts or wanted.partition(".")[0] in texts:
            return wanted
        raise NoColumn(f"no column {_shown([wanted])} ({KEY}) among {_shown(names)}")
    by_name = {name.lower(): name for name in reversed(texts)}
    if "text" in by_name:
        return by_name["text"]
    known = [by_name[name] for name in TEXTS if name in by_name]
    others = [name for name in names if name.lower() not in TITLES]
    if len(known) == 1:
        return known[0]
    if len(others) == 1 and others[0] in texts:
        return others[0]
    if not texts:
        raise NoColumn(f"no column holds text: there are {_shown(names)}")
    raise NoColumn(f"which column is the text? There are {_shown(names)}: set {KEY}")


def title_column(names: Sequence[str]) -> str | None:
    """The column that names a record."""
    return next((name for name in TITLES if name in names), None)


def part(value: Any, path: str) -> Any:
    """``value[path]``, or what the parts of ``path`` lead to; lists are gone through."""
    if isinstance(value, list):
        return [part(item, path) for item in value]
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    first, _, rest = path.partition(".")
    return part(value.get(first), rest) if rest else None


def plain_text(value: Any, depth: int = 0) -> str:
    """The text that a value holds: of lists, one part after another; of objects, their text.

    Returns:
        "" where there is none.

    Raises:
        NoColumn: an object has several texts, and none has a name that says which is meant.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth < MAX_DEPTH:
        parts = [plain_text(item, depth + 1) for item in value]
        return "\n\n".join(part for part in parts if part.strip())
    if not isinstance(value, dict) or depth >= MAX_DEPTH:
        return ""
    for name in PARTS:
        if value.get(name):
            return plain_text(value[name], depth + 1)
    texts = {name: text for name, item in value.items() if (text := plain_text(item, depth + 1))}
    if len(texts) > 1:
        raise NoColumn(
            f"which part is the text? There are {_shown([*texts])}: set {KEY} to COLUMN.PART"
        )
    return next(iter(texts.values()), "")


def _shown(names: Sequence[str]) -> str:
    """Names for a message: they are from the file, and may be anything."""
    short = [" ".join(str(name)[:MAX_NAME].split()) for name in names[:MAX_NAMES]]
    printable = ["".join(c if c.isprintable() else "?" for c in name) for name in short]
    more = len(names) - MAX_NAMES
    return ", ".join([*printable, f"{more} more"] if more > 0 else printable)
