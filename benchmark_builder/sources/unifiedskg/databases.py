"""Databases: the schema, with values that the question names, and Spider's questions about them.

Upstream: https://yale-lily.github.io/spider (CC-BY-SA-4.0): `train_spider.json`, `dev.json`, `tables.json` with
all schemas, and `database/<name>/<name>.sqlite`. Upstream of the flattening writes

    | harbour | boat : id , name ( puffin ) , length | berth : id , boat_id

in lower case: database, tables, columns, and behind a column at most two of its values, where the question
has them. There, values are compared letter by letter and 85 % alike suffices; here, their words must stand in
the question. Without the databases' files no value is written.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark_builder.readers import read_json, read_rows
from benchmark_builder.source import Pool
from benchmark_builder.sources.unifiedskg.flat import Flat, Layout, Reading
from benchmark_builder.sources.unifiedskg.tables import inside
from task_registry.errors import InputError, Place, quote

MAX_VALUES = 2
MAX_VALUE_WORDS = 6
MAX_VALUE_LENGTH = 80
MILLION = 1_000_000
MAX_BYTES = 10 * MILLION
"""Of one value, as the database gives it."""
MAX_STEPS = 300 * MILLION
"""Of SQLite's machine for one column; a row takes about ten."""
COMMON_WORDS = frozenset(
    ["a", "an", "and", "id", "in", "is", "it", "many", "no", "of", "or", "the", "to", "yes"]
)


class Schema(NamedTuple):
    """A database's tables with their columns, under their original names."""

    name: str
    tables: tuple[tuple[str, tuple[str, ...]], ...]


def read_schemas(root: Path, file: Path) -> dict[str, Schema]:
    """Read `tables.json`."""
    content = read_json(root, file)
    try:
        return {entry["db_id"]: _schema(entry) for entry in content}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise InputError(file, found, "a list of database schemas", "bring the file again") from error


def _schema(entry: Mapping[str, Any]) -> Schema:
    columns: list[list[str]] = [[] for _ in entry["table_names_original"]]
    for table, column in entry["column_names_original"]:
        if table >= 0:
            columns[table].append(column)
    names = entry["table_names_original"]
    return Schema(entry["db_id"], tuple(zip(names, map(tuple, columns), strict=True)))


def flatten_schema(schema: Schema, values: Mapping[tuple[str, str], Sequence[str]]) -> str:
    """Flatten a schema; `values` are those to show, by table and column."""
    tables = []
    for table, columns in schema.tables:
        shown = []
        for column in columns:
            found = " , ".join(values.get((table, column), ()))
            shown.append(f"{column.lower()} ( {found} )" if found else column.lower())
        tables.append(f" | {table.lower()} : {' , '.join(shown)}")
    return f"| {schema.name}{''.join(tables)}"


def normal_query(query: str) -> str:
    """A query as upstream trains on it: lower case outside quotes, single spaces, none before a comma."""
    lowered = re.sub(r"\b(?<!['\"])\w+(?!['\"])\b", lambda match: match[0].lower(), query)
    return " ".join(lowered.split()).replace(" , ", ", ")


class Values:
    """The text values in the databases of one folder, read once and kept while a pool is read."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self.place = Place(folder)
        self._known: dict[tuple[str, str, str], dict[tuple[str, ...], str]] = {}

    def named(self, schema: Schema, question: str) -> dict[tuple[str, str], list[str]]:
        """The values that stand in the question word by word, the longest first, at most two a column."""
        file = inside(self.folder, f"{schema.name}/{schema.name}.sqlite", self.place)
        if not (self.root / file).is_file():
            return {}
        asked = _phrases(question)
        named: dict[tuple[str, str], list[str]] = {}
        for table, columns in schema.tables:
            for column in columns:
                known = self._column(schema.name, file, table, column)
                if found := [known[phrase] for phrase in asked if phrase in known]:
                    named[table, column] = found[:MAX_VALUES]
        return named

    def _column(self, database: str, file: Path, table: str, column: str) -> dict[tuple[str, ...], str]:
        key = database, table, column
        if key not in self._known:
            texts = (text for text in self._texts(file, table, column) if len(text) <= MAX_VALUE_LENGTH)
            self._known[key] = {words: text for text in sorted(texts) if (words := tuple(_words(text)))}
        return self._known[key]

    def _texts(self, file: Path, table: str, column: str) -> Iterator[str]:
        name, of = (part.replace('"', '""') for part in (column, table))
        try:
            connection = sqlite3.connect(f"{(self.root / file).resolve().as_uri()}?mode=ro", uri=True)
            try:
                _bound(connection, file, table)
                connection.text_factory = bytes
                for (value,) in connection.execute(f'SELECT DISTINCT "{name}" FROM "{of}"'):
                    if isinstance(value, bytes):
                        yield value.decode("utf-8", errors="replace")
            finally:
                connection.close()
        except sqlite3.Error as error:
            found = f"{error} (table {table}, column {column})"
            raise InputError(file, found, "the database of this schema", "bring the file again") from error


def _bound(connection: sqlite3.Connection, file: Path, table: str) -> None:
    """Keep a strange database from growing without end; InputError for a view, which is a program."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
    left = iter(range(MAX_STEPS // MILLION))
    connection.set_progress_handler(lambda: next(left, None) is None, MILLION)
    query = "SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE"
    kinds = {kind for (kind,) in connection.execute(query, (table,))}
    if "view" in kinds:
        raise InputError(file, f"a view {quote(table)}", "a table", "bring the file again")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _phrases(question: str) -> list[tuple[str, ...]]:
    """The question's runs of words, the longest first, without numbers and common words that stand alone."""
    words = _words(question)
    runs = (
        tuple(words[start : start + length])
        for length in range(min(MAX_VALUE_WORDS, len(words)), 0, -1)
        for start in range(len(words) - length + 1)
    )
    return [
        run
        for run in dict.fromkeys(runs)
        if any(word not in COMMON_WORDS and not word.isdigit() for word in run)
    ]


def _read(reading: Reading) -> Iterator[tuple[str, Flat]]:
    schemas = read_schemas(reading.root, reading.folder / "tables.json")
    values = Values(reading.root, reading.folder / "database")
    for record, row in read_rows(reading.root, reading.file):
        place = Place(reading.file, record)
        schema = schemas.get(row["db_id"])
        if schema is None:
            found = f"the database {quote(row['db_id'])}"
            raise InputError(
                place, found, f"one of the {len(schemas)} of tables.json", "bring the file again"
            )
        question = row["question"].strip()
        knowledge = flatten_schema(schema, values.named(schema, question))
        yield record, Flat(question, knowledge, (normal_query(row.get("query", "")),))


SPIDER = Layout(
    name="Spider",
    splits={
        Pool.TRAIN: ("train_spider.json", "train-*.parquet", "spider/train-*.parquet"),
        Pool.VALIDATION: ("dev.json", "validation-*.parquet", "spider/validation-*.parquet"),
    },
    read=_read,
    knowledge=("tables.json", "database/*/*.sqlite"),
    required="tables.json",
)
