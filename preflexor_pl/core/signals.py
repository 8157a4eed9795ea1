"""SIGINT and SIGTERM: a command ends with one line and 128 + the signal's number.

While a module loads there is nothing to save or to close, and an exception would pass through the
imports of others, some of which swallow it: the process ends at once. Elsewhere a signal raises
``Stopped``, so that locks and temporary files are closed; a second one ends the process at once.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = signal.SIGINT, signal.SIGTERM


def end_at_once() -> None:
    """From now on a signal ends this process, as long as nothing else takes the signals."""
    for number in SIGNALS:
        signal.signal(number, _end)


@contextmanager
def stopping() -> Iterator[None]:
    """A signal raises ``Stopped`` while the block runs; only the main thread can take signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _raise) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> None:
    from preflexor_pl.core.errors import Stopped

    if _is_loading(frame):
        _end(number, frame)
    for each in SIGNALS:
        signal.signal(each, _end)
    raise Stopped(number)


def _is_loading(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
