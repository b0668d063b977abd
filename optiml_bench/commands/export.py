"""`optiml-bench export`: finished prompts and targets, for those who train on a bench."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from optiml_bench.commands.benches import opened


@click.command()
@click.argument("data", default="data")
@click.option(
    "--format",
    "form",
    type=click.Choice(["src-tgt", "messages"]),
    default="src-tgt",
    show_default=True,
    help="The original's record of src, tgt and candidates, or a conversation's messages.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "demonstrations", "validation", "test"]),
    default="train",
    show_default=True,
    help="Which examples. Training on test spoils what the bench measures.",
)
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Only tasks like 'superni/task3*'; may be repeated."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .jsonl or .parquet file. Default: JSON lines to standard output.",
)
def export(data: str, form: str, split: str, include: tuple[str, ...], out: Path | None) -> None:
    """Write the finished prompts and targets of DATA: a folder, hf://ORG/NAME@TAG, or the URL of an object store.

    Prompts are those that a zero-shot evaluation asks; prompt, a space and target make the text to train on.

    \b
    Examples:
      optiml-bench export data/ --split train --out train.jsonl
      optiml-bench export hf://ORG/NAME --format messages --out train.parquet
    """  # fmt: skip
    from benchmark_builder.export import Form, choose, finished, write_file, write_jsonl
    from optiml_bench.console import progress_bar
    from task_registry.types import BuiltTask, Split

    chosen_split = Split(split)
    bench = opened(data, [chosen_split])
    tasks = choose(bench, chosen_split, include)
    with progress_bar() as bar:
        job = bar.add_task("Exporting", total=len(tasks), rate="")

        def watch(built: BuiltTask) -> None:
            bar.update(job, advance=1, rate=built.task.id)

        examples = finished(bench, chosen_split, tasks, watch)
        if out is None:
            with _readers_may_leave():
                write_jsonl(examples, Form(form), sys.stdout.buffer)
                sys.stdout.buffer.flush()
            return
        count = write_file(examples, Form(form), out)
    click.echo(f"{out}: {count:,} {split} examples of {len(tasks):,} tasks")


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    """End quietly when whoever reads the output, such as `head`, has seen enough."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes standard output once more when it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
