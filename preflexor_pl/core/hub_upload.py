"""Commits a folder to a repository of the Hugging Face hub; one that fails is one line.

A push is one commit a repository. Nothing is ever read back from the hub or deleted there.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from preflexor_pl.core.errors import PreflexorError
from preflexor_pl.core.hub import quiet_loading

CONNECT, SILENCE = 5.0, 30.0  # seconds until an address, or a request, has failed
TRIES = 2  # of a request that is not answered
GET_TOKEN = "log in with `hf auth login`, or set HF_TOKEN"


class PublishError(PreflexorError):
    """The hub did not take a folder."""

    exit_code = 6


def publish(
    folder: Path,
    repo_id: str,
    message: str,
    private: bool = True,
    kind: Literal["model", "dataset"] = "model",
    endpoint: str | None = None,
) -> str:
    """Commit a folder to a repository of the hub, which is made where it is missing.

    Args:
        folder: all its files are committed at once; what has not changed is not sent again.
        repo_id: ``owner/name``, or ``name`` for one of the token's owner.
        message: of the commit.
        private: make the repository private, and refuse one that is public already.
        kind: of the repository.
        endpoint: URL of another hub.

    Returns:
        The repository's URL.

    Raises:
        PublishError: one line that says what failed, where and what to do; never the token.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    api, token = HfApi(endpoint), None
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            raise FileNotFoundError(f"{folder} holds no files")
        with quiet_loading(), _bounded_requests():
            token = api.token = get_token()
            if not token or not (token.isascii() and token.isprintable()):
                raise PermissionError(f"there is no token that can be sent: {GET_TOKEN}")
            url = api.create_repo(repo_id, private=private, repo_type=kind, exist_ok=True)
            if private and not api.repo_info(url.repo_id, repo_type=kind).private:
                raise PermissionError("it is public there: take another name, or private: false")
            # Not upload_folder: it may part a folder into several commits.
            additions = [
                CommitOperationAdd(file.relative_to(folder).as_posix(), file) for file in files
            ]
            api.create_commit(url.repo_id, additions, commit_message=message, repo_type=kind)
    except Exception as error:  # HTTP, sockets, Xet, bad answers: the client has no common base
        reason = " ".join(_reason(error).split())
        reason = reason.replace(token, "***") if token else reason
        # From None: a header or an answer that the client quotes in a traceback may hold the token.
        raise PublishError(
            f"cannot push the {kind} {repo_id} to {api.endpoint}: {reason[:300]}"
        ) from None
    return str(url)


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"HTTP {status}, the token may not write there: {GET_TOKEN} to one that may"
    if status:
        said = getattr(error, "server_message", None) or "it gave no reason"
        return f"HTTP {status}: {said}: try again later, or check repo_id and endpoint"
    if isinstance(error, OSError | ValueError) and not isinstance(error, json.JSONDecodeError):
        return str(error)  # a file, a setting or a name: it says itself what is wrong
    return f"{type(error).__name__} ({error}): check the network and the endpoint"


@contextmanager
def _bounded_requests() -> Iterator[None]:
    """Make the hub's client give up: by itself it has no timeout and waits when told to."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import hf_raise_for_status

    unanswered: Counter[str] = Counter()

    def count(request: Any) -> None:
        unanswered[str(request.url)] += 1
        if unanswered[str(request.url)] > TRIES:
            raise TimeoutError(f"no answer to {TRIES} requests: check the network and the endpoint")

    def refuse(response: Any) -> None:
        unanswered.pop(str(response.request.url), None)
        if response.status_code == 429 or response.status_code >= 500:
            response.read()
            hf_raise_for_status(response)

    session = get_session()
    timeout, hooks = session.timeout, session.event_hooks
    session.timeout = (CONNECT, SILENCE, SILENCE, SILENCE)  # type: ignore[assignment]
    session.event_hooks = {
        "request": [*hooks["request"], count],
        "response": [*hooks["response"], refuse],
    }
    try:
        yield
    finally:
        session.timeout, session.event_hooks = timeout, hooks
