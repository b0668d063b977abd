"""Looks what there is to bring, then brings it: each item by itself, several at a time in threads."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from benchmark_builder.datasets_at_hand import find_dataset
from benchmark_builder.fetch.archives import MACHINE, unpack
from benchmark_builder.fetch.configs import Config
from benchmark_builder.fetch.hub import Hub
from benchmark_builder.fetch.items import ALL_CONFIGS, Archive, Errand, FileList, HubSet, Item
from benchmark_builder.fetch.remote import Remote, RemoteFile, Watch, mirrored, sha256_of
from benchmark_builder.fetch.store import PARTS, Record, State, Store
from benchmark_builder.sources import SOURCES
from task_registry.catalogue import load_catalogue
from task_registry.errors import BenchError, InputError, MachineError, RemoteError
from task_registry.suggest import normal_name


@dataclass(frozen=True, slots=True)
class Finding:
    """How it stands with one item."""

    item: Item
    state: State
    size: int | None = None
    """Bytes to download, or of what is there; None where the server does not tell."""
    configs: tuple[Config, ...] = ()
    """What it is made of, where it is a Hub data set."""
    record: Record | None = None
    error: str = ""

    @property
    def commit(self) -> str:
        """The commit that is there or is to be brought."""
        if self.record is not None:
            return self.record.commit
        return self.configs[0].listing.commit if self.configs else self.item.pin


Told: TypeAlias = Callable[[Finding], None]
Given = TypeVar("Given")


class Fetcher:
    """One run of `fetch`: a folder, the network, and a number of workers."""

    def __init__(
        self, store: Store, remote: Remote | None = None, *, workers: int = 4, like: Store | None = None
    ) -> None:
        self.store, self.workers, self.like = store, workers, like
        self.remote = remote or Remote()
        self.hub = Hub(self.remote)

    def look(
        self, items: Iterable[Item], told: Told = lambda _: None, *, thoroughly: bool = False
    ) -> tuple[Finding, ...]:
        """Find out how it stands with each item, and ask for the size of what is to be brought."""
        return self._each(items, lambda item: self.look_at(item, thoroughly), told)

    def bring(
        self, findings: Iterable[Finding], told: Told = lambda _: None, watch: Watch = lambda *_: None
    ) -> tuple[Finding, ...]:
        """Bring what is to be fetched; the store must be taken. What fails ends only itself.

        Raises MachineError where the disk has no room for it.
        """
        findings = tuple(findings)
        missing = [finding for finding in findings if finding.state is State.MISSING]
        self._check_room(missing)
        # The largest first, so that workers end at about the same time.
        missing.sort(key=lambda finding: -(finding.size or 0))
        brought = self._bring_each(missing, told, watch)
        for finding in (*findings, *brought):
            if finding.state in (State.FETCHED, State.THERE, State.YOURS):
                for task in finding.item.tasks:
                    # `build` takes a source for one at hand by its folder, also where its rows lie in another's.
                    (self.store.root / task.partition("/")[0]).mkdir(exist_ok=True)
        return brought

    def _bring_each(self, missing: Sequence[Finding], told: Told, watch: Watch) -> tuple[Finding, ...]:
        return self._each(missing, lambda finding: self.bring_one(finding, watch), told)

    def _each(
        self, given: Iterable[Given], work: Callable[[Given], Finding], told: Told
    ) -> tuple[Finding, ...]:
        """Do the work for each, several at a time, and tell of each as it ends; sorted by the item's name."""
        findings = []
        with ThreadPoolExecutor(self.workers) as pool:
            futures = [pool.submit(work, one) for one in given]
            try:
                for future in as_completed(futures):
                    findings.append(future.result())
                    told(findings[-1])
            except BaseException as error:
                # Also after Ctrl-C: what is under way is called off, and gone on with next time.
                self.remote.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, OSError) and error.errno in MACHINE:
                    place = error.filename or self.store.root
                    raise MachineError(f"{place}: {error.strerror}; mend that and fetch again") from error
                raise
        return tuple(sorted(findings, key=lambda finding: finding.item.name))

    def _check_room(self, missing: Iterable[Finding]) -> None:
        needed = sum(finding.size or 0 for finding in missing)
        free = shutil.disk_usage(self.store.root).free
        if needed > free:
            message = f"{self.store.root}: {free:,} bytes are free, {needed:,} are to be downloaded"
            raise MachineError(f"{message}; make room, or fetch less (--tasks)")

    def look_at(self, item: Item, thoroughly: bool) -> Finding:
        """Find out how it stands with one item."""
        if isinstance(item.origin, Errand):
            return Finding(item, State.BY_HAND)
        try:
            if (there := self.there(item, thoroughly)) is not None:
                return there
            expected = self._as_recorded(item)
            if isinstance(expected.origin, HubSet):
                configs = self.hub.find(expected.origin)
                return Finding(item, State.MISSING, sum(config.size for config in configs), configs)
            sizes = [self.remote.size(file) for file in _remote_files(expected)]
            known = sum(size for size in sizes if size is not None)
            return Finding(item, State.MISSING, None if None in sizes else known)
        except BenchError as error:
            return Finding(item, State.FAILED, error=str(error))

    def there(self, item: Item, thoroughly: bool = False) -> Finding | None:
        """How it stands with an item that need not be brought, None with one that must; asks no server."""
        state = self.store.check(self._as_recorded(item), thoroughly=thoroughly)
        if state is State.MISSING:
            return None
        record = self.store.record(item.name)
        return Finding(item, state, record.size if record else None, record=record)

    def _as_recorded(self, item: Item) -> Item:
        """An item without a pin of ours, pinned to the commit that was recorded here or in the store to be like."""
        records = [store.record(item.name) for store in (self.store, self.like) if store]
        record = next((record for record in records if record and record.commit), None)
        origin = item.origin
        if record is None or item.pin or record.address != origin.address:
            return item
        if isinstance(origin, HubSet):
            origin = dataclasses.replace(origin, revision=record.commit, converted=record.converted)
        elif isinstance(origin, Archive):
            origin = dataclasses.replace(origin, commit=record.commit)
        return dataclasses.replace(item, origin=origin)

    def bring_one(self, finding: Finding, watch: Watch = lambda *_: None) -> Finding:
        """Bring one item and put it into place; what fails is told in the finding."""
        item, places = finding.item, self.store.free(finding.item)
        staging = self.store.begin(item.name, f"{item.origin.address} {finding.commit} {' '.join(places)}")
        record = Record(item.name, item.origin.address, places, pinned=bool(item.pin))
        try:
            record = self.store.publish(self._staged(finding, record, staging, watch))
        except BenchError as error:
            return dataclasses.replace(finding, state=State.FAILED, error=str(error))
        return dataclasses.replace(finding, state=State.FETCHED, size=record.size, record=record)

    def _staged(self, finding: Finding, record: Record, staging: Path, watch: Watch) -> Record:
        """Make an item's places ready in its staging folder; the record with the commit that they are of."""
        expected = self._as_recorded(finding.item)
        match expected.origin:
            case HubSet():
                return self._stage_hub(finding, record, staging, watch)
            case Archive():
                return self._stage_archive(expected, expected.origin, record, staging, watch)
        for file in _remote_files(expected):
            self.remote.download(file, staging / PARTS / expected.places[0] / basename(file.url), watch)
        return record

    def _stage_hub(self, finding: Finding, record: Record, staging: Path, watch: Watch) -> Record:
        origin, (place,) = finding.item.origin, finding.item.places
        all_configs = isinstance(origin, HubSet) and origin.config == ALL_CONFIGS
        for config in finding.configs:
            into = staging / PARTS / place / (config.name if all_configs else "")
            self.hub.bring(config, into, staging / "repository", watch)
        source, _, dataset = place.rstrip("/").partition("/")
        if not all_configs and not find_dataset(staging / PARTS, source, dataset):
            splits = ", ".join(split for config in finding.configs for split in config.splits)
            message = f"{record.address}: no split of a name like train, validation or test among {splits}"
            raise RemoteError(f"{message}; bring its rows by hand")
        listing = finding.configs[0].listing
        configs = tuple(config.name for config in finding.configs)
        return dataclasses.replace(
            record, commit=listing.commit, converted=listing.converted, configs=configs
        )

    def _stage_archive(
        self, item: Item, origin: Archive, record: Record, staging: Path, watch: Watch
    ) -> Record:
        (file,) = _remote_files(item)
        archive, parts = staging / basename(file.url), staging / PARTS
        self.remote.download(file, archive, watch)
        shutil.rmtree(parts, ignore_errors=True)  # a killed run may have left half of it
        wanted = {place: origin.parts[place] for place in record.places}
        try:
            unpacked = unpack(archive, wanted, parts, repository=origin.repository, address=origin.url)
            if origin.commit and unpacked.commit != origin.commit:
                found = f"an archive of commit {unpacked.commit or 'unknown'}"
                raise InputError(origin.url, found, origin.commit, "tell its owners if it stays so")
            if origin.content and len(wanted) == len(origin.parts) and unpacked.content != origin.content:
                found = f"files with the digest {unpacked.content}"
                raise InputError(origin.url, found, origin.content, "tell its owners if it stays so")
        except InputError:
            archive.unlink()
            shutil.rmtree(parts, ignore_errors=True)
            raise
        return dataclasses.replace(record, commit=unpacked.commit, checksum=sha256_of(archive))


def errands_left(findings: Iterable[Finding], root: Path) -> Mapping[str, tuple[Errand, ...]]:
    """What only a person can bring, by the reason; without what adapters find in the folder already."""
    errands = {f.item: f.item.origin for f in findings if isinstance(f.item.origin, Errand)}
    sources = {task.partition("/")[0] for item in errands for task in item.tasks}
    there = {task for source in sources for task in tasks_at_hand(root, source)}
    left: dict[str, tuple[Errand, ...]] = {}
    for item, errand in errands.items():
        if item.tasks - there:
            left[errand.reason] = (*left.get(errand.reason, ()), errand)
    return left


def tasks_at_hand(root: Path, source: str) -> frozenset[str]:
    """The catalogue's tasks of a source that its adapter finds in a folder."""
    if not (root / source).is_dir():
        return frozenset()
    known = {task.name: task for task in load_catalogue().tasks.values() if task.source == source}
    spelled = {normal_name(name): name for name in known}
    names = (spelled.get(normal_name(native.name)) for native in SOURCES[source].tasks(root, known).tasks)
    return frozenset(f"{source}/{name}" for name in names if name)


def _remote_files(item: Item) -> tuple[RemoteFile, ...]:
    """The files of an item that is no Hub data set."""
    match item.origin:
        case Archive() as archive:
            return (RemoteFile(mirrored(archive.url), sha256=archive.sha256, blob=archive.blob),)
        case FileList() as files:
            return tuple(RemoteFile(mirrored(url)) for url in files.urls)
    return ()


def basename(url: str) -> str:
    """The name that a file of this address gets."""
    return PurePosixPath(urlsplit(url).path).name
