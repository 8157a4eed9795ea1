"""The parsers of binary formats (``parsers``), in a process with limits on memory and time.

A PDF, a Word document or a parquet file can make its parser loop, crash, or ask for all the memory
there is. The process starts with the first such file and serves those that follow; one that dies,
is silent for too long or has grown is replaced. It gets no environment, so no secrets, and answers
in JSON. (macOS does not hold the limit on memory; those of time and of unpacked sizes hold there.)
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from preflexor_pl.core.errors import ResourceError
from preflexor_pl.corpus.records import Unusable

PARSERS = Path(__file__).with_name("parsers.py")
ROOT = Path(__file__).parents[2]  # where the process finds this project
KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
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
MAX_MESSAGE_BYTES = 50_000_000
SLOW = "takes too long"
CRASH = "crashes its parser"


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
        self.started = 0  # how many processes there were
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

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
                message = self._receive(min(self.seconds, granted - used))
                used += time.monotonic() - asked
                if "end" in message:
                    break
                text = str(message.get("text", ""))
                granted = min(granted + len(text) / CHARS_PER_SECOND, MAX_SECONDS)
                named = (str(message.get(name, "")) for name in ("title", "skip", "column"))
                title, skip, column = named
                yield Piece(title, text, skip, column)
            whole = not message.get("worn")
        finally:
            if not whole:  # also where the reader of the pieces has had enough
                self._stop()
        if message["end"]:
            raise Unusable(str(message["end"]))

    def _ask(self, path: Path, kind: str, options: dict[str, Any]) -> None:
        fresh = self._process is None or self._process.poll() is not None
        if fresh:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        request = json.dumps({"path": str(path.absolute()), "kind": kind, "options": options})
        try:
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()
            broken = self._receive(START_SECONDS).get("broken")
        except (OSError, Unusable) as error:
            if not fresh:  # the file before has been its end
                self._stop()
                self._ask(path, kind, options)
                return
            broken = str(error)
        if broken:
            raise ResourceError(
                f"cannot read {path}: its parser does not start ({broken}): "
                "check the installation: pip install -e ."
            )

    def _start(self) -> None:
        self._stop()
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), str(ROOT))))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-B", str(PARSERS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=kept | FRUGAL,
                start_new_session=True,  # Ctrl-C is for this process, which ends the other
            )
        except OSError as error:
            raise ResourceError(f"cannot start {sys.executable}: {error.strerror}") from error
        self.started += 1

    def _stop(self) -> None:
        process, self._process = self._process, None
        self._buffer.clear()
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                try:
                    pipe.close()
                except BrokenPipeError:  # a request that it did not live to read
                    continue

    def _receive(self, seconds: float) -> dict[str, Any]:
        """The next answer; Unusable where none comes in time."""
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            left = deadline - time.monotonic()
            poller = select.poll()
            poller.register(pipe, select.POLLIN)
            if left <= 0 or not poller.poll(left * 1000):
                raise Unusable(SLOW)
            data = os.read(pipe, 2**16)
            self._buffer += data
            if not data:
                raise Unusable(CRASH)
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                raise Unusable("too large unpacked")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise Unusable(CRASH)
        return message
