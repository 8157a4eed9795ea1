"""One preference pair of the user's own, read from a row: texts, or messages with roles."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PROMPTS = "prompt", "question", "instruction"


@dataclass(frozen=True)
class OwnPair:
    """A row as it was read; its texts are untrusted.

    Attributes:
        prompt: the user's turn, with the trigger if it has one.
        chosen: the better response.
        rejected: the worse one; None is written by the policy in training.
        topic: as in ``PreferencePair``.
        chunk_ids: likewise, where the row is of an earlier run over the same corpus.
        finish_reason: of the rejected response.
    """

    prompt: str
    chosen: str
    rejected: str | None = None
    topic: str = ""
    chunk_ids: tuple[str, ...] = ()
    finish_reason: Literal["stop", "length"] = "stop"


class UnusableRow(Exception):
    """A row that is a pair, and not one that can be used."""


def own_pair_of(row: Any) -> tuple[OwnPair, str | None]:
    """A row's pair and its system turn."""
    if not isinstance(row, Mapping):
        raise TypeError(f"a {type(row).__name__}")
    before, chosen = _response(row["chosen"])
    _, rejected = _response(row["rejected"]) if row.get("rejected") is not None else ([], None)
    given = next((row[name] for name in PROMPTS if row.get(name) is not None), None)
    turns = _turns(given) if given is not None else before
    if not turns:
        raise KeyError(f"no {', '.join(PROMPTS[:-1])} or {PROMPTS[-1]}")
    system = next((text for role, text in turns if role == "system"), None)
    asked = [(role, text) for role, text in turns if role != "system"]
    if len(asked) != 1 or asked[0][0] != "user" or sum(role == "user" for role, _ in before) > 1:
        raise UnusableRow("with several turns")
    if not (asked[0][1].strip() and chosen.strip() and (rejected is None or rejected.strip())):
        raise UnusableRow("with an empty text")
    if rejected is not None and rejected.strip() == chosen.strip():
        raise UnusableRow("rejected as chosen")
    topic, reason = row.get("topic"), row.get("finish_reason")
    return OwnPair(
        asked[0][1],
        chosen,
        rejected,
        topic if isinstance(topic, str) else "",
        tuple(id for id in row.get("chunk_ids") or () if isinstance(id, str)),
        "length" if reason == "length" else "stop",
    ), system


def _response(value: Any) -> tuple[list[tuple[str, str]], str]:
    """The turns before a response, and its text."""
    if isinstance(value, str):
        return [], value
    turns = _turns(value)
    if not turns or turns[-1][0] != "assistant":
        raise ValueError("a response must be a text, or messages that end with the assistant's")
    return turns[:-1], turns[-1][1]


def _turns(value: Any) -> list[tuple[str, str]]:
    """Role and text of each message; a text alone is the user's."""
    if isinstance(value, str):
        return [("user", value)]
    if not isinstance(value, Sequence):
        raise TypeError(f"a {type(value).__name__} in the place of a text or of messages")
    return list(_messages(value))


def _messages(value: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for message in value:
        role, text = message["role"], message["content"]
        if not isinstance(role, str) or not isinstance(text, str):
            raise TypeError("a message must have role and content, both texts")
        yield role, text
