"""Tables for a terminal that are Markdown too, and Markdown's inline code."""

from collections.abc import Iterable, Sequence
from typing import Any

MAX_NAME = 48  # letters


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a table; columns of numbers stand to the right, None is an empty cell."""
    columns = list(zip(head, *rows, strict=True))
    lines = zip(*(_column(cells) for cells in columns), strict=True)
    first, *rest = (f"| {' | '.join(line)} |" for line in lines)
    rule = "|".join("-" * len(part) for part in first[1:-1].split("|"))
    return [first, f"|{rule}|", *rest]


def _column(cells: Sequence[Any]) -> list[str]:
    to_the_right = all(cell is None or isinstance(cell, int | float) for cell in cells[1:])
    texts = ["" if cell is None else str(cell) for cell in cells]
    width = max(map(len, texts))
    return [text.rjust(width) if to_the_right else text.ljust(width) for text in texts]


def shown(name: str, limit: int = MAX_NAME) -> str:
    """A name of others' making, for a cell: it moves no cursor, and a long one lacks its start."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name).replace("|", "/")
    return text if len(text) <= limit else f"…{text[1 - limit :]}"


def as_code(value: object) -> str:
    """A value as Markdown's inline code, on one line."""
    return "`" + " ".join(str(value).replace("`", "'").split()) + "`"
