"""`optiml-bench report`: runs as a table in the terminal, Markdown, CSV and a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evaluation.report.examples import TaskExamples
    from evaluation.report.page import RunPage
    from evaluation.report.view import RunView


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for index.html, report.md and report.csv.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The bench, for the prompts of examples. Default: where the run found it.",
)
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Examples in the page, of each task at each number of shots.",
)
@click.option(
    "--normalise",
    type=click.Choice(["sum", "token", "byte", "unconditional"]),
    default="sum",
    show_default=True,
    help="What an option's log-likelihood is set against before the highest is chosen.",
)
def report(results: tuple[Path, ...], out: Path, data: Path | None, examples: int, normalise: str) -> None:
    """Show runs: a table here, and a page, Markdown and CSV in a folder.

    RESULTS are folders of runs, or folders above them. The page is one file that needs no network.

    \b
    Examples:
      optiml-bench report results/
      optiml-bench report results/facebook--opt-1.3b results/facebook--opt-iml-1.3b --out report/
    """  # fmt: skip
    from evaluation.report.tables import csv_text, markdown
    from evaluation.run import find_runs
    from optiml_bench.console import size_text

    paths = list(dict.fromkeys(run for folder in results for run in find_runs(folder)))
    pages = _pages(paths, data, examples, normalise)
    views = [page.view for page in pages]
    _print(views)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(markdown(views), encoding="utf-8")
    (out / "report.csv").write_text(csv_text(views), encoding="utf-8", newline="")
    _write_page(pages, out / "index.html")
    size = size_text((out / "index.html").stat().st_size)
    click.echo(f"{out / 'index.html'} ({size}, opens in a browser), report.md, report.csv")


def _pages(paths: list[Path], data: Path | None, examples: int, normalise: str) -> list[RunPage]:
    """Score every run; the examples are read when the page is written."""
    from evaluation.options import Normalisation
    from evaluation.report.examples import Examples, bench_of, share
    from evaluation.report.page import RunPage
    from evaluation.report.view import view
    from evaluation.scoring import score_run
    from optiml_bench.console import progress_bar

    reports = []
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=len(paths), rate="")
        for path in paths:
            reports.append(score_run(path, Normalisation(normalise)))
            bar.advance(task)
    cells = sum(len(one.record.tasks) * len(one.record.prompts.shots) for one in reports)
    each = share(cells, examples)
    pages = []
    for path, one in zip(paths, reports, strict=True):
        bench, reason = bench_of(one.record, data)
        notes = [reason] if reason else []
        if one.record.prompts.chat_template:
            notes.append("Prompts passed through the model's chat template, which is not shown")
        dropped = bench.manifest.dropped if bench and bench.manifest.digest == one.record.bench.digest else {}
        pages.append(RunPage(view(one), Examples(path, one, bench, each), each, tuple(notes), dropped))
    return pages


def _write_page(pages: list[RunPage], path: Path) -> None:
    """Write the page under a progress display: reading the examples takes a while."""
    from evaluation.report.page import write_page
    from optiml_bench.console import progress_bar

    with progress_bar() as bar:
        task = bar.add_task("examples", total=sum(len(page.view.tasks) for page in pages), rate="")

        def counted(examples: Iterable[TaskExamples]) -> Iterator[TaskExamples]:
            for one in examples:
                yield one
                bar.advance(task)

        write_page([replace(page, examples=counted(page.examples)) for page in pages], path)


def _print(views: list[RunView]) -> None:
    from evaluation.report.tables import SAMPLE_MARK, level_table
    from optiml_bench.console import print_table

    columns, lines = level_table(views)
    click.echo("OPT-IML Bench, in percent, with 95% intervals:")
    print_table(
        columns, lines, numbers=[name for name in columns if name == "tasks" or name.endswith("-shot")]
    )
    models = [view.model for view in views]
    for view in views:
        name = view.run if models.count(view.model) > 1 else view.model
        for remark in view.remarks:
            click.echo(f"  note{f', {name}' if len(views) > 1 else ''}: {remark}")
    if any(view.sample for view in views):
        click.echo(f"  {SAMPLE_MARK} rests on sample data")
