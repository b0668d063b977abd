"""The catalogue: what is known of every task, category and source before anything is built.

The tables lie in `data/*.csv`, one reviewed line a task; `derive.py` says how they came about. Reading them
needs the standard library alone, so that `optiml-bench tasks` starts at once.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from task_registry.errors import InputError, Place, UsageError, quote
from task_registry.suggest import did_you_mean
from task_registry.types import Metric, Task

Record = TypeVar("Record")

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Category:
    """A category of the unified taxonomy (paper §2.2)."""

    name: str
    slug: str
    """The name as it stands in file names and options."""
    origin: str
    """`SuperNI 76`, or `extra` and where the name comes from."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Where a source comes from and under which terms."""

    name: str
    title: str
    url: str
    revision: str
    """Commit or tag that the paper used (its appendix A.1); empty where none is known."""
    licence: str
    """Licence of the collection itself, as upstream names it; its data sets have their own."""
    citation_key: str
    citation: str
    """Authors, title, year and where it appeared."""
    note: str


@dataclass(frozen=True, slots=True)
class Table1Row:
    """A row of the paper's Table 1: a source as downloaded, or a part of the consolidated bench."""

    name: str
    instructions: str
    """`task`, `instance`, `keywords` or `mixed`: at which grain the instructions are written."""
    clusters: int
    tasks: int
    examples: int
    """Rounded as printed: 12.4M is 12,400,000."""
    prompts_per_task: float
    prompt_length_mean: float | None
    prompt_length_std: float | None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All tasks, categories and sources, each by its name."""

    tasks: Mapping[str, Task]
    """By id, in the order of the ids."""
    categories: Mapping[str, Category]
    sources: Mapping[str, SourceFacts]
    table1: Mapping[str, Table1Row]

    def task(self, id: str) -> Task:
        """Return the task of that id; `UsageError` with the closest ids if there is none."""
        if id not in self.tasks:
            hint = did_you_mean(id, self.tasks)
            raise UsageError(f"no task {id!r} among the {len(self.tasks):,} of the catalogue{hint}")
        return self.tasks[id]

    def category(self, name: str) -> Category:
        """Return the category of that name or slug, whatever its case; `UsageError` if there is none."""
        wanted = name.casefold()
        for category in self.categories.values():
            if wanted in (category.name.casefold(), category.slug):
                return category
        hint = did_you_mean(name, self.categories)
        raise UsageError(f"no category {name!r} among the {len(self.categories)} of the catalogue{hint}")

    def select(
        self,
        glob: str | None = None,
        *,
        source: str | None = None,
        category: str | None = None,
        group: str | None = None,
        in_optiml: str | None = None,
    ) -> tuple[Task, ...]:
        """Return the tasks that meet every given condition, sorted by id; none is an empty tuple.

        A glob is matched against the id and against the name without the source; without a wildcard it
        names a task, which must exist. Raises `UsageError` for a task, source or category that does not exist.
        """
        if source is not None and source not in self.sources:
            raise UsageError(f"no source {source!r}: expected one of {', '.join(self.sources)}")
        wanted = None if category is None else self.category(category).name
        return tuple(
            task
            for task in (self.tasks.values() if glob is None else self._matching(glob))
            if (source is None or task.source == source)
            and (wanted is None or task.category == wanted)
            and (group is None or task.group == group)
            and (in_optiml is None or task.in_optiml == in_optiml)
        )

    def _matching(self, glob: str) -> Iterable[Task]:
        if not is_glob(glob):
            found = [task for task in self.tasks.values() if glob in (task.id, task.name)]
            return found or [self.task(glob)]
        pattern = re.compile(translate(glob))
        return [task for task in self.tasks.values() if pattern.match(task.id) or pattern.match(task.name)]


def is_glob(text: str) -> bool:
    """Whether the text holds a shell wildcard."""
    return any(character in text for character in "*?[")


@cache
def load_catalogue() -> Catalogue:
    """Return the catalogue that ships with the package, read once a process."""
    return read_catalogue(DATA)


def read_catalogue(folder: Path) -> Catalogue:
    """Read a catalogue's four tables; `InputError` names the file and line that is not as expected."""
    return Catalogue(
        tasks=_keyed(folder / "tasks.csv", task_from_row, lambda task: task.id),
        categories=_keyed(folder / "categories.csv", _category, lambda category: category.name),
        sources=_keyed(folder / "sources.csv", _source, lambda source: source.name),
        table1=_keyed(folder / "table1.csv", _table1_row, lambda row: row.name),
    )


def read_tasks(path: Path) -> tuple[Task, ...]:
    """Read a table of tasks in the columns of `data/tasks.csv`, as a sample's small catalogue is."""
    return tuple(_keyed(path, task_from_row, lambda task: task.id).values())


def task_from_row(row: Mapping[str, str]) -> Task:
    """Turn a row of `tasks.csv` into a `Task`; lists are joined by `|`, an empty count is unknown."""
    return Task(
        id=row["id"],
        category=row["category"],
        metric=Metric(row["metric"]),
        category_origin=row["category_origin"],
        metric_origin=row["metric_origin"],
        answer_type=row["answer_type"],
        data_source=row["data_source"],
        group=row["group"],
        in_optiml=row["in_optiml"],
        in_optiml_reason=row["in_optiml_reason"],
        level_origin=row["level_origin"],
        skills=_split(row["skills"]),
        domains=_split(row["domains"]),
        input_languages=_split(row["input_languages"]),
        output_languages=_split(row["output_languages"]),
        instruction_languages=_split(row["instruction_languages"]),
        licence=row["licence"],
        url=row["url"],
        hub_id=row["hub_id"],
        hub_mirror=row["hub_mirror"],
        hub_note=row["hub_note"],
        n_examples=int(row["n_examples"]) if row["n_examples"] else None,
        n_templates=int(row["n_templates"]) if row["n_templates"] else None,
        notes=row["notes"],
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split("|")) if text else ()


def _category(row: Mapping[str, str]) -> Category:
    return Category(row["name"], row["slug"], row["origin"])


def _source(row: Mapping[str, str]) -> SourceFacts:
    return SourceFacts(**row)


def _table1_row(row: Mapping[str, str]) -> Table1Row:
    return Table1Row(
        name=row["name"],
        instructions=row["instructions"],
        clusters=int(row["clusters"]),
        tasks=int(row["tasks"]),
        examples=int(row["examples"]),
        prompts_per_task=float(row["prompts_per_task"]),
        prompt_length_mean=float(row["prompt_length_mean"]) if row["prompt_length_mean"] else None,
        prompt_length_std=float(row["prompt_length_std"]) if row["prompt_length_std"] else None,
    )


def _keyed(
    path: Path, make: Callable[[Mapping[str, str]], Record], key: Callable[[Record], str]
) -> Mapping[str, Record]:
    """Read a table into records by key, in the file's order."""
    records: dict[str, Record] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for row in _read_rows(path, reader):
            place = Place(path, f"line {reader.line_num}")
            try:
                record = make(row)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    place, f"{type(error).__name__}: {error}", "the columns of this table"
                ) from None
            if key(record) in records:
                raise InputError(place, f"{key(record)!r} a second time", "one line for each")
            records[key(record)] = record
    return MappingProxyType(records)


def _read_rows(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    """The rows of a table; InputError where it is no CSV in UTF-8."""
    try:
        yield from reader
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(path, quote(str(error)), "a CSV table in UTF-8") from None
