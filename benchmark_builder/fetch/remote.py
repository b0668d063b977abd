"""Downloads: beside their place until they are whole, resumed where the server allows, repeated, checked.

`$OPTIML_BENCH_MIRROR` names a server that is asked instead of upstream's: `https://<host>/<path>` becomes
`<mirror>/<host>/<path>`. The Hub is not concerned; it has its own `$HF_ENDPOINT`.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from benchmark_builder.fetch.archives import blob_hash
from task_registry.errors import RemoteError
from task_registry.version import VERSION

Result = TypeVar("Result")
Watch: TypeAlias = Callable[[str, int], None]
"""Is told an address, and how many bytes of it are there."""

MIRROR_VARIABLE = "OPTIML_BENCH_MIRROR"
BLOCK = 1 << 18
PARTIAL = ".part"
STATE = ".state"
"""Beside a partial file: which version of the remote file it is the beginning of."""
WINDOW = re.compile(r"\bt=(\d+)")
"""In the Hub's `RateLimit` header: seconds until it answers again."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be another one next time."""
GONE = frozenset({404, 410})
DROPPED = (http.client.HTTPException, OSError)
"""What a connection that fails raises; URLError and TimeoutError are among them."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying."""

    tries: int = 5
    """Attempts without a byte more, after which a download has failed."""
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled for each further one."""
    longest_wait: float = 600.0
    """Seconds that a server may ask to wait."""
    timeout: float = 60.0
    """Seconds of silence after which a connection counts as dropped."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on a server, and what is known of it beforehand."""

    url: str
    size: int | None = None
    sha256: str = ""
    blob: str = ""
    """Git's id of it."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent to this server only, never after a redirection to another."""


class Stopped(Exception):  # noqa: N818 (no error: it was asked for)
    """The work was called off."""


class Passing(Exception):  # noqa: N818 (becomes a RemoteError when it does not pass)
    """A fault that may pass: what happened, and how long the server asks to wait."""

    def __init__(self, what: str, wait: float | None = None, *, silent: bool = False) -> None:
        super().__init__(what)
        self.wait = wait
        self.silent = silent
        """Whether the server did not answer at all."""


class Refused(RemoteError):  # noqa: N818 (named for what it says)
    """An answer that says no, for good."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Remote:
    """The network; one for all threads."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self._stop = threading.Event()
        self._silent: frozenset[str] = frozenset()
        self._answers: set[Any] = set()
        https = urllib.request.HTTPSHandler(context=_certificates())
        self._opener = urllib.request.build_opener(_Redirections, https)

    def stop(self) -> None:
        """Call the work off: every download and every wait ends in `Stopped`, also one that hears nothing."""
        self._stop.set()
        for answer in tuple(self._answers):
            with (
                contextlib.suppress(OSError, ValueError),
                socket.socket(fileno=os.dup(answer.fileno())) as own,
            ):
                own.shutdown(socket.SHUT_RDWR)

    def patiently(
        self, url: str, attempt: Callable[[], Result], progress: Callable[[], int] = lambda: 0
    ) -> Result:
        """Call `attempt` until it succeeds; a `Passing` fault is waited out, more than once.

        The count of attempts begins anew when `progress` has grown. Raises RemoteError, with the address, when
        patience is at its end; a server that never answered before gets one attempt only.
        """
        failures, furthest, host = 0, progress(), urlsplit(url).netloc
        while True:
            if self._stop.is_set():
                raise Stopped
            try:
                return attempt()
            except Passing as fault:
                reached = progress()
                failures = 1 if reached > furthest else failures + 1
                furthest = max(reached, furthest)
                if failures >= self.patience.tries or (fault.silent and host in self._silent):
                    self._silent |= {host} if fault.silent else frozenset()
                    raise RemoteError(f"{url}: {fault}; run the same command again later") from fault
                wait = self.patience.first_wait * 2 ** (failures - 1) if fault.wait is None else fault.wait
                if wait > self.patience.longest_wait:
                    message = f"{url}: {fault}; run the same command again in {wait:,.0f} s"
                    raise RemoteError(message) from fault
                if self._stop.wait(wait):
                    raise Stopped from None

    def size(self, file: RemoteFile) -> int | None:
        """The size of a file as its server tells it, None where it does not; RemoteError where it is gone."""

        def attempt() -> int | None:
            with self._ask(file, "HEAD", {}) as answer:
                return _number(answer.headers.get("Content-Length"))

        if file.size is not None:
            return file.size
        try:
            return self.patiently(file.url, attempt)
        except Refused as refusal:
            if refusal.code in GONE:
                raise
            return None  # a server may refuse to be asked for a size alone

    def download(self, file: RemoteFile, to: Path, watch: Watch = lambda *_: None) -> None:
        """Download a file; `watch` is told, again and again, how many of its bytes are there.

        What a killed download left is gone on from, where the server says that the file is the same one or its
        checksum is known. Raises RemoteError where it fails for good.
        """
        if to.is_file() and not fault_of(to, file):
            watch(file.url, to.stat().st_size)
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        partial = to.with_name(to.name + PARTIAL)
        for resumed in (_size(partial) > 0, False):
            self.patiently(file.url, lambda: self._receive(file, partial, watch), lambda: _size(partial))
            fault = fault_of(partial, file)
            _state_of(partial).unlink(missing_ok=True)
            if not fault:
                break
            partial.unlink()
            if not resumed:  # what was gone on from may have been the beginning of another file
                raise RemoteError(f"{file.url}: found {fault}; try again later, or tell its owners")
        partial.replace(to)

    def _receive(self, file: RemoteFile, partial: Path, watch: Watch) -> None:
        """Receive the rest of a file in one connection."""
        done = _size(partial)
        if done == file.size:
            partial.touch()  # also an empty file is one
            return
        asked = _range(file, partial, done) if done else {}
        try:
            answer = self._ask(file, "GET", asked)
        except Refused as refusal:
            if refusal.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            partial.unlink()
            raise Passing("the file is shorter than what is there of it", wait=0) from refusal
        with answer:
            starts = f"bytes {done}-"
            resumed = answer.status == http.client.PARTIAL_CONTENT
            if resumed and not answer.headers.get("Content-Range", "").startswith(starts):
                partial.unlink()
                raise Passing("another part of the file was sent than the one asked for")
            done = done if resumed else 0
            _state_of(partial).write_text(json.dumps(_version(file, answer.headers)), encoding="utf-8")
            length = _number(answer.headers.get("Content-Length"))
            with partial.open("ab" if resumed else "wb") as out:
                self._copy(answer, out, lambda more: watch(file.url, done + more))
            if length is not None and _size(partial) != done + length:
                raise Passing(
                    f"the connection was dropped after {_size(partial):,} bytes of {done + length:,}"
                )

    def _copy(self, answer: Any, out: Any, watch: Callable[[int], None]) -> None:
        copied = 0
        self._answers.add(answer)
        try:
            while block := answer.read1(BLOCK):
                out.write(block)
                copied += len(block)
                watch(copied)
                if self._stop.is_set():
                    raise Stopped
        except http.client.IncompleteRead as error:
            out.write(error.partial)
            raise Passing("the connection was dropped") from error
        except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            raise Passing(f"the connection was dropped ({_words(error)})") from error
        finally:
            self._answers.discard(answer)

    def _ask(self, file: RemoteFile, method: str, headers: Mapping[str, str]) -> Any:
        """Ask for a file; the answer, or Passing, or Refused."""
        common = {"User-Agent": f"optiml-bench/{VERSION}", "Accept-Encoding": "identity"}
        request = urllib.request.Request(
            file.url, headers={**common, **file.headers, **headers}, method=method
        )
        try:
            return self._opener.open(request, timeout=self.patience.timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(file.url, error) from error
        except DROPPED as error:
            raise Passing(f"no connection ({_words(error)})", silent=True) from error


def mirrored(url: str) -> str:
    """The address that is asked for a file: upstream's own, or a mirror's."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}" if mirror else url


def fault_of(path: Path, file: RemoteFile) -> str:
    """How a file differs from what is known of the remote one; empty where it does not."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size:,} bytes, expected {file.size:,}"
    if file.sha256 and (found := sha256_of(path)) != file.sha256:
        return f"sha256 {found}, expected {file.sha256}"
    if file.blob and (found := blob_of(path)) != file.blob:
        return f"git blob {found}, expected {file.blob}"
    return ""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def blob_of(path: Path) -> str:
    """Git's id of a file."""
    digest = blob_hash(path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """How many seconds a server asks to wait: `Retry-After`, as a number or a date, or the Hub's `RateLimit`."""
    found = {name.lower(): value for name, value in headers.items()}
    text = found.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    if text:
        try:
            return max(0.0, (email.utils.parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            return None
    window = WINDOW.search(found.get("ratelimit", ""))
    return float(window.group(1)) if window else None


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    said = f"the server answers {error.code} {error.reason}"
    if error.code in PASSING:
        return Passing(said, asked_wait(dict(error.headers)))
    if error.code in GONE:
        return Refused(
            f"{url}: {said}; upstream may have moved it: see there, and bring it by hand", error.code
        )
    return Refused(f"{url}: {said}; see whether you may have it, and bring it by hand", error.code)


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows redirections, and keeps what was for one server from another."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            request.method = req.get_method()
            if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
                request.remove_header("Authorization")
        return request


def _certificates() -> ssl.SSLContext:
    """The machine's certificates, and the usual bundle beside: some Pythons know none."""
    context = ssl.create_default_context()
    try:
        import certifi
    except ImportError:
        return context
    context.load_verify_locations(certifi.where())
    return context


def _range(file: RemoteFile, partial: Path, done: int) -> dict[str, str]:
    """The headers that ask for the rest of a file, where it is sure to be the same file."""
    try:
        state = json.loads(_state_of(partial).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        state = {}
    asked = {"Range": f"bytes={done}-"}
    if file.sha256 or file.blob:
        return asked
    validator = state.get("validator") if isinstance(state, dict) and state.get("url") == file.url else None
    if isinstance(validator, str) and validator.isascii() and validator.isprintable() and validator:
        return {**asked, "If-Range": validator}
    return {}


def _version(file: RemoteFile, headers: Mapping[str, str]) -> dict[str, str]:
    etag = headers.get("ETag") or ""
    validator = (headers.get("Last-Modified") or "") if not etag or etag.startswith("W/") else etag
    return {"url": file.url, "validator": validator}


def _state_of(partial: Path) -> Path:
    return partial.with_name(partial.name + STATE)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _words(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return " ".join(str(reason or error or type(error).__name__).split())
