"""Archives, unpacked: only the members that are wanted, none outside its folder, no links, no bombs.

The members that are kept have one digest: SHA-256 over a line `<Git's blob id> <path>` for each, by path. For a
repository's archive, whose bytes its host may compress otherwise tomorrow, it can be known from the commit alone.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO

from benchmark_builder.fetch.items import expand_braces
from task_registry.errors import InputError, quote

MAX_RATIO = 200
"""How many times its own size an archive may unpack to: texts reach 20, bombs begin at 1,000."""
SMALL = 100_000_000
"""Bytes that any archive may unpack to."""
MAX_MEMBERS = 500_000
BLOCK = 1 << 20
COMMIT = re.compile(r"[0-9a-f]{40}")

REMEDY = "remove what is left of it and fetch again; if it stays so, tell its owners"
DAMAGES = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    zlib.error,
)
"""What the readers of archives raise over one that is damaged, cut off or encrypted."""
MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""What is no fault of the archive."""
MAGIC = 6
COMPRESSED: Mapping[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),  # type: ignore[dict-item, return-value]
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""How a compressed file begins, and what reads it and checks its checksum, which tarfile by itself does not."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out of an archive."""

    content: str
    """Digest of the members that were kept."""
    commit: str
    """The commit that a repository's archive says it is of, else empty."""


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of an archive."""

    name: str
    size: int
    plain: bool
    """Whether it is a file: no folder, link or device."""
    folder: bool


def unpack(
    archive: Path,
    parts: Mapping[str, Iterable[str]],
    into: Path,
    *,
    repository: bool = False,
    address: str = "",
) -> Unpacked:
    """Write the members that `parts` names into `into`, by place as `Archive.parts` has it.

    A folder's place receives what its patterns match, below the folders that a pattern spells out. Raises
    InputError where the archive is damaged, leaves its folder, holds a link in place of a wanted file, unpacks
    to absurd sizes, or lacks a part.
    """
    place = address or archive.name
    chosen = _Chosen(parts)
    budget = _Budget(place, max(SMALL, MAX_RATIO * archive.stat().st_size))
    digests: dict[str, str] = {}
    with _opened(archive, place) as opened:
        for member in opened.members():
            budget.take(member.size)
            name = _checked(member, place, repository)
            target = chosen.place_of(name) if name else None
            if target is None or member.folder:
                continue
            if not member.plain:
                found = f"{quote(member.name)}, a link or a device"
                raise InputError(place, found, "a file", REMEDY)
            with opened.stream() as stream:
                digests[target] = _write(stream, into / target, member.size)
    if empty := chosen.unmatched:
        found = f"nothing like {', '.join(empty)}"
        raise InputError(place, found, "the parts that are wanted of it", "see whether it has moved upstream")
    return Unpacked(content_digest(digests), opened.commit)


def content_digest(blobs: Mapping[str, str]) -> str:
    """The digest of files, from Git's ids of them by path."""
    lines = (f"{blob} {path}\n" for path, blob in sorted(blobs.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def blob_hash(size: int) -> hashlib._Hash:
    """A hash that becomes Git's id of a file of that size, once it has seen its bytes."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


class _Tar:
    """A tar file, read once from its beginning to its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.tar = tarfile.open(fileobj=file, mode="r|")  # noqa: SIM115 (what it reads from is closed)
        self.current: tarfile.TarInfo | None = None

    @property
    def commit(self) -> str:
        """The commit, which `git archive` writes into the archive's comment."""
        comment = self.tar.pax_headers.get("comment", "")
        return comment if COMMIT.fullmatch(comment) else ""

    def members(self) -> Iterator[Member]:
        for info in self.tar:
            self.current = info
            yield Member(info.name, info.size, info.isreg(), info.isdir())

    def stream(self) -> IO[bytes]:
        """What is in the member that was yielded last."""
        stream = self.tar.extractfile(self.current) if self.current else None
        if stream is None:
            raise tarfile.TarError("a file without content")
        return stream


class _Zip:
    """A zip file."""

    commit = ""

    def __init__(self, file: IO[bytes]) -> None:
        self.zip = zipfile.ZipFile(file)
        self.current: zipfile.ZipInfo | None = None

    def members(self) -> Iterator[Member]:
        for info in self.zip.infolist():
            self.current = info
            kind = stat.S_IFMT(info.external_attr >> 16)
            yield Member(
                info.filename, info.file_size, kind in (0, stat.S_IFREG), info.filename.endswith("/")
            )

    def stream(self) -> IO[bytes]:
        """What is in the member that was yielded last."""
        assert self.current is not None
        return self.zip.open(self.current)


@contextmanager
def _opened(file: Path, place: str) -> Iterator[_Tar | _Zip]:
    """Open an archive, whatever its name says it is; InputError where it is damaged."""
    try:
        with file.open("rb") as raw:
            if zipfile.is_zipfile(raw):
                yield _Zip(raw)
                return
            raw.seek(0)
            head = raw.read(MAGIC)
            raw.seek(0)
            unpacked = next((open(raw) for magic, open in COMPRESSED.items() if head.startswith(magic)), raw)
            with unpacked:
                yield _Tar(unpacked)
                while unpacked.read(BLOCK):
                    pass  # only at its end does a compressed file's checksum stand
    except DAMAGES as error:
        if isinstance(error, OSError) and error.errno in MACHINE:
            raise
        found = f"a damaged archive ({type(error).__name__}: {' '.join(str(error).split())})"
        raise InputError(place, found, "a whole tar or zip file", REMEDY) from error


class _Chosen:
    """Which members are wanted, and where each goes."""

    def __init__(self, parts: Mapping[str, Iterable[str]]) -> None:
        self.patterns = [
            (pattern, _regex(pattern), _spelled_out(pattern), place)
            for place, patterns in parts.items()
            for braced in patterns
            for pattern in expand_braces(braced)
        ]
        self.unmatched = [pattern for pattern, *_ in self.patterns]

    def place_of(self, name: str) -> str | None:
        """The path that a member goes to, relative to the folder of all sources; None where it is not wanted."""
        for pattern, regex, above, place in self.patterns:
            if regex.fullmatch(name):
                if pattern in self.unmatched:
                    self.unmatched.remove(pattern)
                return place + name[len(above) :] if place.endswith("/") else place
        return None


def _regex(pattern: str) -> re.Pattern[str]:
    """A glob over whole paths, in which `**/` stands for folders of any depth."""
    pieces = re.split(r"(\*\*/|\*)", pattern)
    known = {"**/": "(?:[^/]+/)*", "*": "[^/]*"}
    return re.compile("".join(known.get(piece, re.escape(piece)) for piece in pieces))


def _spelled_out(pattern: str) -> str:
    """The folders that a pattern names without a wildcard, with a slash at the end."""
    folders = takewhile(lambda folder: "*" not in folder, pattern.split("/")[:-1])
    return "".join(f"{folder}/" for folder in folders)


class _Budget:
    """What an archive may still unpack to."""

    def __init__(self, place: str, size: int) -> None:
        self.place, self.left, self.members = place, size, MAX_MEMBERS

    def take(self, size: int) -> None:
        self.left -= size
        self.members -= 1
        if self.left < 0 or self.members < 0:
            found = "more than an archive of its size unpacks to"
            raise InputError(self.place, found, f"at most {MAX_RATIO} times its size", REMEDY)


def _checked(member: Member, place: str, repository: bool) -> str:
    """A member's name, without the folder that holds a whole repository; InputError where it leaves."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise InputError(place, f"a member named {quote(member.name)}", "names within the archive", REMEDY)
    return "/".join(path.parts[1:] if repository else path.parts)


def _write(stream: IO[bytes], file: Path, size: int) -> str:
    """Write a member, and return Git's id of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    digest, left = blob_hash(size), size
    with file.open("wb") as out:
        while left and (block := stream.read(min(BLOCK, left))):
            digest.update(block)
            out.write(block)
            left -= len(block)
    if left:
        raise EOFError(f"{file.name} ends {left:,} bytes early")
    return digest.hexdigest()
