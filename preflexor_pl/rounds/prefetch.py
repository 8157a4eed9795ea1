"""Makes the teacher's part of the next round while the current one trains.

Questions, thinking and chosen answers do not depend on the policy. They go into the next round's
journal, where that round finds them: its pairs are those that it makes without this, only sooner.
"""

import threading
import time
from collections.abc import Callable

from preflexor_pl.core.errors import PreflexorError
from preflexor_pl.core.progress import log_line
from preflexor_pl.server.generator import RemoteGenerator


class RoundPrefetcher:
    """One round at a time is made ahead, in a thread of its own.

    Args:
        prepare: makes what can be made of a round.
        teacher: who is asked for it.
    """

    def __init__(self, prepare: Callable[[int], None], teacher: RemoteGenerator) -> None:
        self._prepare = prepare
        self._teacher = teacher
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._seconds = 0.0
        self._round = -1

    def begin(self, index: int) -> None:
        """Make round ``index`` ahead, unless it was begun already."""
        if self._round == index:
            return
        self._round, self._error = index, None
        self._thread = threading.Thread(target=self._work, name=f"round {index}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for what was begun; what failed is left to the round itself.

        Raises:
            BaseException: that is no error of ours: a fault in the code.
        """
        if self._thread is None:
            return
        waited = time.monotonic()
        self._thread.join()
        self._thread, waited = None, time.monotonic() - waited
        if isinstance(self._error, PreflexorError):
            log_line(f"  round {self._round}: not all could be made ahead: {self._error}")
        elif self._error:
            raise self._error
        hidden = max(0.0, self._seconds - waited)
        log_line(f"  round {self._round}: {hidden:.0f} s of asking hidden behind training")

    def abandon(self) -> None:
        """End early: calls in flight are waited for, so that what was paid for is kept."""
        if self._thread is None:
            return
        if self._thread.is_alive():
            log_line(f"  round {self._round}: waiting for the calls in flight")
        self._teacher.stopping = True
        try:
            self._thread.join()
        finally:
            self._thread, self._teacher.stopping = None, False
        if self._error and not isinstance(self._error, PreflexorError):
            raise self._error

    def _work(self) -> None:
        began = time.monotonic()
        try:
            self._prepare(self._round)
        except BaseException as error:  # raised, or told, where it is waited for
            self._error = error
        self._seconds = time.monotonic() - began
