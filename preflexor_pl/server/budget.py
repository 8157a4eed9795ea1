"""The budget of one command: calls, tokens and minutes of a server, and the rate of its calls."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from preflexor_pl.core.errors import TeacherError
from preflexor_pl.core.teacher_settings import BUDGETS, ServerSettings

RESUME = "what it said is kept, and the same command goes on from here"


class Budget:
    """Counts what is used and delays or refuses calls.

    Args:
        settings: of the server.
        key: the setting to name in an error.

    Attributes:
        calls: begun so far.
        tokens: of prompts and replies so far.
    """

    def __init__(self, settings: ServerSettings, key: str) -> None:
        self.settings = settings
        self.key = key
        self.calls = 0
        self.tokens = 0
        self._seconds = 0.0  # of earlier periods
        self._began: float | None = None
        self._free = 0.0  # when the next call may begin

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block towards ``max_minutes``."""
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._seconds, self._began = self._seconds_asked(), None

    def pause(self, seconds: float) -> None:
        """Begin no call for ``seconds``."""
        self._free = max(self._free, time.monotonic() + seconds)

    async def wait_turn(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Wait until a call may begin, and count it.

        Raises:
            TeacherError: a budget is used up, or will be by then.
        """
        while (wait := self._free - time.monotonic()) > 0:
            self._check(wait)
            await sleep(wait)
        self._check(0)
        self.calls += 1
        if rate := self.settings.requests_per_minute:
            self.pause(60 / rate)

    def _check(self, wait: float) -> None:
        used = self.calls, self.tokens, (self._seconds_asked() + wait) / 60
        for name, count in zip(BUDGETS, used, strict=True):
            limit = getattr(self.settings, name)
            if limit is not None and count >= limit:
                raise TeacherError(
                    f"{self.key}.{name}: the {limit} of one command are used up: {RESUME} with "
                    "as many again; or raise it"
                )

    def _seconds_asked(self) -> float:
        return self._seconds + (time.monotonic() - self._began if self._began is not None else 0)
