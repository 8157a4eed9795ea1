"""Endless repetition at the end of a text: found, and cut to its first occurrence.

A degenerate small model repeats the same words until its length limit. The text before the loop is
worth reading; the loop is not, and in a prompt it would start the next one.
"""

import re
from collections.abc import Sequence

from preflexor_pl.core.special_tokens import TOKEN_LIKE

TIMES = 3  # a phrase three times in a row at the very end is a loop
MIN_WORDS = 12  # in all; "no, no, no" is none
MIN_LETTERS = 32  # of a loop without a space in it; "haha" is none
LONGEST = 80  # words, or letters, of a phrase that is looked for

_WORD = re.compile(rf"{TOKEN_LIKE}|[^\s<]+|<")  # a marker is a word of its own


def cut_repetition(text: str) -> tuple[str, bool]:
    """The text up to the end of the first occurrence of what it repeats to the end.

    The last occurrence may itself be cut off, as a length limit does.

    Returns:
        (text, whether anything was cut).
    """
    words = list(_WORD.finditer(text))
    if end := _first_end([word.group().casefold() for word in words], MIN_WORDS):
        return text[: words[end - 1].end()], True
    if words and (end := _first_end(words[-1].group(), MIN_LETTERS)):
        return text[: words[-1].start() + end], True
    return text, False


def _first_end(units: Sequence[str], minimum: int) -> int:
    """Where the first occurrence of a loop at the end ends; 0 where there is no loop.

    Args:
        units: words, or letters; the last may be cut off.
        minimum: number of units that a loop must have in all.
    """
    for length in range(1, min(LONGEST, len(units) // TIMES) + 1):
        if not units[-1 - length].startswith(units[-1]):
            continue
        first = len(units) - 1 - length
        while first > 0 and units[first - 1] == units[first - 1 + length]:
            first -= 1
        if len(units) - first >= max(TIMES * length, minimum):
            return first + length
    return 0
