"""One HTTP connection to a server: what is sent, what is taken, and what each failure means.

Replies are bounded, redirects are not followed, nothing is tried again here, and nothing of the key
is in what is raised.
"""

import functools
import os
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Self

import anyio
import httpx2

from preflexor_pl.core.errors import ConfigError, TeacherError
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.pairs.budget import GOES_ON
from preflexor_pl.pairs.generator import Request
from preflexor_pl.pairs.replies import AskAgain, Refusal, seconds_to_wait, shown

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError

MAX_REPLY_BYTES = 8 << 20
CONNECT_SECONDS = 10.0
SEED_BITS = 31  # some servers take no more
PASSING = (408, 409, 425, 429)  # statuses that may pass, as those from 500 on may
NO_CREDIT = "insufficient_quota"  # comes as a 429, and does not pass
REFUSED = {"content_filter": "server_refusal", "context_length_exceeded": "server_too_long"}
RENAMED = ("api.openai.com",)  # where max_tokens has become max_completion_tokens
SECRET = (401, 403)  # statuses whose text may hold the key in another form
ADVICE = {
    401: "check the key ({variable})",
    403: "this key ({variable}) may not use the model",
    404: "check base_url, which mostly ends in /v1, and model",
}


def read_key(settings: ServerSettings, key: str) -> str:
    """The key that the settings name a variable for; "" where they name none.

    Args:
        settings: of the server.
        key: of these settings, for the message.

    Raises:
        ConfigError: the variable is missing or holds no key.
    """
    variable = settings.api_key_env
    if variable is None:
        return ""
    secret = os.environ.get(variable, "").strip()
    if not secret or not secret.isascii() or not secret.isprintable():
        what = "holds no key: it has characters that none has" if secret else "is missing or empty"
        raise ConfigError(
            f"{key}.api_key_env: the environment variable {variable} {what}: set it to the key, "
            "or api_key_env to null for a server without one"
        )
    return secret


class Connection:
    """Open while its ``async with`` block lasts.

    Args:
        settings: of the server.
        secret: its key; "" sends none.
        who: key of the settings and name of the server, for errors.
    """

    def __init__(self, settings: ServerSettings, secret: str, who: str) -> None:
        from openai import AsyncOpenAI

        self.settings = settings
        self.secret = secret
        self.who = who
        seconds = settings.timeout_seconds
        http = httpx2.AsyncClient(
            verify=_tls(),
            follow_redirects=False,  # what is asked, and the key, go to this server alone
            timeout=httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
            limits=httpx2.Limits(max_connections=settings.in_flight),
            headers={"Accept-Encoding": "identity"},  # a small reply can unpack into a large one
            event_hooks={"request": [] if secret else [_without_key], "response": [_bounded]},
        )
        self._client = AsyncOpenAI(
            api_key=secret or "none", base_url=settings.base_url, max_retries=0, http_client=http
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def post(self, request: Request, seed: int) -> bytes:
        """The body that the server sends back with status 200.

        Raises:
            AskAgain: another try may help.
            Refusal: this request is not answered.
            TeacherError: no request will be answered.
        """
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        create = self._client.chat.completions.with_raw_response.create
        try:
            with anyio.fail_after(self.settings.timeout_seconds):
                return (await create(**self._body(request, seed))).content
        except (TimeoutError, APITimeoutError):
            failure: Exception = AskAgain(f"no answer in {self.settings.timeout_seconds:g} s")
        except APIConnectionError as error:
            failure = self._unreached(error)
        except APIStatusError as error:
            failure = self._refused(error)
        raise failure  # outside of the block: the cause's text may hold the key

    def _body(self, request: Request, seed: int) -> dict[str, Any]:
        sampling = request.sampling
        turns = [] if request.system is None else [("system", request.system)]
        for prompt, reply in request.examples:
            turns += [("user", prompt), ("assistant", reply)]
        turns.append(("user", request.prompt))
        longest = "max_completion_tokens" if self.settings.host in RENAMED else "max_tokens"
        body = {
            "model": self.settings.model,
            "messages": [{"role": role, "content": content} for role, content in turns],
            longest: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed % 2**SEED_BITS,
        }
        return body | ({"stop": list(request.stop)} if request.stop else {})

    def _unreached(self, error: "APIConnectionError") -> AskAgain:
        cause = error.__cause__
        what = "it cannot be reached" if isinstance(cause, httpx2.ConnectError) else "it broke off"
        said = shown(str(cause), self.secret) or type(cause).__name__
        return AskAgain(f"{what} ({said})")

    def _refused(self, error: "APIStatusError") -> Exception:
        status, headers = error.status_code, error.response.headers
        said = "" if status in SECRET else shown(error.response.text, self.secret)
        answered = f"status {status}" + (f", {said}" if said else "")
        if (status in PASSING or status >= 500) and error.code != NO_CREDIT:
            return AskAgain(answered, seconds_to_wait(headers.get("Retry-After")))
        if status == 400 and error.code in REFUSED:
            return Refusal(REFUSED[error.code])
        if 300 <= status < 400:
            where = shown(headers.get("Location", ""), self.secret)
            advice = f"redirects are not followed: set base_url to where the server is ({where})"
        else:
            variable = self.settings.api_key_env or "api_key_env, which names no variable yet"
            advice = ADVICE.get(status, "no request like this will be answered")
            advice = advice.format(variable=variable)
        return TeacherError(f"{self.who} answered with {answered}: {advice}; {GOES_ON}")


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # 45 ms: as long as many a call


async def _without_key(request: httpx2.Request) -> None:
    request.headers.pop("Authorization", None)


async def _bounded(response: httpx2.Response) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise httpx2.RemoteProtocolError("the reply is compressed, which was not asked for")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """The bytes of a stream, up to a limit."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._inner:
            size += len(part)
            if size > MAX_REPLY_BYTES:
                raise httpx2.RemoteProtocolError(f"the reply is over {MAX_REPLY_BYTES >> 20} MB")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()
