"""What a report shows of one scored run, as records; everything that is shown is one of these. Pure.

Values are fractions; whoever shows them turns them into percent. NaN stands where nothing was scored.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evaluation.marks import Marks, by_mean
from evaluation.means import Key, Mean, Scope
from evaluation.metrics import METRICS
from evaluation.report.published import Beside, beside_published
from evaluation.run import RunRecord
from evaluation.scoring import Report
from evaluation.summary import remarks
from task_registry.types import Level

ALL = "all categories"
_EXTREMES = 5
"""Categories that are named as the weakest, and as the strongest."""


@dataclass(frozen=True, slots=True)
class Number:
    """A mean at one number of shots, with all that is to be known of it."""

    value: float
    low: float
    high: float
    n_tasks: int
    n_expected: int
    """Tasks that it ought to be over."""
    n_examples: int
    notes: tuple[str, ...]
    """What is missing from it, cut, tied, or rests on sample data."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what it is about, and a number for each number of shots."""

    name: str
    numbers: Mapping[int, Number]
    level: str = ""
    category: str = ""
    source: str = ""
    metric: str = ""

    @property
    def gain(self) -> float:
        """The most shots less the fewest; NaN where there is one number of shots, or nothing to subtract."""
        shots = sorted(self.numbers)
        if len(shots) < 2:
            return math.nan
        return self.numbers[shots[-1]].value - self.numbers[shots[0]].value


@dataclass(frozen=True, slots=True)
class TemplateSpread:
    """What the wording makes of one task at one number of shots."""

    task: str
    shots: int
    values: Mapping[str, float]
    """By template, the lowest first."""
    merged: bool
    """Whether each template was asked about examples of its own, so that they differ by more than wording."""

    @property
    def mean(self) -> float:
        """Over the templates."""
        return sum(self.values.values()) / len(self.values)

    @property
    def lowest(self) -> tuple[str, float]:
        """The template of lowest value."""
        return next(iter(self.values.items()))

    @property
    def highest(self) -> tuple[str, float]:
        """The template of highest value."""
        return list(self.values.items())[-1]


@dataclass(frozen=True, slots=True)
class RunView:
    """One run."""

    model: str
    run: str
    eval_set: str
    sample: bool
    complete: bool
    shots: tuple[int, ...]
    remarks: tuple[str, ...]
    levels: tuple[Row, ...]
    """Those that occur, then the mean over all categories."""
    sources: tuple[Row, ...]
    categories: tuple[Row, ...]
    tasks: tuple[Row, ...]
    templates: tuple[TemplateSpread, ...]
    """Of tasks with several templates, the widest first."""
    published: tuple[Beside, ...]
    losses: tuple[tuple[str, Mapping[int, int]], ...]
    """What befell prompts, in words, with the number at each number of shots."""
    missing: tuple[str, ...]
    partial: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, str], ...]
    """Name and meaning of those that occur."""

    @property
    def average(self) -> Row:
        """The mean over all categories."""
        return self.levels[-1]

    @property
    def extremes(self) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The weakest and the strongest categories at the most shots, outermost first; no category is both."""
        most = max(self.shots)
        scored = [r for r in self.categories if most in r.numbers and not math.isnan(r.numbers[most].value)]
        ranked = sorted(scored, key=lambda row: row.numbers[most].value)
        count = min(_EXTREMES, len(ranked) // 2)
        return tuple(ranked[:count]), tuple(reversed(ranked[len(ranked) - count :]))


def view(report: Report) -> RunView:
    """All that is shown of a scored run."""
    record = report.record
    rows = _Rows(report)
    tasks = [mean for mean in report.means if mean.key.scope is Scope.TASK]
    return RunView(
        model=record.model.name,
        run=record.name,
        eval_set=record.selection.eval_set,
        sample=record.bench.sample,
        complete=report.complete,
        shots=record.prompts.shots,
        remarks=tuple(remarks(report)),
        levels=tuple(rows.levels()),
        sources=tuple(rows.sources()),
        categories=tuple(rows.categories()),
        tasks=tuple(rows.tasks()),
        templates=tuple(_templates(report)),
        published=beside_published(report),
        losses=tuple(_losses(report)),
        missing=tuple(sorted({task for mean in tasks for task in mean.basis.missing})),
        partial=tuple(sorted({what for mean in tasks for what in mean.basis.partial})),
        provenance=tuple(_provenance(record)),
        metrics=tuple((str(m), METRICS[m].summary) for m in sorted({task.metric for task in record.tasks})),
    )


class _Rows:
    """The tables of one report."""

    def __init__(self, report: Report) -> None:
        self._report, self._shots = report, report.record.prompts.shots
        self._metrics = {task.placement.task: str(task.metric) for task in report.record.tasks}
        marks = by_mean(report.places, report.marks)
        sample = report.record.bench.sample
        self._numbers: dict[Key, dict[int, Number]] = defaultdict(dict)
        for mean in report.means:
            if mean.key.shots is not None:
                number = _number(mean, marks.get(mean.key, Marks()), sample)
                self._numbers[dataclasses.replace(mean.key, shots=None)][mean.key.shots] = number

    def _of(self, scope: Scope) -> Iterator[tuple[Key, dict[int, Number]]]:
        return ((key, numbers) for key, numbers in self._numbers.items() if key.scope is scope)

    def levels(self) -> Iterator[Row]:
        for level in Level:
            for key, numbers in self._of(Scope.LEVEL):
                if key.level is level:
                    yield Row(str(level), numbers, level=str(level))
        yield Row(ALL, self._numbers.get(Key(Scope.ALL, None), {}))

    def sources(self) -> Iterator[Row]:
        """Each over all levels, then by level where it has several."""
        order = [None, *Level]
        found = sorted(self._of(Scope.SOURCE), key=lambda item: (item[0].source, order.index(item[0].level)))
        rows = Counter(key.source for key, _ in found)
        for key, numbers in found:
            if key.level is None or rows[key.source] > 2:
                yield Row(key.source, numbers, level=str(key.level or ""), source=key.source)

    def categories(self) -> Iterator[Row]:
        order = list(Level)
        found = [(key.level, key, numbers) for key, numbers in self._of(Scope.CATEGORY) if key.level]
        for level, key, numbers in sorted(found, key=lambda item: (order.index(item[0]), item[1].category)):
            yield Row(key.category, numbers, level=str(level), category=key.category)

    def tasks(self) -> Iterator[Row]:
        for key, numbers in sorted(self._of(Scope.TASK), key=lambda item: item[0].task):
            metric = self._metrics.get(key.task, "")
            yield Row(key.task, numbers, str(key.level), key.category, key.source, metric)


def _number(mean: Mean, marks: Marks, sample: bool) -> Number:
    basis = mean.basis
    expected = basis.n_tasks + len(basis.missing)
    notes = ["rests on sample data: it says nothing about a model"] if sample else []
    if basis.missing:
        notes.append(f"{basis.n_tasks:,} of {expected:,} tasks")
    if basis.partial:
        notes.append(f"{len(basis.partial):,} tasks lack examples or templates")
    notes += [f"{count:,} {words}" for name, words in LOSSES.items() if (count := getattr(marks, name))]
    if basis.n_undefined:
        notes.append(f"{basis.n_undefined:,} replies that the metric cannot read")
    return Number(mean.value, mean.low, mean.high, basis.n_tasks, expected, basis.n_examples, tuple(notes))


LOSSES: Mapping[str, str] = {
    "skipped": "prompts skipped, too long for the context",
    "no_demonstrations": "prompts not asked for want of a demonstration",
    "fewer_shots": "prompts with fewer demonstrations than wanted",
    "unexplained": "prompts with demonstrations that lack an explanation",
    "shortened": "prompts that lost demonstrations to fit the context",
    "cut": "questions that lost their beginning to fit the context",
    "output_limit": "generations that the token limit ended",
    "free_text": "prompts under a metric of choices without options, answered freely",
    "tied": "ties between options, which count as wrong",
    "low_margin": "choices within the dtype's noise",
    "merged": "prompts whose end merged with an option's first token",
    "empty_option": "prompts with an option without a token",
}
"""Fields of `Marks` that are worth a word."""


def _losses(report: Report) -> Iterator[tuple[str, Mapping[int, int]]]:
    """Asked and answered first; then what occurs at some number of shots."""
    totals: dict[int, Marks] = {shots: Marks() for shots in report.record.prompts.shots}
    for (_, shots), some in report.marks.items():
        totals[shots] += some
    always = {"expected": "prompts of a finished run", "answered": "prompts answered"}
    for name, words in {**always, **LOSSES}.items():
        counts = {shots: int(getattr(total, name)) for shots, total in totals.items()}
        if name in always or any(counts.values()):
            yield words, counts


def _templates(report: Report) -> list[TemplateSpread]:
    found: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for (task, shots, template), beside in report.beside.items():
        if not math.isnan(beside.value):
            found[task, shots][template] = beside.value
    merged = {task.placement.task: task.merged for task in report.record.tasks}
    spreads = [
        TemplateSpread(task, shots, dict(sorted(values.items(), key=lambda item: item[1])), merged[task])
        for (task, shots), values in found.items()
        if len(values) > 1
    ]
    return sorted(spreads, key=lambda s: (s.lowest[1] - s.highest[1], s.task, s.shots))


def _provenance(record: RunRecord) -> Iterator[tuple[str, str]]:
    """What somebody needs who wants the same numbers again."""
    model, bench, prompts = record.model, record.bench, record.prompts
    yield "run", record.name
    yield "model", f"{model.name}{f' at {model.revision}' if model.revision else ''}"
    yield (
        "architecture",
        f"{model.architecture}, {model.parameters:,} parameters, context {model.max_length:,}",
    )
    yield "weights", f"digest {model.weights_digest}"
    yield "computed", f"{model.dtype} on {model.device}, {model.path} path ({model.path_reason})"
    yield "bench", f"{bench.path}, plan {bench.plan}, digest {bench.digest}, built by {bench.version}"
    chosen = record.selection
    narrowed = [*chosen.levels, *chosen.sources, *chosen.tasks]
    yield "eval set", chosen.eval_set + (f", only {', '.join(narrowed)}" if narrowed else "")
    for field in dataclasses.fields(prompts):
        yield field.name.replace("_", " "), _shown(getattr(prompts, field.name))
    for number, session in enumerate(record.sessions, 1):
        took = (
            "killed"
            if session.seconds is None
            else f"{session.predictions:,} prompts in {session.seconds:,} s"
        )
        yield (
            f"session {number}",
            f"{session.started}, {took}; optiml-bench {session.version}, Python {session.python}, torch "
            f"{session.torch}, transformers {session.transformers}; {session.accelerator or session.device}",
        )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return repr(str(value))[1:-1]
