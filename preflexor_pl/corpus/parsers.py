"""The process that untrusted formats are parsed in; runs as a script, and may die.

``sandbox`` starts it, sends a request a line, ``{"path": ..., "kind": ..., "options": ...}``, and
reads the answers, a line of JSON each: ``ready``; one ``text`` for each page, paragraph or row
(``skip`` for a row that is left out); and ``end``, with the reason where the file cannot be used.
Of this project only the parsers are imported, so that the process is small and starts quickly.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from preflexor_pl.corpus.parsing.docx import docx
from preflexor_pl.corpus.parsing.html import html
from preflexor_pl.corpus.parsing.pdf import pdf
from preflexor_pl.corpus.parsing.pieces import Piece, Refused
from preflexor_pl.corpus.parsing.tables import arrow, parquet

MEMORY_BYTES = 2**31  # of addresses; the libraries alone take about a quarter of it
CPU_SECONDS = 400  # for one file, should nobody be left to end this process
WORN_BYTES = 400_000_000  # a process that has grown to this is replaced before the next file
FLUSH_SECONDS = 0.02

PARSERS: dict[str, tuple[str, Callable[..., Iterator[Piece]]]] = {
    "pdf": ("pypdf", pdf),
    "docx": ("docx", docx),
    "html": ("selectolax.lexbor", html),
    "parquet": ("pyarrow.parquet", parquet),
    "arrow": ("pyarrow", arrow),
}


def serve(request: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer one request; whatever the file does to its parser, the last answer is an end."""
    library, parse = PARSERS[request["kind"]]
    try:
        importlib.import_module(library)
    except ImportError as error:
        answer({"broken": str(error)})
        return
    answer({"ready": True})
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime)
    _limit(resource.RLIMIT_CPU, spent + CPU_SECONDS, resource.RLIM_INFINITY)
    reason, worn = None, False
    try:
        for piece in parse(request["path"], **request["options"]):
            answer(piece)
    except Refused as refused:
        reason = str(refused)
    except MemoryError:
        reason, worn = "takes too much memory", True
    except RecursionError:
        reason = "nested too deeply"
    except Exception:  # untrusted bytes: the libraries raise nearly everything there is
        reason = "damaged"
    answer({"end": reason, "worn": worn or _resident() > WORN_BYTES})


def _resident() -> int:
    """Bytes of memory in use; where that is not told, the most that ever was (macOS: in bytes)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as told:
            return int(told.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _limit(which: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(which, (soft, hard))
    except (ValueError, OSError):  # a lower limit holds already, or (macOS) there is none
        return


def main() -> None:
    """Serve until the requests end."""
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _limit(resource.RLIMIT_AS, MEMORY_BYTES, MEMORY_BYTES)
    _limit(resource.RLIMIT_FSIZE, 0, 0)
    _limit(resource.RLIMIT_CORE, 0, 0)

    flushed = 0.0

    def answer(message: dict[str, Any]) -> None:
        nonlocal flushed
        line = json.dumps(message, ensure_ascii=False).encode(errors="replace")
        answers.write(line + b"\n")
        now = time.monotonic()
        if now - flushed > FLUSH_SECONDS or "text" not in message:  # rows come by the thousand
            answers.flush()
            flushed = now

    for line in sys.stdin.buffer:
        serve(json.loads(line), answer)


if __name__ == "__main__":
    main()
