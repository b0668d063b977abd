"""A small Hub and a server of archives on 127.0.0.1, for the real clients, with faults on demand.

    with LocalHub() as hub:
        hub.add_dataset("harbour/boats", {"README.md": b"...", "data/train-00000-of-00001.parquet": b"..."})
        hub.add_file("github.com/harbour/charts/archive/1a2b.tar.gz", b"...")
        hub.break_next("train-00000", Fault(drop_after=1000))
        HfApi(endpoint=hub.url).dataset_info("harbour/boats")

It speaks what `huggingface_hub` and `datasets` ask of the Hub to read a data set: its list of files, folders and
paths of it, and the files themselves with ETag, ranges, and a redirection for those in LFS. A repository's files are
served as a model's, too. Everything else is served under `/<host>/<path>`, as `$OPTIML_BENCH_MIRROR` has it.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import json
import socket
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

LFS_FROM = 2000
"""Files of so many bytes lie in LFS, as the Hub has them of 10 MB."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer."""

    status: int = 0
    """This status instead of the answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    """The connection is dropped after so many bytes of the body."""
    hold: threading.Event | None = None
    """Before it is dropped, the connection is silent until this is set."""
    garble: bool = False
    """Another byte than the file's own is sent in its middle."""


@dataclass(frozen=True)
class Request:
    """A request that was made."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Repo:
    """A data set's repository: files by commit, commits by branch."""

    id: str
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit that holds these files, at the head of a branch; returns its hash."""
        told = json.dumps({name: hashlib.sha1(content).hexdigest() for name, content in files.items()})
        sha = hashlib.sha1(f"{branch} {len(self.commits)} {told}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch or a hash names."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class LocalHub:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.token = "hf_sesame"
        """The token that opens gated data sets."""
        self.ranges = True
        """Whether ranges are answered, as codeload.github.com does not."""
        self.weak = False
        """Whether ETags are weak, by which nothing can be resumed."""
        self.sizes = True
        """Whether files outside the Hub are sent with their length."""
        self.holding = threading.Event()
        """Set when a connection is held."""
        self._faults: list[tuple[str, Fault]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Its address: `$HF_ENDPOINT` and `$OPTIML_BENCH_MIRROR`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def store_url(self) -> str:
        """Where files in LFS lie: a host of another name, as on the Hub, which is not to see any token."""
        return f"http://localhost:{self._server.server_address[1]}/lfs"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in order to ask this server and no other."""
        nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
        ours = {"HF_ENDPOINT": self.url, "OPTIML_BENCH_MIRROR": self.url, "no_proxy": "127.0.0.1,localhost"}
        return {**nowhere, **ours, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_dataset(self, id: str, files: Mapping[str, bytes], *, gated: bool = False) -> Repo:
        """Add a data set with one commit on its main branch."""
        repo = self.repos[id] = Repo(id, gated)
        repo.commit(files)
        return repo

    def add_file(self, place: str, content: bytes) -> None:
        """Serve a file of another host, `<host>/<path>`."""
        self.files[place] = content

    def break_next(self, part: str, *faults: Fault) -> None:
        """Let the next requests whose address holds `part` end in these faults, one each."""
        with self._lock:
            self._faults.extend((part, fault) for fault in faults)

    def mend(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._faults.clear()

    def fault_for(self, path: str) -> Fault | None:
        """Take the fault that awaits a request."""
        with self._lock:
            for number, (part, fault) in enumerate(self._faults):
                if part in path:
                    del self._faults[number]
                    return fault
        return None

    def asked(self, part: str, method: str = "GET") -> list[Request]:
        """The requests of a method whose address holds `part`, in their order."""
        return [request for request in self.requests if part in request.path and request.method == method]


def tar_gz(files: Mapping[str, bytes], *, top: str = "", commit: str = "") -> bytes:
    """An archive as GitHub makes it: everything in one folder, the commit in its comment."""
    headers = {"comment": commit} if commit else {}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{top}/{name}" if top else name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def only_loopback(patch: pytest.MonkeyPatch) -> None:
    """Let this process connect to its own machine only."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert ipaddress.ip_address(address[0].partition("%")[0]).is_loopback, f"a test asked {address}"
        connect(self, address)

    patch.setattr(socket.socket, "connect", guarded)


def file_facts(name: str, content: bytes) -> dict[str, Any]:
    """A file as the Hub's lists have it."""
    facts = {"size": len(content), "oid": _blob_id(content)}
    if len(content) >= LFS_FROM:
        sha256 = hashlib.sha256(content).hexdigest()
        facts["lfs"] = {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": 134}
    return {"path": name, "type": "file", **facts}


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _handler(hub: LocalHub) -> type[BaseHTTPRequestHandler]:
    """The class that answers for a hub."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            hub.requests.append(Request(self.command, self.path, dict(self.headers.items())))
            fault = hub.fault_for(self.path) or Fault()
            if fault.status:
                self._send(b"", fault, status=fault.status, headers=fault.headers)
                return
            path = unquote(urlsplit(self.path).path).strip("/")
            if path.startswith("api/datasets/"):
                self._api(path.removeprefix("api/datasets/"), body, fault)
            elif path.startswith("datasets/"):
                self._resolve(path.removeprefix("datasets/"), fault)
            elif "/resolve/" in path:  # a model's file
                self._resolve(path, fault)
            elif path.startswith("lfs/"):
                self._file(_in_lfs(hub)[path.removeprefix("lfs/")], fault)
            elif path in hub.files:
                self._file(hub.files[path], fault, length=hub.sizes)
            else:
                self._send(b"", fault, status=404)

        def _repo(self, path: str) -> tuple[Repo | None, list[str]]:
            parts = path.split("/")
            return hub.repos.get("/".join(parts[:2])), parts[2:]

        def _may_read(self, repo: Repo) -> bool:
            return not repo.gated or self.headers.get("Authorization") == f"Bearer {hub.token}"

        def _commit(self, repo: Repo, rest: str) -> tuple[str | None, str]:
            """The commit that an address names, and what follows it; a branch's name may hold slashes."""
            for revision in sorted((*repo.branches, *repo.commits), key=len, reverse=True):
                if rest == revision or rest.startswith(f"{revision}/"):
                    return repo.resolve(revision), rest[len(revision) + 1 :]
            return None, ""

        def _api(self, path: str, body: bytes, fault: Fault) -> None:
            repo, rest = self._repo(path)
            if repo is None:
                self._refuse(fault, 401, "RepoNotFound")
                return
            verb, revision = (rest[0], "/".join(rest[1:])) if rest else ("revision", "main")
            sha, folder = self._commit(repo, revision)
            if sha is None:
                self._refuse(fault, 404, "RevisionNotFound")
                return
            facts = [file_facts(name, content) for name, content in sorted(repo.commits[sha].items())]
            if verb == "revision":
                query = parse_qs(urlsplit(self.path).query)
                self._json(_info(repo, sha, facts, blobs="blobs" in query), fault)
            elif verb == "tree":
                self._json(list(_tree(facts, folder, "recursive=True" in self.path)), fault)
            elif verb == "paths-info":
                asked = (
                    json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
                )
                self._json([entry for entry in _tree(facts, "", True) if entry["path"] in asked], fault)
            else:
                self._send(b"", fault, status=404)

        def _resolve(self, path: str, fault: Fault) -> None:
            repo, rest = self._repo(path)
            sha, name = (
                self._commit(repo, "/".join(rest[1:])) if repo and rest[:1] == ["resolve"] else (None, "")
            )
            if repo is None:
                self._refuse(fault, 401, "RepoNotFound")
            elif sha is None:
                self._refuse(fault, 404, "RevisionNotFound")
            elif name not in repo.commits[sha]:
                self._refuse(fault, 404, "EntryNotFound")
            elif name != "README.md" and not self._may_read(repo):
                self._refuse(fault, 403 if "Authorization" in self.headers else 401, "GatedRepo")
            else:
                content = repo.commits[sha][name]
                facts = file_facts(name, content)
                headers = {"X-Repo-Commit": sha, "X-Linked-Size": str(len(content))}
                if "lfs" not in facts:
                    self._file(content, fault, headers=headers | {"ETag": f'"{facts["oid"]}"'})
                    return
                oid = facts["lfs"]["oid"]
                headers |= {
                    "X-Linked-ETag": f'"{oid}"',
                    "ETag": f'"{oid}"',
                    "Location": f"{hub.store_url}/{oid}",
                }
                self._send(b"", fault, status=302, headers=headers)

        def _file(
            self,
            content: bytes,
            fault: Fault,
            headers: Mapping[str, str] | None = None,
            *,
            length: bool = True,
        ) -> None:
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            headers = {"ETag": etag, "Accept-Ranges": "bytes", **(headers or {})}
            asked = self.headers.get("Range", "")
            if hub.weak:
                headers["ETag"] = f"W/{headers['ETag']}"
            same = self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]
            if asked.startswith("bytes=") and hub.ranges and same:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                if start >= len(content):
                    self._send(b"", fault, status=416, headers={"Content-Range": f"bytes */{len(content)}"})
                    return
                last = len(content) - 1
                headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
                self._send(content[start:], fault, status=206, headers=headers)
                return
            self._send(content, fault, headers=headers, length=length)

        def _refuse(self, fault: Fault, status: int, code: str) -> None:
            self._send(b"", fault, status=status, headers={"X-Error-Code": code, "X-Error-Message": code})

        def _json(self, content: Any, fault: Fault) -> None:
            self._send(json.dumps(content).encode(), fault, headers={"Content-Type": "application/json"})

        def _send(
            self,
            body: bytes,
            fault: Fault,
            *,
            status: int = 200,
            headers: Mapping[str, str] | None = None,
            length: bool = True,
        ) -> None:
            if fault.garble and body:
                middle = len(body) // 2
                body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if length:
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(body if fault.drop_after is None else body[: fault.drop_after])
            if fault.hold is not None:
                self.wfile.flush()
                hub.holding.set()
                fault.hold.wait(60)
            if fault.drop_after is not None or not length:
                self.close_connection = True

    return Handler


def _in_lfs(hub: LocalHub) -> dict[str, bytes]:
    files = (
        content
        for repo in hub.repos.values()
        for commit in repo.commits.values()
        for content in commit.values()
    )
    return {hashlib.sha256(content).hexdigest(): content for content in files}


def _info(repo: Repo, sha: str, facts: list[dict[str, Any]], *, blobs: bool) -> dict[str, Any]:
    siblings = [
        {"rfilename": f["path"]}
        | (
            {"size": f["size"], "blobId": f["oid"]} | ({"lfs": f["lfs"]} if "lfs" in f else {})
            if blobs
            else {}
        )
        for f in facts
    ]
    gated = "auto" if repo.gated else False
    return {"id": repo.id, "sha": sha, "private": False, "gated": gated, "siblings": siblings, "tags": []}


def _tree(facts: list[dict[str, Any]], folder: str, recursive: bool) -> Iterator[dict[str, Any]]:
    """The entries of a folder, folders too."""
    prefix = f"{folder}/" if folder else ""
    folders = set()
    for entry in facts:
        path = entry["path"]
        if not path.startswith(prefix):
            continue
        above = path[len(prefix) :].split("/")[:-1]
        names = [prefix + "/".join(above[: n + 1]) for n in range(len(above))]
        for name in names if recursive else names[:1]:
            if name not in folders:
                folders.add(name)
                yield {
                    "path": name,
                    "type": "directory",
                    "oid": hashlib.sha1(name.encode()).hexdigest(),
                    "size": 0,
                }
        if recursive or not above:
            yield entry
