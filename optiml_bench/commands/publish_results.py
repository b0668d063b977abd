"""`optiml-bench publish-results`: runs become a data set on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("publish-results")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--repo-id", required=True, metavar="ORG/NAME", help="The data set repository.")
@click.option("--private", is_flag=True, help="Make the repository private, or make sure that it is.")
@click.option("--dry-run", is_flag=True, help="Say what would be published; no network, no token.")
@click.option("--allow-sample", is_flag=True, help="Publish runs on the embedded sample.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The bench, for its tasks' licences. Default: where the run found it.",
)
def publish_results(
    results: tuple[Path, ...],
    repo_id: str,
    private: bool,
    dry_run: bool,
    allow_sample: bool,
    data: Path | None,
) -> None:
    """Publish scores and predictions of runs, with a card, in one commit and a tag.

    RESULTS are folders of runs, or folders above them; together they are what the repository then holds. Results
    that are there already make no new commit. Unless the repository is private, references and options of tasks
    whose licence is not known to allow it are withheld.

    \b
    Examples:
      optiml-bench publish-results results/ --repo-id ORG/NAME --dry-run
      optiml-bench publish-results results/facebook--opt-1.3b --repo-id ORG/NAME
    """  # fmt: skip
    from evaluation.publishing import TABLES, gather, publish
    from evaluation.run import find_runs
    from optiml_bench.console import progress_bar

    paths = list(dict.fromkeys(run for folder in results for run in find_runs(folder)))
    found = gather(paths, repo_id, private=private, allow_sample=allow_sample, data=data)
    for run in found.runs:
        click.echo(f"{run.place}: {run.report.rows.num_rows:,} predictions")
    for task, licence in found.withheld.items():
        click.echo(f"  without references and options: {task}: licence {licence or 'none stated'}")
    count = f"{len(found.runs):,} run{'s' if len(found.runs) != 1 else ''}"
    if dry_run:
        click.echo(f"Would publish {count} to {repo_id}, digest {found.digest}.")
        return
    with progress_bar() as bar:
        job = bar.add_task("Publishing", total=len(TABLES) * len(found.runs), rate="")
        published = publish(found, watch=lambda path: bar.update(job, advance=1, rate=path))
    for note in published.notes:
        click.echo(f"  the Hub remarks: {note}")
    if published.unchanged:
        click.echo(f"{published.url}: holds these results already, tag {published.tag}; nothing was changed")
        return
    click.echo(f"{published.url}: {count}, commit {published.commit[:7]}, tag {published.tag}")
