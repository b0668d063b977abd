"""Views as tables: cells for the terminal, Markdown ready to paste, CSV for whoever calculates on. Pure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence

from evaluation.report.view import ALL, Number, Row, RunView

SAMPLE_MARK = "†"
"""Behind every number that rests on sample data."""


def cell(number: Number | None, sample: bool = False) -> str:
    """A number in percent with its interval, of how many tasks if not of all, and marked if of sample data."""
    if number is None or math.isnan(number.value):
        return "-"
    fewer = f" ({number.n_tasks} of {number.n_expected} tasks)" if number.n_tasks < number.n_expected else ""
    interval = f" [{100 * number.low:.1f}, {100 * number.high:.1f}]"
    return f"{100 * number.value:.1f}{SAMPLE_MARK if sample else ''}{interval}{fewer}"


def level_table(views: Sequence[RunView]) -> tuple[list[str], list[list[str]]]:
    """Levels by number of shots, a line for each level of each run: column names and cells."""
    shots = sorted({k for view in views for k in view.shots})
    many = len(views) > 1
    columns = [*(["model", "run"] if many else []), "level", "tasks", *(f"{k}-shot" for k in shots)]
    lines = []
    for view in views:
        for row in view.levels:
            names = [view.model, view.run] if many else []
            numbers = (cell(row.numbers.get(k), view.sample) for k in shots)
            lines.append([*names, row.name, _tasks(row), *numbers])
    return columns, lines


def _tasks(row: Row) -> str:
    present = max((number.n_tasks for number in row.numbers.values()), default=0)
    expected = max((number.n_expected for number in row.numbers.values()), default=0)
    return f"{present:,}" if present == expected else f"{present:,} of {expected:,}"


def markdown(views: Sequence[RunView], title: str = "OPT-IML Bench") -> str:
    """The tables of levels and categories, with remarks, ready to paste."""
    parts = [f"# {title}", "", "In percent, with 95% intervals.", "", *markdown_table(*level_table(views))]
    for view in views:
        parts += ["", f"## {_escaped(view.model)}, eval set {view.eval_set} ({view.run})", ""]
        parts += [f"- {_escaped(remark)}" for remark in view.remarks]
        columns = ["category", "level", *(f"{k}-shot" for k in view.shots)]
        lines = [
            [row.name, row.level, *(cell(row.numbers.get(k), view.sample) for k in view.shots)]
            for row in view.categories
        ]
        parts += ["", *markdown_table(columns, lines)]
        if view.published:
            parts += ["", "Beside the paper's numbers:", "", *markdown_table(*published_table(view))]
    if any(view.sample for view in views):
        parts += ["", f"{SAMPLE_MARK} rests on sample data and says nothing about a model."]
    return "\n".join(parts) + "\n"


def published_table(view: RunView) -> tuple[list[str], list[list[str]]]:
    """Measured values beside the paper's: column names and cells."""
    columns = ["table", "task", "shots", "metric", view.model, "published"]
    lines = [
        [
            one.table,
            one.task,
            str(one.shots),
            one.metric,
            f"{100 * one.measured:.1f}",
            ", ".join(f"{model} {value:.1f}" for model, value in one.printed),
        ]
        for one in view.published
    ]
    return columns, lines


def markdown_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table; what Markdown would read as markup is escaped."""
    yield f"| {' | '.join(map(_escaped, columns))} |"
    yield f"|{'---|' * len(columns)}"
    for line in lines:
        yield f"| {' | '.join(map(_escaped, line))} |"


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\|<>*`_[]" else c for c in text.replace("\n", " "))


_COLUMNS = (
    "model",
    "run",
    "eval_set",
    "sample",
    "complete",
    "scope",
    "name",
    "level",
    "category",
    "source",
    "metric",
    "shots",
    "value",
    "low",
    "high",
    "tasks",
    "expected_tasks",
    "examples",
    "notes",
)


def csv_text(views: Sequence[RunView]) -> str:
    """Every number of every run, a line each; values are fractions, empty where nothing was scored."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(map(_inert, line.values()) for line in number_lines(views))
    return text.getvalue()


def number_lines(views: Sequence[RunView]) -> Iterator[dict[str, object]]:
    """Every number of every run with all that it is about; values are fractions, None where nothing was scored."""
    for view in views:
        for scope, rows in _scopes(view):
            for row in rows:
                for shots, number in sorted(row.numbers.items()):
                    yield dict(zip(_COLUMNS, _line(view, scope, row, shots, number), strict=True))


def _scopes(view: RunView) -> Iterator[tuple[str, Sequence[Row]]]:
    yield "all", [row for row in view.levels if row.name == ALL]
    yield "level", [row for row in view.levels if row.name != ALL]
    yield "source", view.sources
    yield "category", view.categories
    yield "task", view.tasks


def _line(view: RunView, scope: str, row: Row, shots: int, number: Number) -> list[object]:
    run = [view.model, view.run, view.eval_set, view.sample, view.complete]
    values = [None if math.isnan(v) else v for v in (number.value, number.low, number.high)]
    counts = [number.n_tasks, number.n_expected, number.n_examples]
    which = [scope, row.name, row.level, row.category, row.source, row.metric, shots]
    return [*run, *which, *values, *counts, "; ".join(number.notes)]


def _inert(value: object) -> object:
    """A text that a spreadsheet would take for a formula, made plain."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@") else value
