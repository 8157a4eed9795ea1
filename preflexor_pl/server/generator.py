"""A teacher behind HTTP: any server that speaks the OpenAI chat API, as a Generator."""

import re
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.generator import Completion, Keep, Request, Watch
from preflexor_pl.core.progress import log_line
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.server.state import ServerState

Delivery = tuple[int, Completion] | None  # None: there will be no more


class RemoteGenerator:
    """The Generator of a server.

    Args:
        settings: which server, and what may be asked of it.
        key: to name in an error; that of the settings where none is given.
        thinking_tags: further tags around the model's thoughts, see ``model_thinking``.
        report: takes a line for the user.

    Attributes:
        state: of the server.
    """

    def __init__(
        self,
        settings: ServerSettings,
        key: str = "",
        thinking_tags: Sequence[str] = (),
        report: Callable[[str], None] = log_line,
    ) -> None:
        self.settings = settings
        self.key = key or settings.key
        self.thinking_tags = tuple(thinking_tags)
        self.state = ServerState(settings, self.key, thinking_tags, report)

    @property
    def name(self) -> str:
        """The model and the server's host."""
        return self.state.name

    @property
    def stopping(self) -> bool:
        """Set from any thread: no more calls begin, those in flight are waited for."""
        return self.state.stopping

    @stopping.setter
    def stopping(self, value: bool) -> None:
        self.state.stopping = value

    @property
    def identity(self) -> str:
        """The source of its texts in a journal: the name, and settings that change the texts."""
        parts = [part for part in (self.settings.extra_body, self.thinking_tags) if part]
        return " ".join([self.name, *map(repr, parts)])

    def secret(self) -> str:
        """The server's key, read from its variable; "" where it needs none.

        Raises:
            ConfigError: the variable is missing or holds no key; names it.
        """
        from preflexor_pl.server.connection import read_key

        return read_key(self.settings, self.key)

    def require_ready(self) -> None:
        """Check key, proxy and certificates before any work.

        Raises:
            ConfigError: names the variable.
        """
        from preflexor_pl.server.http_client import open_client

        open_client(self.settings, self.secret(), self.key)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """One batch: texts do not depend on each other."""
        return [list(range(len(requests)))] if requests else []

    def complete(self, requests: Sequence[Request], watch: Watch | None = None) -> list[Completion]:
        """Make ``requests``, as :meth:`complete_each` does.

        Args:
            requests: any number of them.
            watch: takes each text when it is complete.
        """
        made: dict[int, Completion] = {}

        def keep(place: int, completion: Completion) -> None:
            made[place] = completion
            if watch:
                watch(place, completion.text)

        self.complete_each(requests, keep)
        return [made[place] for place in range(len(requests))]

    def complete_each(self, requests: Sequence[Request], keep: Keep) -> None:
        """Make ``requests`` and pass each completion on as soon as it is there.

        A text that the server does not give is a completion with a ``problem``.

        Args:
            requests: any number of them.
            keep: called in this thread.

        Raises:
            ConfigError: there is no key, or a request has a prefill.
            TeacherError: the server fails or refuses, or a budget is used up; whatever was in
                flight has been passed on.
        """
        from anyio.from_thread import start_blocking_portal

        from preflexor_pl.server.concurrent_calls import ConcurrentCalls
        from preflexor_pl.server.connection import Connection

        if any(request.prefill for request in requests):
            raise ConfigError(
                f"{self.key}: {self.name} cannot go on from the beginning of a response, as this "
                "needs it: use a model on this machine"
            )
        secret = self.secret()
        deliveries: SimpleQueue[Delivery] = SimpleQueue()

        async def ask() -> None:
            async with Connection(self.state, secret) as connection:
                await ConcurrentCalls(self.state, connection, deliveries.put).run(requests)

        # The event loop has a thread of its own: in a notebook one runs in this thread already.
        with self.state.budget.running(), start_blocking_portal() as portal:
            asking = portal.start_task_soon(ask)
            asking.add_done_callback(lambda _: deliveries.put(None))
            while (delivery := deliveries.get()) is not None:
                keep(*delivery)
            asking.result()


def named_server(name: str, key: str, api_key_env: str | None = None) -> RemoteGenerator | None:
    """The model that ``MODEL@http://HOST/v1`` names; None for another kind of name.

    Args:
        name: of a model.
        key: the option to name in an error.
        api_key_env: the environment variable that holds the server's key; None sends none.

    Raises:
        ConfigError: the address is not valid, or the variable holds no key.
    """
    found = re.fullmatch("(.*?)@(https?://.*)", name)
    if not found:
        return None
    model, url = found.groups()
    try:
        server = RemoteGenerator(ServerSettings(url, model, api_key_env), key)
    except ValueError as error:
        reason = str(error).removeprefix(f"{ServerSettings.key}.")
        raise ConfigError(f"{key}: {reason} (MODEL@http://HOST:PORT/v1)") from error
    server.require_ready()
    return server
