"""A bench beside the paper's Table 1, row by row, with the reason for each difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmark_builder.assemble import OVER_CAP
from benchmark_builder.audit_lengths import Lengths
from benchmark_builder.guard import REPEATED, SCORED
from benchmark_builder.judging import SHARES_DATA_SOURCE, SHARES_PASSAGES
from task_registry.bench import Bench, Manifest
from task_registry.catalogue import Catalogue, Table1Row
from task_registry.errors import BenchError
from task_registry.plans import DEFAULT_PLAN, load_plan
from task_registry.splits import Plan, assign
from task_registry.types import Assignment, BuiltTask, EvalSet, Split

LEAKAGE_RULES = (SHARES_DATA_SOURCE, SHARES_PASSAGES, SCORED, REPEATED)
"""The rules by which examples leave training for what they have in common with others."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A row's figures, as this bench has them."""

    clusters: int
    tasks: int
    examples: int
    prompts_per_task: float
    prompt_length_mean: float
    """In tokens where a tokenizer was named, else in characters."""
    prompt_length_std: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the paper's table and what this bench has for it."""

    paper: Table1Row
    ours: Figures
    reasons: tuple[str, ...]


def compare_table1(
    bench: Bench, lengths: Mapping[str, Mapping[Split, Lengths]], unit: str, catalogue: Catalogue
) -> tuple[Comparison, ...]:
    """Compare a bench with the paper's table; `lengths` of prompts, in `unit`, are by task and split.

    A sample bench compares with nothing.
    """
    if bench.manifest.sample:
        return ()
    built = list(bench.tasks.values())
    plan = shipped_plan(bench.manifest)
    decided = assign(plan, catalogue.tasks.values()) if plan else {}
    rows = []
    for name, paper in catalogue.table1.items():
        if name in catalogue.sources:
            tasks, splits = [one for one in built if one.task.source == name], tuple(Split)
            reasons = _source_reasons(name, paper, tasks, bench.manifest, catalogue)
        elif name == "train":
            tasks, splits = [one for one in built if one.counts.get(Split.TRAIN)], (Split.TRAIN,)
            reasons = _train_reasons(paper, built, decided)
        else:
            tasks, splits = [one for one in built if one.assignment.eval_set == EvalSet(name)], (Split.TEST,)
            reasons = _evaluated_reasons(EvalSet(name), bench, decided, plan)
        why = [*reasons, *_length_reasons(paper, tasks, unit)]
        rows.append(Comparison(paper, _figures(tasks, splits, lengths), tuple(why)))
    return tuple(rows)


def shipped_plan(manifest: Manifest) -> Plan | None:
    """The plan of a bench, where it is one that ships and has not changed since."""
    try:
        plan = load_plan(manifest.plan)
    except BenchError:
        return None
    return plan if plan.digest == manifest.plan_digest else None


def _figures(
    tasks: Sequence[BuiltTask], splits: Sequence[Split], lengths: Mapping[str, Mapping[Split, Lengths]]
) -> Figures:
    summed = sum((lengths[one.task.id].get(split, Lengths()) for one in tasks for split in splits), Lengths())
    return Figures(
        clusters=len({one.task.category for one in tasks}),
        tasks=len(tasks),
        examples=sum(one.counts.get(split, 0) for one in tasks for split in splits),
        prompts_per_task=sum(max(1, len(one.templates)) for one in tasks) / max(1, len(tasks)),
        prompt_length_mean=summed.mean,
        prompt_length_std=summed.std,
    )


def _source_reasons(
    name: str, paper: Table1Row, tasks: Sequence[BuiltTask], manifest: Manifest, catalogue: Catalogue
) -> Iterator[str]:
    known = sum(task.source == name for task in catalogue.tasks.values())
    chosen, globs = manifest.selection.get("source", ()), manifest.selection.get("tasks", ())
    if name not in manifest.sources:
        yield "not asked for" if chosen and name not in chosen else "no folder of it among the sources"
        return
    if globs:
        yield f"only tasks like {', '.join(globs)} were asked for"
    if missing := manifest.missing.get(name, 0):
        yield f"{missing:,} of the catalogue's {known:,} tasks have no files at hand"
    for what, listed in (("could not be built", manifest.failed), ("hold nothing of use", manifest.empty)):
        if count := sum(task.startswith(f"{name}/") for task in listed):
            yield f"{count:,} tasks {what}"
    if known != paper.tasks:
        yield f"the catalogue knows {known:,} tasks of it"
    yield from _example_reasons(tasks)


def _example_reasons(tasks: Sequence[BuiltTask]) -> Iterator[str]:
    if capped := _dropped(tasks, (OVER_CAP,)):
        yield f"{capped:,} examples are over the caps, which the paper's row leaves aside"
    if leaked := _dropped(tasks, LEAKAGE_RULES):
        yield f"{leaked:,} training examples left as duplicates or leaks, which the paper's row still counts"
    if any(len(one.templates) > 1 and one.counts.get(Split.TEST) for one in tasks):
        yield "scored examples count once for each template"
    sized = [one for one in tasks if one.task.n_examples is not None]
    upstream = sum(one.task.n_examples or 0 for one in sized)
    here = sum(sum(one.counts.values()) + sum(one.dropped.values()) for one in sized)
    if upstream > here:
        yield (
            f"upstream has {upstream:,} examples of {len(sized):,} of these tasks, {upstream - here:,} more than "
            "were read: files at hand are cut, or rows are in splits that the plan does not use"
        )


def _length_reasons(paper: Table1Row, tasks: Sequence[BuiltTask], unit: str) -> Iterator[str]:
    if tasks and paper.prompt_length_mean is not None:
        yield f"prompt lengths are in {unit}; the paper does not name its unit"


def _train_reasons(
    paper: Table1Row, built: Sequence[BuiltTask], decided: Mapping[str, Assignment]
) -> Iterator[str]:
    wanted = [task for task, to in decided.items() if to.trained]
    here = {one.task.id for one in built}
    if absent := sum(task not in here for task in wanted):
        yield f"{absent:,} of the plan's {len(wanted):,} training tasks are not here"
    if wanted and len(wanted) != paper.tasks:
        yield (
            f"the plan has {len(wanted):,} training tasks before any leaves for leakage; the paper's list of "
            f"{paper.tasks:,} was never published"
        )
    gone = [one for one in built if one.assignment.trained and not one.counts.get(Split.TRAIN)]
    for rule, words in (
        (SHARES_DATA_SOURCE, "share a data source with evaluated tasks"),
        (SHARES_PASSAGES, "share passages with evaluated tasks"),
    ):
        if count := sum(bool(one.dropped.get(rule)) for one in gone):
            yield f"{count:,} tasks left training: they {words}"
    yield from _example_reasons([one for one in built if one.assignment.trained])


def _evaluated_reasons(
    eval_set: EvalSet, bench: Bench, decided: Mapping[str, Assignment], plan: Plan | None
) -> Iterator[str]:
    wanted = [task for task, to in decided.items() if to.eval_set is eval_set]
    if absent := sum(task not in bench.tasks for task in wanted):
        yield f"{absent:,} of the plan's {len(wanted):,} tasks are not here"
    if plan is not None and plan.name == DEFAULT_PLAN and eval_set is EvalSet.DEV:
        yield "the plan's 92 are the paper's 35 and MMLU in 57 parts, which the paper does not count in"
        yield "the paper prints 7 clusters and lists 9 and MMLU"
    elif plan is not None and plan.name == DEFAULT_PLAN:
        yield "the paper names 74 of its 87 tasks, of which Blended Skill Talk is in dev"
    tasks = [one for one in bench.tasks.values() if one.assignment.eval_set is eval_set]
    if capped := _dropped(tasks, (OVER_CAP,)):
        yield f"{capped:,} prompts and training examples are over the caps"


def _dropped(tasks: Iterable[BuiltTask], rules: Sequence[str]) -> int:
    return sum(one.dropped.get(rule, 0) for one in tasks for rule in rules)
