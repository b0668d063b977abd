"""A bench in an object store, written: the twin of `task_registry.writer.BenchWriter`, method by method.

The workers send their tasks up themselves (`task_registry.objects.place`); here the build takes the store, tells
what is there, gathers what is scored, and puts the manifest last. Killed at any moment, the store holds whole
tasks and no manifest; what else is left the next build removes.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from task_registry.bench import MANIFEST, SHARDS, TASKS, Manifest, read_manifest
from task_registry.errors import BenchFolderError, RemoteError
from task_registry.objects.client import Objects
from task_registry.objects.lock import LOCK, Lock, taken
from task_registry.objects.place import ObjectPlace, remove_manifest
from task_registry.objects.scratch import leave, scratch
from task_registry.types import BuiltTask, Split
from task_registry.writer import BUILDING, EVALUATION, TASK_RECORD, check_names, write_facts


class ObjectWriter:
    """The right to change a bench in an object store."""

    def __init__(self, store: Objects, lock: Lock) -> None:
        self.store, self.lock, self.token = store, lock, lock.holder.token
        self._there = _by_task(store.below(SHARDS).names())
        self._kept: set[str] | None = None

    @classmethod
    @contextlib.contextmanager
    def open(cls, url: str) -> Iterator[ObjectWriter]:
        """Take the bench at a URL for writing, and clear away what a killed build left unfinished.

        Raises BenchFolderError where something else lies there, or a build is at work, RemoteError where the
        store refuses, and MachineError where its client is not installed.
        """
        store = check_ours(url)
        building = store.below(BUILDING)
        with taken(building, url) as lock:
            try:
                building.remove(building.names() - {LOCK})
                yield cls(store, lock)
            finally:
                leave(lock.holder.token)
                with contextlib.suppress(RemoteError):  # what stays there the next build removes
                    building.remove(building.names() - {LOCK})

    def manifest(self) -> Manifest | None:
        """The manifest of the finished bench that is there; None where there is none, or none that can be read."""
        content = self.store.read(MANIFEST)
        if content is None:
            return None
        folder = scratch(self.token)
        (folder / MANIFEST).write_bytes(content)
        try:
            return read_manifest(folder)
        except BenchFolderError:
            return None

    def published(self) -> set[str]:
        """All complete tasks."""
        return {task for task, names in self._there.items() if TASK_RECORD in names}

    def place(self, task: str) -> ObjectPlace:
        """A task's place, for the worker that builds it."""
        return ObjectPlace(self.store.url, task, self.token, frozenset(self._there.get(task, ())))

    @property
    def evaluation_folder(self) -> Path:
        """Where what is scored is gathered for the workers of a build."""
        return scratch(self.token) / EVALUATION

    def share_evaluation(self) -> None:
        """Send what is gathered there to where the workers find it."""
        folder = self.evaluation_folder
        files = {f"{BUILDING}/{EVALUATION}/{file.name}": file for file in folder.iterdir()}
        self.store.put(files)

    def test_batches(self, task: str) -> Iterator[Any]:
        """Yield the record batches of a task's test split, published or not, from a copy."""
        from task_registry.shards import read_batches

        building = self.store.below(BUILDING)
        if self._kept is None:
            self._kept = set(_by_task(building.below(SHARDS).names()))
        where = building if task in self._kept else self.store
        folder = scratch(self.token) / "test"
        where.below(f"{SHARDS}/{task}/{Split.TEST}").bring(folder)
        try:
            yield from read_batches(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, task: str) -> None:
        """Take it that a task is there: its worker has sent it up."""
        self.lock.check()

    def withdraw(self, task: str) -> None:
        """Remove what is published of a task, if anything is."""
        names = self._there.get(task, set())
        if names:
            self.lock.check()
            remove_manifest(self.store.url, self.token)
            folder = self.store.below(f"{SHARDS}/{task}")
            folder.remove(names & {TASK_RECORD})
            folder.remove(names - {TASK_RECORD})

    def finish(self, tasks: Iterable[BuiltTask], manifest: Manifest) -> Manifest:
        """Put `tasks.parquet`, then the manifest, completed by the bench's digest: the bench is whole."""
        tasks, folder = tuple(tasks), scratch(self.token)
        manifest = write_facts(folder, tasks, manifest)
        self._there = _by_task(self.store.below(SHARDS).names())
        for task in self._there.keys() - {built.task.id for built in tasks}:
            self.withdraw(task)  # such as what a worker had sent up before its task failed
        self.lock.check(thoroughly=True)
        for name in (TASKS, MANIFEST):
            self.store.put({name: folder / name})
        return manifest


def check_ours(url: str) -> Objects:
    """Make sure that a bench, a part of one, or nothing lies at a URL; else raise BenchFolderError."""
    store = Objects.at(url)
    check_names(url, store.top())
    return store


def _by_task(names: Iterable[str]) -> dict[str, set[str]]:
    """The names of objects below `shards/`, by the task that they belong to."""
    found = defaultdict(set)
    for name in names:
        path = PurePosixPath(name)
        task = path.parent if path.name == TASK_RECORD else path.parent.parent
        found[task.as_posix()].add(path.relative_to(task).as_posix())
    return dict(found)
