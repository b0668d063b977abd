"""Addresses of stores: what is none, what cannot be had, what a name may be."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from task_registry.errors import MachineError, RemoteError, UsageError
from task_registry.objects.client import Objects, is_plain, local_path


@pytest.fixture
def store() -> Iterator[Objects]:
    """A place in a store in memory, with neighbours of similar names."""
    for name in ("a/bench/one", "a/bench/two/three", "a/bench-2/other", "a/benchmark"):
        fsspec.filesystem("memory").pipe_file(name, name.encode())
    yield Objects.at("memory://a/bench/")
    fsspec.filesystem("memory").store.clear()


def test_only_what_lies_below_is_seen(store: Objects) -> None:
    assert store.names() == {"one", "two/three"}
    assert store.top() == {"one", "two"}
    assert store.below("two").names() == {"three"}
    assert store.below("none").names() == store.below("none").top() == set()
    assert (store.read("one"), store.read("none")) == (b"a/bench/one", None)


def test_an_object_is_created_once(store: Objects) -> None:
    assert store.create("new", b"1")
    assert not store.create("new", b"2")
    assert store.read("new") == b"1"


@pytest.mark.parametrize("url", ["nowhere://x/y", "s3:/x", "folder"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError, match="no address of a store"):
        Objects.at(url)


def test_the_hub_is_no_store() -> None:
    with pytest.raises(UsageError, match="optiml-bench publish"):
        Objects.at("hf://org/name")


def test_a_client_that_is_missing_is_told_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(protocol: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.get_filesystem_class", missing)
    with pytest.raises(MachineError, match=r"pip install 'optiml-bench\[s3\]'"):
        Objects.at("s3://bucket/data")


def test_a_full_disk_is_of_this_machine_and_anything_else_of_the_store(
    store: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(error: Exception) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", fail)

    failing(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(MachineError, match="No space left"):
        store.write("one", b"")
    failing(RuntimeError("the far side\nis gone"))
    with pytest.raises(RemoteError, match=r"^memory://a/bench/one: cannot write it \(the far side is gone\)"):
        store.write("one", b"")


def test_names_stay_below_their_folder() -> None:
    assert is_plain("a/b.arrow")
    assert not any(map(is_plain, ("../a", "/a", "a/../b", "a//b", "./a", "")))


@pytest.mark.parametrize(
    ("place", "path"), [("data", "data"), ("file:///x/y", "/x/y"), ("local://x", "x"), ("s3://b/x", None)]
)
def test_what_is_a_folder_of_this_machine(place: str, path: str | None) -> None:
    assert local_path(place) == (None if path is None else Path(path))
