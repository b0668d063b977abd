"""A folder of an object store, by any URL that `fsspec` knows: `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, ...

What a store promises is little: an object appears whole or not at all, a listing shows what was put, and an
object can be put on the condition that there is none. Nothing is renamed and nothing is appended to. The
store's own client repeats what a network drops; what fails for good is a RemoteError of one line. Where the
client finds its endpoint and keys, such as `$AWS_ENDPOINT_URL`, is its own matter.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from task_registry.errors import BenchError, MachineError, RemoteError, UsageError, one_line

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)")
_LOCAL = frozenset(("file", "local"))
_OF_THIS_MACHINE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE))
_AT_ONCE = 16
_EXTRAS = {"s3": "s3", "s3a": "s3"}
"""Extras of ours, by the scheme that needs them."""


def local_path(place: str | Path) -> Path | None:
    """The path of a folder of this machine, given as such or as `file://...`; None for any other URL."""
    if isinstance(place, Path):
        return place
    match = _URL.fullmatch(place)
    if match is None:
        return Path(place)
    return Path(match["rest"]) if match["scheme"].lower() in _LOCAL else None


@dataclass(frozen=True, slots=True)
class Objects:
    """All objects whose address begins with `url` and a slash, by the rest of it; small enough to be sent around."""

    url: str

    @classmethod
    def at(cls, url: str) -> Objects:
        """Check an address; UsageError where no client can read it, MachineError where its client is missing."""
        from fsspec import available_protocols

        match = _URL.fullmatch(url)
        if match is not None and match["scheme"] == "hf":
            raise UsageError(
                f"{url}: a bench goes to the Hub by `optiml-bench publish`; build it elsewhere first"
            )
        if match is None or match["scheme"] not in available_protocols():
            raise UsageError(
                f"{url}: no address of a store, expected a folder or a URL such as s3://BUCKET/PATH"
            )
        objects = cls(url.rstrip("/"))
        _ = objects.root
        return objects

    def below(self, name: str) -> Objects:
        """The objects of a folder of this one."""
        return Objects(f"{self.url}/{name}")

    @property
    def root(self) -> str:
        """The address as the store's client spells it."""
        return str(self._client._strip_protocol(self.url)).rstrip("/")

    @property
    def _client(self) -> Any:
        """The store's client, which `fsspec` keeps; what it has listed before it must not take for granted."""
        from fsspec.core import url_to_fs

        scheme = self.url.partition(":")[0]
        try:
            return url_to_fs(self.url, use_listings_cache=False)[0]
        except ImportError as error:
            package = (
                f"'optiml-bench[{_EXTRAS[scheme]}]'" if scheme in _EXTRAS else f"the client of {scheme}://"
            )
            message = f"{self.url}: {_line(error)}; install it with: pip install {package}"
            raise MachineError(message) from error
        except ValueError as error:
            raise UsageError(f"{self.url}: {_line(error)}") from error

    def top(self) -> set[str]:
        """The names directly below the address, of objects and of folders."""
        with self._told("list"):
            try:
                found = self._client.ls(self.root, detail=False)
            except FileNotFoundError:
                return set()
        names = (self._name(path.rstrip("/")) for path in found)
        return {name for name in names if name}

    def names(self) -> set[str]:
        """The names of all objects; a request for each thousand."""
        with self._told("list"):
            found = self._client.find(self.root)
        return {name for path in found if (name := self._name(path))}

    def _name(self, path: str) -> str:
        """The rest of an object's address; empty for the folder itself, and for a neighbour of a similar name."""
        root = self.root.lstrip("/")
        return path.lstrip("/").removeprefix(f"{root}/") if path.lstrip("/").startswith(f"{root}/") else ""

    def read(self, name: str) -> bytes | None:
        """An object's content; None where there is no such object."""
        with self._told("read", name):
            try:
                content: bytes = self._client.cat_file(
                    f"{self.root}/{name}", start=0
                )  # without it some ask for the size first
            except FileNotFoundError:
                return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put an object, instead of the one that is there."""
        with self._told("write", name):
            self._client.pipe_file(f"{self.root}/{name}", content)

    def create(self, name: str, content: bytes) -> bool:
        """Put an object if there is none of this name, and tell whether it was put."""
        with self._told("write", name):
            try:
                self._client.pipe_file(f"{self.root}/{name}", content, mode="create")
            except FileExistsError:
                return False
        return True

    def age(self, name: str, probe: str) -> float | None:
        """Seconds between an object's last change and now, by the store's own clock; None where it is gone.

        `probe` names an object that was changed just now.
        """
        with self._told("look at", name):
            try:
                now, then = (self._client.modified(f"{self.root}/{one}") for one in (probe, name))
            except FileNotFoundError:
                return None
        return float((now - then).total_seconds())

    def put(self, files: Mapping[str, Path]) -> None:
        """Put files under the names that they are given by, several at a time."""
        with self._told("write", next(iter(files), "")):
            self._client.put(
                [str(file) for file in files.values()], [f"{self.root}/{name}" for name in files]
            )

    def get(self, files: Mapping[str, Path]) -> None:
        """Bring objects to files, several at a time; the folders are made."""
        for folder in {file.parent for file in files.values()}:
            folder.mkdir(parents=True, exist_ok=True)
        with self._told("read", next(iter(files), "")):
            self._client.get(
                [f"{self.root}/{name}" for name in files], [str(file) for file in files.values()]
            )

    def bring(self, folder: Path) -> bool:
        """Bring all objects to a folder, and tell whether there were any."""
        files = {name: folder / name for name in self.names() if is_plain(name)}
        self.get(files)
        return bool(files)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, several at a time; none of them need be there."""
        names = sorted(names)
        # Not in one request, where a store has such: what it then refuses to remove it does not tell.
        with ThreadPoolExecutor(min(_AT_ONCE, len(names)) or 1) as pool:
            for _ in pool.map(self._remove, names):
                pass

    def _remove(self, name: str) -> None:
        with self._told("remove", name), contextlib.suppress(FileNotFoundError):
            self._client.rm_file(f"{self.root}/{name}")

    @contextmanager
    def _told(self, doing: str, name: str = "") -> Iterator[None]:
        """Turn what a store's client raises into a line: the address, what happened, what to do."""
        place = f"{self.url}/{name}" if name else self.url
        try:
            yield
        except BenchError:
            raise
        except Exception as error:  # each client has exceptions of its own, of no common kind
            if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
                message = (
                    f"{error.filename or place}: {error.strerror}; mend that and run it again: it goes on"
                )
                raise MachineError(message) from error
            message = f"{place}: cannot {doing} it ({_line(error)}); mend that and run it again: it goes on"
            raise RemoteError(message) from error


def is_plain(name: str) -> bool:
    """Whether an object's name is that of a file below a folder."""
    return not PurePosixPath(name).is_absolute() and not {"..", ".", ""} & set(name.split("/"))


def _line(error: BaseException) -> str:
    return one_line(str(error)) or type(error).__name__
