"""The folder of sources as `fetch` keeps it: what was brought stands whole in its place, or not at all.

    <folder>/<source>/...                      what adapters read
    <folder>/.fetched/<item>.json              what was brought: from where, which commit, every file's checksum
    <folder>/.fetching/<item>/parts/<place>    what is being brought; `.ready.json` beside, once it is whole

An item's folders are renamed into place one after the other, its record last. Killed in between, the next
`fetch` finishes that first. What lies in a place without a record is the user's own, and stays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmark_builder.fetch.items import Item, is_plain
from benchmark_builder.fetch.remote import sha256_of
from task_registry.errors import BenchFolderError

RECORDS = ".fetched"
STAGING = ".fetching"
READY = ".ready.json"
VERSION = ".version"
"""In an item's staging folder: which version of it was begun."""
PARTS = "parts"


class State(StrEnum):
    """How it stands with an item in a folder of sources."""

    MISSING = "to fetch"
    FETCHED = "fetched"
    THERE = "already there"
    YOURS = "yours, left alone"
    BY_HAND = "by hand"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file that was brought."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """What was brought for an item."""

    item: str
    address: str
    places: tuple[str, ...] = ()
    """What it fills, in the order in which it appears."""
    commit: str = ""
    """The commit that it is of; empty where upstream has none."""
    checksum: str = ""
    """SHA-256 of the archive that it came in."""
    pinned: bool = False
    """Whether our tables name that commit or checksum; else it was the newest."""
    converted: bool = False
    """Whether that commit is one of the Hub's own conversion to Parquet."""
    configs: tuple[str, ...] = ()
    """The configs of a Hub data set, as it names them."""
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    """By path, relative to the folder of sources."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(facts.size for facts in self.files.values())


class Store:
    """A folder of sources."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take the folder, made if need be, for writing, and finish what a killed `fetch` had all but finished.

        Raises BenchFolderError where another `fetch` is at work in it.
        """
        if self.root.exists() and not self.root.is_dir():
            raise BenchFolderError(f"{self.root}: a file, expected a folder; choose another --to")
        self.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.root, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = (
                    f"{self.root}: another fetch is at work in it; wait for it, or choose another folder"
                )
                raise BenchFolderError(message) from None
            staging = self.root / STAGING
            for ready in sorted(staging.rglob(READY)):
                self.finish(ready.parent.relative_to(staging).as_posix())
            yield
            self._sweep()
        finally:
            os.close(handle)

    def finish(self, item: str) -> None:
        """Put into place what a killed `fetch` had made ready of an item."""
        staging = self._staging(item)
        record = read_record(staging / READY)
        if record is not None and record.item == item:
            self._settle(staging, record)

    def discard(self, item: str) -> None:
        """Remove what was begun of an item."""
        shutil.rmtree(self._staging(item), ignore_errors=True)

    def record(self, item: str) -> Record | None:
        """What was brought for an item, None where nothing was."""
        return read_record(self._record_file(item))

    def free(self, item: Item) -> tuple[str, ...]:
        """The places of an item that hold nothing of the user's own."""
        record = self.record(item.name)
        return tuple(
            place
            for place in item.places
            if _is_vacant(self.root / place) or (record and place in record.places)
        )

    def check(self, item: Item, *, thoroughly: bool = False) -> State:
        """How it stands with an item that can be fetched.

        A file that is older than its record and of its size is taken for whole; `thoroughly`, all checksums are
        compared. Raises BenchFolderError where a file was changed.
        """
        record = self.record(item.name)
        if record is None:
            return State.MISSING if self.free(item) else State.YOURS
        if record.address != item.origin.address:
            return State.MISSING
        if item.pin and item.pin not in (record.commit, record.checksum):
            return State.MISSING
        if any(not (self.root / name).is_file() for name in record.files):
            return State.MISSING
        written = self._record_file(item.name).stat().st_mtime_ns
        for name, facts in record.files.items():
            found = (self.root / name).stat()
            trusted = not thoroughly and found.st_mtime_ns <= written and found.st_size == facts.size
            if not trusted and sha256_of(self.root / name) != facts.sha256:
                message = (
                    f"{self.root / name}: changed since it was fetched; remove it to have it brought again"
                )
                raise BenchFolderError(message)
        return State.THERE

    def begin(self, item: str, version: str) -> Path:
        """The folder in which an item is made ready, with what was begun of the same version."""
        staging = self._staging(item)
        note = staging / VERSION
        if not note.is_file() or note.read_bytes() != version.encode():
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            note.write_text(version, encoding="utf-8")
        return staging

    def publish(self, record: Record) -> Record:
        """Put what was staged for an item into place; returns the record with the facts of its files."""
        staging = self._staging(record.item)
        parts = staging / PARTS
        files = {
            path.relative_to(parts).as_posix(): FileFacts(path.stat().st_size, sha256_of(path))
            for path in sorted(parts.rglob("*"))
            if path.is_file()
        }
        record = dataclasses.replace(record, files=files)
        _write(staging / READY, record)
        self._settle(staging, record)
        return record

    def _settle(self, staging: Path, record: Record) -> None:
        """Rename staged places into the folder, then the record; again, where that was cut short."""
        former = self.record(record.item)
        for place in record.places:
            staged, target = staging / PARTS / place, self.root / place
            if not staged.exists():
                continue
            if not _is_vacant(target):
                if former is None or place not in former.places:
                    raise BenchFolderError(f"{target}: appeared meanwhile; move it away and fetch again")
                aside = staging / "former" / place
                aside.parent.mkdir(parents=True, exist_ok=True)
                target.rename(aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(target)
        file = self._record_file(record.item)
        file.parent.mkdir(parents=True, exist_ok=True)
        (staging / READY).replace(file)
        shutil.rmtree(staging)

    def _sweep(self) -> None:
        """Remove the folders of the staging area that hold nothing; what was begun stays, to be gone on with."""
        staging = self.root / STAGING
        for folder in sorted(staging.rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            staging.rmdir()

    def _staging(self, item: str) -> Path:
        return self.root / STAGING / item

    def _record_file(self, item: str) -> Path:
        return self.root / RECORDS / f"{item}.json"


def read_record(file: Path) -> Record | None:
    """Read a record; None where there is none, or none that can be read: then the item is brought again."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        content["files"] = {name: FileFacts(**facts) for name, facts in content["files"].items()}
        record = Record(**content | {name: tuple(content[name]) for name in ("places", "configs")})
        return record if _is_sound(record) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_sound(record: Record) -> bool:
    """Whether a record's values have their types, and its names lead to nothing outside of the folder."""
    texts = (record.item, record.address, record.commit, record.checksum, *record.places, *record.configs)
    flags = (record.pinned, record.converted)
    facts = record.files.values()
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(flag, bool) for flag in flags)
        and all(type(fact.size) is int and isinstance(fact.sha256, str) for fact in facts)
        and all(is_plain(name.removesuffix("/")) for name in (record.item, *record.places, *record.files))
    )


def _write(file: Path, record: Record) -> None:
    """Write a record beside its place, then rename it."""
    text = json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False)
    unfinished = file.with_name(f"{file.name}.part")
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(file)


def _is_vacant(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))
