"""A bench in an object store, opened like one on disk: what is asked for is brought to the cache first.

It lies there under its digest, beside benches from the Hub: the same bench is brought once, wherever it came
from, and every split is held against the digest that names it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from task_registry.bench import MANIFEST, PLAIN_ID, SHARDS, TASKS, Bench
from task_registry.cache import cache_folder, locked, of_sources
from task_registry.errors import BenchFolderError, RemoteError, quote
from task_registry.objects.client import Objects, is_plain
from task_registry.shards import SplitSummary, read_batches
from task_registry.types import BuiltTask, Split

_AT_ONCE = 64
"""Splits that are brought together."""


def open_stored(
    url: str, splits: Sequence[Split], sources: frozenset[str] | None, watch: Callable[[str], None]
) -> Bench:
    """Open the bench at a URL; of the tasks of `sources` (None: all) the examples of `splits` can be read.

    `watch` is told of what is brought. Raises BenchFolderError where there is no finished
    bench, RemoteError where it cannot be had or is not what its digest says.
    """
    from task_registry.writer import bench_digest

    store = Objects.at(url)
    with tempfile.TemporaryDirectory(prefix="optiml-bench-") as name:
        facts = _facts(store, Path(name))
        strange = [task for task in facts.tasks if not PLAIN_ID.fullmatch(task)]
        if strange:
            raise RemoteError(f"{url}: a task named {quote(strange[0])}, which would leave its folder")
        found, digest = bench_digest(facts.tasks.values()), facts.manifest.digest
        if found != digest:
            raise RemoteError(f"{url}: its tasks have digest {found}, expected {digest}; build it again")
        folder = cache_folder() / digest
        with locked(folder):
            _lay_out(store, folder, of_sources(facts.tasks.values(), sources), splits, watch)
            for file in (TASKS, MANIFEST):
                shutil.move(facts.path / file, folder / ".building" / file)
                (folder / ".building" / file).replace(folder / file)
    return Bench.open(folder)


def _facts(store: Objects, folder: Path) -> Bench:
    """The manifest and the tasks, without any shards."""
    for file in (MANIFEST, TASKS):
        content = store.read(file)
        if content is None:
            raise BenchFolderError(
                f"{store.url}: no {file}: no bench, or an unfinished one; run its build (again)"
            )
        (folder / file).write_bytes(content)
    try:
        return Bench.open(folder)
    except BenchFolderError as error:
        raise BenchFolderError(str(error).replace(str(folder), store.url)) from error


def _lay_out(
    store: Objects,
    folder: Path,
    tasks: Sequence[BuiltTask],
    splits: Sequence[Split],
    watch: Callable[[str], None],
) -> None:
    """Bring the splits that are not there yet."""
    lacking = [
        (built, split, f"{built.task.id}/{split}")
        for built in tasks
        for split in splits
        if built.counts.get(split) and not (folder / SHARDS / built.task.id / split).is_dir()
    ]
    if not lacking:
        return
    shards, building = store.below(SHARDS), folder / ".building"
    files: dict[str, list[str]] = {}
    for name in filter(is_plain, shards.names()):
        files.setdefault(name.rpartition("/")[0], []).append(name)
    for begin in range(0, len(lacking), _AT_ONCE):
        batch = lacking[begin : begin + _AT_ONCE]
        more = f" and {len(batch) - 1} more" if len(batch) > 1 else ""
        watch(f"{batch[0][2]}{more}")
        shards.get({name: building / name for *_, place in batch for name in files.get(place, ())})
        for built, split, place in batch:
            expected = SplitSummary(built.counts[split], built.digests[split])
            try:
                for _ in read_batches(building / place, expected):
                    pass
            except BenchFolderError as error:
                raise RemoteError(str(error).replace(str(building), shards.url)) from error
            final = folder / SHARDS / place
            final.parent.mkdir(parents=True, exist_ok=True)
            (building / place).rename(final)
