"""`optiml-bench compare`: what changed from one run to another, example by example."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evaluation.compare import Change, Comparison, Flip
    from evaluation.scoring import Report

_SHOWN = 20
"""Lines of a long list in the terminal."""


@click.command()
@click.argument("first", metavar="RESULTS_A", type=click.Path(path_type=Path))
@click.argument("second", metavar="RESULTS_B", type=click.Path(path_type=Path))
@click.option(
    "--fail-under",
    type=float,
    metavar="POINTS",
    help="End with an error if a level, or the mean of all, changes by less: -1 allows a loss of one point.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for index.html, compare.md, changes.csv, tasks.csv and examples.csv.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The bench, for the prompts of examples in the page. Default: where the runs found it.",
)
@click.option(
    "--normalise",
    type=click.Choice(["sum", "token", "byte", "unconditional"]),
    default="sum",
    show_default=True,
    help="What an option's log-likelihood is set against before the highest is chosen.",
)
def compare(
    first: Path, second: Path, fail_under: float | None, out: Path | None, data: Path | None, normalise: str
) -> None:
    """Show what changes from run A to run B: B less A, with intervals of the paired difference.

    Each of RESULTS_A and RESULTS_B is the folder of one run, or a folder above one. Compared are the tasks whose
    content, prompt settings and metric are the same in both; the others are listed.

    \b
    Examples:
      optiml-bench compare results/facebook--opt-1.3b results/facebook--opt-iml-1.3b
      optiml-bench compare baseline/ results/ --fail-under -1
    """  # fmt: skip
    from evaluation.compare import compare as pair
    from evaluation.compare import gate

    runs = [_scored(folder, normalise) for folder in (first, second)]
    comparison = pair(runs[0][1], runs[1][1])
    _print(comparison)
    if out is not None:
        _write(comparison, out)
        _write_page(comparison, runs, data, out / "index.html")
        click.echo(
            f"{out}: index.html (opens in a browser), compare.md, changes.csv, tasks.csv, examples.csv"
        )
    if fail_under is not None:
        gate(comparison, fail_under)


def _scored(path: Path, normalise: str) -> tuple[Path, Report]:
    """The one run at or below a folder, scored; UsageError where there are several."""
    from evaluation.options import Normalisation
    from evaluation.run import find_runs
    from evaluation.scoring import score_run
    from task_registry.errors import UsageError

    runs = find_runs(path)
    if len(runs) > 1:
        names = ", ".join(str(run) for run in runs[:3])
        raise UsageError(f"{path}: {len(runs):,} runs, expected one; name it: {names}")
    return runs[0], score_run(runs[0], Normalisation(normalise))


def _write_page(
    comparison: Comparison, runs: Sequence[tuple[Path, Report]], data: Path | None, path: Path
) -> None:
    from evaluation.report.comparison import ComparisonPage, write_comparison
    from evaluation.report.examples import Examples, bench_of

    record = runs[0][1].record
    bench, reason = bench_of(record, data)
    first, second = (Examples(run, report, bench, 0) for run, report in runs)
    write_comparison(ComparisonPage(comparison, record, first, second, (reason,) if reason else ()), path)


def _print(comparison: Comparison) -> None:
    from evaluation.means import Scope
    from optiml_bench.console import print_table

    click.echo(f"A  {comparison.first}\nB  {comparison.second}")
    click.echo(f"B less A over {len(comparison.tasks):,} tasks, in percentage points, with 95% intervals:")
    for title, scopes in (
        ("level", (Scope.LEVEL, Scope.ALL)),
        ("source", (Scope.SOURCE,)),
        ("category", (Scope.CATEGORY,)),
        ("task", (Scope.TASK,)),
    ):
        changes = [one for scope in scopes for one in comparison.of(scope)]
        more = max(0, len(changes) - _SHOWN) if title != "level" else 0
        shown = sorted(changes, key=_size)[:_SHOWN] if more else changes
        columns = (title, "shots", "tasks", "A", "B", "change")
        print_table(columns, map(_cells, shown), numbers=columns[1:])
        click.echo(f"  the largest; {more:,} more (--out writes all)\n" if more else "")
    _print_examples(comparison)
    for note in comparison.notes:
        click.echo(f"  note: {note}")
    _print_left_out(comparison)


def _print_examples(comparison: Comparison) -> None:
    click.echo(_won_and_lost(comparison))
    for flip in comparison.flips[:_SHOWN]:
        click.echo(f"  {_flipped(flip)}")


def _won_and_lost(comparison: Comparison) -> str:
    won, lost = sum(one.won for one in comparison.tallies), sum(one.lost for one in comparison.tallies)
    even = sum(one.even for one in comparison.tallies)
    return f"Examples: B wins {won:,}, loses {lost:,}, {even:,} are even."


def _flipped(flip: Flip) -> str:
    one = flip.change
    level = f"{flip.level.key.level} {_points(flip.level)}"
    return f"flipped: {one.key.task} at {one.key.shots} shots {_points(one)}, against {level}"


def _print_left_out(comparison: Comparison) -> None:
    for task, reason in list(comparison.left_out.items())[:_SHOWN]:
        click.echo(f"  left out: {task}: {reason}")
    if len(comparison.left_out) > _SHOWN:
        click.echo(f"  and {len(comparison.left_out) - _SHOWN:,} more")


def _size(change: Change) -> float:
    return 0.0 if math.isnan(change.value) else -abs(change.value)


def _label(change: Change) -> str:
    key = change.key
    level = str(key.level) if key.level else ""
    name = key.task or key.category or key.source
    if not name:
        return level or "all categories"
    return f"{name} ({level})" if level and not key.task else name


def _cells(change: Change) -> list[str]:
    shots = "all" if change.key.shots is None else str(change.key.shots)
    values = ("-" if math.isnan(value) else f"{100 * value:.1f}" for value in (change.first, change.second))
    return [_label(change), shots, f"{change.n_tasks:,}", *values, _points(change)]


def _points(change: Change) -> str:
    """A change with its interval; `*` where that leaves out zero, `**` where it holds among all of its family."""
    if math.isnan(change.value):
        return "-"
    mark = "**" if change.holds else "*" if change.clear else ""
    return f"{100 * change.value:+.1f}{mark} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def _write(comparison: Comparison, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.md").write_text(_markdown(comparison), encoding="utf-8")
    _csv(
        out / "changes.csv",
        "scope,name,level,shots,first,second,change,low,high,p,holds,tasks,examples,sample",
        (
            [
                one.key.scope,
                _label(one),
                one.key.level or "",
                "" if one.key.shots is None else one.key.shots,
                *(
                    "" if math.isnan(v) else v
                    for v in (one.first, one.second, one.value, one.low, one.high, one.p)
                ),
                one.holds,
                one.n_tasks,
                one.n_examples,
                comparison.sample,
            ]
            for one in comparison.changes
        ),
    )
    tallies = ([one.task, one.shots, one.won, one.lost, one.even, ""] for one in comparison.tallies)
    left_out = ([task, "", "", "", "", reason] for task, reason in comparison.left_out.items())
    _csv(out / "tasks.csv", "task,shots,won,lost,even,left_out", [*tallies, *left_out])
    _csv(
        out / "examples.csv",
        "task,example_id,template,shots,demonstration_seed,first,second",
        (
            [one.task, one.example_id, one.template, one.shots, one.demonstration_seed, one.first, one.second]
            for one in comparison.examples
        ),
    )


def _csv(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def _markdown(comparison: Comparison) -> str:
    from evaluation.means import Scope
    from evaluation.report.tables import markdown_table

    parts = ["# OPT-IML Bench: B less A", "", f"- A: {comparison.first}", f"- B: {comparison.second}"]
    parts += [f"- {note}" for note in comparison.notes]
    for title, scopes in (
        ("level", (Scope.LEVEL, Scope.ALL)),
        ("source", (Scope.SOURCE,)),
        ("category", (Scope.CATEGORY,)),
        ("task", (Scope.TASK,)),
    ):
        cells = [_cells(one) for scope in scopes for one in comparison.of(scope)]
        parts += ["", *markdown_table([title, "shots", "tasks", "A", "B", "change"], cells)]
    parts += ["", _won_and_lost(comparison), "", *(f"- {_flipped(flip)}" for flip in comparison.flips), ""]
    tallies = ([t.task, *(f"{n:,}" for n in (t.shots, t.won, t.lost, t.even))] for t in comparison.tallies)
    parts += [*markdown_table(["task", "shots", "won", "lost", "even"], tallies)]
    parts += ["", *(f"- left out: {task}: {reason}" for task, reason in comparison.left_out.items())]
    return "\n".join(parts).rstrip() + "\n"
