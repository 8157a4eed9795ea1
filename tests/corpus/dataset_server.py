"""A stand-in of the hub that gives the files of one data set to its real client."""

import hashlib
import json

from benchmarks.loopback import Answer, LoopbackServer


class DatasetServer(LoopbackServer):
    """See the module.

    Attributes:
        files: content by path, by revision.
        requests: method and path of each.
    """

    def __init__(self, name, **files):
        super().__init__()
        self.name = name
        self.files = {"main": files}
        self.requests = []

    def answer(self, asked):
        path = asked.path.replace("%2F", "/")
        self.requests.append(f"{asked.method} {path}")
        status, headers, body = self._answer(path)
        return Answer(body, status, headers)

    def _answer(self, path):
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
