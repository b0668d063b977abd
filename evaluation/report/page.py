"""The page: one HTML file with all that it needs, written piece by piece.

Everything that a model, a template or a task said passes through Jinja's escaping or, in the examples, through
`textContent`. A policy in the page forbids every request, and every script but its own by digest, so that a slip
would show text and not run it. Examples lie in the page as gzip, a chunk for each task, and are unpacked when
somebody looks at them: a page of hundreds of thousands of predictions opens at once.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.records import plain
from evaluation.report.examples import Shown, TaskExamples
from evaluation.report.plots import category_plot, level_plot, template_plot
from evaluation.report.view import ALL, Number, RunView
from task_registry.types import Level, Metric

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_METRICS: dict[str, str] = {
    Metric.ACCURACY: "accuracy",
    Metric.EXACT_MATCH: "exact match",
    Metric.MACRO_F1: "macro F1",
    Metric.MATTHEWS: "Matthews",
    Metric.PEARSON: "Pearson",
    Metric.ROUGE_L: "ROUGE-L",
    Metric.TOKEN_F1: "token F1",
}
"""Metrics as people write them."""


_MEANINGS: dict[str, str] = {
    Level.FULLY_HELD_OUT: "kinds of task that training never saw",
    Level.PARTIALLY_SUPERVISED: "new tasks of a kind that training saw",
    Level.FULLY_SUPERVISED: "new examples of tasks that training saw",
    ALL: "mean over the categories, each weighing the same",
}
"""What a level tells, for somebody who does not know the paper."""


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run of a page."""

    view: RunView
    examples: Iterable[TaskExamples]
    """In the order of the run's tasks."""
    each: int
    """Examples that a task gives at most at each number of shots."""
    notes: tuple[str, ...] = ()
    """What is to be said of the examples, such as why there are no prompts."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Examples that the build of the bench left out, by rule; empty where the bench is not at hand."""


def write_page(runs: Sequence[RunPage], out: Path) -> None:
    """Write the page of some runs; a killed process leaves the old file or the new one.

    Raises BenchError subclasses as reading the examples does.
    """
    building = out.with_name(f".{out.name}")
    with building.open("w", encoding="utf-8") as file:
        file.writelines(page(runs))
    building.replace(out)


def page(runs: Sequence[RunPage]) -> Iterator[str]:
    """The page in pieces."""
    yield from assembled("page.html", _chunks(runs), runs=runs)


def assembled(template: str, chunks: Iterable[str], **content: Any) -> Iterator[str]:
    """A page of a template, the chunks of its examples, and the script."""
    script = _text("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head = _environment().get_template(template)
    yield from head.stream(style=_text("page.css"), script_digest=digest, **content)
    yield from chunks
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _chunks(runs: Sequence[RunPage]) -> Iterator[str]:
    for number, run in enumerate(runs):
        places = {task: place for place, task in enumerate(row.name for row in run.view.tasks)}
        for examples in run.examples:
            befores: dict[str, int] = {}
            rows = [shown_row(one, befores) for one in examples.shown]
            yield chunk(f"r{number}-t{places[examples.task]}", examples.task, examples.total, rows, befores)


def shown_row(one: Shown, befores: dict[str, int]) -> dict[str, Any]:
    """An example as the script reads it; what stands before its question goes to `befores`, once for all."""
    row: dict[str, Any] = plain(one)
    row["before"] = None if one.before is None else befores.setdefault(one.before, len(befores))
    row["options"] = [[o.text, _number(o.logprob), _number(o.share)] for o in one.options]
    return row


def chunk(
    name: str, task: str, total: Mapping[int, int], rows: Sequence[Mapping[str, Any]], befores: Iterable[str]
) -> str:
    """The examples of one task: gzip in base64."""
    content = {"task": task, "total": plain(total), "befores": list(befores), "shown": rows}
    packed = gzip.compress(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"), 6, mtime=0)
    return f'<script type="text/plain" id="{name}">{base64.b64encode(packed).decode()}</script>\n'


def _number(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plots: dict[str, Callable[[RunView], str]] = {
        "level_plot": level_plot,
        "category_plot": category_plot,
        "template_plot": template_plot,
    }
    environment.globals |= {name: _marked(plot) for name, plot in plots.items()}
    filters: dict[str, Callable[..., Any]] = {
        "percent": _percent,
        "meaning": lambda name: _MEANINGS.get(name, ""),
        "words": lambda name: str(name).replace("_", " "),
        "metric": lambda name: " + ".join(_METRICS.get(one, one) for one in str(name).split("+")),
        "interval": _interval,
        "noted": _noted,
        "named": lambda change: change.key.task or change.key.category or change.key.source,
        "signed": lambda value: ("+" if value >= 0.0005 else "") + _percent(value),
        "tone": lambda change: ("up" if change.value > 0 else "down") if change.clear else "",
        "sort_key": _sort_key,
        "markup": Markup,
    }
    environment.filters |= filters
    return environment


def _marked(plot: Callable[[RunView], str]) -> Callable[[RunView], Any]:
    """A plot as markup: matplotlib escapes the names in it."""
    from markupsafe import Markup

    return lambda view: Markup(plot(view))


def _percent(value: float, digits: int = 1) -> str:
    if math.isnan(value):
        return "–"
    text = f"{100 * value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _interval(number: Number) -> str:
    """The ends of its interval, with a dash between them, or `to` where the dash would be taken for a minus."""
    return f"{_percent(number.low)}{'–' if number.low >= 0 else ' to '}{_percent(number.high)}"


def _sort_key(value: float) -> str:
    """By which a column is sorted; nothing where there is no number, which comes last either way."""
    return "" if math.isnan(value) else f"{value:.6f}"


def _noted(number: Number) -> str:
    """What a number's tooltip says."""
    counted = f"{number.n_tasks:,} tasks, {number.n_examples:,} examples"
    if math.isnan(number.value):
        return "; ".join(("nothing was scored", *number.notes))
    interval = f"95% interval {100 * number.low:.1f} to {100 * number.high:.1f}"
    return "; ".join((interval, counted, *number.notes))


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
