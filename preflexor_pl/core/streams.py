"""Standard output and error: letters that their encoding lacks, and pipes whose reader is gone."""

import os
import select
import sys
from typing import Any

SPELLED = str.maketrans({"·": "-", "…": "...", "→": "->"})


def replace_unencodable_letters() -> None:
    """Replace letters that a stream's encoding lacks, where they would raise."""
    import codecs

    codecs.register_error("spelled", _spelled)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure and stream.errors == "strict":
            reconfigure(errors="spelled")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Our own punctuation in ASCII; any other letter as JSON and Python write it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(SPELLED)
    return "".join(c if c.isascii() else _escape(c) for c in text), error.end


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")  # two of them beyond the first plane
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def discard_if_closed(stream: Any) -> bool:
    """Whether the reader of a stream's pipe is gone; if so, further output is discarded."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # it has none, or is closed
        return False
    pipe = select.poll()
    pipe.register(number, 0)
    if not any(event & select.POLLERR for _, event in pipe.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True
