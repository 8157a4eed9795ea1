"""Validates a server's reply: gives its text, or the reason why there is none."""

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from preflexor_pl.core.generator import Completion, FinishReason, Request
from preflexor_pl.core.model_thinking import (
    ONLY_THINKING,
    Found,
    ThinkingTags,
    all_thinking_tags,
    strip_thinking,
    thinking_problem,
)
from preflexor_pl.core.special_tokens import escape_special_tokens

CHARACTERS = 4  # a token, where the server does not count tokens
SHOWN = 160  # characters of a server's text in an error
PIECE = 8  # characters of the key in a row that are hidden
TOO_LONG = "server_too_long"  # why there is no text: the prompt is longer than the server reads
CUT = "length", "max_tokens", "max_output_tokens", "model_length", "max_length", "token_limit"
FILTERED = "content_filter", "safety", "refusal", "recitation", "prohibited_content", "blocklist"
NO_END = "tool_calls", "function_call", "tool_use", "error", "abort", "cancelled"


class RetryableError(Exception):
    """A call failed, and another try may succeed.

    Args:
        reason: for the user.
        wait: seconds of the server's Retry-After.
    """

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class UnreadableReply(RetryableError):
    """The server's reply holds no text.

    Args:
        problem: a slug.
        sent: the reply, or its beginning.
    """

    def __init__(self, problem: str, sent: object = "") -> None:
        super().__init__(f"{problem} {str(sent)[:SHOWN]}")
        self.problem = problem


class RequestRefused(Exception):
    """The server does not answer this request.

    Args:
        problem: a slug.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        UnreadableReply: there is none, or it is an error.
    """
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableReply("server_not_json", body[:SHOWN].decode(errors="replace")) from None
    if not isinstance(tree, dict):
        raise UnreadableReply("server_not_json", tree)
    if tree.get("error"):
        raise UnreadableReply("server_error", tree["error"])
    return tree


def tokens_used(tree: dict[str, Any], request: Request) -> int:
    """Tokens of prompt and reply: the server's count, else an estimate from characters."""
    counted = _count(tree, "total_tokens")
    if counted is not None:
        return counted
    turns = [request.system or "", *(text for pair in request.examples for text in pair)]
    characters = len("".join(turns)) + len(request.prompt) + len(str(tree.get("choices")))
    return -(-characters // CHARACTERS)


def read_completion(
    tree: dict[str, Any],
    request: Request,
    known: Sequence[ThinkingTags] = all_thinking_tags(),
    report: Callable[[str], None] = lambda line: None,
    starts_thinking: bool = False,
) -> Completion:
    """The completion in a reply, its special tokens escaped, without the model's thoughts.

    Args:
        tree: the reply.
        request: that it answers.
        known: tags around thoughts.
        report: takes a line on what is unusual in a usable reply.
        starts_thinking: whether the model's texts begin inside its thoughts: one that is cut
            before their closing tag consists of thoughts alone.

    Raises:
        UnreadableReply: there is no text, or it is unknown whether it is complete.
        RequestRefused: the model, or a filter, refuses to answer.
    """
    message, finish = _message(tree)
    if str(finish).lower() in FILTERED or message.get("refusal"):
        raise RequestRefused("server_refusal")
    tokens = _count(tree, "completion_tokens")
    end = _end(finish, tokens, request, report)
    reply, found = strip_thinking(_content(message), known)
    if starts_thinking and not found and end == "length":
        reply, found = "", "open"
    text = (
        escape_special_tokens(reply).strip("\n") if found else escape_special_tokens(reply).lstrip()
    )
    for stop in request.stop:  # not every server applies them
        text = text.split(stop, 1)[0]
    problem = thinking_problem(text, found or _thoughts_elsewhere(tree, message), end)
    if problem == ONLY_THINKING:
        raise UnreadableReply(problem)
    if not text.strip() and end != "length":
        raise UnreadableReply("server_no_text")
    tokens = -(-len(text) // CHARACTERS) if tokens is None else tokens
    return Completion(text, end, tokens, problem)


def closes_unopened_thoughts(tree: dict[str, Any], known: Sequence[ThinkingTags]) -> bool:
    """Whether a reply ends thoughts that the chat template began."""
    text = _content(_message(tree)[0])
    unopened = any(one.closing.search(text) and not one.opening.search(text) for one in known)
    return unopened and bool(strip_thinking(text, known)[1])


def _message(tree: dict[str, Any]) -> tuple[dict[str, Any], object]:
    """The message of a reply, and its finish_reason."""
    choices = tree.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise UnreadableReply("server_no_choices")
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise UnreadableReply("server_no_text")
    return message, choices[0].get("finish_reason")


def _end(
    finish: object, tokens: int | None, request: Request, report: Callable[[str], None]
) -> FinishReason:
    """Whether a text ended or was cut; an unknown reason is an end, unless the limit is reached.

    Raises:
        UnreadableReply: the reason says that the text did not end.
    """
    reason = str(finish or "").lower()
    if reason in NO_END:
        raise UnreadableReply("server_unknown_end", finish)
    if reason in CUT:
        return "length"
    if reason != "stop":
        report(f"says finish_reason {finish!r:.40}, which counts as the end of a text")
        if tokens is not None and tokens >= request.sampling.max_new_tokens:
            return "length"
    return "stop"


def _content(message: dict[str, Any]) -> str:
    """The text of a message; of a message in parts, the text parts without thoughts."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(str(part.get("text") or "") for part in parts)
    return content.lstrip() if isinstance(content, str) else ""


def _thoughts_elsewhere(tree: dict[str, Any], message: dict[str, Any]) -> Found:
    """Whether thoughts are in other fields of the message, or only in the token count."""
    beside = any(message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
    usage = tree.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    counted = isinstance(details, dict) and details.get("reasoning_tokens")
    return "closed" if beside or counted else ""


def _count(tree: dict[str, Any], name: str) -> int | None:
    usage = tree.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and count >= 0 else None


def seconds_to_wait(retry_after: str | None) -> float:
    """The seconds of a Retry-After header, also of a date; 0 where it cannot be read."""
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(str(retry_after)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0
    return max(seconds, 0) if math.isfinite(seconds) else 0


def redacted(text: str, key: str) -> str:
    """One short line of a server's text, without any piece of the key."""
    text = text[: 9 * SHOWN]
    size = min(PIECE, len(key))
    pieces = {key[i : i + size] for i in range(len(key) - size + 1) if size}
    starts = [i for i in range(len(text)) if text[i : i + size] in pieces]
    hidden = {i for start in starts for i in range(start, start + size)}
    marked = ["\0" if i in hidden else c if c.isprintable() else " " for i, c in enumerate(text)]
    line = " ".join("".join(marked).split())
    return re.sub("\0+", "***", line)[:SHOWN]
