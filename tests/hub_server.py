"""A stand-in of the hub: what its real client asks for to make a repository and to commit to it.

Files come with the commit, never by LFS or Xet. As the hub does, it answers each request only with
a token, refuses a card whose base model is no hub id, and tells which files it has already.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "hf_AVeryFakeSecret"
OWNER = "someone"  # whose token it is


@dataclass
class Repository:
    """``commits``: (message, files by path), the oldest first."""

    name: str
    type: str
    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    @property
    def files(self):
        return {path: content for _, files in self.commits for path, content in files.items()}


class HubServer:
    """Serves on a free port of this machine while its ``with`` block lasts.

    Attributes:
        repositories: by (type, name).
        requests: the path of each request.
        authorizations: what each request was authorised by.
        failing: how to fail, by a part of the path: with a status, by ``drop``ping the connection,
            or by ``hang``ing until the end of the block.
    """

    def __init__(self):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        self.failing: dict[str, int | str] = {}
        self._over = threading.Event()

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def model(self, name):
        return self.repositories["model", name]

    def dataset(self, name):
        return self.repositories["dataset", name]

    def answer(self, path, body, authorization):
        """(status, answer) to a request."""
        self.requests.append(path)
        self.authorizations.append(authorization)
        for part, failure in self.failing.items():
            if part in path and failure == "hang":
                self._over.wait()
            if part in path:
                return failure, {"error": f"told to fail:\nwas sent {authorization}"}
        if not authorization:
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            return self._create(**json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        found = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/?(\w*)(/main)?", path)
        repository = found and self.repositories.get((found[1], found[2]))
        if not repository:
            return 404, {"error": "Repository not found"}
        if found[3] == "preupload":
            return self._preupload(repository, json.loads(body)["files"])
        if found[3] == "commit":
            return self._commit(repository, [json.loads(line) for line in body.splitlines()])
        sha = f"{len(repository.commits):040d}"
        return 200, {"id": repository.name, "sha": sha, "private": repository.private}

    def _create(self, name, organization=None, type="model", visibility="public"):
        key = type, f"{organization or OWNER}/{name}"
        status = 409 if key in self.repositories else 200
        self.repositories.setdefault(key, Repository(key[1], type, visibility == "private"))
        prefix = "datasets/" if type == "dataset" else ""
        return status, {"url": f"{self.url}/{prefix}{key[1]}", "error": "exists"}

    def _validate(self, card):
        base = re.search(r"^base_model: (.*)$", card, re.M)
        if base and not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", base[1]):
            message = f'"base_model" with value "{base[1]}" is not valid.'
            return 400, {"errors": [{"message": message}], "warnings": []}
        return 200, {"errors": [], "warnings": []}

    def _preupload(self, repository, asked):
        kept = {path: _git_oid(content) for path, content in repository.files.items()}
        answers = [
            {
                "path": file["path"],
                "uploadMode": "regular",
                "shouldIgnore": False,
                "oid": kept.get(file["path"]),
            }
            for file in asked
        ]
        return 200, {"files": answers}

    def _commit(self, repository, lines):
        header, *rest = lines
        assert (header["key"], {line["key"] for line in rest}) == ("header", {"file"})
        files = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in rest}
        repository.commits.append((header["value"]["summary"], files))
        oid = f"{len(repository.commits):040d}"
        prefix = "datasets/" if repository.type == "dataset" else ""
        url = f"{self.url}/{prefix}{repository.name}/commit/{oid}"
        return 200, {"commitUrl": url, "commitOid": oid}


def _git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.split("?")[0]
        status, answer = self.hub.answer(path, body, self.headers.get("Authorization"))
        if not isinstance(status, int):  # the connection ends without an answer
            self.close_connection = True
            return
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *_):
        pass


def prepare(monkeypatch):
    """Have the client send ``SECRET``, to the address that it is given and through no proxy."""
    from huggingface_hub import close_session

    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    close_session()  # it may know another proxy
