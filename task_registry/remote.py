"""A bench that is published on the Hugging Face Hub, opened like one on disk: `hf://ORG/NAME@REVISION`.

The splits that are asked for are downloaded and laid out as shards in a cache folder named by the bench's
digest: whatever repository it came from, a bench is stored once, and what its tasks hold is checked against the
digests that name it. A revision that is such a digest needs no network once it is there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from task_registry.bench import MANIFEST, PLAIN_ID, SHARDS, TASKS, Bench, Manifest, read_manifest
from task_registry.cache import cache_folder, locked, of_sources, stored
from task_registry.errors import BenchFolderError, RemoteError, UsageError, quote
from task_registry.hub import check_repo_id, hub_errors, quiet_client, scrubbed
from task_registry.objects.client import local_path
from task_registry.objects.reading import open_stored
from task_registry.types import BuiltTask, Split

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from task_registry.published import DataFile

EVALUATED_SPLITS = (Split.DEMONSTRATIONS, Split.TEST)
"""What an evaluation reads."""

_ADDRESS = re.compile(r"hf:/{1,2}(?:datasets/)?(?P<repo>[^@]+?)/?(?:@(?P<revision>.+))?")
"""One slash too: `pathlib` makes one of two."""
_DIGEST = re.compile(r"(?:bench-)?([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a published bench lies."""

    repo_id: str
    revision: str = "main"
    """A branch, a tag or a commit."""

    @property
    def digest(self) -> str:
        """The bench's digest where the revision is one, else empty."""
        match = _DIGEST.fullmatch(self.revision)
        return match[1] if match else ""

    def __str__(self) -> str:
        return f"hf://{self.repo_id}@{self.revision}"


def is_address(data: str | Path) -> bool:
    """Whether this names a published bench, not a folder."""
    return re.match(r"hf:/", str(data)) is not None


def parse_address(text: str) -> Address:
    """Read `hf://ORG/NAME` or `hf://ORG/NAME@REVISION`; UsageError where it is neither."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise UsageError(f"{scrubbed(text)!r}: no address, expected hf://ORG/NAME or hf://ORG/NAME@REVISION")
    check_repo_id(match["repo"])
    return Address(match["repo"], match["revision"] or "main")


def open_bench(
    data: str | Path,
    splits: Sequence[Split] = EVALUATED_SPLITS,
    sources: Iterable[str] | None = None,
    *,
    api: HfApi | None = None,
    watch: Callable[[str], None] | None = None,
) -> Bench:
    """Open a bench in a folder, a published one, or one in an object store.

    Of a bench that is in no folder only the examples of `splits` and `sources` (None: all) can be read; `watch`
    is told of each file that is downloaded. Raises BenchFolderError where there is no bench, UsageError for a
    malformed address, and RemoteError where the bench cannot be had or is not what its digest says.
    """
    wanted = None if sources is None else frozenset(sources)
    watch = watch or (lambda path: None)
    if not is_address(data):
        path = local_path(data)
        return open_stored(str(data), splits, wanted, watch) if path is None else Bench.open(path)
    address = parse_address(str(data))
    if address.digest:
        there = stored(cache_folder() / address.digest, splits, wanted)
        if there is not None:
            return there
    from huggingface_hub import HfApi

    snapshot = _Snapshot(api or HfApi(), address, watch)
    with quiet_client():
        return snapshot.laid_out(splits, wanted)


class _Snapshot:
    """One revision of a repository that holds a bench."""

    def __init__(self, api: HfApi, address: Address, watch: Callable[[str], None]) -> None:
        self.api, self.address, self.watch = api, address, watch
        revision = f"bench-{address.digest}" if address.digest else address.revision
        with hub_errors(address.repo_id, "look it up"):
            info = api.dataset_info(address.repo_id, revision=revision)
        self.commit = info.sha
        self.files = {entry.rfilename for entry in info.siblings or ()}
        if MANIFEST not in self.files:
            raise RemoteError(f"{address}: holds no {MANIFEST}, so it is no bench; see optiml-bench publish")

    def laid_out(self, splits: Sequence[Split], sources: frozenset[str] | None) -> Bench:
        """Download and lay out what the cache lacks, and open the result."""
        manifest, tasks = self.facts()
        folder = cache_folder() / manifest.digest
        with locked(folder):
            for source in sorted({built.task.source for built in of_sources(tasks, sources)}):
                for split in splits:
                    self.lay_out(folder, [t for t in tasks if t.task.source == source], source, split)
            _write_facts(folder, manifest, tasks)
        return Bench.open(folder)

    def facts(self) -> tuple[Manifest, list[BuiltTask]]:
        """The manifest and the tasks, which must agree with one another."""
        import pyarrow as pa

        from task_registry.published import read_tasks_table
        from task_registry.writer import bench_digest

        manifest_file, tasks_file = self.download(MANIFEST), self.download(TASKS)
        try:
            manifest = read_manifest(manifest_file.parent)
            tasks = read_tasks_table(tasks_file)
        except BenchFolderError as error:
            reason = str(error).removeprefix(f"{manifest_file}: ").partition(";")[0]
            raise RemoteError(f"{self.address}: {reason}; read it with the version that wrote it") from error
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise RemoteError(
                f"{self.address}: {TASKS} is of another version or damaged ({error})"
            ) from error
        stray = [built.task.id for built in tasks if not PLAIN_ID.fullmatch(built.task.id)]
        if stray:
            raise RemoteError(f"{self.address}: a task named {quote(stray[0])}, which would leave its folder")
        found = bench_digest(tasks)
        if found != manifest.digest or self.address.digest not in ("", found):
            expected = self.address.digest or manifest.digest
            raise RemoteError(f"{self.address}: its tasks have digest {found}, expected {expected}")
        return manifest, tasks

    def lay_out(self, folder: Path, tasks: list[BuiltTask], source: str, split: Split) -> None:
        """Turn a source's files of one split into shards, for the tasks that are not there yet."""
        lacking = {
            built.task.id: built
            for built in tasks
            if built.counts.get(split) and not (folder / SHARDS / built.task.id / split).is_dir()
        }
        if not lacking:
            return
        files = [self.download(file.path) for file in self.data_files(source, split)]
        _write_shards(folder, files, lacking, split, str(self.address))
        if lacking:
            raise RemoteError(f"{self.address}: lacks {split} of {len(lacking)} tasks ({min(lacking)}, …)")

    def data_files(self, source: str, split: Split) -> list[DataFile]:
        """The files of one source and split; RemoteError where some are missing."""
        from task_registry.published import data_files

        files = [file for file in data_files(self.files) if (file.source, file.split) == (source, split)]
        expected = files[0].count if files else 1
        if len(files) != expected:
            place = f"{self.address}: data/{source}/{split}-*"
            raise RemoteError(f"{place}: {len(files)} files, expected {expected}; publish the bench again")
        return files

    def download(self, path: str) -> Path:
        """Bring one file into the client's own cache."""
        self.watch(path)
        with hub_errors(self.address.repo_id, f"download {path}"):
            file = self.api.hf_hub_download(
                self.address.repo_id, path, repo_type="dataset", revision=self.commit
            )
        return Path(file)


def _write_shards(
    folder: Path, files: list[Path], lacking: dict[str, BuiltTask], split: Split, place: str
) -> None:
    """Write the shards of tasks in `lacking` and take each out of it; a wrong digest is a RemoteError."""
    import pyarrow as pa

    from task_registry.published import UNREADABLE, read_published
    from task_registry.shards import write_split

    building = folder / ".building" / "split"
    rows = (row for file in files for row in read_published(file))
    try:
        for task, group in groupby(rows, key=lambda row: row[0]):
            built = lacking.get(task)
            if built is None:
                continue
            written = write_split(building, task, split, (example for _, example in group))
            if written is None or written.digest != built.digests[split]:
                shutil.rmtree(building, ignore_errors=True)
                raise RemoteError(f"{place}: {task}: {split} is not what its digest says; publish it again")
            final = folder / SHARDS / task / split
            final.parent.mkdir(parents=True, exist_ok=True)
            building.rename(final)
            del lacking[task]
    except (pa.ArrowException, *UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's: pyarrow gives no number
            raise
        raise RemoteError(
            f"{place}: a damaged file of {split} examples ({error}); publish it again"
        ) from error


def _write_facts(folder: Path, manifest: Manifest, tasks: list[BuiltTask]) -> None:
    """Write `tasks.parquet`, then the manifest, as a build does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from task_registry.published import manifest_text
    from task_registry.records import arrow_schema, flatten

    building = folder / ".building"
    table = pa.Table.from_pylist([flatten(built) for built in tasks], schema=arrow_schema())
    pq.write_table(table, building / TASKS, compression="zstd")
    (building / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
    for name in (TASKS, MANIFEST):
        (building / name).replace(folder / name)
