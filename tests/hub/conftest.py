"""A hub of our own on 127.0.0.1: as much of the real one as downloading and uploading asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

#: Kept by git-lfs on the real hub, so listed with their sha256; the others have git's own hash.
LARGE = (".safetensors", ".bin", ".model", ".h5")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """One commit of files, the branches that point to it, and who may read it."""

    files: dict[str, bytes]
    commit: str = "c" * 40
    branches: tuple[str, ...] = ("main",)
    token: str | None = None
    gated: bool = False
    #: What is really sent in the place of a file: damage on the way.
    sent: dict[str, bytes] = field(default_factory=dict)
    #: After how many bytes the connection is cut, once.
    cut: dict[str, int] = field(default_factory=dict)


class FakeHub:
    """The repositories, and every request that was made."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        self.uploads: dict[str, dict[str, bytes]] = {}
        self.url = ""

    def new(self, name: str, files: dict[str, bytes], **fields: object) -> Repository:
        """A repository of this hub."""
        self.repositories[name] = Repository(dict(files), **fields)
        return self.repositories[name]

    def downloads(self) -> list[str]:
        """The files whose content was sent, in order."""
        return [
            line.rsplit("/", 1)[-1]
            for line in self.requests
            if line.startswith("GET") and "/resolve/" in line
        ]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_POST(self) -> None:
        self.note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path == "/api/repos/create":
            name = json.loads(body)
            repo = f"{name['organization']}/{name['name']}"
            return self.send_json({"url": f"{self.hub.url}/{repo}", "name": repo})
        if "/preupload/" in path:
            modes = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return self.send_json({"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        if "/commit/" in path:
            repo = re.fullmatch(r"/api/models/(.+)/commit/.+", path)[1]
            lines = [json.loads(line) for line in body.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            self.hub.uploads[repo] = {file["path"]: base64.b64decode(file["content"]) for file in files}
            url = f"{self.hub.url}/{repo}/commit/{'d' * 40}"
            return self.send_json({"success": True, "commitOid": "d" * 40, "commitUrl": url})
        return self.fail(404, "EntryNotFound")

    def answer(self, with_body: bool) -> None:
        self.note()
        path = unquote(urlsplit(self.path).path)
        for pattern, method in (
            (r"/api/models/(.+?)/tree/([^/]+)", self.tree),
            (r"/api/models/(.+?)/revision/([^/]+)", self.info),
            (r"/api/models/(.+)()", self.info),
            (r"/(.+?)/resolve/([^/]+)/(.+)", self.file),
        ):
            match = re.fullmatch(pattern, path)
            if match:
                repository = self.allowed(match[1], match[2])
                if repository is not None:
                    method(match[1], repository, *match.groups()[2:], with_body=with_body)
                return
        self.fail(404, "EntryNotFound")

    def allowed(self, name: str, revision: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        if repository is None or (repository.token and token != repository.token and not repository.gated):
            self.fail(401, "RepoNotFound")
        elif repository.gated and token != repository.token:
            self.fail(403, "GatedRepo")
        elif revision and revision not in (*repository.branches, repository.commit):
            self.fail(404, "RevisionNotFound")
        else:
            return repository
        return None

    def info(self, name: str, repository: Repository, *, with_body: bool) -> None:
        siblings = [{"rfilename": path, **entry} for path, entry in self.entries(repository, "blobId")]
        self.send_json({"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings})

    def tree(self, name: str, repository: Repository, *, with_body: bool) -> None:
        self.send_json(
            [{"type": "file", "path": path, **entry} for path, entry in self.entries(repository, "oid")]
        )

    def entries(self, repository: Repository, blob_key: str) -> list[tuple[str, dict]]:
        found = []
        for path, content in repository.files.items():
            entry: dict = {"size": len(content), blob_key: git_hash(content)}
            if path.endswith(LARGE):
                digest = sha256(content)
                entry["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 130}
            found.append((path, entry))
        return found

    def file(self, name: str, repository: Repository, path: str, *, with_body: bool) -> None:
        if path not in repository.files:
            return self.fail(404, "EntryNotFound")
        content = repository.sent.get(path, repository.files[path])
        right = repository.files[path]
        etag = sha256(right) if path.endswith(LARGE) else git_hash(right)
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if with_body:
            stop = repository.cut.pop(path, len(content))
            self.wfile.write(content[start:stop])
            if stop < len(content):
                self.close_connection = True
        return None

    def send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def note(self) -> None:
        self.hub.requests.append(f"{self.command} {urlsplit(self.path).path}")
        self.hub.tokens.append(self.headers.get("Authorization"))


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A running hub, which the environment makes the only one."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield hub
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
