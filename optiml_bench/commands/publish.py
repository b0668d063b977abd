"""`optiml-bench publish`: a bench becomes a data set on the Hugging Face Hub."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from optiml_bench.commands.benches import opened

if TYPE_CHECKING:
    from benchmark_builder.publish.rows import Part
    from benchmark_builder.publish.selection import Publication
    from task_registry.uploads import Published


@click.command()
@click.argument("data", default="data")
@click.option("--repo-id", required=True, metavar="ORG/NAME", help="The data set repository.")
@click.option("--private", is_flag=True, help="Make the repository private, or make sure that it is.")
@click.option("--dry-run", is_flag=True, help="Say what would be published; no network, no token.")
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Only tasks like 'superni/*'; may be repeated."
)
@click.option("--only-licensed", is_flag=True, help="Leave out and list tasks whose licence is not cleared.")
@click.option("--allow-unknown-licence", is_flag=True, help="Publish tasks of unknown licence too.")
@click.option(
    "--allow-forbidding-licence",
    is_flag=True,
    help="Publish even tasks whose licence forbids it: on your word, when the right holders have agreed.",
)
@click.option("--allow-sample", is_flag=True, help="Publish the embedded sample.")
def publish(
    data: str,
    repo_id: str,
    dry_run: bool,
    include: tuple[str, ...],
    **chosen: bool,
) -> None:
    """Publish a bench as Parquet files with a data set card, in one commit and a tag.

    A bench that is there already makes no new commit; what a stopped upload has sent is not sent again. The
    token is the one of `hf auth login`, or HF_TOKEN.

    \b
    Examples:
      optiml-bench publish data/ --repo-id ORG/NAME --dry-run
      optiml-bench publish data/ --repo-id ORG/NAME --only-licensed
    """  # fmt: skip
    from benchmark_builder.publish.rows import plan_parts
    from benchmark_builder.publish.selection import PublishOptions, select
    from task_registry.hub import check_repo_id

    check_repo_id(repo_id)
    options = PublishOptions(repo_id, include=include, **chosen)
    publication = select(opened(data), options)
    parts = plan_parts(publication)
    _say_what(publication, parts)
    if dry_run:
        _say_files(publication, parts)
        return
    started = time.monotonic()
    published = _publish_with_progress(publication, parts)
    _say_result(published, publication, time.monotonic() - started)


def _publish_with_progress(publication: Publication, parts: Sequence[Part]) -> Published:
    from benchmark_builder.publish.upload import publish as run
    from optiml_bench.console import progress_bar, size_text

    started, done = time.monotonic(), 0
    with progress_bar() as bar:
        job = bar.add_task("Publishing", total=len(parts), rate="")

        def watch(part: Part) -> None:
            nonlocal done
            done += part.size
            rate = size_text(done / max(time.monotonic() - started, 1e-9))
            bar.update(job, advance=1, rate=f"{rate}/s")

        return run(publication, watch=watch)


def _say_what(publication: Publication, parts: Sequence[Part]) -> None:
    from optiml_bench.console import print_table
    from task_registry.types import Split

    rows = [
        (
            source,
            sum(built.task.source == source for built in publication.tasks),
            *(sum(p.rows for p in parts if (p.file.source, p.file.split) == (source, s)) for s in Split),
        )
        for source in publication.sources
    ]
    print_table(("config", "tasks", *Split), rows, numbers=("tasks", *Split))
    for task, terms in sorted(publication.left_out.items()):
        click.echo(f"  left out: {task}: licence {terms}")


def _say_files(publication: Publication, parts: Sequence[Part]) -> None:
    from benchmark_builder.publish.card import write_card
    from optiml_bench.console import size_text

    size, card = sum(part.size for part in parts), write_card(publication, parts)
    click.echo(
        f"Would publish {len(publication.tasks):,} tasks to {publication.options.repo_id}: {len(parts)} Parquet "
        f"files from {size_text(size)} of shards, a card of {len(card.splitlines())} lines, "
        f"digest {publication.manifest.digest}."
    )


def _say_result(published: Published, publication: Publication, seconds: float) -> None:
    for note in published.notes:
        click.echo(f"  the Hub remarks: {note}")
    if published.unchanged:
        click.echo(f"{published.url}: holds this bench already, tag {published.tag}; nothing was changed")
        return
    click.echo(
        f"{published.url}: {len(publication.tasks):,} tasks in {seconds:.1f} s, commit {published.commit[:7]}, "
        f"tag {published.tag}"
    )
    click.echo(f"  use it: optiml-bench eval --data hf://{publication.options.repo_id}@{published.tag}")
