"""The parsers of binary formats (``parsers``), in a process with limits on memory and time.

A PDF, a Word document or a parquet file can make its parser loop, crash, or ask for all the memory
there is. The process starts with the first such file and serves those that follow; one that dies,
is silent for too long or has grown is replaced. (macOS does not hold the limit on memory; those of
time and of unpacked sizes hold there.)
"""

import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from preflexor_pl.core.child_process import ChildFault, ChildProcess, Fault
from preflexor_pl.core.errors import ResourceError
from preflexor_pl.corpus.records import Unusable

PARSERS = Path(__file__).with_name("parsers.py")
ROOT = Path(__file__).parents[2]  # where the process finds this project
FRUGAL = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # jemalloc and mimalloc reserve gigabytes of addresses
    "ARROW_IO_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
}
START_SECONDS = 60.0  # to load a library, on a busy machine
SECONDS = 4.0  # of silence, and of a file before its text has earned more
CHARS_PER_SECOND = 1000  # pypdf gives 50 times as many
MAX_SECONDS = 300.0  # of waiting for one file
REASONS: dict[Fault, str] = {
    "slow": "takes too long",
    "crashed": "crashes its parser",
    "large": "too large unpacked",
}


class Piece(NamedTuple):
    """A page, paragraph or row; a row has its column, or no text and why it is left out."""

    title: str
    text: str
    skip: str = ""
    column: str = ""


class Sandbox:
    """The process, which ends with the ``with`` block.

    Args:
        seconds: see ``SECONDS``.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._child = ChildProcess(PARSERS, [str(ROOT)], FRUGAL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.stop()

    def read(self, path: Path, kind: str, **options: Any) -> Generator[Piece, None, None]:
        """The pieces of a file, as they come.

        Args:
            path: of a file that can be opened.
            kind: "pdf", "docx", "html", "parquet" or "arrow".
            options: of that parser.

        Raises:
            Unusable: the reason; pieces may have come before it.
            ResourceError: the process does not start, whatever the file.
        """
        whole = False
        try:
            self._ask(path, kind, options)
            granted, used = self.seconds, 0.0
            while True:
                asked = time.monotonic()
                message = self._child.receive(min(self.seconds, granted - used))
                used += time.monotonic() - asked
                if "end" in message:
                    break
                text = str(message.get("text", ""))
                granted = min(granted + len(text) / CHARS_PER_SECOND, MAX_SECONDS)
                named = (str(message.get(name, "")) for name in ("title", "skip", "column"))
                title, skip, column = named
                yield Piece(title, text, skip, column)
            whole = not message.get("worn")
        except ChildFault as fault:
            raise Unusable(REASONS[fault.fault]) from fault
        finally:
            if not whole:  # also where the reader of the pieces has had enough
                self._child.stop()
        if message["end"]:
            raise Unusable(str(message["end"]))

    def _ask(self, path: Path, kind: str, options: dict[str, Any]) -> None:
        fresh = not self._child.alive
        if fresh:
            self._child.start()
        try:
            self._child.send({"path": str(path.absolute()), "kind": kind, "options": options})
            broken = self._child.receive(START_SECONDS).get("broken")
        except ChildFault as fault:
            if not fresh:  # the file before has been its end
                self._child.stop()
                self._ask(path, kind, options)
                return
            broken = REASONS[fault.fault]
        if broken:
            raise ResourceError(
                f"cannot read {path}: its parser does not start ({broken}): "
                "check the installation: pip install -e ."
            )
