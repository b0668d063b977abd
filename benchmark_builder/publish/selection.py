"""What is published of a bench, and whether it may be: a sample, and licences that do not allow it, are refused."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from task_registry.bench import Bench, Manifest
from task_registry.errors import GateError, UsageError
from task_registry.licences import Terms, terms_of
from task_registry.records import merge_counts
from task_registry.types import BuiltTask, Split
from task_registry.writer import bench_digest

_NAMED = 3
"""Tasks that a refusal names."""


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """The options of `optiml-bench publish`."""

    repo_id: str
    """`ORG/NAME`."""
    private: bool = False
    """The repository is private, or is made so: licences are then the reader's matter."""
    include: tuple[str, ...] = ()
    """Only tasks whose id or name matches one of these globs."""
    allow_sample: bool = False
    allow_unknown_licence: bool = False
    allow_forbidding_licence: bool = False
    """Publish even what a licence is known to forbid: on the publisher's word, who has asked the right holder."""
    only_licensed: bool = False
    """Leave out what is not cleared, instead of refusing."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The part of a bench that is published: a bench itself, with a digest of its own."""

    bench: Bench
    options: PublishOptions
    tasks: tuple[BuiltTask, ...]
    """By id."""
    manifest: Manifest
    """As the built bench's, with the counts and the digest of what is published."""
    left_out: Mapping[str, Terms] = field(default_factory=dict)
    """Tasks that `only_licensed` left out, with what their licences say."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of its tasks, by name."""
        return tuple(sorted({built.task.source for built in self.tasks}))


def select(bench: Bench, options: PublishOptions) -> Publication:
    """Choose what is published.

    Raises UsageError for a sample and for a glob that matches no task, GateError for tasks whose licences do
    not allow to publish them.
    """
    if bench.manifest.sample and not options.allow_sample:
        raise UsageError(
            f"{bench.path}: the embedded sample, which measures nothing; --allow-sample publishes it all the same"
        )
    tasks = _included(bench, options.include)
    terms = {built.task.id: terms_of(built.task.licence) for built in tasks}
    uncleared = {id_: term for id_, term in terms.items() if not term.cleared}
    left_out: dict[str, Terms] = {}
    if options.only_licensed:
        left_out = uncleared
        tasks = [built for built in tasks if built.task.id not in left_out]
        if not tasks:
            raise GateError(
                f"{bench.path}: none of its {len(terms)} tasks has a licence that is known to allow it"
            )
    elif not options.private:
        _refuse(uncleared, len(tasks), options)
    chosen = _without_strangers(tasks)
    return Publication(bench, options, chosen, _manifest(bench, chosen, options), left_out)


def _included(bench: Bench, globs: Sequence[str]) -> list[BuiltTask]:
    def matches(built: BuiltTask, glob: str) -> bool:
        return fnmatchcase(built.task.id, glob) or fnmatchcase(built.task.name, glob)

    for glob in globs:
        if not any(matches(built, glob) for built in bench.tasks.values()):
            raise UsageError(
                f"--include {glob!r}: matches none of the {len(bench.tasks)} tasks of {bench.path}"
            )
    return [
        built for built in bench.tasks.values() if not globs or any(matches(built, glob) for glob in globs)
    ]


def _refuse(uncleared: Mapping[str, Terms], total: int, options: PublishOptions) -> None:
    allowed = {
        Terms.UNKNOWN: options.allow_unknown_licence,
        Terms.FORBIDDEN: options.allow_forbidding_licence,
    }
    told = {Terms.UNKNOWN: "no licence that is known", Terms.FORBIDDEN: "a licence that forbids it"}
    ways = {
        Terms.UNKNOWN: "--allow-unknown-licence publishes those of unknown licence",
        Terms.FORBIDDEN: "--allow-forbidding-licence those whose right holders have agreed",
    }
    reasons = []
    remedies = ["--only-licensed leaves them out and lists them", "--private keeps them from the public"]
    for term in (Terms.UNKNOWN, Terms.FORBIDDEN):
        refused = [id_ for id_, found in uncleared.items() if found is term]
        if refused and not allowed[term]:
            named = ", ".join([*refused[:_NAMED], *(["…"] if len(refused) > _NAMED else [])])
            reasons.append(f"{len(refused):,} of {total:,} tasks with {told[term]} ({named})")
            remedies.append(ways[term])
    if reasons:
        raise GateError(f"{options.repo_id} would be public: {' and '.join(reasons)}; {', '.join(remedies)}")


def _without_strangers(tasks: Sequence[BuiltTask]) -> tuple[BuiltTask, ...]:
    """Tell of leaks only between tasks that are published: a leak quotes its evaluated task."""
    ids = {built.task.id for built in tasks}
    return tuple(
        dataclasses.replace(built, leaks=tuple(leak for leak in built.leaks if leak.evaluation_task in ids))
        for built in tasks
    )


def _manifest(bench: Bench, tasks: Sequence[BuiltTask], options: PublishOptions) -> Manifest:
    """The manifest of the chosen tasks; of all tasks, it is the bench's own."""
    whole = bench.manifest
    if len(tasks) == len(bench.tasks):
        return whole
    counts = Counter(built.task.source for built in tasks)
    selection = dict(whole.selection)
    if options.include:
        selection["include"] = options.include
    if options.only_licensed:
        selection["licence"] = tuple(str(term) for term in Terms if term.cleared)
    return dataclasses.replace(
        whole,
        selection=selection,
        sources={
            name: dataclasses.replace(origin, tasks=counts[name])
            for name, origin in whole.sources.items()
            if counts[name]
        },
        tasks=len(tasks),
        examples={split: sum(built.counts.get(split, 0) for built in tasks) for split in Split},
        dropped=merge_counts(built.dropped for built in tasks),
        leaks=merge_counts({leak.kind: 1} for built in tasks for leak in built.leaks),
        digest=bench_digest(tasks),
    )
