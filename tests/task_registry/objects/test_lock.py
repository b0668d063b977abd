"""The lock of an object store: one holder, whoever comes, whoever dies."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest

from task_registry.errors import BenchFolderError
from task_registry.objects import lock
from task_registry.objects.client import Objects
from task_registry.objects.lock import CLAIM, LOCK, STALE, Holder, taken


@pytest.fixture
def folder() -> Iterator[Objects]:
    """A place in a store in memory."""
    yield Objects("memory://locks/data/.building")
    fsspec.filesystem("memory").store.clear()


def put(folder: Objects, holder: Holder, name: str = LOCK, age: float = 0) -> None:
    """Put a lock as its holder would have, so many seconds ago."""
    folder.write(name, lock._text(holder))
    file = fsspec.filesystem("memory").store[f"/locks/data/.building/{name}"]
    file.modified -= datetime.timedelta(seconds=age)


def elsewhere() -> Holder:
    """A holder on another machine."""
    return dataclasses.replace(Holder.of_this_process(), machine="another", host="far")


def test_it_is_free_again_afterwards(folder: Objects) -> None:
    for _ in range(2):
        with taken(folder, "place") as held:
            held.check(thoroughly=True)
            assert folder.names() == {LOCK}
            with (
                pytest.raises(BenchFolderError, match="place: another build is writing"),
                taken(folder, "place"),
            ):
                pass
        assert folder.names() == set()


def test_it_is_free_after_a_fault(folder: Objects) -> None:
    with pytest.raises(ValueError, match="a fault"), taken(folder, "place"):
        raise ValueError("a fault")
    assert folder.names() == set()


def test_the_lock_of_a_process_that_is_gone_is_taken_at_once(folder: Objects) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    put(folder, dataclasses.replace(Holder.of_this_process(), pid=process.pid))
    with taken(folder, "place"):
        assert folder.names() == {LOCK}


@pytest.mark.parametrize(("age", "free"), [(0, False), (STALE - 30, False), (STALE + 30, True)])
def test_the_lock_of_another_machine_is_taken_when_it_is_old(folder: Objects, age: float, free: bool) -> None:
    put(folder, elsewhere(), age=age)
    if free:
        with taken(folder, "place"):
            assert folder.names() == {LOCK}
    else:
        with pytest.raises(BenchFolderError), taken(folder, "place"):
            pass
        assert folder.names() == {LOCK}, "and no probe"


def test_an_old_lock_has_one_heir(folder: Objects) -> None:
    put(folder, elsewhere(), age=STALE + 30)
    with ThreadPoolExecutor(8) as pool:
        took = list(pool.map(lambda _: lock._take(folder, Holder.of_this_process()), range(8)))
    assert sum(took) <= 1
    assert folder.names() == {LOCK}


def test_a_claim_of_somebody_who_died_holds_nobody_up(folder: Objects) -> None:
    put(folder, elsewhere(), age=STALE + 30)
    put(folder, elsewhere(), CLAIM, age=STALE + 30)
    with taken(folder, "place"):
        assert folder.names() == {LOCK}


def test_who_has_lost_it_learns_of_it_and_leaves_it_alone(folder: Objects) -> None:
    heir = elsewhere()
    with pytest.raises(BenchFolderError, match="taken it over"), taken(folder, "place") as held:
        put(folder, heir)
        held.check(thoroughly=True)
    assert lock._holder(folder) == heir


def test_it_is_renewed(folder: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    store = fsspec.filesystem("memory")
    with taken(folder, "place"):
        first = store.modified(f"{folder.root}/{LOCK}")
        while store.modified(f"{folder.root}/{LOCK}") == first:
            pass
