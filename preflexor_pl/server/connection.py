"""One HTTP connection to a server, and what each of its failures means.

Replies are bounded, redirects are not followed, nothing is retried here, and no error holds a piece
of the key.
"""

import os
from typing import TYPE_CHECKING, Any, Self

import anyio
import httpx2

from preflexor_pl.core.errors import ConfigError, TeacherError
from preflexor_pl.core.generator import Request
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.server.accepted_fields import LIMITS, is_too_long
from preflexor_pl.server.budget import RESUME
from preflexor_pl.server.http_client import open_client, proxy_variable
from preflexor_pl.server.replies import (
    TOO_LONG,
    RequestRefused,
    RetryableError,
    redacted,
    seconds_to_wait,
)
from preflexor_pl.server.state import ServerState

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError

RETRYABLE = (408, 409, 425, 429)  # statuses; those from 500 on are, too
NO_CREDIT = "insufficient_quota"  # comes with status 429, and stays
FILTERED = "content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"
WRONG_FIELD = (400, 422)  # statuses that refuse a field
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


class FieldRefused(Exception):
    """The server refused a field; the same request can be sent without it."""


class Connection:
    """Open while its ``async with`` block lasts.

    Args:
        state: of the server.
        secret: its key; "" sends none.
    """

    def __init__(self, state: ServerState, secret: str) -> None:
        from openai import AsyncOpenAI

        self.state = state
        self.settings = state.settings
        self.secret = secret
        self._client = AsyncOpenAI(
            api_key=secret or "none",
            base_url=self.settings.base_url,
            max_retries=0,
            http_client=open_client(self.settings, secret, state.key),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def post(self, request: Request, seed: int) -> bytes:
        """The body of the server's reply, which has status 200.

        Raises:
            FieldRefused: the request can be sent without a field.
            RetryableError: another try may succeed.
            RequestRefused: the server does not answer this request.
            TeacherError: the server answers no request like this.
        """
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        create = self._client.chat.completions.with_raw_response.create
        body = self.state.fields.body(request, seed)
        fields = {name: body[name] for name in ("model", "messages")}
        others = {name: value for name, value in body.items() if name not in fields}
        try:
            with anyio.fail_after(self.settings.timeout_seconds):
                return (await create(**fields, extra_body=others)).content
        except (TimeoutError, APITimeoutError):
            failure: Exception = RetryableError(f"no answer in {self.settings.timeout_seconds:g} s")
        except APIConnectionError as error:
            failure = self._unreached(error)
        except APIStatusError as error:
            failure = self._refused(error, body)
        raise failure  # not in the except block: the cause may hold the key

    def _unreached(self, error: "APIConnectionError") -> RetryableError:
        cause = error.__cause__
        what = "it cannot be reached" if isinstance(cause, httpx2.ConnectError) else "it broke off"
        reason = redacted(str(cause), self.secret) or type(cause).__name__
        proxy = proxy_variable(self.settings)
        through = f" through the proxy of {proxy}" if proxy else ""
        return RetryableError(f"{what}{through} ({reason})")

    def _refused(self, error: "APIStatusError", body: dict[str, Any]) -> Exception:
        status, headers, text = error.status_code, error.response.headers, error.response.text
        if status in WRONG_FIELD and error.code in FILTERED:
            return RequestRefused("server_refusal")
        if status not in (*SECRET, 429) and is_too_long(status, text):
            return RequestRefused(TOO_LONG)
        if status in WRONG_FIELD and self.state.fields.adapt(
            body, text.replace('\\"', '"'), error.param or ""
        ):
            return FieldRefused()
        reason = "" if status in SECRET else redacted(text, self.secret)
        answered = f"status {status}" + (f", {reason}" if reason else "")
        if (status in RETRYABLE or status >= 500) and error.code != NO_CREDIT:
            return RetryableError(answered, seconds_to_wait(headers.get("Retry-After")))
        if 300 <= status < 400:
            where = redacted(headers.get("Location", ""), self.secret)
            advice = f"redirects are not followed: set base_url to where the server is ({where})"
        else:
            variable = self.settings.api_key_env or "api_key_env, which names no variable yet"
            advice = ADVICE.get(status, "no request like this will be answered")
            if status in WRONG_FIELD and any(name in text for name in LIMITS):
                advice = f"{advice}; max_new_tokens stands in the samplings"
            advice = advice.format(variable=variable)
        return TeacherError(
            f"{self.state.key}: {self.state.name} answered with {answered}: {advice}; {RESUME}"
        )
