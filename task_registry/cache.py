"""Benches from elsewhere in the user's cache: each in a folder named by its digest, laid out as a build does it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from task_registry.bench import MANIFEST, Bench
from task_registry.types import BuiltTask, Split


def cache_folder() -> Path:
    """Where benches from elsewhere are laid out, each in a folder named by its digest."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "optiml-bench" / "benches"


def stored(folder: Path, splits: Sequence[Split], sources: frozenset[str] | None) -> Bench | None:
    """The bench in a cache folder, if it holds all that is wanted."""
    if not (folder / MANIFEST).is_file():
        return None
    bench = Bench.open(folder)
    complete = all(
        bench.split_folder(built.task.id, split).is_dir()
        for built in of_sources(bench.tasks.values(), sources)
        for split in splits
        if built.counts.get(split)
    )
    return bench if complete else None


def of_sources(tasks: Iterable[BuiltTask], sources: frozenset[str] | None) -> list[BuiltTask]:
    """Those of the tasks that are of the sources; all, where it is None."""
    return [built for built in tasks if sources is None or built.task.source in sources]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for the right to write into a cache folder, and clear away what a killed process left unfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        shutil.rmtree(folder / ".building", ignore_errors=True)
        (folder / ".building").mkdir()
        yield
        shutil.rmtree(folder / ".building")
    finally:
        os.close(handle)
