"""A bench on disk, written: only finished things ever appear in its folder, and one writer works at a time.

A task's shards are written in `.building/` and renamed into place together with their `task.json`; the
manifest is removed before the first change and written again after the last. Killed at any moment, the folder
holds whole tasks and no manifest, and the next build goes on from there. The lock is on the folder itself and
leaves no file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from task_registry.bench import MANIFEST, SHARDS, TASKS, Manifest, read_manifest
from task_registry.errors import BenchFolderError, MachineError
from task_registry.hashing import text_digest
from task_registry.records import arrow_schema, flatten, unflatten
from task_registry.types import BuiltTask, Split

BUILDING = ".building"
EVALUATION = "evaluation"
"""Below it: what is scored, gathered for the workers."""
TASK_RECORD = "task.json"

_OURS = frozenset({MANIFEST, TASKS, SHARDS, BUILDING})


class BenchWriter:
    """The right to change a bench folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unchanged = True

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[BenchWriter]:
        """Take a folder, made if need be, for writing, and clear away what a killed build left unfinished.

        Raises BenchFolderError where the folder holds something else than a bench, or is being written to, and
        MachineError where it cannot be made.
        """
        check_ours(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            message = f"{path}: no folder can be made there ({error.strerror}); choose another --out"
            raise MachineError(message) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"{path}: another build is writing to it; wait for it, or choose another folder"
                raise BenchFolderError(message) from None
            shutil.rmtree(path / BUILDING, ignore_errors=True)
            try:
                yield cls(path)
            finally:
                shutil.rmtree(path / BUILDING, ignore_errors=True)
        finally:
            os.close(handle)

    def manifest(self) -> Manifest | None:
        """The manifest of the finished bench that is there; None where there is none, or none that can be read."""
        try:
            return read_manifest(self.path)
        except BenchFolderError:
            return None

    def published(self) -> set[str]:
        """All complete tasks."""
        shards = self.path / SHARDS
        return {record.parent.relative_to(shards).as_posix() for record in shards.rglob(TASK_RECORD)}

    def place(self, task: str) -> FolderPlace:
        """A task's place, for the worker that builds it."""
        # By absolute paths: workers have working folders of their own.
        final, building, side = self.task_folder(task), self.building_folder(task), self.evaluation_folder
        return FolderPlace(final.absolute(), building.absolute(), side.absolute())

    def task_folder(self, task: str) -> Path:
        """Where a task's shards lie once they are published."""
        return self.path / SHARDS / task

    def building_folder(self, task: str) -> Path:
        """Where a task's shards are written first."""
        return self.path / BUILDING / SHARDS / task

    @property
    def evaluation_folder(self) -> Path:
        """Where what is scored is gathered for the workers of a build."""
        return self.path / BUILDING / EVALUATION

    def share_evaluation(self) -> None:
        """Nothing is to be done: the workers see the folder."""

    def test_batches(self, task: str) -> Iterator[Any]:
        """Yield the record batches of a task's test split, published or not, from a memory map."""
        from task_registry.shards import read_batches

        building = self.building_folder(task)
        yield from read_batches((building if building.exists() else self.task_folder(task)) / Split.TEST)

    def publish(self, task: str) -> None:
        """Rename a task's finished folder into place, instead of the one that is there."""
        self.withdraw(task)
        self._before_change()
        self.task_folder(task).parent.mkdir(parents=True, exist_ok=True)
        self.building_folder(task).rename(self.task_folder(task))

    def withdraw(self, task: str) -> None:
        """Remove a task's folder, if there is one, and the folders that are empty without it."""
        folder = self.task_folder(task)
        if not folder.exists():
            return
        self._before_change()
        # Renamed first: a removal that is killed half-way must not leave a folder that looks complete.
        condemned = self.path / BUILDING / "withdrawn"
        condemned.parent.mkdir(exist_ok=True)
        folder.rename(condemned)
        shutil.rmtree(condemned)
        parent = folder.parent
        while parent != self.path and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent

    def finish(self, tasks: Iterable[BuiltTask], manifest: Manifest) -> Manifest:
        """Write `tasks.parquet`, then the manifest, completed by the bench's digest: the bench is whole."""
        building = self.path / BUILDING
        building.mkdir(exist_ok=True)
        manifest = write_facts(building, tasks, manifest)
        (building / TASKS).replace(self.path / TASKS)
        (building / MANIFEST).replace(self.path / MANIFEST)
        return manifest

    def _before_change(self) -> None:
        if self._unchanged:
            (self.path / MANIFEST).unlink(missing_ok=True)
            self._unchanged = False


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A task's place in a folder that all workers see: they write below `.building/`, the build renames."""

    final: Path
    """Where the task's shards lie once they are published."""
    building: Path
    side: Path
    """Where what is scored is gathered."""

    def published(self) -> BuiltTask | None:
        """The record of what is published of the task; None where nothing is, or not all that it names."""
        built = read_task_record(self.final)
        if built is None or not all((self.final / split / "state.json").is_file() for split in built.counts):
            return None
        return built

    def keep(self) -> None:
        """Nothing is to be done: it lies where the next worker looks."""

    def resume(self) -> None:
        """Nothing is to be done: it lies where it was written."""

    def publish(self) -> None:
        """Nothing is to be done: a worker whose build is gone must change nothing, so the build does it."""

    def evaluation(self) -> Path:
        """The folder of what is scored."""
        return self.side


def check_ours(path: Path) -> None:
    """Make sure that a folder is a bench, a part of one, empty or absent; else raise BenchFolderError."""
    if not path.exists():
        return
    if not path.is_dir():
        raise BenchFolderError(f"{path}: a file, expected a folder; choose another --out")
    check_names(path, (entry.name for entry in path.iterdir()))


def check_names(place: str | Path, names: Iterable[str]) -> None:
    """Make sure that the names of what lies at a place are those of a bench; else raise BenchFolderError."""
    foreign = sorted(set(names) - _OURS)
    if foreign:
        listed = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise BenchFolderError(f"{place}: holds {listed}, which is no bench; choose another --out")


def write_facts(folder: Path, tasks: Iterable[BuiltTask], manifest: Manifest) -> Manifest:
    """Write `tasks.parquet` and the manifest to a folder; returns the manifest, completed by the bench's digest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(tasks, key=lambda built: built.task.id)
    manifest = dataclasses.replace(manifest, digest=bench_digest(ordered))
    table = pa.Table.from_pylist([flatten(built) for built in ordered], schema=arrow_schema())
    pq.write_table(table, folder / TASKS, compression="zstd")
    _write_json(folder / MANIFEST, dataclasses.asdict(manifest))
    return manifest


def bench_digest(tasks: Iterable[BuiltTask]) -> str:
    """One digest of the content of all tasks and of what decides how they are scored and averaged."""
    lines = []
    for built in sorted(tasks, key=lambda b: b.task.id):
        task, assignment = built.task, built.assignment
        place = (assignment.level or "", assignment.eval_set or "")
        lines.append("\t".join((task.id, task.metric, task.category, task.group, *place, built.digest)))
    return text_digest(*lines)


def write_task_record(folder: Path, built: BuiltTask) -> None:
    """Write a task's record beside its shards."""
    _write_json(folder / TASK_RECORD, flatten(built))


def read_task_record(folder: Path) -> BuiltTask | None:
    """Read a task's record, or None where it is absent or not readable: then the task is built again."""
    try:
        return parse_task_record((folder / TASK_RECORD).read_bytes())
    except OSError:
        return None


def parse_task_record(content: bytes) -> BuiltTask | None:
    """Read a task's record; None where it is not readable."""
    try:
        return unflatten(json.loads(content.decode("utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _write_json(file: Path, content: Mapping[str, object]) -> None:
    """Write an object with a line for each key: as readable as indented, and ten times as fast."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    lines = (f"{encode(key)}: {encode(value)}" for key, value in content.items())
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
