"""`optiml-bench audit`: leakage, duplicates, licences, lengths, and a bench beside the paper's Table 1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optiml_bench.commands.benches import opened

if TYPE_CHECKING:
    from benchmark_builder.audit import Audit, Auditor
    from benchmark_builder.audit_lengths import CountTokens
    from task_registry.bench import Bench
    from task_registry.leakage import Review


@click.command()
@click.argument("data", default="data")
@click.option(
    "--leakage",
    type=click.Choice(["drop-train", "report", "off"]),
    help="Judge leaks by this policy. Default: the one that the bench was built with.",
)
@click.option(
    "--review",
    type=click.Path(path_type=Path),
    help="CSV of verdicts on leaking pairs. Default: those that the bench was built with.",
)
@click.option("--tokenizer", metavar="MODEL", help="Count tokens, too: a folder, or a name on the Hub.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object with everything, in place of the tables."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write a row for each task into this .csv or .parquet file.",
)
@click.option(
    "--pairs",
    type=click.Path(path_type=Path),
    help="Write a row for each leaking pair, with the columns of a review to fill in, into such a file.",
)
def audit(
    data: str,
    leakage: str | None,
    review: Path | None,
    tokenizer: str | None,
    as_json: bool,
    out: Path | None,
    pairs: Path | None,
) -> None:
    """Audit the bench in DATA: a folder, hf://ORG/NAME@TAG, or the URL of an object store.

    Leaks are looked for again, on the shards as they lie. Ends non-zero where an evaluated task leaks under the
    policy, so that it can guard a pipeline; with --leakage report leaks are only listed.

    \b
    Examples:
      optiml-bench audit data/
      optiml-bench audit data/ --leakage drop-train --pairs pairs.csv
    """  # fmt: skip
    from benchmark_builder.audit import Auditor
    from benchmark_builder.audit_tables import PAIR_COLUMNS, pair_rows, task_rows
    from task_registry.errors import GateError
    from task_registry.leakage import LeakagePolicy

    _check_suffixes(out, pairs)
    bench = opened(data)
    policy = LeakagePolicy(leakage or bench.manifest.leakage)
    auditor = Auditor.of(bench, policy, _review(bench, review), _counter(tokenizer))
    found = _audit_with_progress(auditor)
    _say(found, as_json)
    if out is not None:
        _write(out, task_rows(found))
    if pairs is not None:
        _write(pairs, pair_rows(found), PAIR_COLUMNS)
    if found.faults:
        raise GateError(
            f"{data}: {len(found.faults):,} leaks under the policy {policy}; first: {found.faults[0]}"
        )


def _review(bench: Bench, file: Path | None) -> Review:
    from benchmark_builder.audit import recorded_review
    from task_registry.leakage import load_review, read_review

    if file is not None:
        return read_review(file)
    return {**load_review(), **recorded_review(bench)}


def _counter(tokenizer: str | None) -> CountTokens | None:
    if tokenizer is None:
        return None
    from evaluation.huggingface.token_counts import load_token_counter

    return load_token_counter(tokenizer)


def _audit_with_progress(auditor: Auditor) -> Audit:
    from benchmark_builder.audit import audit as run
    from optiml_bench.console import progress_bar
    from task_registry.catalogue import load_catalogue

    with progress_bar() as bar:
        job = bar.add_task("Auditing", total=len(auditor.bench.tasks), rate="")
        return run(auditor, load_catalogue(), watch=lambda task: bar.update(job, advance=1))


def _say(found: Audit, as_json: bool) -> None:
    from benchmark_builder import audit_tables
    from optiml_bench.console import print_table

    if as_json:
        click.echo(json.dumps(audit_tables.as_json(found), indent=1, ensure_ascii=False))
        return
    for table in audit_tables.tables(found):
        click.echo(f"\n{table.title}")
        if table.rows:
            print_table(table.columns, table.rows, numbers=table.numbers)
        for note in table.notes:
            click.echo(note)


def _check_suffixes(*files: Path | None) -> None:
    from task_registry.errors import UsageError

    for file in files:
        if file is not None and file.suffix not in (".csv", ".parquet"):
            raise UsageError(f"{file}: expected a .csv or .parquet file")


def _write(file: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    import csv

    if file.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pylist(list(rows)) if rows else pa.table({name: [] for name in columns})
        pq.write_table(table, file)
        return
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns or (list(rows[0]) if rows else ()))
        writer.writeheader()
        writer.writerows(rows)
