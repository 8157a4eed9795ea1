"""The fields of a call that one server accepts, found out from what it refuses, once each.

Servers of the OpenAI chat API differ: some refuse ``max_tokens`` or its newer name, ``seed``,
``stop``, ``temperature`` beside ``top_p``, a temperature other than 1 or of 0, a system turn, or a
field of another server. The refusal names it, and the request is sent again without it.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from preflexor_pl.core.generator import Request
from preflexor_pl.core.teacher_settings import OUR_FIELDS, ServerSettings

SEED_BITS = 31  # some servers accept no more
COLDEST = 0.01  # for a server that accepts no temperature of 0
LIMITS = "max_tokens", "max_completion_tokens"
SYSTEM = "system"

_SYSTEM = re.compile(
    r"\bsystem\b.{0,40}\b(?:role|message|prompt|turn|instruction)|\b(?:role|message)s?\b.{0,80}"
    r"\bsystem\b|['\"`]system['\"`]|roles? must alternate|developer instruction",
    re.IGNORECASE | re.DOTALL,
)
_REFUSED = re.compile(
    r"un(?:supported|known|recogni[sz]ed|expected|available|permitted)|\bextra\b|\bnot\b|n't\b"
    r"|\bno such|invalid|forbidden|deprecated|cannot|\bonly\b|\bmust\b|instead|remove",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(
    r"too (?:large|many|high|big)|at most|less than|<=|\bmaximum\b|exceed", re.IGNORECASE
)
_ABOVE_ZERO = re.compile(r"positive|greater than|above|> ?0", re.IGNORECASE)
_CONTEXT = r"context.{0,12}(?:length|size|window|limit|overflow)"
_TOO_LONG = re.compile(
    rf"{_CONTEXT}"
    r"|(?:maximum|max) (?:context|model|prompt|input|sequence) (?:length|size)"
    r"|(?:prompt|inputs?|request|messages|sequence)\b.{0,60}\b(?:too (?:long|large|big)"
    r"|longer than|exceeds?)|tokens?\b.{0,60}(?:must be <=|must have less than|cannot exceed)"
    r"|must have less than \d+ tokens|too many (?:input |prompt )?tokens|reduce the length"
    r"|token count.{0,40}exceeds|entity too large",
    re.IGNORECASE | re.DOTALL,
)


def is_too_long(status: int, refusal: str) -> bool:
    """Whether a refusal says that the prompt, with the reply, is longer than the server reads."""
    if status >= 500:  # where "the request exceeds ..." may be about a queue
        return bool(re.search(_CONTEXT, refusal, re.IGNORECASE))
    return status == 413 or bool(_TOO_LONG.search(refusal))


class AcceptedFields:
    """The fields that one server is sent.

    Args:
        settings: of the server.
        report: takes a line for each field that is changed.
    """

    def __init__(self, settings: ServerSettings, report: Callable[[str], None]) -> None:
        self.settings = settings
        self.report = report
        self._dropped = set(settings.drop_fields)
        self._limit = LIMITS[0]
        self._coldest = 0.0

    def body(self, request: Request, seed: int) -> dict[str, Any]:
        """The fields of a call."""
        sampling = request.sampling
        fields = {
            self._limit: sampling.max_new_tokens,
            "temperature": max(sampling.temperature, self._coldest),
            "top_p": sampling.top_p,
            "seed": seed % 2**SEED_BITS,
            **({"stop": list(request.stop)} if request.stop else {}),
            **self.settings.extra_body,
        }
        kept = {name: value for name, value in fields.items() if name not in self._dropped}
        return {"model": self.settings.model, "messages": self._messages(request)} | kept

    def _messages(self, request: Request) -> list[dict[str, str]]:
        turns = [turn for pair in request.examples for turn in zip(ROLES, pair, strict=True)]
        turns.append(("user", request.prompt))
        if request.system and SYSTEM in self._dropped:
            turns[0] = ("user", f"{request.system}\n\n{turns[0][1]}")
        elif request.system is not None and SYSTEM not in self._dropped:
            turns.insert(0, (SYSTEM, request.system))
        return [{"role": role, "content": content} for role, content in turns]

    def adapt(self, body: dict[str, Any], refusal: str, param: str = "") -> bool:
        """Change what a refusal of ``body`` names; False where it names nothing that can be.

        Args:
            body: of the call that was refused.
            refusal: its text.
            param: the field that the refusal names as its cause, if any.
        """
        if not _REFUSED.search(refusal):
            return False
        name = _named(body, refusal, param)
        if name == SYSTEM:
            self._dropped.add(SYSTEM)
            self.report("takes no system turn: its text goes before the user's")
        elif name in LIMITS:
            return self._rename(name, refusal)
        elif name == "temperature" and not body[name] and _ABOVE_ZERO.search(refusal):
            self._coldest = COLDEST
            self.report(f"takes no temperature of 0: {COLDEST} is sent")
        elif name == "temperature" and "top_p" in body and _mentions("top_p", refusal):
            self._dropped.add("top_p")
            self.report("takes temperature or top_p, not both: top_p is left out")
        elif name:
            self._dropped.add(name)
            self.report(f"refuses {name}: it is left out")
        return bool(name)

    def _rename(self, name: str, refusal: str) -> bool:
        """Send the limit under its newer name, once, unless its number was what is wrong.

        It is not renamed back: a server that refuses both names would be asked for ever.
        """
        if name == self._limit:
            newer = LIMITS[1]
            if name == newer or (_TOO_MANY.search(refusal) and not _mentions(newer, refusal)):
                return False
            self._limit = newer
            self.report(f"refuses {name}: {newer} is sent instead")
        return True


ROLES = "user", "assistant"


def _named(body: dict[str, Any], refusal: str, param: str) -> str:
    """The field of ``body`` that a refusal is about; "" where it names none."""
    names = [name for name in body if name not in OUR_FIELDS]
    if param in names:
        return param
    has_system = any(message["role"] == SYSTEM for message in body["messages"])
    if has_system and (
        _SYSTEM.search(refusal) or (param.startswith("messages") and SYSTEM in refusal)
    ):
        return SYSTEM
    for form in (r'"loc"\s*:\s*\[[^\]]*"{}"\s*\]', r"['\"`]{}['\"`]", r"(?<!\w){}(?!\w)"):
        found = _first(names, form, refusal)
        if found:
            return found
    return ""


def _first(names: Iterable[str], form: str, refusal: str) -> str:
    places = {name: re.search(form.format(re.escape(name)), refusal) for name in names}
    found = {name: place.start() for name, place in places.items() if place}
    return min(found, key=lambda name: found[name], default="")


def _mentions(name: str, refusal: str) -> bool:
    return bool(re.search(rf"(?<!\w){name}(?!\w)", refusal))
