"""Plots as SVG in the page's own colours, drawn by matplotlib.

Matplotlib knows no style sheet, so it draws in placeholder colours that become CSS variables: one plot serves
the light and the dark page. Its output is the same for the same numbers.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from evaluation.report.view import Row, RunView

_INK, _FAINT = "#010101", "#020202"
_SERIES = ("#030301", "#030302", "#030303", "#030304", "#030305")
_VARIABLES = {_INK: "var(--ink)", _FAINT: "var(--faint)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, 1)
}
_MOST = 30
"""Rows of one plot."""


def level_plot(view: RunView) -> str:
    """The levels' means with their intervals, a colour for each number of shots."""
    rows = [(row.name.replace("_", " "), row) for row in view.levels]
    return _dots(rows, view.shots, "Means by level, percent, with 95% intervals", "levels")


def category_plot(view: RunView) -> str:
    """Categories from fewest to most shots; those that change most where there are too many."""
    rows = sorted(view.categories, key=lambda row: -abs(row.gain) if row.gain == row.gain else 0.0)[:_MOST]
    named = [(f"{row.name}  ·  {row.level.replace('_', ' ')}", row) for row in rows]
    return _dots(named, view.shots, "Means by category, percent", "categories", intervals=False)


def template_plot(view: RunView) -> str:
    """Lowest, mean and highest template of each task, the widest spreads; empty where wording changes nothing."""
    spreads = [s for s in view.templates if s.highest[1] > s.lowest[1]][:_MOST]
    if not spreads:
        return ""
    with _figure(len(spreads), "templates") as (figure, axes, svg):
        for place, spread in enumerate(reversed(spreads)):
            colour = _SERIES[view.shots.index(spread.shots) % len(_SERIES)]
            ends = [100 * spread.lowest[1], 100 * spread.highest[1]]
            axes.plot(ends, [place, place], color=colour, linewidth=3, solid_capstyle="round", alpha=0.45)
            axes.plot(
                [100 * value for value in spread.values.values()],
                [place] * len(spread.values),
                "|",
                color=colour,
            )
            axes.plot([100 * spread.mean], [place], "o", color=colour, markersize=6)
        names = [f"{spread.task}  ·  {spread.shots}-shot" for spread in reversed(spreads)]
        _finish(axes, names)
        return _svg(figure, svg, "Template spread: lowest, mean and highest template of a task, percent")


def _dots(
    rows: Sequence[tuple[str, Row]], shots: Sequence[int], title: str, name: str, intervals: bool = True
) -> str:
    if not rows:
        return ""
    # What has short names fits on a phone as it is.
    with _figure(len(rows), name, 6.0 if intervals else 8.4) as (figure, axes, svg):
        for number, k in enumerate(shots):
            colour, shift = _SERIES[number % len(_SERIES)], 0.16 * ((len(shots) - 1) / 2 - number)
            for place, (_, row) in enumerate(reversed(rows)):
                mean = row.numbers.get(k)
                if mean is None or math.isnan(mean.value):
                    continue
                height = place + (shift if intervals else 0)
                if intervals:
                    ends = [100 * mean.low, 100 * mean.high]
                    axes.plot(ends, [height, height], color=colour, linewidth=2, alpha=0.6)
                # Where both are the same, the ring of the first is seen around the second.
                size = 7 if intervals else 10 - 3 * min(number, 2)
                axes.plot([100 * mean.value], [height], "o", color=colour, markersize=size)
            axes.plot([], [], "o", color=colour, label=f"{k}-shot")
        if not intervals:
            _joined(axes, [row for _, row in reversed(rows)])
        _finish(axes, [label for label, _ in reversed(rows)])
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, frameon=False, labelcolor=_INK)
        return _svg(figure, svg, title)


def _joined(axes: Any, rows: Sequence[Row]) -> None:
    """A faint line from the lowest to the highest number of shots."""
    for place, row in enumerate(rows):
        values = [100 * number.value for number in row.numbers.values() if not math.isnan(number.value)]
        if len(values) > 1:
            axes.plot([min(values), max(values)], [place, place], color=_FAINT, linewidth=1.5, zorder=0)


@contextmanager
def _figure(rows: int, name: str, width: float = 8.4) -> Iterator[tuple[Any, Any, str]]:
    """A figure without pyplot, hence without global state beyond the settings that are put back."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.size": 10,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, 0.9 + 0.34 * rows), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        yield figure, axes, name


def _finish(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_shortened(name) for name in names], color=_INK)
    axes.set_ylim(-0.6, len(names) - 0.4)
    low = min(0.0, axes.get_xlim()[0])
    axes.set_xlim(low - 2, 102)
    axes.tick_params(length=0, colors=_INK)
    axes.grid(axis="x", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _shortened(name: str) -> str:
    text = name if len(name) <= 60 else f"{name[:40]}…{name[-19:]}"
    return text.replace("$", r"\$")


def _svg(figure: Any, name: str, title: str) -> str:
    """The figure as an `<svg>` element: placeholder colours become variables, ids carry the plot's name."""
    file = io.StringIO()
    figure.savefig(
        file,
        format="svg",
        metadata={"Date": None, "Title": title, "Creator": None, "Format": None, "Type": None},
    )
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r' (?:width|height)="[^"]*pt"', "", text, count=2)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
