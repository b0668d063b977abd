"""A task's place in a store: what a worker leaves behind at whatever moment it dies, another makes whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from task_registry.bench import MANIFEST
from task_registry.objects.client import Objects
from task_registry.objects.place import ObjectPlace, remove_manifest
from task_registry.objects.scratch import leave, scratch
from task_registry.writer import TASK_RECORD

OLD = {TASK_RECORD: b"old", "train/data-00000-of-00002.arrow": b"1", "train/data-00001-of-00002.arrow": b"2"}
NEW = {TASK_RECORD: b"new", "train/data-00000-of-00001.arrow": b"3", "test/state.json": b"4"}
TOKENS = ("first", "second")


class Death(BaseException):
    """Stands for the end of a worker's process."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    """A store in memory with a finished bench of one task."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    objects = Objects("memory://b/data")
    for name, content in OLD.items():
        objects.write(f"shards/a/task/{name}", content)
    objects.write(MANIFEST, b"{}")
    remove_manifest.cache_clear()
    yield objects
    for token in TOKENS:
        leave(token)
    fsspec.filesystem("memory").store.clear()


def place(objects: Objects, token: str = "first") -> ObjectPlace:
    return ObjectPlace(objects.url, "a/task", token, frozenset(OLD))


def write_building(at: ObjectPlace) -> None:
    for name, content in NEW.items():
        file = at.building / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def contents(objects: Objects) -> dict[str, bytes | None]:
    return {name: objects.read(name) for name in objects.names()}


@pytest.mark.parametrize("step", range(12))
def test_a_publication_that_ends_at_any_request_is_done_again(
    store: Objects, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    left, kind = [step], type(fsspec.filesystem("memory"))
    with monkeypatch.context() as patched:
        for name in ("put_file", "rm_file"):

            def dying(*given: object, do: object = getattr(kind, name), **named: object) -> object:
                if not left[0]:
                    raise Death
                left[0] -= 1
                return do(*given, **named)  # type: ignore[operator]

            patched.setattr(kind, name, dying)
        write_building(place(store))
        try:
            place(store).publish()
        except Death:
            there = contents(store.below("shards/a/task"))
            assert there == OLD or TASK_RECORD not in there, "half of it looks complete"
            assert there == OLD or MANIFEST not in store.names()
        else:
            assert step >= 7, "the manifest, the record, two files up, two away, the record"
    remove_manifest.cache_clear()
    again = place(store, "second")
    write_building(again)
    again.publish()
    assert contents(store) == {f"shards/a/task/{name}": content for name, content in NEW.items()}
    assert not again.building.exists()


def test_what_is_kept_is_found_on_another_machine(store: Objects) -> None:
    write_building(place(store))
    place(store).keep()
    assert not place(store).building.exists()
    other = place(store, "second")
    (other.building / "train").mkdir(parents=True)
    (other.building / "train" / "half").touch()
    other.resume()
    found = {
        path.relative_to(other.building).as_posix(): path.read_bytes() for path in other.building.rglob("*.*")
    }
    assert found == NEW
    assert contents(store.below("shards/a/task")) == OLD


def test_what_is_scored_is_brought_once_to_a_machine(store: Objects) -> None:
    store.write(".building/evaluation/words.json", b"{}")
    folder = place(store).evaluation()
    assert folder.is_relative_to(scratch("first"))
    assert (folder / "words.json").read_bytes() == b"{}"
    store.write(".building/evaluation/words.json", b"changed")
    assert (place(store).evaluation() / "words.json").read_bytes() == b"{}"
