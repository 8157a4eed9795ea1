"""Some calls to a server at a time, tried again where that may help, each text given when made.

Waits grow and are jittered. Where trying does not help no more calls begin, those in flight are
waited for, and the error says how to go on.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, NoReturn

import anyio
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential,
)

from preflexor_pl.core.errors import TeacherError
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.model_thinking import ONLY_THINKING, THINKING_CUT, told_of
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.server.budget import GOES_ON
from preflexor_pl.server.connection import Connection, Learned
from preflexor_pl.server.replies import (
    TOO_LONG,
    Refusal,
    RetryableError,
    Unusable,
    ends_unopened,
    parsed,
    read_completion,
    shown,
    tokens_used,
)

if TYPE_CHECKING:
    from preflexor_pl.server.generator import RemoteGenerator

FIRST_WAIT = 1.0  # seconds before a second try; twice as long before each further one
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 300.0  # a server that asks for more is asked by another command
HEED = 0.1  # seconds between two looks whether to stop
STRANGE = 8  # so many texts in a row that cannot be read: it is no such server


class RequestPool:
    """The calls for one sequence of requests.

    Args:
        source: on whose behalf.
        connection: to its server.
        give: takes the place and the completion of each text.
    """

    def __init__(
        self,
        source: "RemoteGenerator",
        connection: Connection,
        give: Callable[[tuple[int, Completion]], None],
    ) -> None:
        self.source = source
        self.connection = connection
        self.give = give
        self.failure: TeacherError | None = None
        self._over = anyio.Event()

    async def all(self, requests: Sequence[Request]) -> None:
        """Make ``requests``.

        Raises:
            TeacherError: not all were made; all that was in flight has been given.
        """
        todo = iter(list(enumerate(requests)))
        async with anyio.create_task_group() as group:
            group.start_soon(self._heed)
            async with anyio.create_task_group() as workers:
                for _ in range(min(self.source.settings.in_flight, len(requests))):
                    workers.start_soon(self._work, todo)
            group.cancel_scope.cancel()
        if self.failure:
            raise self.failure

    async def _heed(self) -> None:
        """Let it be over when the source is told to stop."""
        while not self.source.stopping:
            await anyio.sleep(HEED)
        self._stop()

    def _stop(self) -> None:
        told = TeacherError(f"{self.source.key}: {self.source.name} was told to stop; {GOES_ON}")
        self.failure = self.failure or told
        self._over.set()

    async def _work(self, todo: Iterator[tuple[int, Request]]) -> None:
        for place, request in todo:
            if self.source.stopping:
                self._stop()
                return
            try:
                self.give((place, await self._text(request)))
            except TeacherError as error:
                self.failure = self.failure or error
                self._over.set()
            if self.failure:
                return

    async def _text(self, request: Request) -> Completion:
        """A text; where the server reads no such prompt, that of a shorter one is tried, once."""
        try:
            return await self._tried(request)
        except Refusal as refusal:
            if refusal.problem != TOO_LONG:
                return Completion("", "stop", 0, refusal.problem)
        self.source.tell("reads no prompt of this length: without examples, and for half a reply")
        try:
            return await self._tried(_shorter(request))
        except Refusal as refusal:
            return Completion("", "stop", 0, refusal.problem)

    async def _tried(self, request: Request) -> Completion:
        seeds = (derive_seed(request.seed, "again", n) if n else request.seed for n in count())
        seed = next(seeds)

        async def call() -> Completion:
            nonlocal seed
            try:
                return await self._call(request, seed)
            except Unusable:
                seed = next(seeds)
                raise

        most = self.source.settings.tries
        tries = AsyncRetrying(
            retry=retry_if_exception_type(RetryableError),
            stop=lambda state: self._over.is_set() or state.attempt_number >= most,
            wait=lambda state: _wait(request.seed, state),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            completion: Completion = await tries(call)
        except RetryableError as error:
            if isinstance(error, Unusable) and not self._over.is_set():
                self._note_strange(error.problem, error.reason, request)
                return Completion("", "stop", 0, error.problem)
            how = f"failed {most} times, at last so" if most > 1 else "failed"
            self._fail(f"{how}: {error.reason}")
        if completion.problem == THINKING_CUT:
            self._note_strange(completion.problem, completion.problem, request)
        else:
            self.source.strange = 0
        return completion

    async def _call(self, request: Request, seed: int) -> Completion:
        budget, source = self.source.budget, self.source
        body = None
        while body is None:
            await budget.turn(self._sleep)
            try:
                body = await self.connection.post(request, seed)
            except Learned:
                continue
            except RetryableError as error:
                if error.wait > LONGEST_RETRY_AFTER:
                    self._fail(f"asks to be left alone for {error.wait:.0f} s ({error.reason})")
                budget.pause(error.wait)
                raise
        tree = parsed(body)
        budget.tokens += tokens_used(tree, request)
        source.begins_inside |= ends_unopened(tree, source.forms)
        return read_completion(tree, request, source.forms, source.tell, source.begins_inside)

    def _note_strange(self, problem: str, reason: str, request: Request) -> None:
        told = ""
        if problem in (ONLY_THINKING, THINKING_CUT):
            told = told_of(problem, self.source.switch, request)
            self.source.tell(told)
        self.source.strange += 1
        if self.source.strange >= STRANGE:
            what = told or (
                f"{shown(reason, self.connection.secret)}: check base_url, which mostly ends in "
                "/v1, and model"
            )
            self._fail(f"sent {STRANGE} replies in a row that hold no text; at last it {what}")

    def _fail(self, what: str) -> NoReturn:
        raise TeacherError(f"{self.source.key}: {self.source.name} {what}; {GOES_ON}") from None

    async def _sleep(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._over.wait()
        if self._over.is_set():
            self._fail("is asked no more")  # never shown: the first failure is


def _shorter(request: Request) -> Request:
    """The request without its examples, and for a reply of half the length."""
    most = max(1, request.sampling.max_new_tokens // 2)
    least = min(request.sampling.min_new_tokens, most)
    sampling = replace(request.sampling, max_new_tokens=most, min_new_tokens=least)
    return replace(request, examples=(), sampling=sampling)


def _wait(seed: int, state: RetryCallState) -> float:
    """Seconds before the next try; the jitter is a function of the text's own seed."""
    longest = wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)(state)
    return longest * random.Random(derive_seed(seed, "wait", state.attempt_number)).uniform(0.5, 1)
