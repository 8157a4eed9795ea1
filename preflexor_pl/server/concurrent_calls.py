"""Concurrent calls to a server, with retries; each text is delivered when it is complete.

Waits grow exponentially, with jitter. After a failure that retries cannot mend no more calls begin,
those in flight are waited for, and the error says how to go on. The retries of the openai client
are off: they do not count as calls of a budget, cannot be interrupted while they wait, and do not
make the other calls wait for a Retry-After.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import anyio

from preflexor_pl.core.errors import TeacherError
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.model_thinking import ONLY_THINKING, THINKING_CUT, thinking_advice
from preflexor_pl.core.seeds import derive_seed
from preflexor_pl.server.budget import RESUME
from preflexor_pl.server.connection import Connection, FieldRefused
from preflexor_pl.server.replies import (
    TOO_LONG,
    RequestRefused,
    RetryableError,
    UnreadableReply,
    closes_unopened_thoughts,
    parsed,
    read_completion,
    redacted,
    tokens_used,
)
from preflexor_pl.server.state import ServerState

FIRST_WAIT = 1.0  # seconds before the second try; doubled before each further one
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 300.0  # where a server asks for more, the command ends
POLL = 0.1  # seconds between two looks at ``stopping``
MAX_UNREADABLE = 8  # texts in a row that cannot be read: this is no such server


class ConcurrentCalls:
    """The calls for one sequence of requests.

    Args:
        state: of the server.
        connection: to the server.
        deliver: takes the place and the completion of each text.
    """

    def __init__(
        self,
        state: ServerState,
        connection: Connection,
        deliver: Callable[[tuple[int, Completion]], None],
    ) -> None:
        self.state = state
        self.connection = connection
        self.deliver = deliver
        self.failure: TeacherError | None = None
        self._stopped = anyio.Event()

    async def run(self, requests: Sequence[Request]) -> None:
        """Make ``requests``.

        Raises:
            TeacherError: not all were made; all that was in flight has been delivered.
        """
        todo = iter(list(enumerate(requests)))
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_stopping)
            async with anyio.create_task_group() as workers:
                for _ in range(min(self.state.settings.in_flight, len(requests))):
                    workers.start_soon(self._work, todo)
            group.cancel_scope.cancel()
        if self.failure:
            raise self.failure

    async def _watch_stopping(self) -> None:
        while not self.state.stopping:
            await anyio.sleep(POLL)
        self._stop(self._error("was told to stop"))

    def _stop(self, failure: TeacherError) -> None:
        self.failure = self.failure or failure
        self._stopped.set()

    async def _work(self, todo: Iterator[tuple[int, Request]]) -> None:
        for place, request in todo:
            if self.state.stopping:
                self._stop(self._error("was told to stop"))
                return
            try:
                self.deliver((place, await self._completion(request)))
            except TeacherError as error:
                self._stop(error)
            if self.failure:
                return

    async def _completion(self, request: Request) -> Completion:
        """A text; where the prompt is too long for the server, a shorter one is tried, once."""
        try:
            return await self._retried(request)
        except RequestRefused as refused:
            if refused.problem != TOO_LONG:
                return Completion("", "stop", 0, refused.problem)
        self.state.report_once(
            "reads no prompt of this length: without examples, and for half a reply"
        )
        try:
            return await self._retried(_shorter(request))
        except RequestRefused as refused:
            return Completion("", "stop", 0, refused.problem)

    async def _retried(self, request: Request) -> Completion:
        seed, unreadable, tries = request.seed, 0, self.state.settings.tries
        for attempt in range(1, tries + 1):
            try:
                completion = await self._call(request, seed)
            except RetryableError as error:
                failure = error
            else:
                if completion.problem == THINKING_CUT:
                    self._count_unreadable(THINKING_CUT, THINKING_CUT, request)
                else:
                    self.state.unreadable = 0
                return completion
            if isinstance(failure, UnreadableReply):
                unreadable += 1
                seed = derive_seed(request.seed, "again", unreadable)
            if attempt < tries or self._stopped.is_set():
                await self._sleep(_wait(request.seed, attempt))
        if isinstance(failure, UnreadableReply):
            self._count_unreadable(failure.problem, failure.reason, request)
            return Completion("", "stop", 0, failure.problem)
        how = f"failed {tries} times, at last so" if tries > 1 else "failed"
        raise self._error(f"{how}: {failure.reason}") from None

    async def _call(self, request: Request, seed: int) -> Completion:
        state, body = self.state, None
        while body is None:
            await state.budget.wait_turn(self._sleep)
            try:
                body = await self.connection.post(request, seed)
            except FieldRefused:
                continue
            except RetryableError as error:
                if error.wait > LONGEST_RETRY_AFTER:
                    what = f"asks to be left alone for {error.wait:.0f} s ({error.reason})"
                    raise self._error(what) from None
                state.budget.pause(error.wait)
                raise
        tree = parsed(body)
        state.budget.tokens += tokens_used(tree, request)
        state.starts_thinking |= closes_unopened_thoughts(tree, state.tags)
        return read_completion(tree, request, state.tags, state.report_once, state.starts_thinking)

    def _count_unreadable(self, problem: str, reason: str, request: Request) -> None:
        """Count a text that cannot be read; after some in a row, stop with advice."""
        advice = ""
        if problem in (ONLY_THINKING, THINKING_CUT):
            advice = thinking_advice(problem, self.state.thinking_switch, request)
            self.state.report_once(advice)
        self.state.unreadable += 1
        if self.state.unreadable >= MAX_UNREADABLE:
            what = advice or (
                f"{redacted(reason, self.connection.secret)}: check base_url, which mostly ends in "
                "/v1, and model"
            )
            raise self._error(
                f"sent {MAX_UNREADABLE} replies in a row that hold no text; at last it {what}"
            )

    def _error(self, what: str) -> TeacherError:
        return TeacherError(f"{self.state.key}: {self.state.name} {what}; {RESUME}")

    async def _sleep(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._stopped.wait()
        if self._stopped.is_set():
            raise self._error("is asked no more")  # never shown: the first failure is


def _shorter(request: Request) -> Request:
    """The request without its examples, and for a reply of half the length."""
    most = max(1, request.sampling.max_new_tokens // 2)
    least = min(request.sampling.min_new_tokens, most)
    sampling = replace(request.sampling, max_new_tokens=most, min_new_tokens=least)
    return replace(request, examples=(), sampling=sampling)


def _wait(seed: int, attempt: int) -> float:
    """Seconds before the next try; the jitter is a function of the text's own seed."""
    longest = min(FIRST_WAIT * 2.0 ** (attempt - 1), LONGEST_WAIT)
    return longest * random.Random(derive_seed(seed, "wait", attempt)).uniform(0.5, 1)
