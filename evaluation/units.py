"""A job cut into units of work: every prompt that is still to be asked in exactly one of them.

A unit holds prompts of one kind, number of shots and demonstration seed. Those of one task and template share
their prefix, which is computed once a unit: they are cut only where they are too many for one unit, and small
groups are asked together. Units are named by ids alone, so that they cross machines; examples are read where
they are asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from evaluation.predictions import Key, Kind
from evaluation.requests import PromptOptions, TaskPrompts, TemplateCounts, kind_of
from evaluation.runner import Job
from task_registry.bench import Bench
from task_registry.types import Split

LARGEST = 256
"""Prompts of a unit at most: rows that a GPU decodes together, and what a dying worker loses."""
SMALLEST = 16
"""Prompts of a unit, where there are so many, however small the job."""
_SHARES = 4
"""Units for each worker at least, if they need not be smaller for it: the last one must not be waited for long."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Prompts of one task and template."""

    task: str
    template: str
    counts: TemplateCounts
    """What the task has under that template, of the unit's kind."""
    ids: tuple[str, ...]
    """The examples, in stored order."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a worker is sent at a time."""

    options: PromptOptions
    """Of one number of shots and one demonstration seed."""
    chunks: tuple[Chunk, ...]

    @property
    def prompts(self) -> int:
        """Prompts in it."""
        return sum(len(chunk.ids) for chunk in self.chunks)


def cut(job: Job, workers: int) -> list[Unit]:
    """Cut what is still to be asked of a job into units for so many workers.

    Prompts that are answered freely come first: they take longest.
    """
    rounds = [(kind, turn) for kind in (Kind.TEXT, Kind.OPTIONS) for turn in job.options.rounds]
    chunks: dict[tuple[Kind, tuple[int, int | None]], list[Chunk]] = {one: [] for one in rounds}
    total = 0
    for task in job.tasks:
        for kind, turn, chunk in _chunks(job, task):
            chunks[kind, turn].append(chunk)
            total += len(chunk.ids)
    size = min(LARGEST, max(SMALLEST, total // (_SHARES * workers)))
    return [
        Unit(_of_round(job.options, *turn), together)
        for kind, turn in rounds
        for together in _packed(chunks[kind, turn], size)
    ]


def restricted(bench: Bench, unit: Unit) -> Job:
    """The job that a unit is."""
    tasks = [
        TaskPrompts(
            bench.task(chunk.task), {chunk.template: chunk.counts}, len(chunk.ids), frozenset(chunk.ids)
        )
        for chunk in unit.chunks
    ]
    return Job(bench, tasks, unit.options)


def _chunks(job: Job, task: TaskPrompts) -> Iterator[tuple[Kind, tuple[int, int | None], Chunk]]:
    """What is still to be asked of a task, whole."""
    name = task.built.task.id
    stored = _ids(job.bench, task)
    for shots, seed in job.options.rounds:
        for template, counts in task.templates.items():
            for kind in (Kind.TEXT, Kind.OPTIONS) if counts.asked(shots) else ():
                ids = tuple(
                    example_id
                    for example_id in stored.get((template, kind), ())
                    if Key(name, example_id, template, shots, seed).digest not in job.done
                )
                if ids:
                    other = {"options": 0} if kind is Kind.TEXT else {"text": 0}
                    yield kind, (shots, seed), Chunk(name, template, replace(counts, **other), ids)


def _ids(bench: Bench, task: TaskPrompts) -> dict[tuple[str, Kind], list[str]]:
    """The taken examples of a task by template and kind."""
    found: dict[tuple[str, Kind], list[str]] = {}
    for batch in bench.batches(task.built.task.id, Split.TEST):
        columns = batch["example_id"], batch["template"], batch["options"].value_lengths()
        for example_id, template, options in zip(*(column.to_pylist() for column in columns), strict=True):
            if task.taken is None or example_id in task.taken:
                kind = kind_of(task.built.task.metric, options > 0)
                found.setdefault((template, kind), []).append(example_id)
    return found


def _of_round(options: PromptOptions, shots: int, seed: int | None) -> PromptOptions:
    return replace(options, shots=(shots,), demonstration_seeds=() if seed is None else (seed,))


def _packed(chunks: Iterable[Chunk], size: int) -> Iterator[tuple[Chunk, ...]]:
    """Cut chunks that are larger than `size`, and put neighbours together that are smaller."""
    together: list[Chunk] = []
    room = size
    for chunk in chunks:
        for start in range(0, len(chunk.ids), size):
            piece = replace(chunk, ids=chunk.ids[start : start + size])
            if len(piece.ids) > room:
                yield tuple(together)
                together, room = [], size
            together.append(piece)
            room -= len(piece.ids)
    if together:
        yield tuple(together)
