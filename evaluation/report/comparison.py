"""The page of a comparison: what changes, and the examples that were won and lost, with both answers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluation.compare import Answered, Change, Comparison
from evaluation.means import Scope
from evaluation.predictions import Key
from evaluation.report.examples import Examples, share
from evaluation.report.page import assembled, chunk, shown_row
from evaluation.run import RunRecord
from task_registry.types import Level

EACH = 20
"""Examples that a task gives at most at each number of shots, of the won and of the lost."""


@dataclass(frozen=True, slots=True)
class ComparisonPage:
    """A comparison with the examples of both runs."""

    comparison: Comparison
    record: RunRecord
    """Of the first run."""
    first: Examples
    second: Examples
    notes: tuple[str, ...] = ()
    """What is to be said of the examples, such as why there are no prompts."""


def write_comparison(page: ComparisonPage, out: Path) -> None:
    """Write the page; a killed process leaves the old file or the new one."""
    building = out.with_name(f".{out.name}")
    with building.open("w", encoding="utf-8") as file:
        file.writelines(comparison_page(page))
    building.replace(out)


def comparison_page(page: ComparisonPage) -> Iterator[str]:
    """The page in pieces."""
    comparison = page.comparison
    heads = [*comparison.of(Scope.LEVEL), *comparison.of(Scope.ALL)]
    rows = {
        scope: [one for one in comparison.of(scope) if one.key.shots is not None]
        for scope in (Scope.TASK, Scope.CATEGORY, Scope.SOURCE)
    }
    tallies = {(one.task, one.shots): one for one in comparison.tallies}
    return assembled(
        "compare.html",
        _chunks(page),
        comparison=comparison,
        notes=page.notes,
        heads=heads,
        levels=[level for level in Level if any(one.key.level is level for one in heads)],
        shots=list(comparison.shots),
        tables={str(scope): sorted(found, key=_size) for scope, found in rows.items()},
        tallies=defaultdict(Counter, tallies),
        places={task: f"t{place}" for place, task in enumerate(comparison.tasks)},
        **{name: sum(getattr(one, name) for one in tallies.values()) for name in ("won", "lost", "even")},
    )


def _size(change: Change) -> float:
    """The largest changes come first."""
    return 0.0 if math.isnan(change.value) else -abs(change.value)


def _chunks(page: ComparisonPage) -> Iterator[str]:
    moved: dict[str, list[Answered]] = defaultdict(list)
    for one in page.comparison.examples:
        moved[one.task].append(one)
    each = share(2 * len(page.comparison.tasks) * len(page.comparison.shots), EACH)
    tasks = {task.placement.task: task for task in page.record.tasks}
    for place, name in enumerate(page.comparison.tasks):
        drawn = {_digest(one): one for one in _largest(moved[name], each)}
        if not drawn:
            continue
        ours, theirs = (run.of(tasks[name], drawn) for run in (page.first, page.second))
        befores: dict[str, int] = {}
        rows = []
        for digest in drawn:
            a, b = shown_row(ours[digest], befores), shown_row(theirs[digest], befores)
            rows.append({"shots": a["shots"], "template": a["template"], "a": a, "b": b})
        total = Counter(one.shots for one in moved[name])
        yield chunk(f"t{place}", name, total, rows, befores)


def _largest(moved: list[Answered], each: int) -> Iterator[Answered]:
    """The first of each kind: the largest changes."""
    taken: Counter[tuple[int, bool]] = Counter()
    for one in moved:
        kind = one.shots, one.second > one.first
        taken[kind] += 1
        if taken[kind] <= each:
            yield one


def _digest(one: Answered) -> int:
    return Key(one.task, one.example_id, one.template, one.shots, one.demonstration_seed).digest
