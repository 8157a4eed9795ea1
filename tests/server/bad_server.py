"""A server that speaks the OpenAI chat API as badly as a script tells it to.

``BadServer(script)``: the script takes a :class:`Call` and gives an :class:`Answer`, or None for a
good one. It listens on a free port of this machine while its ``with`` block lasts.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

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


@dataclass(frozen=True)
class Answer:
    """What is sent back after ``seconds``; with ``drop``, the connection ends instead."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    drop: bool = False


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


class BadServer:
    """See the module.

    Attributes:
        calls: every request, in order.
        most_at_once: how many were being answered at a time, at most.
    """

    def __init__(self, script: Callable[[Call], Answer | None] = lambda call: None) -> None:
        self.script = script
        self.calls: list[Call] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._broken: Exception | None = None

    def __enter__(self) -> "BadServer":
        handler = type("Handler", (_Handler,), {"server_of_test": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._broken:
            raise self._broken

    def settings(self, **values: Any) -> ServerSettings:
        return ServerSettings(**{"base_url": self.url, "model": "m"} | values)

    def answer(self, body: bytes, headers: dict[str, str]) -> Answer:
        with self._lock:
            call = Call(len(self.calls), json.loads(body), headers, time.monotonic())
            self.calls.append(call)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            answer = self.script(call) or good()
        except Exception as error:
            self._broken = error
            raise
        self._over.wait(answer.seconds)
        with self._lock:
            self._now -= 1
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        pass  # a client that has left


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it would wait 40 ms between head and body
    server_of_test: BadServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server_of_test.answer(body, {k.lower(): v for k, v in self.headers.items()})
        if answer.drop:
            self.close_connection = True
            return
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        pass


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
