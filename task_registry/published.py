"""The form of a bench on the Hugging Face Hub, both ways: shards to Parquet rows and back.

README.md                                       the data set card, with a config for each source and one for tasks
bench.json                                      the manifest
tasks.parquet                                   one row a task
data/<source>/<split>-0000i-of-0000n.parquet    the examples, by task, with the task's facts beside them

Rows are the shards' rows in the shards' order, so that the same shards, to the digest, are made of them again.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from task_registry.bench import Manifest
from task_registry.records import arrow_schema, flatten, unflatten
from task_registry.schema import ROWS_PER_BATCH, SCHEMA, to_examples
from task_registry.types import BuiltTask, Example, Split

TASKS_CONFIG = "tasks"
"""The config, and its only split, that shows `tasks.parquet`."""

_FACTS = ("category", "level", "eval_set", "metric")
_PLAIN = {field.name: pa.string() if pa.types.is_dictionary(field.type) else field.type for field in SCHEMA}
PUBLISHED_SCHEMA = pa.schema(
    [("task", pa.string()), *((name, pa.string()) for name in _FACTS)]
    + [(name, kind) for name, kind in _PLAIN.items() if name != "task"]
)
"""A shard's columns with plain strings for dictionaries, and the task's facts that rows are chosen by."""

_DATA_FILE = re.compile(r"data/([a-z0-9_]+)/([a-z]+)-(\d{5})-of-(\d{5})\.parquet")
UNREADABLE = (OSError, KeyError, TypeError, ValueError, OverflowError)
"""What a file of another form raises, beside pyarrow's own."""
_COUNTED = pa.list_(pa.struct([("rule", pa.string()), ("count", pa.int64())]))
"""Stands for a map of counts, which `datasets` does not know."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of examples."""

    source: str
    split: Split
    index: int
    count: int
    """How many files the source's split has."""

    @property
    def path(self) -> str:
        """Where it lies in the repository."""
        return f"data/{self.source}/{self.split}-{self.index:05}-of-{self.count:05}.parquet"


def tag_of(digest: str) -> str:
    """The tag of the revision that holds the bench of this digest.

    The digest alone would look like the beginning of a commit's id.
    """
    return f"bench-{digest}"


def data_files(paths: Iterable[str]) -> list[DataFile]:
    """The files of examples among a repository's files, in the order of their rows."""
    matches = (_DATA_FILE.fullmatch(path) for path in paths)
    found = [
        DataFile(match[1], Split(match[2]), int(match[3]), int(match[4]))
        for match in matches
        if match is not None and match[2] in list(Split)
    ]
    return sorted(found, key=lambda file: (file.source, list(Split).index(file.split), file.index))


def to_published(batch: pa.RecordBatch, built: BuiltTask) -> pa.Table:
    """Turn a record batch of one task's shard into rows of `PUBLISHED_SCHEMA`."""
    rows = batch.num_rows
    facts = {
        "category": built.task.category,
        "level": built.assignment.level,
        "eval_set": built.assignment.eval_set,
        "metric": built.task.metric,
    }
    columns = []
    for name, kind in zip(PUBLISHED_SCHEMA.names, PUBLISHED_SCHEMA.types, strict=True):
        if name in facts:
            value = facts[name]
            columns.append(pa.repeat(pa.scalar(None if value is None else str(value), kind), rows))
        else:
            columns.append(batch.column(name).cast(kind))
    return pa.Table.from_arrays(columns, schema=PUBLISHED_SCHEMA)


def read_published(file: Path) -> Iterator[tuple[str, Example]]:
    """Yield the examples of a file with their tasks' ids, in order, a few thousand in memory at a time.

    Raises ArrowException or one of `UNREADABLE` where the file is no whole Parquet file of `PUBLISHED_SCHEMA`.
    """
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(ROWS_PER_BATCH, columns=SCHEMA.names):
            batch.validate(full=True)
            yield from zip(batch.column("task").to_pylist(), to_examples(batch), strict=True)


def tasks_table(tasks: Sequence[BuiltTask]) -> pa.Table:
    """The published form of `tasks.parquet`."""
    table = pa.Table.from_pylist([flatten(built) for built in tasks], schema=arrow_schema())
    for position, field in enumerate(table.schema):
        if pa.types.is_map(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(_COUNTED))
    return table


def read_tasks_table(file: Path) -> list[BuiltTask]:
    """Read the published form of `tasks.parquet`.

    Raises OSError, ArrowException, KeyError, TypeError or ValueError where it is not of this version's form.
    """
    table = pq.read_table(file)
    counted = [field.name for field in table.schema if field.type == _COUNTED]
    rows = table.to_pylist()
    for row in rows:
        for name in counted:
            row[name] = {entry["rule"]: entry["count"] for entry in row[name] or ()}
    return [unflatten(row) for row in rows]


def manifest_text(manifest: Manifest) -> str:
    """A manifest as `bench.json` has it."""
    return json.dumps(dataclasses.asdict(manifest), ensure_ascii=False, indent=1) + "\n"
