"""A server on this machine's loopback, for a measurement or a test that needs real HTTP."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        method: such as POST.
        path: without its query.
        headers: by their names in lower case.
        body: empty where there is none.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is sent back, of type JSON unless ``headers`` says otherwise.

    Attributes:
        body: of the reply.
        status: of HTTP.
        headers: beside type and length.
        seconds: that the reply takes.
        drop: end the connection instead.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    drop: bool = False


class LoopbackServer:
    """Serves on a free port while its ``with`` block lasts; a subclass has ``answer``.

    Attributes:
        url: ``http://127.0.0.1:PORT`` and ``root``.
        most_at_once: the most requests that were being answered at a time.
        over: set when the block ends; a reply that hangs waits for it.
        lock: for what ``answer`` notes.
    """

    root: ClassVar[str] = ""

    def __init__(self) -> None:
        self.most_at_once = 0
        self.over = threading.Event()
        self.lock = threading.Lock()
        self._now = 0
        self._error: Exception | None = None

    def answer(self, asked: Asked) -> Answer:
        """The reply to a request; called by several threads at once."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}{self.root}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._error:
            raise self._error

    def reply(self, asked: Asked) -> Answer:
        """The reply to a request, after the time that it takes."""
        with self.lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            answer = self.answer(asked)
        except Exception as error:
            self._error = error  # raised where the server is used, not in the handler's thread
            raise
        self.over.wait(answer.seconds)
        with self.lock:
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
    owner: LoopbackServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.split("?")[0]
        answer = self.owner.reply(Asked(self.command, path, headers, body))
        if answer.drop:
            self.close_connection = True
            return
        self.send_response(answer.status)
        told = {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}
        for name, value in (told | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST

    def log_message(self, *_: object) -> None:
        pass
