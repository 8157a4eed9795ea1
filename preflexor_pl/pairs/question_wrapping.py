"""What a teacher may wrap its question into: JSON, a code block, LaTeX's boxed."""

import json
import re
from typing import Any

_FENCED = re.compile(r"\s*(?:```|~~~)\w*\n(.*?)\n(?:```|~~~)\s*", re.DOTALL)
_BOXED = re.compile(
    r"(?:\$\$?|\\\[)?\s*\\boxed\{(?:\\text\{(.*)\}|(.*))\}\s*(?:\$\$?|\\\])?", re.DOTALL
)
_JSON_BEGINS = re.compile(r"\s*(?=[{\[])")


def unwrapped(text: str) -> str:
    """The text in a reply that is nothing but one of these; any other reply as it is."""
    fenced = _FENCED.fullmatch(text)
    inner = fenced[1] if fenced else text
    boxed = _BOXED.fullmatch(inner.strip())
    if boxed:
        return boxed[1] or boxed[2] or ""
    if not _JSON_BEGINS.match(inner):
        return inner
    try:
        return _in_json(json.loads(inner)) or inner
    except (ValueError, RecursionError):
        return inner


def _in_json(tree: Any) -> str:
    """The question in parsed JSON: a text, what is called ``question``, or the first of a list."""
    if isinstance(tree, str):
        return tree
    if isinstance(tree, list):
        return _in_json(tree[0]) if tree else ""
    if not isinstance(tree, dict):
        return ""
    named = [value for name, value in tree.items() if "question" in str(name).lower()]
    return _in_json((named or list(tree.values()) or [""])[0])
