"""A task's place in an object store: the worker itself sends up what it has written.

    <url>/shards/<task>/...              the task; `task.json` goes first when it changes and comes last
    <url>/.building/shards/<task>/...    what was kept of it before it was complete; the same marks its end
    <url>/.building/evaluation/...       what is scored, gathered by the build

Each step may be done again by another worker after any part of it: it ends in the same objects.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from task_registry.bench import MANIFEST, SHARDS
from task_registry.objects.client import Objects
from task_registry.objects.scratch import alone, scratch
from task_registry.types import BuiltTask
from task_registry.writer import BUILDING, EVALUATION, TASK_RECORD, parse_task_record


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """A task's place in an object store, and the room for it on each machine."""

    url: str
    task: str
    token: str
    """Names the build."""
    there: frozenset[str]
    """What lay at the task's place when the build began."""

    @property
    def building(self) -> Path:
        """The folder of this machine to write the task into."""
        return scratch(self.token) / SHARDS / self.task

    def published(self) -> BuiltTask | None:
        """The record of what is published of the task: one request, none where it was not there."""
        content = self._published.read(TASK_RECORD) if TASK_RECORD in self.there else None
        built = None if content is None else parse_task_record(content)
        if built is None or any(f"{split}/state.json" not in self.there for split in built.counts):
            return None
        return built

    def keep(self) -> None:
        """Send what is built so far up to where the build's unpublished things lie."""
        self._send_up(self._kept, frozenset())

    def resume(self) -> None:
        """Bring what was kept."""
        shutil.rmtree(self.building, ignore_errors=True)
        self._kept.bring(self.building)

    def publish(self) -> None:
        """Send the finished task up, instead of the one that is there."""
        remove_manifest(self.url, self.token)
        self._send_up(self._published, self.there)

    def evaluation(self) -> Path:
        """The folder of what is scored, brought once for all processes on this machine."""
        with alone(self.token, EVALUATION) as folder:
            brought, part = folder / EVALUATION, folder / f"{EVALUATION}.part"
            if not brought.exists():
                shutil.rmtree(part, ignore_errors=True)
                Objects(self.url).below(f"{BUILDING}/{EVALUATION}").bring(part)
                part.rename(brought)
        return brought

    def _send_up(self, target: Objects, there: frozenset[str]) -> None:
        """Put the folder's files in the place of what is there: nothing looks complete before it is."""
        folder = self.building
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        record = {TASK_RECORD: files.pop(TASK_RECORD)}
        target.remove(there & {TASK_RECORD})
        target.put(files)
        target.remove(there - files.keys() - {TASK_RECORD})
        target.put(record)
        shutil.rmtree(folder)

    @property
    def _published(self) -> Objects:
        return Objects(self.url).below(f"{SHARDS}/{self.task}")

    @property
    def _kept(self) -> Objects:
        return Objects(self.url).below(f"{BUILDING}/{SHARDS}/{self.task}")


@lru_cache(maxsize=1)
def remove_manifest(url: str, token: str) -> None:
    """Remove a bench's manifest before the first change that a process makes for a build."""
    Objects(url).remove([MANIFEST])
