"""`optiml-bench build`: native files become a bench on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optiml_bench.commands.engines import engine_of, engine_options

if TYPE_CHECKING:
    from benchmark_builder.blueprint import Blueprint
    from benchmark_builder.build import BuildReport
    from task_registry.engines import Engine


@click.command()
@click.option(
    "--out",
    default="data",
    show_default=True,
    help="Folder of the bench, or a URL such as s3://BUCKET/PATH; an unfinished build there goes on.",
)
@click.option(
    "--sources",
    type=click.Path(path_type=Path),
    help="Folder with one folder a source. Default: $OPTIML_BENCH_SOURCES, else what `fetch` stored.",
)
@click.option("--sample", is_flag=True, help="Build the embedded sample, whatever sources are at hand.")
@click.option("--source", multiple=True, metavar="NAME", help="Only this source; may be repeated.")
@click.option(
    "--tasks", multiple=True, metavar="GLOB", help="Only tasks like 'superni/task3*'; may be repeated."
)
@click.option(
    "--plan", help="Split plan: a name, or a YAML file of yours. Default: optiml; for the sample its own."
)
@click.option(
    "--leakage",
    type=click.Choice(["drop-train", "report", "off"]),
    help="Training tasks that share a data source or passages with evaluated ones: drop them, list them, or do "
    "not look. Default: what the plan says. An example with the input of a scored one always leaves.",
)
@click.option(
    "--review",
    type=click.Path(path_type=Path),
    help="CSV of verdicts on leaking pairs, in place of the review that comes with the package.",
)
@click.option("--cap", type=click.IntRange(min=1), help="At most so many training examples a task.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of every choice that looks random."
)
@engine_options("Worker processes.")
@click.option("--replace", is_flag=True, help="Remove tasks in --out that this build would not make.")
@click.option("--dry-run", is_flag=True, help="Say what would be built, and build nothing.")
def build(
    out: str,
    sources: Path | None,
    sample: bool,
    source: tuple[str, ...],
    tasks: tuple[str, ...],
    plan: str | None,
    leakage: str | None,
    review: Path | None,
    cap: int | None,
    seed: int,
    engine: str,
    workers: int | None,
    address: str | None,
    replace: bool,
    dry_run: bool,
) -> None:
    """Build a bench from upstream's native files.

    Without any source at hand, it builds the small sample that comes with the package. The same command run
    again keeps what is up to date.

    \b
    Example:
      optiml-bench build --sources ~/sources --out data/ --workers 8
    """  # fmt: skip
    from benchmark_builder.blueprint import BuildOptions, draw_up
    from task_registry.destination import check_destination
    from task_registry.errors import IncompleteError
    from task_registry.leakage import LeakagePolicy
    from task_registry.objects.client import local_path

    place = local_path(out) or out
    check_destination(place)
    runs_on = engine_of(engine, workers, address)
    policy = LeakagePolicy(leakage) if leakage else None
    blueprint = draw_up(BuildOptions(sources, sample, source, tasks, cap, seed, plan, policy, review))
    _say_what(blueprint)
    if dry_run:
        _say_plan(blueprint, place)
        return
    started = time.monotonic()
    report = _build_with_progress(blueprint, place, runs_on, replace)
    _say_result(report, place, time.monotonic() - started)
    failed = len(report.manifest.failed)
    if failed:
        raise IncompleteError(
            f"{failed} of {failed + report.manifest.tasks} tasks failed; the others are built"
        )


def _build_with_progress(blueprint: Blueprint, out: Path | str, engine: Engine, replace: bool) -> BuildReport:
    from benchmark_builder.build import build as run
    from benchmark_builder.unit import Outcome
    from optiml_bench.console import progress_bar

    started, examples = time.monotonic(), 0
    with progress_bar() as bar:
        job = bar.add_task("Building", total=len(blueprint.tasks), rate="")

        def watch(outcome: Outcome) -> None:
            nonlocal examples
            if outcome.built is not None and outcome.fresh:
                examples += sum(outcome.built.counts.values())
            rate = examples / max(time.monotonic() - started, 1e-9)
            bar.update(job, advance=1, rate=f"{rate:,.0f} examples/s")

        return run(blueprint, out, engine, replace=replace, watch=watch)


def _say_what(blueprint: Blueprint) -> None:
    """Say where each source comes from, before the work begins."""
    if blueprint.sample:
        why = "The" if blueprint.options.sample else "No sources at hand: the"
        click.echo(f"{why} embedded sample is built. It shows how things work; scores on it mean nothing.")
    for name, origin in sorted(blueprint.origins.items()):
        count = sum(planned.task.source == name for planned in blueprint.tasks)
        missing = blueprint.missing.get(name, 0)
        rest = f", {missing:,} of the catalogue not at hand" if missing else ""
        click.echo(f"  {name:<13} {count:>5,} tasks from {origin}{rest}")
    for name in blueprint.unknown:
        click.echo(f"  skipped: {name} (not in the catalogue; your own tasks go into custom/)")


def _say_plan(blueprint: Blueprint, out: Path | str) -> None:
    from optiml_bench.console import size_text

    levels = [planned.assignment.level or "train" for planned in blueprint.tasks]
    shares = ", ".join(f"{levels.count(level):,} {level}" for level in sorted(set(levels)))
    size = size_text(blueprint.native_bytes)
    click.echo(f"Would build {len(levels):,} tasks into {out} ({shares}) from {size} of native files.")
    click.echo(f"The bench would take about {size_text(blueprint.estimated_bytes)}.")
    if blueprint.leaving:
        click.echo(
            f"{blueprint.leaving:,} tasks would leave training: they share data sources with evaluated ones."
        )
    for error in blueprint.failed.values():
        click.echo(f"  would fail: {error}")


def _say_result(report: BuildReport, out: Path | str, seconds: float) -> None:
    from optiml_bench.console import print_table
    from task_registry.types import Split

    rows = []
    for name in report.manifest.sources:
        own = [one for one in report.tasks if one.task.source == name]
        failed = sum(task.startswith(f"{name}/") for task in report.manifest.failed)
        counts = [sum(one.counts.get(split, 0) for one in own) for split in Split]
        rows.append((name, len(own), *counts, sum(sum(one.dropped.values()) for one in own), failed))
    if len(rows) > 1:
        rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    numbers = ("tasks", *Split, "left out", "failed")
    click.echo()
    print_table(("source", *numbers), rows, numbers=numbers)
    for rule, count in report.manifest.dropped.items():
        click.echo(f"  left out by rule {rule}: {count:,}")
    for kind, count in report.manifest.leaks.items():
        click.echo(f"  pairs of a training and an evaluated task, {kind}: {count:,}")
    for task, reason in report.manifest.empty.items():
        click.echo(f"  nothing of use: {task}: {reason}")
    for error in report.manifest.failed.values():
        click.echo(f"  failed: {error}", err=True)
    kept = report.manifest.tasks - report.fresh
    again = f" ({kept:,} tasks were up to date)" if kept else ""
    click.echo(
        f"{out}: {report.manifest.tasks:,} tasks in {seconds:.1f} s{again}, digest {report.manifest.digest}"
    )
