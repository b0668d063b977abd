"""What the targets of fuzzing are made of: `fuzz_targets` lists them, `fuzz_rows` and `fuzz_fetch` hold some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import hostile_bytes

from task_registry.errors import InputError

if TYPE_CHECKING:
    from benchmark_builder.source import NativeTask, Source
    from task_registry.types import Assignment, Task

Files = Mapping[str, bytes]
"""Contents by place, relative to the target's folder."""


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of input."""

    name: str
    prepare: Callable[[Path], Files]
    """Lays out sound files in a new folder; what it returns is made hostile, one file at a time."""
    run: Callable[[Path, str], None]
    """Reads the folder, in which the file at a place is hostile."""
    share: int = 1
    """How many of so many cases it gets, beside the others."""
    make: Callable[[Random, str, bytes], bytes] = hostile_bytes.mutate
    """A hostile file in place of a sound one."""
    lenient: bool = False
    """Whether damage is mended rather than refused."""


def laid_out(folder: Path, files: Files) -> Files:
    """Write files and return them."""
    for place, content in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)
    return files


def files_in(folder: Path, *below: str) -> Files:
    """The files that lie in a folder, below any of these."""
    found = sorted(path for part in below or (".",) for path in (folder / part).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def build_task(
    source: Source, root: Path, native: NativeTask, task: Task, assignment: Assignment | None = None
) -> None:
    """Open a task and go as far as a build does, but for writing."""
    from benchmark_builder.assemble import TaskCaps, assemble
    from task_registry.schema import ROWS_PER_BATCH, to_batch
    from task_registry.types import Assignment

    opened = source.open(root, native, task)
    assignment = assignment or Assignment(None, None, True, "")
    for examples in assemble(opened, assignment, TaskCaps(), seed=0).splits.values():
        stream = iter(examples)
        while chunk := list(islice(stream, ROWS_PER_BATCH)):
            try:
                to_batch(task.id, chunk)
            except UnicodeEncodeError as error:  # as `benchmark_builder.unit` does
                raise InputError(native.files[0], "half a surrogate pair", "whole characters") from error
