"""What a server sent back, read with suspicion: a text, or why there is none."""

import json
import math
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

from preflexor_pl.core.inert import make_inert
from preflexor_pl.pairs.generator import Completion, FinishReason, Request

CHARACTERS = 4  # of a token, where the server does not count them
SHOWN = 160  # characters of what a server said, in an error
PIECE = 8  # so many characters of the key in a row give it away
ENDS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_OWN_THINKING = re.compile(r"\A<think>.*?(?:</think>\s*|\Z)", re.DOTALL)  # not meant to be read


class AskAgain(Exception):
    """A call failed in a way that another try may mend.

    Args:
        reason: for the user.
        wait: seconds that the server asks to be left alone for.
    """

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Unusable(AskAgain):
    """The server answered, and what it sent holds no text.

    Args:
        problem: a slug.
        sent: what it sent, or the beginning of it.
    """

    def __init__(self, problem: str, sent: object = "") -> None:
        super().__init__(f"{problem} {str(sent)[:SHOWN]}")
        self.problem = problem


class Refusal(Exception):
    """The server will not answer this very request.

    Args:
        problem: a slug.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        Unusable: there is none, or it tells of an error.
    """
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        raise Unusable("server_not_json", body[:SHOWN].decode(errors="replace")) from None
    if not isinstance(tree, dict):
        raise Unusable("server_not_json", tree)
    if tree.get("error"):
        raise Unusable("server_error", tree["error"])
    return tree


def tokens_used(tree: dict[str, Any], request: Request) -> int:
    """Tokens of prompt and reply, as the server counts them; else by their characters."""
    counted = _count(tree, "total_tokens")
    if counted is not None:
        return counted
    turns = [request.system or "", *(text for pair in request.examples for text in pair)]
    characters = len("".join(turns)) + len(request.prompt) + len(str(tree.get("choices")))
    return -(-characters // CHARACTERS)


def read_completion(tree: dict[str, Any], request: Request) -> Completion:
    """The completion in a reply, its text inert.

    Raises:
        Unusable: there is no text, or no telling whether it is whole.
        Refusal: the model, or a filter, will not answer.
    """
    choices = tree.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unusable("server_no_choices")
    message, finish = choices[0].get("message"), choices[0].get("finish_reason")
    if not isinstance(message, dict):
        raise Unusable("server_no_text")
    if finish == "content_filter" or message.get("refusal"):
        raise Refusal("server_refusal")
    content = message.get("content")
    text = make_inert(content).lstrip() if isinstance(content, str) else ""
    text = _OWN_THINKING.sub("", text)
    for stop in request.stop:  # not every server heeds them
        text = text.split(stop, 1)[0]
    end = ENDS.get(finish) if isinstance(finish, str) else None
    if end is None:
        raise Unusable("server_unknown_end", finish)
    if not text.strip() and end != "length":
        raise Unusable("server_no_text")
    tokens = _count(tree, "completion_tokens")
    return Completion(text, end, -(-len(text) // CHARACTERS) if tokens is None else tokens)


def _count(tree: dict[str, Any], name: str) -> int | None:
    usage = tree.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and count >= 0 else None


def seconds_to_wait(retry_after: str | None) -> float:
    """What a Retry-After header asks for: seconds, or a date; 0 where it cannot be read."""
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(str(retry_after)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0
    return max(seconds, 0) if math.isfinite(seconds) else 0


def shown(text: str, key: str) -> str:
    """One short line of what a server said, without a piece of the key in it."""
    text = text[: 9 * SHOWN]
    size = min(PIECE, len(key))
    pieces = {key[i : i + size] for i in range(len(key) - size + 1) if size}
    starts = [i for i in range(len(text)) if text[i : i + size] in pieces]
    hidden = {i for start in starts for i in range(start, start + size)}
    marked = ["\0" if i in hidden else c if c.isprintable() else " " for i, c in enumerate(text)]
    line = " ".join("".join(marked).split())
    return re.sub("\0+", "***", line)[:SHOWN]
