"""A Python script in a process of its own, which answers requests in lines of JSON.

For what may loop, crash, or ask for all the memory there is. The process gets the parts of the
environment that Python needs to start, so no secrets; one that fails is killed and replaced.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from preflexor_pl.core.errors import ResourceError

KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
MAX_MESSAGE_BYTES = 50_000_000

Fault = Literal["slow", "crashed", "large"]


class ChildFault(Exception):
    """The process gave no answer: it was too slow, crashed, or its answer was too large."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class ChildProcess:
    """The process; starts with ``start``, and again after each ``stop``.

    Args:
        script: a Python file; its requests come from standard input, answers go to standard output.
        path: where it looks for modules, before its own places.
        environment: added to what is kept of that of this process.

    Attributes:
        started: how many processes there were.
    """

    def __init__(
        self, script: Path, path: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.started = 0
        self._script = script
        self._path = tuple(path)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    @property
    def alive(self) -> bool:
        """Whether there is a process, and it has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin a new process, in the place of one that there may be.

        Raises:
            ResourceError: Python does not start.
        """
        self.stop()
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        path = [kept.get("PYTHONPATH", ""), *self._path]
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-B", str(self._script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=kept | self._environment,
                start_new_session=True,  # Ctrl-C is for this process, which ends the other
            )
        except OSError as error:
            raise ResourceError(f"cannot start {sys.executable}: {error.strerror}") from error
        self.started += 1

    def stop(self) -> None:
        """Kill the process, if there is one."""
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

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request, as a line of JSON.

        Raises:
            ChildFault: the process has ended.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ChildFault("crashed") from error

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            ChildFault: none comes in time, or none at all.
        """
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
                raise ChildFault("slow")
            data = os.read(pipe, 2**16)
            self._buffer += data
            if not data:
                raise ChildFault("crashed")
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                raise ChildFault("large")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise ChildFault("crashed")
        return message
