"""Two runs against each other: the paired difference of every mean, and which tasks and examples make it up.

Differences are `second - first`, as a change is read from left to right. Compared are the tasks whose content,
prompt settings and metric are the same in both, at the numbers of shots and over the examples that both have;
every other task is listed with its reason. Both runs are resampled alike (see `evaluation.bootstrap`), so an
interval is that of the paired difference.

Many differences at once: at 95% one in twenty intervals leaves out zero by chance. Each family of differences (the
levels, the sources, the categories, the tasks, at all numbers of shots) is therefore also judged by Holm's method, over
p-values that are read off the intervals' widths.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from evaluation.aggregate import paired_difference
from evaluation.bootstrap import Resampling
from evaluation.means import Difference, Key, Scope
from evaluation.metrics import METRICS
from evaluation.predictions import Key as PromptKey
from evaluation.report.examples import scores_of_answers
from evaluation.run import RunRecord, TaskRecord
from evaluation.scoring import Report
from task_registry.errors import GateError, UsageError

SCOPES = (Scope.LEVEL, Scope.SOURCE, Scope.CATEGORY, Scope.TASK, Scope.ALL)
"""Those that are reported."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, `second - first`, with its standing among those of its family."""

    key: Key
    value: float
    low: float
    high: float
    first: float
    second: float
    n_tasks: int
    n_examples: int
    p: float
    """Two-sided, of no difference: normal with the interval's width; NaN where there is no difference to judge."""
    holds: bool
    """Whether it is clear of zero and stays so when all differences of its family are judged together (Holm)."""

    @property
    def clear(self) -> bool:
        """Whether its own interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Flip:
    """A task that clearly goes against the change of its level."""

    change: Change
    level: Change


@dataclass(frozen=True, slots=True)
class Tally:
    """Examples of one task at one number of shots, by which run answered them better."""

    task: str
    shots: int
    won: int
    """By the second run."""
    lost: int
    even: int


@dataclass(frozen=True, slots=True)
class Answered:
    """One example that the two runs answered differently well."""

    task: str
    example_id: str
    template: str
    shots: int
    demonstration_seed: int | None
    first: float
    second: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that comes of two runs."""

    first: str
    """Model and run."""
    second: str
    tasks: tuple[str, ...]
    shots: tuple[int, ...]
    left_out: Mapping[str, str]
    """Tasks that cannot be compared, with the reason."""
    sample: bool
    changes: tuple[Change, ...]
    flips: tuple[Flip, ...]
    tallies: tuple[Tally, ...]
    examples: tuple[Answered, ...]
    """Those that were won or lost, the largest changes first."""
    notes: tuple[str, ...]

    def of(self, scope: Scope) -> list[Change]:
        """The changes of one scope, in the order of their names."""
        return [change for change in self.changes if change.key.scope is scope]


def compare(first: Report, second: Report, resampling: Resampling | None = None) -> Comparison:
    """Compare two scored runs.

    Raises UsageError if no task can be compared, with the commonest reasons.
    """
    resampling = resampling or Resampling()
    left_out = _left_out(first.record, second.record)
    tasks = {task.placement.task: task for task in first.record.tasks if task.placement.task not in left_out}
    shots = tuple(k for k in first.record.prompts.shots if k in second.record.prompts.shots)
    if not tasks:
        raise UsageError(_nothing(first, second, left_out))
    ours, theirs = (
        [score for score in report.scores if score.task in tasks and score.shots in shots]
        for report in (first, second)
    )
    expected = [task.placement for task in tasks.values()]
    differences = paired_difference(theirs, ours, expected, resampling)
    if not any(one.n_examples for one in differences):
        raise UsageError(
            f"{_name(first)} and {_name(second)}: no example was answered in both; nothing to compare"
        )
    changes = tuple(_judged([one for one in differences if one.key.scope in SCOPES], resampling.confidence))
    answers = tuple(_answers(first, second, frozenset(tasks)))
    return Comparison(
        _name(first),
        _name(second),
        tuple(tasks),
        shots,
        left_out,
        first.record.bench.sample or second.record.bench.sample,
        changes,
        tuple(_flips(changes)),
        tuple(_tallies(answers)),
        _ranked(answers),
        tuple(_notes(first.record, second.record, changes, left_out, resampling)),
    )


def gate(comparison: Comparison, points: float) -> None:
    """Pass only if no level, and not the mean of all, changes by less than `points` percentage points.

    Raises GateError, with the worst, otherwise; also where one of them could not be compared.
    """
    judged = [*comparison.of(Scope.LEVEL), *comparison.of(Scope.ALL)]
    failed = [one for one in judged if not 100 * one.value >= points]
    if failed:
        worst = min(failed, key=lambda one: -math.inf if math.isnan(one.value) else one.value)
        at = "all shots" if worst.key.shots is None else f"{worst.key.shots} shots"
        raise GateError(
            f"{comparison.second}: {worst.key.level or 'all categories'} at {at} changes by {100 * worst.value:+.1f} "
            f"points [{100 * worst.low:+.1f}, {100 * worst.high:+.1f}], expected at least {points:+.1f}; "
            f"{len(failed)} of {len(judged)} means fail"
        )


def _name(report: Report) -> str:
    return f"{report.record.model.name} ({report.record.name})"


def _nothing(first: Report, second: Report, left_out: Mapping[str, str]) -> str:
    reasons = Counter(reason.partition(":")[0] for reason in left_out.values()).most_common(3)
    words = ", ".join(f"{reason} ({count:,} tasks)" for reason, count in reasons) or "neither has tasks"
    return (
        f"{_name(first)} and {_name(second)}: no task can be compared: {words}; evaluate both on the same bench "
        "with the same options"
    )


def _left_out(first: RunRecord, second: RunRecord) -> dict[str, str]:
    """Every task that is not the same in both, with the reason."""
    ours = {task.placement.task: task for task in first.tasks}
    theirs = {task.placement.task: task for task in second.tasks}
    found = {}
    for name in sorted({*ours, *theirs}):
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None:
            found[name] = f"only in the {'second' if one is None else 'first'} run"
        elif reason := _difference(one, other, first, second):
            found[name] = reason
    return found


def _difference(one: TaskRecord, other: TaskRecord, first: RunRecord, second: RunRecord) -> str:
    """Why a task is not the same in two runs; empty if it is."""
    if one.metric is not other.metric:
        return f"another metric: {one.metric} and {other.metric}"
    if one.digest != other.digest:
        return f"another content: digest {one.digest[:12]} and {other.digest[:12]}"
    if one.merged is not other.merged:
        return "another use of templates: merged in one run, one by one in the other"
    here, there = one.placement, other.placement
    if (here.level, here.category, here.group) != (there.level, there.category, there.group):
        return f"another place: {here.level}, {here.category} and {there.level}, {there.category}"
    if first.version != second.version:
        return (
            f"another version of optiml-bench, whose prompts may differ: {first.version} and {second.version}"
        )
    if not set(first.prompts.shots) & set(second.prompts.shots):
        return f"other numbers of shots: {_shown(first.prompts.shots)} and {_shown(second.prompts.shots)}"
    for name in _settings(one, first, second):
        ours, theirs = getattr(first.prompts, name), getattr(second.prompts, name)
        if ours != theirs:
            return f"another {name.replace('_', ' ')}: {_shown(ours)} and {_shown(theirs)}"
    return ""


def _settings(task: TaskRecord, first: RunRecord, second: RunRecord) -> Iterator[str]:
    """The prompt settings that bear on a task's predictions."""
    yield from ("seed", "chat_template", "overlength")
    if set(first.prompts.shots) & set(second.prompts.shots) - {0}:
        yield from ("demonstrations", "demonstration_seeds", "separator", "explanations")
    if any(counts.text for counts in task.templates.values()):
        yield from ("max_new_tokens", "stop")


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else repr(str(value))


def _judged(differences: Sequence[Difference], confidence: float) -> Iterator[Change]:
    """Each difference with its p-value, and Holm's verdict within its family."""
    width = 2 * NormalDist().inv_cdf((1 + confidence) / 2)
    values = [_p(one, width) for one in differences]
    holds: set[int] = set()
    for scope in SCOPES:
        family = [
            i for i, one in enumerate(differences) if one.key.scope is scope and not math.isnan(values[i])
        ]
        for rank, i in enumerate(sorted(family, key=lambda i: values[i])):
            if values[i] > (1 - confidence) / (len(family) - rank):
                break
            holds.add(i)
    for i, one in enumerate(differences):
        # The difference was taken as second less first, so its own first is our second.
        yield Change(
            key=one.key,
            value=one.value,
            low=one.low,
            high=one.high,
            first=one.second,
            second=one.first,
            n_tasks=one.n_tasks,
            n_examples=one.n_examples,
            p=values[i],
            holds=i in holds and one.clear,
        )


def _p(one: Difference, width: float) -> float:
    """By the normal distribution; where the interval has no width, all examples agree: that of a sign test."""
    if math.isnan(one.value):
        return math.nan
    deviation = (one.high - one.low) / width
    if deviation == 0:
        return 1.0 if one.value == 0 else min(1.0, 2.0 ** (1 - one.n_examples))
    return 2 * NormalDist().cdf(-abs(one.value) / deviation)


def _flips(changes: Sequence[Change]) -> Iterator[Flip]:
    """Tasks whose clear change has the other sign than that of their level at the same number of shots."""
    levels = {(one.key.level, one.key.shots): one for one in changes if one.key.scope is Scope.LEVEL}
    for one in changes:
        if one.key.scope is Scope.TASK and one.clear:
            level = levels[one.key.level, one.key.shots]
            if one.value * level.value < 0:
                yield Flip(one, level)


def _answers(first: Report, second: Report, tasks: frozenset[str]) -> Iterator[Answered]:
    """Every example that both answered, with both scores."""
    ours, theirs = scores_of_answers(first), scores_of_answers(second)
    for row in first.rows.select([field.name for field in dataclasses.fields(PromptKey)]).to_pylist():
        key = PromptKey(**row)
        if key.task not in tasks:
            continue
        one, other = ours.get(key.digest), theirs.get(key.digest)
        if one is not None and other is not None:
            which = (key.task, key.example_id, key.template, key.shots, key.demonstration_seed)
            yield Answered(*which, one, other)


def _tallies(answers: Sequence[Answered]) -> Iterator[Tally]:
    counts: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in answers:
        counts[one.task, one.shots][(one.second > one.first) + 2 * (one.second < one.first)] += 1
    for (task, shots), (even, won, lost) in sorted(counts.items()):
        yield Tally(task, shots, won, lost, even)


def _ranked(answers: Sequence[Answered]) -> tuple[Answered, ...]:
    moved = [one for one in answers if one.first != one.second]
    return tuple(
        sorted(
            moved,
            key=lambda one: (-abs(one.second - one.first), one.task, one.shots, one.example_id, one.template),
        )
    )


def _notes(
    first: RunRecord,
    second: RunRecord,
    changes: Sequence[Change],
    left_out: Mapping[str, str],
    resampling: Resampling,
) -> Iterator[str]:
    """What a reader of the differences must know, the gravest first."""
    if first.bench.sample or second.bench.sample:
        yield "sample data: these differences show how things work and say nothing about a model"
    if left_out:
        yield f"{len(left_out):,} tasks are left out, so these means are not those of the single runs"
    judged = [one for one in changes if not math.isnan(one.p)]
    chance = (1 - resampling.confidence) * len(judged)
    clear, held = sum(one.clear for one in judged), sum(one.holds for one in judged)
    yield (
        f"{len(judged):,} intervals of {resampling.confidence:.0%}: about {chance:.0f} leave out zero (*) where "
        f"nothing differs; {clear:,} do, and {held:,} hold (**) when each family is judged together by Holm's method"
    )
    compared = [task for task in first.tasks if task.placement.task not in left_out]
    if whole := sorted({str(task.metric) for task in compared if METRICS[task.metric].reference is not None}):
        yield (
            f"an example is won or lost by whether it is right, also under {', '.join(whole)}: these judge a task as "
            "a whole, and may change the other way"
        )
    if first.model.dtype != second.model.dtype:
        yield f"computed in {first.model.dtype} and in {second.model.dtype}"
    if first.tokenizer != second.tokenizer:
        yield "the models have different tokenizers: the same examples, but other tokens, cuts and output limits"
