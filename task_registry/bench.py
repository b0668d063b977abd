"""A bench on disk, read: its manifest, its tasks and their examples. `task_registry.writer` writes it.

data/
  bench.json                          the manifest, written last: without it the build is not done
  tasks.parquet                       one row a built task
  shards/<source>/<task>/task.json    the same row beside the task's shards: the task is complete
  shards/<source>/<task>/<split>/     Arrow files, see `task_registry.shards`
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from task_registry.errors import BenchFolderError, UsageError, quote
from task_registry.records import unflatten
from task_registry.typed import typed
from task_registry.types import BuiltTask, Example, Split

MANIFEST = "bench.json"
TASKS = "tasks.parquet"
SHARDS = "shards"
PLAIN_ID = re.compile(r"[a-z0-9_]+(?:/(?!\.{1,2}(?:/|$))[^/\\\0]+)+")
"""A task's id that stays below its source's folder."""


@dataclass(frozen=True, slots=True)
class SourceOrigin:
    """Where one source's native files came from."""

    origin: str
    """`sample`, or how the folder was given; never an absolute path."""
    tasks: int
    fingerprint: str
    """Digest over the native files of all its built tasks."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bench is and how it came about; `bench.json`."""

    format: int
    version: str
    sample: bool
    """Whether it is the embedded sample: such a bench measures nothing but that the machinery works."""
    seed: int
    cap: int | None
    plan: str
    plan_digest: str
    selection: Mapping[str, tuple[str, ...]]
    """The sources and task globs that were asked for; empty means all."""
    sources: Mapping[str, SourceOrigin]
    tasks: int
    examples: Mapping[str, int]
    """Totals by split."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Examples left out, by rule, over all tasks."""
    leakage: str = "drop-train"
    """What became of leaking training tasks: `drop-train`, `report` or `off`."""
    review_digest: str = ""
    """Digest of the reviewed verdicts on pairs of tasks."""
    leaks: Mapping[str, int] = field(default_factory=dict)
    """Pairs of a training and an evaluated task, by rule, outcome and verdict; each stands in `tasks.parquet`."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Catalogue tasks that were asked for but had no native files at hand, by source."""
    unknown: tuple[str, ...] = ()
    """Native tasks that the catalogue does not know; skipped."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Tasks whose native files could not be built, with the error's one line."""
    empty: Mapping[str, str] = field(default_factory=dict)
    """Tasks whose native files are sound but hold nothing of use, with the reason; they are not in the bench."""
    digest: str = ""
    """One digest of the content of all tasks and of how they are scored."""


class Bench:
    """A finished bench, opened for reading."""

    def __init__(self, path: Path, manifest: Manifest, tasks: Mapping[str, BuiltTask]) -> None:
        self.path, self.manifest, self.tasks = path, manifest, tasks
        self._sound: set[Path] = set()
        """The splits that were read whole and are what their records say."""

    @classmethod
    def open(cls, path: Path | str) -> Bench:
        """Open the bench in a folder.

        Raises BenchFolderError where there is none, or an unfinished or damaged one, or another format.
        """
        path = Path(path)
        manifest = read_manifest(path)
        return cls(path, manifest, {built.task.id: built for built in _read_tasks(path / TASKS)})

    def task(self, task_id: str) -> BuiltTask:
        """The record of one task; UsageError where the bench lacks it."""
        try:
            return self.tasks[task_id]
        except KeyError:
            raise UsageError(f"{task_id}: no such task in {self.path} ({len(self.tasks)} tasks)") from None

    def examples(self, task_id: str, split: Split) -> Iterator[Example]:
        """Yield the examples of a task's split, in order, from a memory map.

        Raises as `batches`.
        """
        from task_registry.schema import to_examples

        for batch in self.batches(task_id, split):
            yield from to_examples(batch)

    def batches(self, task_id: str, split: Split) -> Iterator[Any]:
        """Yield the Arrow record batches of a task's split; as `examples`, for work on whole columns.

        Raises BenchFolderError where a file cannot be read, and, after the last batch, where the content is not
        what the task's record says: a bit that has flipped, or a stream cut off between two batches. A split is
        held against its record the first time that it is read whole.
        """
        from task_registry.shards import SplitSummary, read_batches

        built, folder = self.task(task_id), self.split_folder(task_id, split)
        if not built.counts.get(split, 0):
            return
        expected = SplitSummary(built.counts[split], built.digests[split])
        yield from read_batches(folder, None if folder in self._sound else expected)
        self._sound.add(folder)

    def split_folder(self, task_id: str, split: Split) -> Path:
        """Where a task's split lies."""
        return self.path / SHARDS / task_id / split

    def damaged(self) -> Iterator[str]:
        """Read every shard and yield a line for each split whose content is not what its record says."""
        for task_id, built in self.tasks.items():
            for split in built.counts:
                try:
                    for _ in self.batches(task_id, split):
                        pass
                except BenchFolderError as error:
                    yield str(error)

    @cached_property
    def totals(self) -> dict[Split, int]:
        """Examples by split over all tasks."""
        return {s: sum(built.counts.get(s, 0) for built in self.tasks.values()) for s in Split}


def read_manifest(path: Path) -> Manifest:
    """Read a bench folder's manifest; BenchFolderError with what to do where it cannot be."""
    from task_registry.schema import FORMAT_VERSION

    file = path / MANIFEST
    if not path.is_dir():
        raise BenchFolderError(
            f"{path}: no such folder; `optiml-bench build --out {path}` makes a bench there"
        )
    if not file.exists():
        raise BenchFolderError(
            f"{path}: no {MANIFEST}: no bench, or an unfinished one; run its build (again)"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = content["format"]
        if found != FORMAT_VERSION:
            raise BenchFolderError(
                f"{file}: format {found}, expected {FORMAT_VERSION}; build the bench again"
            )
        manifest: Manifest = typed(Manifest, content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchFolderError(f"{file}: not a readable manifest ({error}); build the bench again") from error
    return manifest


def _read_tasks(file: Path) -> Iterator[BuiltTask]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
        table.validate(full=True)
        for row in table.to_pylist():
            built = unflatten(row)
            if not PLAIN_ID.fullmatch(built.task.id):
                raise ValueError(f"a task named {quote(built.task.id)}, which would leave its folder")
            yield built
    except (
        OSError,
        pa.ArrowException,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
    ) as error:
        raise BenchFolderError(f"{file}: not readable ({error}); build the bench again") from error
