"""A server that speaks the OpenAI chat API as badly as a script tells it to.

``BadServer(script)``: the script takes a :class:`Call` and gives an :class:`Answer`, or None for a
good one. It listens on a free port of this machine while its ``with`` block lasts.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks.loopback import Answer, Asked, LoopbackServer
from preflexor_pl.core.errors import TeacherError
from preflexor_pl.core.generator import Completion, Request
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.server.generator import RemoteGenerator

GOOD = Completion("It is tough.", "stop", 3)  # what a good answer is read as


SUBJECTS = ["silk", "nacre", "bone", "wood", "coral", "rubber", "glass", "paper", "tin", "copper"]
VERBS = ["grow", "break", "bend", "melt", "conduct", "swell", "dissolve", "age"]


@dataclass(frozen=True)
class Call:
    """One request: its number, from 0, its JSON, its headers in lower case, and when it came."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str]
    at: float

    @property
    def prompt(self) -> str:
        return self.body["messages"][-1]["content"]

    @property
    def seed(self) -> int:
        return self.body["seed"]


def said(content: Any = "It is tough.", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    """The JSON of a good reply: 7 tokens of prompt and 3 of text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content} | message}
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [choice | {"finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def good(content: Any = "It is tough.", finish: Any = "stop", seconds: float = 0) -> Answer:
    return Answer(json.dumps(said(content, finish)).encode(), seconds=seconds)


def status(code: int, text: str = "", error: str = "", **headers: str) -> Answer:
    """An error with a JSON body; in the headers' names ``_`` stands for ``-``."""
    body = json.dumps({"error": {"message": text, "code": error}}).encode()
    return Answer(body, code, {name.replace("_", "-"): value for name, value in headers.items()})


def teach_by_seed(call):
    """Questions that differ in what they mean."""
    if "Write one question" in call.prompt:
        what, does = SUBJECTS[call.seed % 10], VERBS[call.seed // 10 % 8]
        return good(f"How and when does {what} {does} in seed {call.seed}?")
    return good("Its crystals carry the load together with soft chains.")


class BadServer(LoopbackServer):
    """See the module.

    Attributes:
        calls: every request, in order.
    """

    root = "/v1"

    def __init__(self, script: Callable[[Call], Answer | None] = lambda call: None) -> None:
        super().__init__()
        self.script = script
        self.calls: list[Call] = []

    def settings(self, **values: Any) -> ServerSettings:
        return ServerSettings(**{"base_url": self.url, "model": "m"} | values)

    def answer(self, asked: Asked) -> Answer:
        with self.lock:
            body, at = json.loads(asked.body), time.monotonic()
            call = Call(len(self.calls), body, asked.headers, at)
            self.calls.append(call)
        return self.script(call) or good()


def ask(server: BadServer, count: int = 1, **settings: Any) -> tuple[Any, list[Request]]:
    """The generator on ``server``, and ``count`` requests with the seeds 1, 2, ..."""
    requests = [Request(f"Why {n}?", seed=n) for n in range(1, count + 1)]
    return RemoteGenerator(server.settings(**settings)), requests


def first_then_good(*answers: Answer) -> Callable[[Call], Answer | None]:
    return lambda call: answers[call.number] if call.number < len(answers) else None


def failure(generator: RemoteGenerator, requests: list[Request]) -> str:
    """The line of a teacher that cannot be had: exit code 4, and how to go on."""
    with pytest.raises(TeacherError) as raised:
        generator.complete(requests)
    line = str(raised.value)
    assert raised.value.exit_code == 4
    assert line.startswith("data.teacher.server")
    assert "the same command goes on" in line
    assert len(line) < 500
    return line
