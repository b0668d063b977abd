"""The examples behind the numbers: some of each task, with their prompts where the bench is at hand.

A page cannot hold hundreds of thousands of prompts, so each task gives a share, drawn by hash: the same examples
at every number of shots and of every model, so that they can be set side by side. How many there are in all is
said beside them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from evaluation.predictions import Key, Kind, Prediction, Predictions
from evaluation.requests import questions, shortened, survey
from evaluation.run import RunRecord, TaskRecord
from evaluation.scoring import Report
from task_registry.bench import Bench
from task_registry.errors import BenchError
from task_registry.hashing import choice_hash

TOTAL = 20_000
"""Examples that a page holds at most."""
LONGEST = 6_000
"""Characters that are kept of one text; the middle goes."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option as the model saw it."""

    text: str
    logprob: float
    """Nats, summed over its tokens."""
    share: float
    """Its probability among the options."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One prediction for a reader."""

    example_id: str
    template: str
    shots: int
    seed: int | None
    before: str | None
    """The prompt up to the question; None where the bench is not at hand."""
    question: str | None
    references: tuple[str, ...]
    answer: str | None
    options: tuple[Option, ...]
    said: str | None
    """The chosen option or the generated text; None where no option leads or nothing was asked."""
    score: float | None
    """The task's metric of this answer, or whether it is right where the metric is no mean; None: not asked."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskExamples:
    """Those of one task."""

    task: str
    total: Mapping[int, int]
    """Predictions at each number of shots."""
    shown: tuple[Shown, ...]


class Examples:
    """Draws the examples of one run."""

    def __init__(self, run: Path, report: Report, bench: Bench | None, each: int) -> None:
        self._report, self._bench = report, bench
        self._predictions = Predictions(run)
        self._scores = scores_of_answers(report)
        self._each = each

    def __iter__(self) -> Iterator[TaskExamples]:
        for task in self._report.record.tasks:
            predictions = self._predictions.of(task.placement.task)
            drawn = _draw(predictions, self._each)
            yield TaskExamples(
                task.placement.task,
                {
                    shots: sum(p.shots == shots for p in predictions)
                    for shots in self._report.record.prompts.shots
                },
                self._told(task, drawn),
            )

    def of(self, task: TaskRecord, keys: Collection[int]) -> dict[int, Shown]:
        """The predictions of a task with these digests of their keys."""
        drawn = [one for one in self._predictions.of(task.placement.task) if one.key.digest in keys]
        return dict(zip((one.key.digest for one in drawn), self._told(task, drawn), strict=True))

    def _told(self, task: TaskRecord, drawn: Sequence[Prediction]) -> tuple[Shown, ...]:
        prompts = _prompts(self._bench, self._report.record, task, drawn)
        return tuple(self._shown(one, prompts.get(one.key.digest)) for one in drawn)

    def _shown(self, one: Prediction, prompt: tuple[str, str] | None) -> Shown:
        said = one.text
        if one.kind is Kind.OPTIONS:
            said = None if one.choice is None else one.options[one.choice]
        return Shown(
            one.example_id,
            one.template,
            one.shots,
            one.demonstration_seed,
            None if prompt is None else _clipped(prompt[0]),
            None if prompt is None else _clipped(prompt[1]),
            tuple(map(_clipped, one.references)),
            one.answer,
            tuple(_options(one)),
            None if said is None else _clipped(said),
            self._scores.get(one.key.digest),
            tuple(_notes(one)),
        )


def bench_of(record: RunRecord, path: Path | None) -> tuple[Bench | None, str]:
    """The bench of a run, from `path` or from where the run found it; and why there is none, in words."""
    found = Path(record.bench.path) if path is None else path
    try:
        return Bench.open(found), ""
    except BenchError as error:
        return (
            None,
            f"prompts cannot be shown, since the bench is not at hand ({error}); --data says where it is",
        )


def share(cells: int, wanted: int) -> int:
    """How many examples each of so many cells (a task at a number of shots) gives: `wanted`, or `TOTAL` divided."""
    return min(wanted, max(1, TOTAL // max(1, cells)))


def _draw(predictions: Sequence[Prediction], each: int) -> list[Prediction]:
    """Some at every number of shots: whole examples, by the hash of their ids."""

    def rank(one: Prediction) -> tuple[int, str, str, int]:
        seed = -1 if one.demonstration_seed is None else one.demonstration_seed
        return choice_hash(0, one.task, one.example_id, "report example"), one.example_id, one.template, seed

    found: list[Prediction] = []
    for shots in sorted({one.shots for one in predictions}):
        found += nsmallest(each, (one for one in predictions if one.shots == shots), rank)
    return found


def _prompts(
    bench: Bench | None, record: RunRecord, task: TaskRecord, drawn: Sequence[Prediction]
) -> dict[int, tuple[str, str]]:
    """What stood before the question, and the question, of each drawn prediction, by its key's digest.

    Empty where the bench is not at hand or holds another content of the task.
    """
    name = task.placement.task
    if bench is None or name not in bench.tasks or bench.tasks[name].digest != task.digest:
        return {}
    wanted = {one.key.digest: one for one in drawn}
    prompts = survey(bench, bench.tasks[name], record.prompts)
    found: dict[int, tuple[str, str]] = {}
    for kind in (Kind.OPTIONS, Kind.TEXT):
        for asked in questions(bench, prompts, record.prompts, kind, lambda key: key.digest in wanted):
            one = wanted[asked.key.digest]
            prompt = shortened(asked.prompt, one.dropped_shots, one.cut_characters)
            found[asked.key.digest] = prompt.prefix, prompt.question
    return found


def scores_of_answers(report: Report) -> dict[int, float | None]:
    """By the digest of each prediction's key: the metric of its answer, or its rightness where that is no mean."""
    names = ["task", "example_id", "template", "shots", "demonstration_seed"]
    right = [f"accuracy_{report.normalisation}", "exact_match"]
    found: dict[int, float | None] = {}
    for row in report.rows.select([*names, "score", *right]).to_pylist():
        values = (row[name] for name in ("score", *right))
        value = next((value for value in values if value is not None and not math.isnan(value)), None)
        found[Key(*(row[name] for name in names)).digest] = value
    return found


def _options(one: Prediction) -> Iterator[Option]:
    if one.kind is not Kind.OPTIONS:
        return
    highest = max(one.option_logprobs, default=0.0)
    weights = [math.exp(value - highest) for value in one.option_logprobs]
    for text, logprob, weight in zip(one.options, one.option_logprobs, weights, strict=True):
        yield Option(_clipped(text), logprob, weight / sum(weights))


def _notes(one: Prediction) -> Iterator[str]:
    if one.kind is Kind.SKIPPED:
        yield f"not asked: {one.finish}"
    if one.kind is Kind.OPTIONS and one.choice is None:
        yield "a tie between options, which counts as wrong"
    if one.finish == "length":
        yield f"the limit of {one.new_tokens:,} tokens ended it"
    if one.dropped_shots:
        yield f"{one.dropped_shots:,} demonstrations were left out to fit the context"
    if one.cut_characters:
        yield f"{one.cut_characters:,} characters were cut from the question's beginning to fit the context"
    if one.merged:
        yield f"the prompt's end merged with the first token of {one.merged:,} options"


def _clipped(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[… {len(text) - LONGEST:,} characters left out here …]\n{text[-half:]}"
