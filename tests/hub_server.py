"""A stand-in of the hub: what its real client asks for to make a repository and to commit to it.

Files come with the commit, never by LFS or Xet. As the hub does, it answers each request only with
a token, refuses a card whose base model is no hub id, and tells which files it has already.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field

from benchmarks.loopback import Answer, LoopbackServer

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
    def messages(self):
        return [message for message, _ in self.commits]

    @property
    def files(self):
        return {path: content for _, files in self.commits for path, content in files.items()}


class HubServer(LoopbackServer):
    """See the module.

    Attributes:
        repositories: by (type, name).
        requests: the path of each request.
        authorizations: what each request was authorised by.
        failing: how to fail, by a part of the path: with a status, by ``drop``ping the connection,
            or by ``hang``ing until the end of the block.
    """

    def __init__(self):
        super().__init__()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        self.failing: dict[str, int | str] = {}

    def model(self, name):
        return self.repositories["model", name]

    def dataset(self, name):
        return self.repositories["dataset", name]

    def answer(self, asked):
        authorization = asked.headers.get("authorization")
        status, answer = self._answer(asked.path, asked.body, authorization)
        if not isinstance(status, int):  # the connection ends without an answer
            return Answer(drop=True)
        return Answer(json.dumps(answer).encode(), status)

    def _answer(self, path, body, authorization):
        """(status, answer) to a request."""
        self.requests.append(path)
        self.authorizations.append(authorization)
        for part, failure in self.failing.items():
            if part in path and failure == "hang":
                self.over.wait()
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


def prepare(monkeypatch):
    """Have the client send ``SECRET``, to the address that it is given and through no proxy."""
    from huggingface_hub import close_session

    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    close_session()  # it may know another proxy
