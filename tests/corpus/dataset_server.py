"""A stand-in of the hub that gives the files of one data set to its real client."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class DatasetServer:
    """Serves on a free port of this machine while its ``with`` block lasts.

    Attributes:
        files: content by path, by revision.
        requests: method and path of each.
    """

    def __init__(self, name, **files):
        self.name = name
        self.files = {"main": files}
        self.requests = []

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path):
        """(status, headers, body) to a request."""
        shas = {hashlib.sha1(name.encode()).hexdigest(): name for name in self.files}
        about, _, rest = path.removeprefix("/api").partition(f"/datasets/{self.name}")
        if about:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        verb, _, rest = rest.strip("/").partition("/")
        revision = next((name for name in self.files if name == rest), "main")
        if verb in ("", "revision"):
            if verb and rest not in self.files:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            sha = hashlib.sha1(revision.encode()).hexdigest()
            return 200, {}, json.dumps({"id": self.name, "sha": sha}).encode()
        sha, _, file = rest.partition("/")
        files = self.files[shas[sha]]
        if verb == "tree":
            told = [
                {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}
                for path, data in files.items()
            ]
            return 200, {}, json.dumps(told).encode()
        return 200, {"ETag": f'"{_oid(files[file])}"', "X-Repo-Commit": sha}, files[file]


def _oid(data):
    return hashlib.sha1(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: DatasetServer

    def do_GET(self):
        path = self.path.split("?")[0].replace("%2F", "/")
        self.hub.requests.append(f"{self.command} {path}")
        status, headers, body = self.hub.answer(path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass
