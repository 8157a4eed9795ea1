"""The HTTP client of one server, and the environment variables that it follows.

A server on this machine is asked without a proxy. A proxy or a file of certificates that cannot be
used is named by its variable; its value, which may hold a password, is not shown.
"""

import errno
import functools
import os
import ssl
from collections.abc import AsyncIterator
from urllib.request import getproxies, proxy_bypass

import httpx2

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.core.teacher_settings import ServerSettings

MAX_REPLY_BYTES = 8 << 20
CONNECT_SECONDS = 10.0
CERTIFICATES = "SSL_CERT_FILE", "SSL_CERT_DIR"


def open_client(settings: ServerSettings, secret: str, key: str) -> httpx2.AsyncClient:
    """A new client.

    Args:
        settings: of the server.
        secret: its key; "" sends none.
        key: of the settings, for errors.

    Raises:
        ConfigError: an environment variable names a proxy or certificates that cannot be used.
    """
    seconds, proxied = settings.timeout_seconds, proxy_variable(settings) != ""
    encrypted = settings.base_url.startswith("https") or proxied
    try:
        return httpx2.AsyncClient(
            verify=_tls(key) if encrypted else False,
            trust_env=proxied,
            follow_redirects=False,  # prompts and key go to this server alone
            timeout=httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
            limits=httpx2.Limits(max_connections=settings.in_flight),
            headers={"Accept-Encoding": "identity"},  # a small reply can unpack into a large one
            event_hooks={"request": [] if secret else [_without_key], "response": [_bounded]},
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        socks = isinstance(error, ImportError)
        variables = [name for name in _variables(None) if _is_socks(name) == socks]
        what = "names a SOCKS proxy, which needs a package: pip install 'httpx2[socks]'"
        other = "names a proxy that cannot be used: correct it (http://HOST:PORT)"
        raise ConfigError(
            f"{key}: the environment variable {' or '.join(variables) or 'ALL_PROXY'} "
            f"{what if socks else other}; or unset it, or name {settings.host} in NO_PROXY"
        ) from None  # the cause may show the proxy's password


def proxy_variable(settings: ServerSettings) -> str:
    """The variable that names the proxy of calls, or "the system's settings"; "" for none."""
    host = settings.host.strip("[]")
    local = host == "localhost" or host.endswith(".localhost") or host in ("::1", "0.0.0.0")
    if local or host.startswith("127.") or (getproxies() and proxy_bypass(host)):
        return ""
    scheme, proxies = settings.base_url.partition(":")[0], getproxies()
    if not (proxies.get(scheme) or proxies.get("all")):
        return ""
    return next(iter(_variables(scheme)), "the system's settings")


def _variables(scheme: str | None) -> list[str]:
    """The environment's variables that name proxies, of one scheme or of any."""
    schemes = ("http", "https") if scheme is None else (scheme,)
    known = {f"{name}_proxy" for name in (*schemes, "all")}
    found = [name for name in os.environ if name.lower() in known and os.environ[name]]
    return sorted(found, key=lambda name: name.lower().startswith("all"))


def _is_socks(variable: str) -> bool:
    return os.environ[variable].lower().startswith("socks")


def _tls(key: str) -> ssl.SSLContext:
    variable = next((name for name in CERTIFICATES if os.environ.get(name)), "")
    value = os.environ.get(variable, "")
    try:
        if value and not any(os.path.exists(path) for path in value.split(os.pathsep)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return _tls_of(value)
    except OSError as error:  # also ssl.SSLError
        raise ConfigError(
            f"{key}: the environment variable {variable or CERTIFICATES[0]} names {value}, which "
            f"cannot be read as certificates ({error.strerror or error}): correct it, or unset it"
        ) from error


@functools.cache
def _tls_of(_: str) -> ssl.SSLContext:
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
