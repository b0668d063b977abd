"""A small Hugging Face Hub on 127.0.0.1 that can be written to: repositories, commits, LFS uploads, tags.

It answers the real `huggingface_hub` and `datasets` clients as the Hub does, as far as they ask: what a data set
repository holds at a revision, its files with ranges, the upload modes, the LFS batch with basic transfers, a token
for the Xet client, the commit with an expected parent, tags, and the check of a card's head. `Fault`s make it fail
on purpose.
`local_hub.py` beside it is for reading alone, with more ways for a download to go wrong.

Files lie in a folder, so that publishing large ones can be measured: `python tests/support/local_hub_writes.py
FOLDER` prints the address and serves until it is stopped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".parquet", ".arrow")
ROOT = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}


@dataclass
class Repository:
    """A data set repository: its commits, by id, and what names them."""

    private: bool
    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    """Digests of the files by path."""
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    """Branches and tags."""
    tags: set[str] = field(default_factory=set)

    def commit(self, files: dict[str, str], message: str) -> str:
        parent = self.refs.get("main", "")
        text = json.dumps([parent, message, len(self.commits), sorted(files.items())])
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid] = files
        self.messages.append(message)
        self.refs["main"] = oid
        return oid

    def resolve(self, revision: str) -> str | None:
        found = self.refs.get(revision, revision)
        return found if found in self.commits else None


@dataclass
class Fault:
    """Something that goes wrong on purpose with requests whose "METHOD /path" matches."""

    pattern: str
    status: int = 0
    """0: the connection is dropped without an answer."""
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""
    times: int = 1_000_000
    after: int = 0
    """How many matching requests are served first."""
    too_late: bool = False
    """The request is carried out, and only its answer is lost."""


@dataclass
class WritableHub:
    """The state of a hub, and the address of its server."""

    folder: Path
    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=lambda: {"hf_writer": {"write"}, "hf_reader": set()})
    expired: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    xet: Path | None = None
    """A folder that the Xet client takes for its store; what goes there can be committed, not read back."""

    def store(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / digest).write_bytes(content)
        return digest

    def create(
        self, repo_id: str, *, private: bool = False, files: dict[str, bytes] | None = None
    ) -> Repository:
        """Make a repository with its first commit."""
        repository = self.repositories[repo_id] = Repository(private)
        everything = ROOT | (files or {})
        repository.commit(
            {path: self.store(content) for path, content in everything.items()}, "initial commit"
        )
        return repository

    def count(self, pattern: str) -> int:
        """How many requests so far match."""
        return sum(re.search(pattern, request) is not None for request in self.requests)

    def read(self, repo_id: str, path: str, revision: str = "main") -> bytes:
        repository = self.repositories[repo_id]
        return (self.folder / repository.commits[repository.refs[revision]][path]).read_bytes()


@contextmanager
def running_hub(folder: Path, port: int = 0) -> Iterator[WritableHub]:
    """Serve a hub whose files lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    hub = WritableHub(folder)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Answer(Exception):  # noqa: N818  (ends a request, whether it is an error or not)
    def __init__(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status, self.content, self.headers = status, content, headers or {}


def _refusal(status: int, error: str, code: str = "") -> _Answer:
    headers = {"X-Error-Message": error} | ({"X-Error-Code": code} if code else {})
    return _Answer(status, {"error": error}, headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two would wait for the client's acknowledgement
    hub: WritableHub
    body: bytes

    ROUTES = (
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?", "info"),
        ("GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/refs", "list_refs"),
        ("GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree"),
        ("POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)", "paths_info"),
        ("POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tag/(?P<revision>[^/]+)", "tag"),
        ("POST", r"/datasets/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "put"),
        ("POST", r"/lfs/verify", "verify"),
        ("GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/xet-write-token/(?P<revision>[^/]+)", "xet_token"),
        (
            "(?:GET|HEAD)",
            r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
            "resolve",
        ),
    )

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        self.hub.authorizations.append(self.headers.get("Authorization", ""))
        fault = self._fault(request)
        # Read whole whatever is answered: a connection that is closed with something unread loses the answer.
        self.body = b"" if self.command == "PUT" and fault is None else self._read_body()
        try:
            if fault is not None and not fault.too_late:
                self._break(fault)
            for method, pattern, name in self.ROUTES:
                if re.fullmatch(method, self.command) and (match := re.fullmatch(pattern, path)):
                    arguments = {key: value for key, value in match.groupdict().items() if value is not None}
                    getattr(self, f"on_{name}")(**arguments)
            raise _refusal(404, f"no such address: {request}")
        except _Answer as answer:
            if fault is not None and fault.too_late:
                self._drop()
            else:
                self._send(answer)

    do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815  (the names that http.server calls)

    def _fault(self, request: str) -> Fault | None:
        for fault in self.hub.faults:
            if re.search(fault.pattern, request):
                if fault.after:
                    fault.after -= 1
                elif fault.times:
                    fault.times -= 1
                    return fault
        return None

    def _break(self, fault: Fault) -> None:
        if not fault.status:
            self._drop()
            raise _Answer(0)
        answer = _refusal(fault.status, fault.error or HTTPStatus(fault.status).phrase)
        answer.headers |= fault.headers
        raise answer

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _send(self, answer: _Answer) -> None:
        if not answer.status:
            return
        content = answer.content
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            self.send_response(answer.status)
            for key, value in ({"Content-Length": str(len(body))} | answer.headers).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()
        except ConnectionError:
            self.close_connection = True

    def _read_body(self) -> bytes:
        return b"".join(self._blocks())

    def _chunks(self) -> Iterator[bytes]:
        """A body without a length, as it is sent for a stream."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    # who asks, and of what

    def _token(self) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self.hub.expired:
            raise _refusal(401, "User access token is expired")
        if token and token not in self.hub.tokens:
            raise _refusal(401, "Invalid credentials in Authorization header")
        return token

    def _writer(self) -> None:
        token = self._token()
        if not token:
            raise _refusal(401, "Invalid username or password.")
        if "write" not in self.hub.tokens[token]:
            raise _refusal(403, "Forbidden: you must use a write token to upload to a repository.")

    def _repository(self, repo: str) -> Repository:
        token = self._token()
        found = self.hub.repositories.get(repo)
        if found is None or (found.private and not token):
            status = 404 if token else 401
            raise _refusal(status, "Repository not found", "RepoNotFound")
        return found

    def _files(self, repo: str, revision: str) -> tuple[str, dict[str, str]]:
        repository = self._repository(repo)
        commit = repository.resolve(revision)
        if commit is None:
            raise _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit, repository.commits[commit]

    def _entry(self, path: str, digest: str) -> dict[str, Any]:
        size = (self.hub.folder / digest).stat().st_size
        entry: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": digest[:40]}
        if path.endswith(LFS_SUFFIXES):
            entry["lfs"] = {"oid": digest, "size": size, "pointerSize": 130}
        return entry

    # reading

    def on_info(self, repo: str, revision: str = "main") -> None:
        commit, files = self._files(repo, revision)
        siblings = [{"rfilename": path} for path in sorted(files)]
        private = self.hub.repositories[repo].private
        raise _Answer(
            200,
            {"id": repo, "sha": commit, "private": private, "siblings": siblings, "tags": [], "gated": False},
        )

    def on_list_refs(self, repo: str) -> None:
        repository = self._repository(repo)
        named: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": []}
        for name, commit in repository.refs.items():
            kind = "tags" if name in repository.tags else "branches"
            named[kind].append({"name": name, "ref": f"refs/{name}", "targetCommit": commit})
        raise _Answer(200, named)

    def on_tree(self, repo: str, revision: str, path: str = "") -> None:
        _, files = self._files(repo, revision)
        below = f"{path}/" if path else ""
        inside = {name: digest for name, digest in files.items() if name.startswith(below)}
        if path and not inside:
            raise _refusal(404, f"{path} does not exist", "EntryNotFound")
        if "recursive=true" in self.path.lower():
            raise _Answer(200, [self._entry(name, digest) for name, digest in sorted(inside.items())])
        entries = {}
        for name, digest in sorted(inside.items()):
            head, slash, _ = name[len(below) :].partition("/")
            folder = {"type": "directory", "path": below + head, "oid": "0" * 40, "size": 0}
            entries[head] = folder if slash else self._entry(name, digest)
        raise _Answer(200, list(entries.values()))

    def on_paths_info(self, repo: str, revision: str) -> None:
        asked = json.loads(self.body)["paths"]
        _, files = self._files(repo, revision)
        found = [self._entry(path, files[path]) for path in asked if path in files]
        for path in asked:
            if path not in files and any(name.startswith(f"{path}/") for name in files):
                found.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        raise _Answer(200, found)

    def on_resolve(self, repo: str, revision: str, path: str) -> None:
        commit, files = self._files(repo, revision)
        if path not in files:
            raise _refusal(404, "Entry not found", "EntryNotFound")
        content = (self.hub.folder / files[path]).read_bytes()
        headers = {"ETag": f'"{files[path]}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            raise _Answer(200, content, headers)
        first = int(wanted[1]) if wanted[1] else max(0, len(content) - int(wanted[2]))
        last = min(int(wanted[2]), len(content) - 1) if wanted[1] and wanted[2] else len(content) - 1
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        raise _Answer(206, content[first : last + 1], headers)

    # writing

    def on_create(self) -> None:
        self._writer()
        asked = json.loads(self.body)
        repo = f"{asked['organization']}/{asked['name']}"
        if repo in self.hub.repositories:
            raise _refusal(409, "You already created this dataset repo")
        self.hub.create(repo, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        raise _Answer(200, {"url": f"{self.hub.endpoint}/datasets/{repo}"})

    def on_validate(self) -> None:
        import yaml

        head = json.loads(self.body)["content"].split("---\n")[1]
        errors = [] if isinstance(yaml.safe_load(head), dict) else [{"message": "the head is no mapping"}]
        raise _Answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def on_preupload(self, repo: str, revision: str) -> None:
        asked = json.loads(self.body)["files"]
        self._writer()
        _, files = self._files(repo, revision)
        answers = []
        for entry in asked:
            path = entry["path"]
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            answer = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            if path in files:
                answer["oid"] = files[path] if mode == "lfs" else self._git_oid(files[path])
            answers.append(answer)
        raise _Answer(200, {"files": answers})

    def _git_oid(self, digest: str) -> str:
        content = (self.hub.folder / digest).read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def on_batch(self, repo: str) -> None:
        asked = json.loads(self.body)
        self._writer()
        self._repository(repo)
        objects = []
        for entry in asked["objects"]:
            answer = {"oid": entry["oid"], "size": entry["size"]}
            if not (self.hub.folder / entry["oid"]).exists():
                answer["actions"] = {
                    "upload": {"href": f"{self.hub.endpoint}/lfs/{entry['oid']}"},
                    "verify": {"href": f"{self.hub.endpoint}/lfs/verify"},
                }
            objects.append(answer)
        # Version 1 of the client lets the Hub choose; version 2 takes Xet unasked.
        xet = self.hub.xet is not None and "xet" in asked.get("transfers", ())
        raise _Answer(200, {"transfer": "xet" if xet else "basic", "objects": objects})

    def on_put(self, oid: str) -> None:
        partial = self.hub.folder / f"{oid}.{threading.get_ident()}"
        digest = hashlib.sha256()
        with partial.open("wb") as file:
            for block in self._blocks():
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != oid:
            partial.unlink()
            raise _refusal(400, "the content is not what its digest says")
        partial.rename(self.hub.folder / oid)
        raise _Answer(200, {})

    def _blocks(self) -> Iterator[bytes]:
        """The body in pieces."""
        length = self.headers.get("Content-Length")
        if length is None:
            yield from self._chunks()
            return
        left = int(length)
        while left > 0 and (block := self.rfile.read(min(left, 1 << 20))):
            left -= len(block)
            yield block

    def on_verify(self) -> None:
        asked = json.loads(self.body)
        known = (self.hub.folder / asked["oid"]).exists()
        raise _Answer(200 if known else 404, {})

    def on_commit(self, repo: str, revision: str) -> None:
        lines = [json.loads(line) for line in self.body.splitlines()]
        self._writer()
        repository = self._repository(repo)
        head = lines[0]["value"]
        if head.get("parentCommit", repository.refs[revision]) != repository.refs[revision]:
            raise _refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[repository.refs[revision]])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = self.hub.store(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if self.hub.xet is None and not (self.hub.folder / value["oid"]).exists():
                    raise _refusal(400, f"{value['path']}: its content was not uploaded")
                files[value["path"]] = value["oid"]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = repository.commit(files, head["summary"])
        url = f"{self.hub.endpoint}/datasets/{repo}/commit/{oid}"
        raise _Answer(200, {"commitUrl": url, "commitOid": oid, "success": True})

    def on_xet_token(self, repo: str, revision: str) -> None:
        self._writer()
        self._files(repo, revision)
        facts = {"casUrl": f"local://{self.hub.xet}", "accessToken": "of-xet", "exp": int(time.time()) + 3600}
        names = {
            "X-Xet-Cas-Url": "casUrl",
            "X-Xet-Access-Token": "accessToken",
            "X-Xet-Token-Expiration": "exp",
        }
        raise _Answer(200, facts, {header: str(facts[name]) for header, name in names.items()})

    def on_tag(self, repo: str, revision: str) -> None:
        tag = json.loads(self.body)["tag"]
        self._writer()
        commit, _ = self._files(repo, revision)
        repository = self.hub.repositories[repo]
        if tag in repository.refs:
            raise _refusal(409, f"Tag {tag} already exists")
        repository.refs[tag] = commit
        repository.tags.add(tag)
        raise _Answer(200, {})


if __name__ == "__main__":
    with running_hub(Path(sys.argv[1])) as served:
        sys.stdout.write(f"{served.endpoint}\n")
        sys.stdout.flush()
        threading.Event().wait()
