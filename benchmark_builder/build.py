"""The build: every planned task becomes a folder of the bench, then the index and the manifest are written.

What is scored comes first, so that training examples are guarded against it before they are published, and
nothing published is ever taken back. A build can be stopped at any moment and run again: tasks whose inputs
have not changed are kept, and the folder ends in the same bytes as after one undisturbed run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark_builder.blueprint import SAMPLE_PREFIX, Blueprint
from benchmark_builder.evaluation_side import Evaluated, EvaluationSide, evaluated_digest, load_once
from benchmark_builder.guard import Guarding
from benchmark_builder.unit import Outcome, Unit, complete, prepare
from task_registry.bench import Manifest, SourceOrigin
from task_registry.destination import Writer, open_writer
from task_registry.engines import Crash, Engine
from task_registry.errors import BenchFolderError, MachineError
from task_registry.hashing import file_digest, text_digest
from task_registry.leakage import LeakagePolicy, review_digest, verdicts_of
from task_registry.records import merge_counts
from task_registry.schema import FORMAT_VERSION
from task_registry.types import BuiltTask, Split
from task_registry.version import VERSION

_BUILDING_PACKAGES = ("benchmark_builder", "task_registry", "templates")


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What came of a build."""

    manifest: Manifest
    tasks: tuple[BuiltTask, ...]
    fresh: int
    """Tasks whose shards were written by this run; the others were up to date."""


def build(
    blueprint: Blueprint,
    out: Path | str,
    engine: Engine,
    *,
    replace: bool = False,
    watch: Callable[[Outcome], None] | None = None,
) -> BuildReport:
    """Build a bench in `out`, a folder or a URL of an object store, and tell `watch` of each task as it is done.

    A task that fails is in the manifest's `failed` and leaves no shards; the others are built. Raises
    BenchFolderError where the folder is not ours, in use, or holds tasks that this build would not make
    (unless `replace`), MachineError where the disk is full, or it or the store refuses, and RemoteError where
    the store refuses at the beginning or the end.
    """
    with open_writer(out) as writer, engine:
        present = writer.published()
        units = list(_units(blueprint, writer))
        ours = {unit.task.id for unit in units} | set(blueprint.failed)
        _check_leftovers(out, present - ours, replace)
        run = _Run(blueprint, writer, engine, watch)
        run.complete(run.prepare(units))
        for task in present - run.built.keys():
            writer.withdraw(task)
        built = tuple(run.built[task] for task in sorted(run.built))
        manifest = writer.finish(built, _manifest(blueprint, built, run.failed, run.empty))
    return BuildReport(manifest, built, run.fresh)


class _Run:
    """A build under way: what has come of its units."""

    def __init__(
        self,
        blueprint: Blueprint,
        writer: Writer,
        engine: Engine,
        watch: Callable[[Outcome], None] | None,
    ) -> None:
        self.blueprint, self.writer, self.engine, self.watch = blueprint, writer, engine, watch
        self.built: dict[str, BuiltTask] = {}
        self.failed = dict(blueprint.failed)
        self.empty: dict[str, str] = {}
        self.fresh = 0

    def prepare(self, units: list[Unit]) -> list[tuple[Unit, BuiltTask | None]]:
        """Build what is scored; returns the units that are trained on, with what there is of them already."""
        waiting = []
        for unit, outcome in self._outcomes(prepare, units):
            if outcome.waits:
                known = dataclasses.replace(unit, native_digest=outcome.native_digest)
                waiting.append((known, outcome.built))
            else:
                self._take(outcome)
        return waiting

    def complete(self, waiting: list[tuple[Unit, BuiltTask | None]]) -> None:
        """Build what is trained on, guarded against all that is scored, unless it is up to date."""
        evaluated = self._evaluated(waiting)
        digest = evaluated_digest(evaluated)
        left = []
        for unit, there in waiting:
            guarding = self._guarding(unit.task.id, digest)
            if there is not None and there.guard_digest == guarding.digest:
                self._take(Outcome(unit.task.id, there))
            else:
                left.append(dataclasses.replace(unit, guarding=guarding))
        if left:
            self._save_side(evaluated)
        try:
            for _, outcome in self._outcomes(complete, left):
                self._take(outcome)
        finally:
            load_once.cache_clear()

    def _outcomes(self, work: Callable[[Unit], Outcome], units: list[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        for unit, outcome in self.engine.map(work, units):
            if isinstance(outcome, Crash):
                outcome = Outcome(unit.task.id, error=f"{unit.native.files[0]}: {outcome.reason}")
            yield unit, outcome

    def _take(self, outcome: Outcome) -> None:
        """Publish a finished task, or note why there is none."""
        if outcome.empty:
            self.empty[outcome.task] = outcome.empty
        elif outcome.built is None:
            self.failed[outcome.task] = outcome.error
        else:
            if outcome.fresh:
                self.writer.publish(outcome.task)
                self.fresh += 1
            self.built[outcome.task] = outcome.built
        if self.watch is not None:
            self.watch(outcome)

    def _evaluated(self, waiting: list[tuple[Unit, BuiltTask | None]]) -> list[Evaluated]:
        """All evaluated tasks, in order of their ids; some are not published yet."""
        there = [*self.built.values(), *(built for _, built in waiting if built is not None)]
        evaluated = (Evaluated.of(built) for built in sorted(there, key=lambda built: built.task.id))
        return [one for one in evaluated if one is not None]

    def _save_side(self, evaluated: list[Evaluated]) -> None:
        """Gather everything that is scored and save it for the workers."""
        passages = self.blueprint.leakage is not LeakagePolicy.OFF
        read = ((one, self.writer.test_batches(one.task)) for one in evaluated)
        folder = self.writer.evaluation_folder
        try:
            EvaluationSide.gather(read, passages).save(folder)
        except OSError as error:
            raise MachineError(
                f"{folder}: {error.strerror}; mend that and run the build again: it goes on"
            ) from error
        self.writer.share_evaluation()

    def _guarding(self, task: str, digest: str) -> Guarding:
        plan = self.blueprint
        return Guarding(
            policy=plan.leakage,
            conflicts=plan.conflicts.get(task, ()),
            verdicts=verdicts_of(plan.review, task),
            side=self.writer.evaluation_folder,
            side_digest=digest,
        )


def _units(blueprint: Blueprint, writer: Writer) -> Iterator[Unit]:
    code, before = code_digest(), writer.manifest()
    fruitless = {*before.failed, *before.empty} if before is not None else set()
    for planned in blueprint.tasks:
        yield Unit(
            task=planned.task,
            native=planned.native,
            assignment=planned.assignment,
            caps=planned.caps,
            seed=blueprint.options.seed,
            code=code,
            root=planned.root.absolute(),  # workers have working folders of their own
            place=writer.place(planned.task.id),
            doubtful=planned.task.id in fruitless,
        )


def _check_leftovers(out: Path | str, leftovers: set[str], replace: bool) -> None:
    """Tasks of another selection may be hours of work: they go only if told so (the sample always)."""
    precious = sorted(task for task in leftovers if not task.partition("/")[2].startswith(SAMPLE_PREFIX))
    if precious and not replace:
        raise BenchFolderError(
            f"{out}: holds {len(precious)} tasks that this build would not make ({precious[0]}, …); "
            "choose another --out, or remove them with --replace"
        )


def _manifest(
    blueprint: Blueprint, built: Sequence[BuiltTask], failed: dict[str, str], empty: dict[str, str]
) -> Manifest:
    options = blueprint.options
    return Manifest(
        format=FORMAT_VERSION,
        version=VERSION,
        sample=blueprint.sample,
        seed=options.seed,
        cap=options.cap,
        plan=blueprint.plan.name,
        plan_digest=blueprint.plan.digest,
        leakage=blueprint.leakage,
        review_digest=review_digest(blueprint.review),
        selection={"source": tuple(sorted(options.source)), "tasks": tuple(sorted(options.tasks))},
        sources={
            name: _origin(origin, [one for one in built if one.task.source == name])
            for name, origin in sorted(blueprint.origins.items())
        },
        tasks=len(built),
        examples={split: sum(one.counts.get(split, 0) for one in built) for split in Split},
        dropped=merge_counts(one.dropped for one in built),
        leaks=merge_counts({leak.kind: 1} for one in built for leak in one.leaks),
        missing=blueprint.missing,
        unknown=blueprint.unknown,
        failed=dict(sorted(failed.items())),
        empty=dict(sorted(empty.items())),
    )


def _origin(origin: str, built: list[BuiltTask]) -> SourceOrigin:
    fingerprint = text_digest(*(f"{one.task.id}={one.native_digest}" for one in built))
    return SourceOrigin(origin, len(built), fingerprint)


def code_digest() -> str:
    """Digest of the code and templates that build, so that a changed adapter builds its tasks again."""
    top = Path(__file__).parent.parent
    files = sorted(
        file
        for package in _BUILDING_PACKAGES
        for pattern in ("*.py", "*.yaml", "sources/**/*.csv")
        for file in (top / package).rglob(pattern)
        if "sample" not in file.parts
    )
    return text_digest(*(f"{file.relative_to(top)}={file_digest(file)}" for file in files))
