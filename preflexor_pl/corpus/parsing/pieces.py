"""What a parser yields, and how it refuses a file."""

from typing import Any

MAX_TITLE = 1000  # characters; it goes with every piece

Piece = dict[str, Any]  # "title", "text" and, of a row, "column"; or "skip": why a row is left out


class Refused(Exception):
    """Why a file cannot be used, in words for the user."""
