"""Untrusted text made harmless, once, where it enters.

A document, a teacher's answer or a critic's remark may hold ``<|im_end|>`` or ``<|/thinking|>``;
tokenised as it is, it would end a turn or a thinking section. A middle dot after the first
character (``<·|im_end|>``) keeps such text readable and takes its power away.
"""

import functools
import re
from collections.abc import Collection

DOT = "·"
# Also the full-width bars that some model families use.
TOKEN_LIKE = r"<[|\uff5c][^<>|\uff5c\n]{1,80}[|\uff5c]>"
NEVER_TEXT = re.compile("[\x00\ud800-\udfff]")  # NULs and lone surrogates


def escape_special_tokens(text: str, special_tokens: Collection[str] = ()) -> str:
    """Text in which no forbidden string and nothing like ``<|...|>`` is left.

    Args:
        text: untrusted text.
        special_tokens: the special and added tokens of a tokenizer, and markers. Those shorter than
            two characters or of letters, digits and spaces alone are ordinary text and ignored.

    Returns:
        The text with a middle dot after the first character of each such string, again and again
        until none remains; without NULs and lone surrogates. Idempotent.
    """
    text = NEVER_TEXT.sub("", text)
    pattern = _pattern(frozenset(special_tokens))
    changes = 1
    while changes:
        text, changes = pattern.subn(_break, text)
    return text


def is_special_token(string: str) -> bool:
    """Whether a string of a tokenizer's vocabulary is one that ``escape_special_tokens`` breaks."""
    return len(string) >= 2 and any(not c.isalnum() and not c.isspace() for c in string)


@functools.lru_cache(maxsize=8)
def _pattern(special_tokens: frozenset[str]) -> re.Pattern[str]:
    strings = sorted(filter(is_special_token, special_tokens), key=lambda s: (-len(s), s))
    return re.compile("|".join([*map(re.escape, strings), TOKEN_LIKE]))


def _break(match: re.Match[str]) -> str:
    """One step towards the fixpoint.

    Where the first two characters are dots or parted by one already, one more dot need not help;
    the string then loses its last character that is no dot (or a dot, if it is all dots). Each step
    lowers (characters but dots, their adjacent pairs, dots) in that order, so there is a last one.
    """
    found = match.group()
    if DOT not in found[:2]:
        return found[0] + DOT + found[1:]
    kept = found.rstrip(DOT)
    return kept[:-1] + found[len(kept) :] if kept else found[1:]
