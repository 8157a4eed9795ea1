"""What an answer in words says: the same text, a string in it, or one of lettered options.

All of it takes time in proportion to the length of the answer, whatever the answer.
"""

import re
import string
import unicodedata
from collections.abc import Sequence

LETTERS = string.ascii_uppercase

_LETTER = re.compile(  # "A layer of wax" and "B-cells" name no option
    r"\W*(?:(?i:the|right|correct|best|answer|option|choice|letter|is)\W+){0,6}"
    r"([A-Z])(?=\W*$|[^\w\s-]|\s*\n|\s+[-:\u2013\u2014]|\s+(?:is|because|as|since)\b)"
)
_ANOTHER = re.compile(
    r"[*_)]*\s*(?:[,;/&+]|\band\b|\bor\b)\s*[*_(]*[A-Z](?![\w-])"
)  # "A, B" names two
_TRAILING = frozenset(".,;:!?\u2026 ")
_PAIRS = frozenset(['""', "''", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb", "**", "__", "``"])


def folded(text: str) -> str:
    """The text without differences of case, of white space and of how Unicode writes it."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def bare(text: str) -> str:
    """The folded text without punctuation at its end, and quotes or emphasis around all of it."""
    text = folded(text)
    start, end = 0, len(text)
    while start < end:
        if text[end - 1] in _TRAILING:
            end -= 1
        elif text[start] == " ":
            start += 1
        elif end - start > 1 and text[start] + text[end - 1] in _PAIRS:
            start, end = start + 1, end - 1
        else:
            break
    return text[start:end]


def contains(text: str, wanted: str) -> bool:
    """Whether a text contains a string as whole words and whole numbers."""
    text, wanted = folded(text), folded(wanted)
    return re.search(rf"(?<!\w)(?<!\d[.,]){re.escape(wanted)}(?!\w|[.,]\d)", text) is not None


def with_options(question: str, options: Sequence[str]) -> str:
    """A question with its options, lettered from A on, and how to answer it."""
    lines = "\n".join(f"{letter}: {text}" for letter, text in zip(LETTERS, options, strict=False))
    return f"{question}\n{lines}\nAnswer with the letter of the right option."


def read_option(answer: str, options: Sequence[str]) -> int | None:
    """Index of the option that an answer names, by its letter at the start or its whole text."""
    letter = _LETTER.match(answer)
    if letter and _ANOTHER.match(answer, letter.end()):
        return None
    if letter and LETTERS.index(letter.group(1)) < len(options):
        return LETTERS.index(letter.group(1))
    matches = [i for i, option in enumerate(options) if contains(answer, option)]
    return matches[0] if len(matches) == 1 else None
