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
from pathlib import Path

from task_registry.bench import MANIFEST, SHARDS, TASKS, Manifest
from task_registry.errors import BenchFolderError, MachineError
from task_registry.hashing import text_digest
from task_registry.records import arrow_schema, flatten, unflatten
from task_registry.types import BuiltTask

BUILDING = ".building"
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

    def published(self) -> dict[str, Path]:
        """The folders of all complete tasks, by task id."""
        shards = self.path / SHARDS
        records = sorted(shards.rglob(TASK_RECORD)) if shards.is_dir() else []
        return {record.parent.relative_to(shards).as_posix(): record.parent for record in records}

    def task_folder(self, task: str) -> Path:
        """Where a task's shards lie once they are published."""
        return self.path / SHARDS / task

    def building_folder(self, task: str) -> Path:
        """Where a task's shards are written first."""
        return self.path / BUILDING / SHARDS / task

    @property
    def evaluation_folder(self) -> Path:
        """Where what is scored is gathered for the workers of a build."""
        return self.path / BUILDING / "evaluation"

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
        import pyarrow as pa
        import pyarrow.parquet as pq

        ordered = sorted(tasks, key=lambda built: built.task.id)
        manifest = dataclasses.replace(manifest, digest=bench_digest(ordered))
        table = pa.Table.from_pylist([flatten(built) for built in ordered], schema=arrow_schema())
        building = self.path / BUILDING
        building.mkdir(exist_ok=True)
        pq.write_table(table, building / TASKS, compression="zstd")
        _write_json(building / MANIFEST, dataclasses.asdict(manifest))
        (building / TASKS).replace(self.path / TASKS)
        (building / MANIFEST).replace(self.path / MANIFEST)
        return manifest

    def _before_change(self) -> None:
        if self._unchanged:
            (self.path / MANIFEST).unlink(missing_ok=True)
            self._unchanged = False


def check_ours(path: Path) -> None:
    """Make sure that a folder is a bench, a part of one, empty or absent; else raise BenchFolderError."""
    if not path.exists():
        return
    if not path.is_dir():
        raise BenchFolderError(f"{path}: a file, expected a folder; choose another --out")
    foreign = sorted({entry.name for entry in path.iterdir()} - _OURS)
    if foreign:
        names = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise BenchFolderError(f"{path}: holds {names}, which is no bench; choose another --out")


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
        return unflatten(json.loads((folder / TASK_RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _write_json(file: Path, content: Mapping[str, object]) -> None:
    """Write an object with a line for each key: as readable as indented, and ten times as fast."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    lines = (f"{encode(key)}: {encode(value)}" for key, value in content.items())
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
