"""UnifiedSKG: 21 tasks grounded in structured knowledge, flattened into text.

Upstream: https://github.com/xlang-ai/UnifiedSKG (Apache-2.0), commit 073a52b; the data sets' licences are their
own. It ships each task already flattened; seven data sets are also flattened here from their own files, to
the same texts (each module's head says where it differs). A task is a folder, `unifiedskg/<task>/`, its files
say how they are read:

    train.jsonl, dev.jsonl, test.jsonl   flattened already: `flat`
    data/*.tsv and csv/                  WikiTableQuestions: `tables`, and so on

The paper keeps upstream's texts and puts a field's name before each; the last field is the output's own and
ends in a colon: `database: | ... question: how many boats are there? SQL query:`. Those names are the
templates'; they see `text_in` and `struct_in`, and `seq_out`, the output that is trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from benchmark_builder.source import Discovery, Dropped, NativeTask, OpenTask, Pool, Row, Rows
from benchmark_builder.sources.unifiedskg.databases import SPIDER
from benchmark_builder.sources.unifiedskg.dialogue import KVRET
from benchmark_builder.sources.unifiedskg.flat import TEXT_TO_TEXT, Flat, Layout, Reading
from benchmark_builder.sources.unifiedskg.tables import FETAQA, TAB_FACT, WIKITABLEQUESTIONS
from benchmark_builder.sources.unifiedskg.triples import DART
from benchmark_builder.sources.unifiedskg.wikisql import WIKISQL
from benchmark_builder.templated import HIDDEN_LABEL, Prepared, library_place, open_templated
from task_registry.errors import InputError, Place, quote
from task_registry.types import Task
from templates.library import load_library

LAYOUTS = (WIKITABLEQUESTIONS, TAB_FACT, FETAQA, WIKISQL, SPIDER, DART, KVRET, TEXT_TO_TEXT)
"""In the order in which they are tried: the last one's names are the most common."""

FOLDERS = {"wikitablequestions": "wikitq", "msr_sqa": "sqa"}
"""Tasks by the other names that their folders have."""


class UnifiedSKG:
    """The adapter."""

    name = "unifiedskg"

    def tasks(self, root: Path, known: Mapping[str, Task]) -> Discovery:
        """Find the folders with files of one of the layouts; of two for one task, the one of its name."""
        found: dict[str, NativeTask] = {}
        # Other names first, so that a folder of the task's own name takes their place.
        for entry in sorted((root / self.name).glob("*/"), key=lambda e: (e.name.lower() not in FOLDERS, e)):
            folder = entry.relative_to(root)
            name = FOLDERS.get(folder.name.lower(), folder.name)
            layout, pools = _layout(root, folder)
            if pools:
                split_files = (file for files in pools.values() for file in files)
                knowledge = (file for pattern in layout.knowledge for file in _glob(root, folder, pattern))
                found[name] = NativeTask(name, tuple(dict.fromkeys([*split_files, *knowledge])))
        return Discovery(tuple(found[name] for name in sorted(found)))

    def covers(self, known: Collection[str]) -> frozenset[str]:
        """The tasks that have a template; the readers serve them all."""
        return frozenset(known) & load_library(self.name).keys()

    def open(self, root: Path, native: NativeTask, task: Task) -> OpenTask:
        """Open a task's folder; raises InputError where the task has no template."""
        folder = Path(*native.files[0].parts[:2])
        layout, pools = _layout(root, folder)
        rows = {
            pool: _rows(layout, [Reading(root, folder, file, pool) for file in pools[pool]]) for pool in pools
        }
        place = library_place(self.name)
        templates = load_library(self.name).get(task.name)
        if templates is None:
            raise InputError(place, f"no template for {task.name}", "one", "write it")
        return open_templated(task, rows, templates, place, prepare)


def prepare(row: Row) -> Prepared | Dropped:
    """The fields that the templates see, or the rule by which a row is left out."""
    fields = row.fields
    if fields["dropped"]:
        return Dropped(fields["dropped"])
    outputs = [output for output in fields["seq_out"] if output.strip()]
    if not outputs:
        return Dropped(HIDDEN_LABEL)
    return Prepared({**fields, "seq_out": outputs[0]}, references=outputs)


def _layout(root: Path, folder: Path) -> tuple[Layout, Mapping[Pool, tuple[Path, ...]]]:
    """The layout of a folder's files, and the files by pool; none where no layout fits."""
    for layout in LAYOUTS:
        if layout.required and not _glob(root, folder, layout.required):
            continue
        pools = {
            pool: next((found for name in names if (found := _glob(root, folder, name))), ())
            for pool, names in layout.splits.items()
        }
        if any(pools.values()):
            return layout, {pool: files for pool, files in pools.items() if files}
    return TEXT_TO_TEXT, {}


def _glob(root: Path, folder: Path, pattern: str) -> tuple[Path, ...]:
    return tuple(sorted(file.relative_to(root) for file in (root / folder).glob(pattern) if file.is_file()))


def _rows(layout: Layout, readings: list[Reading]) -> Rows:
    """The requests of one pool's files, read anew by each call; the number is the record's in its pool."""

    def rows() -> Iterator[Row]:
        number, last = -1, ""
        for reading in readings:
            try:
                for record, flat in layout.read(reading):
                    _check(flat)
                    number += record != last
                    last = record
                    row_id = f"{reading.pool}[{number}]{flat.part}"
                    yield Row(row_id, reading.file, f"{record}{flat.part}", flat._asdict())
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                place = Place(reading.file, f"after {last}" if last else "")
                found = f"{type(error).__name__}: {error}"
                raise InputError(place, found, f"records of {layout.name}", "bring the file again") from error
            last = ""

    return rows


def _check(flat: Flat) -> None:
    for text in (flat.text_in, flat.struct_in, *flat.seq_out):
        if not isinstance(text, str):
            raise TypeError(f"{quote(text)}, which is no text")
