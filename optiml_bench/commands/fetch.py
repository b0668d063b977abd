"""`optiml-bench fetch`: brings upstream's files into the folder of sources."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optiml_bench.commands.engines import engine_of, engine_options

if TYPE_CHECKING:
    from benchmark_builder.fetch.fetching import Fetcher, Finding
    from benchmark_builder.fetch.items import Item
    from benchmark_builder.fetch.remote import Watch
    from benchmark_builder.fetch.store import Store

LARGEST = 5
"""How many items are named before the download, the largest first."""
EVERY = 0.2
"""Seconds between two looks of the progress bar."""
WORKERS = 4
"""Downloads at once, by default."""


@click.command()
@click.argument("source", nargs=-1)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Folder with one folder a source. Default: the store, where `build` looks.",
)
@click.option(
    "--tasks", multiple=True, metavar="GLOB", help="Only what tasks like 'flan/wmt*' need; may be repeated."
)
@click.option(
    "--like",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Another folder that was fetched: bring the commits that it has.",
)
@engine_options("Downloads at once.", WORKERS)
@click.option("--verify", is_flag=True, help="Compare the checksums of all that is there already.")
@click.option("--list", "only_list", is_flag=True, help="List everything with its licence; ask no server.")
@click.option("--dry-run", is_flag=True, help="Ask for sizes and commits, and fetch nothing.")
def fetch(
    source: tuple[str, ...],
    to: Path | None,
    tasks: tuple[str, ...],
    like: Path | None,
    engine: str,
    workers: int | None,
    address: str | None,
    verify: bool,
    only_list: bool,
    dry_run: bool,
) -> None:
    """Fetch upstream's files for each SOURCE, or for all, into the folder that `build` reads.

    Hub data sets and repository archives, each at one commit, which is recorded with a checksum of every file.
    What is there already is kept, what was interrupted is gone on with. At the end stands what only you can
    bring. Each data set has a licence of its own: mind it.
    With --engine ray all machines of a cluster bring items into the folder, which each of them must see.

    \b
    Example:
      optiml-bench fetch superni reasoning --to ~/sources --workers 8
    """  # fmt: skip
    from benchmark_builder.blueprint import stored_sources
    from benchmark_builder.fetch.store import Store
    from benchmark_builder.fetch.wanted import wanted_items

    items = wanted_items(source, tasks)
    store = Store(to or stored_sources())
    if only_list:
        _list(items, store)
        return
    _quiet()
    open_fetcher = _fetcher(store, engine, workers, address, Store(like) if like else None)
    if dry_run:
        with open_fetcher as fetcher:
            findings = _look(fetcher, items, verify)
        _say_plan(findings, store.root, every=True)
        _end(findings, store.root)
        return
    with store.taken(), open_fetcher as fetcher:
        findings = _look(fetcher, items, verify)
        _say_plan(findings, store.root, every=False)
        brought = _bring(fetcher, findings)
    results = {finding.item.name: finding for finding in (*findings, *brought)}
    _end(tuple(results.values()), store.root)


@contextmanager
def _fetcher(
    store: Store, engine: str, workers: int | None, address: str | None, like: Store | None
) -> Iterator[Fetcher]:
    """Downloads wait for servers: on this machine threads are enough, on a cluster each machine has its own line."""
    from benchmark_builder.fetch.distributed import DistributedFetcher
    from benchmark_builder.fetch.fetching import Fetcher

    runs_on = engine_of(engine, workers, address)
    if engine == "local":
        yield Fetcher(store, workers=workers or WORKERS, like=like)
        return
    with runs_on:
        yield DistributedFetcher(store, runs_on, like=like)


def _quiet() -> None:
    """Silence the libraries' remarks: they say nothing that a user of this command can act on."""
    for name in ("HF_HUB_VERBOSITY", "DATASETS_VERBOSITY"):
        os.environ.setdefault(name, "error")


def _list(items: Sequence[Item], store: Store) -> None:
    """Plain columns, to be searched and piped."""
    from benchmark_builder.fetch.items import Errand
    from benchmark_builder.fetch.store import State

    rows = [("item", "tasks", "state", "pin", "licence", "from")]
    for item in items:
        state = State.BY_HAND if isinstance(item.origin, Errand) else store.check(item)
        licence = item.licence or "unknown"
        rows.append(
            (item.name, str(len(item.tasks)), state, item.pin[:8] or "-", licence, item.origin.address)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _look(fetcher: Fetcher, items: Sequence[Item], verify: bool) -> tuple[Finding, ...]:
    from optiml_bench.console import progress_bar

    with progress_bar() as bar:
        job = bar.add_task("Asking", total=len(items), rate="")

        def told(finding: Finding) -> None:
            bar.advance(job)
            if finding.error:
                click.echo(f"  failed: {finding.error}", err=True)

        return fetcher.look(items, told, thoroughly=verify)


def _say_plan(findings: Sequence[Finding], root: Path, *, every: bool) -> None:
    """Say what will be downloaded before it is: all of it, or what is largest."""
    from benchmark_builder.fetch.store import State
    from optiml_bench.console import size_text

    missing = [finding for finding in findings if finding.state is State.MISSING]
    if not missing:
        return
    unknown = sum(finding.size is None for finding in missing)
    total = size_text(sum(finding.size or 0 for finding in missing))
    rest = f", and {unknown:,} whose size their servers do not tell" if unknown else ""
    click.echo(f"To fetch into {root}: {len(missing):,} items, {total}{rest}.")
    missing.sort(key=lambda finding: (-(finding.size or 0), finding.item.name))
    for finding in missing if every else missing[:LARGEST]:
        click.echo(f"  {_line(finding)}")
    if not every and len(missing) > LARGEST:
        click.echo(f"  and {len(missing) - LARGEST:,} smaller ones (all of them: --dry-run)")


def _bring(fetcher: Fetcher, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    from benchmark_builder.fetch.store import State

    def told(finding: Finding) -> None:
        if finding.state is State.FAILED:
            click.echo(f"  failed: {finding.error}", err=True)
        else:
            click.echo(f"  fetched: {_line(finding)}")

    total = sum(finding.size or 0 for finding in findings if finding.state is State.MISSING)
    with _bytes_watched(total) as watch:
        return fetcher.bring(findings, told, watch)


@contextmanager
def _bytes_watched(total: int) -> Iterator[Watch]:
    """A progress bar of megabytes, fed by all workers."""
    from optiml_bench.console import progress_bar, size_text

    started, there, lock = time.monotonic(), dict[str, int](), threading.Lock()
    shown = started
    with progress_bar() as bar:
        job = bar.add_task("Fetching (MB)", total=max(total // 1_000_000, 1), rate="")

        def watch(url: str, size: int) -> None:
            nonlocal shown
            there[url] = size
            with lock:
                now = time.monotonic()
                if now - shown < EVERY:
                    return
                shown = now
                done = sum(there.values())
            bar.update(job, completed=done // 1_000_000, rate=f"{size_text(done / (now - started))}/s")

        yield watch


def _line(finding: Finding) -> str:
    """`promptsource/glue/cola  0.4 MB  https://... at 1a2b3c4d (pinned)`."""
    from optiml_bench.console import size_text

    size = "size unknown" if finding.size is None else size_text(finding.size)
    kind = "pinned" if finding.item.pin else "not pinned, recorded"
    version = f" at {finding.commit[:8]} ({kind})" if finding.commit else ""
    return f"{finding.item.name}  {size}  {finding.item.origin.address}{version}"


def _say_errands(findings: Sequence[Finding], root: Path) -> None:
    """Say what only a person can bring, unless it is there."""
    from benchmark_builder.fetch.fetching import errands_left

    left = errands_left(findings, root)
    if left:
        click.echo(f"For you to bring, into {root}:")
    for reason, errands in left.items():
        click.echo(f"  {reason}:")
        for errand in errands:
            click.echo(f"    {errand.place}  from {errand.address}")


def _end(findings: Sequence[Finding], root: Path) -> None:
    """Say how it ended; an error where something failed."""
    from benchmark_builder.fetch.store import State
    from task_registry.errors import IncompleteError, RemoteError

    _say_errands(findings, root)
    states = [finding.state for finding in findings if finding.state is not State.BY_HAND]
    counts = ", ".join(f"{states.count(state):,} {state}" for state in State if state in states)
    click.echo(f"{root}: {counts or 'nothing that a program can fetch'}")
    if failed := states.count(State.FAILED):
        if failed == len(states):
            raise RemoteError(f"all of {failed:,} items failed, see above")
        raise IncompleteError(f"{failed:,} of {len(states):,} items failed, see above; the others are there")
