"""One task's native files become one task's folder: the unit of work of a build.

A unit depends on nothing but its spec, the native files and what its train split is guarded against. It writes
only into its own new folder; how that becomes a part of the bench is the matter of its place
(`task_registry.places`). A worker may die at any moment and the unit be begun again by another.

Training examples are guarded against everything that is scored. So a build goes over the units twice: first
`prepare` builds what is scored and finds out what is up to date, then `complete` builds what is trained on. A
fully supervised task has both: it lies in its new folder, unpublished, between the two.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark_builder.assemble import Assembly, TaskCaps, assemble
from benchmark_builder.guard import Guarding, write_guarded
from benchmark_builder.source import NativeTask, OpenTask
from benchmark_builder.sources import SOURCES
from task_registry.errors import BenchError, InputError, MachineError, RemoteError
from task_registry.hashing import file_digest, text_digest
from task_registry.places import Place
from task_registry.schema import FORMAT_VERSION
from task_registry.shards import SplitSummary, read_examples, write_split
from task_registry.types import Assignment, BuiltTask, Example, Split, Task
from task_registry.writer import read_task_record, write_task_record


@dataclass(frozen=True, slots=True)
class Unit:
    """Everything that a task's shards depend on, and where they go."""

    task: Task
    native: NativeTask
    assignment: Assignment
    caps: TaskCaps
    seed: int
    code: str
    """Digest of the code and templates that build; a newer version builds again."""
    root: Path
    """The folder of all sources."""
    place: Place
    """Where they go; what is complete there and of the same inputs is kept."""
    native_digest: str = ""
    """Digest of the native files, once `prepare` has found it out."""
    guarding: Guarding | None = None
    """What its train split is held against, once that is built."""
    doubtful: bool = False
    """Whether nothing came of it last time: then `prepare` tries it, so that `complete` may have nothing to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a unit: a record, or an error's line."""

    task: str
    built: BuiltTask | None = None
    fresh: bool = False
    """Whether shards were written; else the published ones are kept."""
    error: str = ""
    empty: str = ""
    """Why nothing of a sound task becomes an example, such as rows that all lack a label."""
    native_digest: str = ""
    waits: bool = False
    """Whether it is trained on, and so waits for `complete`; what is published of it may be up to date."""


class _NothingToBuild(Exception):  # noqa: N818  (no error: the files are sound, only of no use)
    """All rows were left out by rules, or stand in splits that the plan does not use."""


def prepare(unit: Unit) -> Outcome:
    """Build one task, or find that its shards are up to date; one that is only trained on waits for `complete`.

    Raises MachineError where the disk is full, or it or the store refuses; every fault of the input is in the
    outcome.
    """
    return _told(unit, lambda: _prepare(unit))


def complete(unit: Unit) -> Outcome:
    """Build a task that is trained on, its train split guarded. Raises as `prepare`."""
    return _told(unit, lambda: Outcome(unit.task.id, _complete(unit), fresh=True))


def _told(unit: Unit, work: Callable[[], Outcome]) -> Outcome:
    """Do the work and tell of its failure in its outcome."""
    try:
        return work()
    except _NothingToBuild as reason:
        shutil.rmtree(unit.place.building)
        return Outcome(unit.task.id, empty=str(reason))
    except MachineError:
        raise
    except RemoteError as error:  # as with a full disk: what is up stays, and nothing more will go up
        raise MachineError(str(error)) from error
    except BenchError as error:
        shutil.rmtree(unit.place.building, ignore_errors=True)
        return Outcome(unit.task.id, error=str(error))
    except OSError as error:
        name = error.filename or unit.place.building
        raise MachineError(
            f"{name}: {error.strerror}; mend that and run the build again: it goes on"
        ) from error


def _prepare(unit: Unit) -> Outcome:
    unit = dataclasses.replace(unit, native_digest=_native_digest(unit))
    trained, scored = unit.assignment.trained, unit.assignment.level is not None
    published = unit.place.published()
    if published is not None and published.inputs_digest == _inputs_digest(unit):
        return Outcome(unit.task.id, published, native_digest=unit.native_digest, waits=trained)
    built = None
    if scored or not trained or unit.doubtful:
        built = _build(unit)
        if trained:
            unit.place.keep()
        else:
            unit.place.publish()
    return Outcome(unit.task.id, built, fresh=not trained, native_digest=unit.native_digest, waits=trained)


def _complete(unit: Unit) -> BuiltTask:
    if unit.guarding is not None:
        here = dataclasses.replace(unit.guarding, side=unit.place.evaluation())
        unit = dataclasses.replace(unit, guarding=here)
    prepared = None
    if unit.assignment.level is not None or unit.doubtful:  # else `prepare` has kept nothing
        unit.place.resume()
        prepared = read_task_record(unit.place.building)
    built = _build(unit) if prepared is None else _guard(unit, prepared)
    unit.place.publish()
    return built


def _build(unit: Unit) -> BuiltTask:
    """Write all splits of a task; the train split guarded if it is known against what."""
    opened = SOURCES[unit.task.source].open(unit.root, unit.native, unit.task)
    assembly = assemble(opened, unit.assignment, unit.caps, unit.seed)
    building = unit.place.building
    if building.exists():  # what a worker that died has left
        shutil.rmtree(building)
    building.mkdir(parents=True)
    built = BuiltTask(
        task=opened.task,
        assignment=unit.assignment,
        counts={},
        digests={},
        templates=opened.templates,
        scored_from=assembly.scored_from,
        origin="|".join(map(str, unit.native.files)),
        native_digest=unit.native_digest,
        inputs_digest=_inputs_digest(unit),
    )
    for split in Split:
        try:
            built = _write(unit, built, split, assembly.splits.get(split, ()))
        except UnicodeEncodeError as error:
            found = f"half a surrogate pair ({error.object[error.start : error.end]!r}) in the {split} split"
            raise InputError(unit.native.files[0], found, "whole characters", "mend the file") from error
    if not built.counts and not built.dropped:
        raise _NothingToBuild(_why_nothing(opened, assembly))
    built = _with_dropped(built, assembly.dropped)
    if _native_digest(unit) != unit.native_digest:
        # The record would say of the new content what was made of the old, or of a mixture.
        found = "other content than when the build began"
        raise InputError(unit.native.files[0], found, "files that nobody changes meanwhile", "build again")
    write_task_record(building, built)
    return built


def _write(unit: Unit, built: BuiltTask, split: Split, examples: Iterable[Example]) -> BuiltTask:
    """Write one split and enter it into the record."""
    folder = unit.place.building / split
    if split is not Split.TRAIN or unit.guarding is None:
        return _with_split(built, split, write_split(folder, unit.task.id, split, examples))
    level = unit.assignment.level
    guarded = write_guarded(folder, built.task, level, unit.seed, examples, unit.guarding)
    built = _with_dropped(_with_split(built, split, guarded.summary), guarded.dropped)
    return dataclasses.replace(built, guard_digest=unit.guarding.digest, leaks=guarded.leaks)


def _guard(unit: Unit, prepared: BuiltTask) -> BuiltTask:
    """Guard the train split of a task that was built before it was known what is scored."""
    train = unit.place.building / Split.TRAIN
    unguarded = train.with_name("train.unguarded")
    built = prepared
    if unit.guarding is not None and prepared.guard_digest != unit.guarding.digest:
        if unguarded.exists():  # what stands in its place is the beginning of a worker that died
            shutil.rmtree(train, ignore_errors=True)
        elif Split.TRAIN in prepared.counts:
            train.rename(unguarded)
        examples = read_examples(unguarded) if Split.TRAIN in prepared.counts else ()
        built = _write(unit, prepared, Split.TRAIN, examples)
        write_task_record(unit.place.building, built)
    shutil.rmtree(unguarded, ignore_errors=True)
    return built


def _with_split(built: BuiltTask, split: Split, summary: SplitSummary | None) -> BuiltTask:
    """Enter a split into a record, or take out one that is not there; the splits keep their order."""
    written = {name: SplitSummary(built.counts[name], built.digests[name]) for name in built.counts}
    written.pop(split, None)
    if summary is not None:
        written[split] = summary
    ordered = [name for name in Split if name in written]
    return dataclasses.replace(
        built,
        counts={name: written[name].count for name in ordered},
        digests={name: written[name].digest for name in ordered},
    )


def _with_dropped(built: BuiltTask, dropped: Mapping[str, int]) -> BuiltTask:
    counts = Counter(built.dropped) + Counter(dropped)
    return dataclasses.replace(built, dropped={rule: counts[rule] for rule in sorted(counts)})


def _why_nothing(opened: OpenTask, assembly: Assembly) -> str:
    rules = ", ".join(f"{count:,} {rule}" for rule, count in sorted(assembly.dropped.items()) if count)
    pools = ", ".join(opened.rows)
    return (
        f"every row is left out ({rules})"
        if rules
        else f"only {pools} rows at hand, which the plan does not use"
    )


def _native_digest(unit: Unit) -> str:
    digests = []
    for file in unit.native.files:
        try:
            digests.append(f"{file}={file_digest(unit.root / file)}")
        except IsADirectoryError:
            raise InputError(file, "a folder", "a file", "remove it or put the file there") from None
        except OSError as error:
            raise InputError(
                file, error.strerror or "an error", "a readable file", "mend its rights"
            ) from error
    return text_digest(*digests)


def _inputs_digest(unit: Unit) -> str:
    facts = repr((unit.task, unit.assignment, unit.caps))
    return text_digest(str(FORMAT_VERSION), unit.code, str(unit.seed), unit.native_digest, facts)
