"""FLAN 2021: public data sets under ten patterns each, many of them with their options in the prompt.

Upstream: https://github.com/google-research/FLAN, commit e9e4ec6 (Apache-2.0; each data set has a licence of
its own). Layout:

    flan/templates.py                    upstream's flan/templates.py
    flan/<data set>[/<config>]/...       rows, unless they are among those of promptsource/

    PATTERNS = {
        "lamp_colours": [
            ("Which colour does {lamp} shine in?\\n{options_}", "{answer}"),

Which data set serves a task is in `tasks.py`, what is prepared of its rows in `writing.py` and `answering.py`,
and how the patterns are read and which of them are left out in `patterns.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark_builder.datasets_at_hand import find_dataset, pool_rows, split_of
from benchmark_builder.recipes import FAULTS
from benchmark_builder.source import Discovery, Dropped, NativeTask, OpenTask, Pool, Row, Rows
from benchmark_builder.sources.flan.patterns import REMEDY, TEMPLATES, Pattern, kept_patterns, read_patterns
from benchmark_builder.sources.flan.tasks import TASKS, FlanTask
from benchmark_builder.templated import NO_TARGET, Prepared, distinct
from task_registry.errors import InputError, quote
from task_registry.types import Example, Task


class Flan:
    """The adapter."""

    name = "flan"

    def tasks(self, root: Path, known: Mapping[str, Task]) -> Discovery:
        """Find the tasks whose rows are at hand, if upstream's patterns are."""
        found: list[NativeTask] = []
        failures: dict[str, str] = {}
        try:
            patterns = read_patterns(root) if (root / TEMPLATES).exists() else None
        except InputError as error:
            return Discovery((), {TEMPLATES.stem: str(error)})
        for name, facts in sorted(TASKS.items()):
            if patterns is None and not any(
                (root / self.name / folder).is_dir() for folder in facts.datasets
            ):
                continue
            try:
                files = [file for part in _split_files(root, facts).values() for file in part]
                if files:
                    _patterns_of(name, facts, patterns or {})
                    found.append(NativeTask(name, (TEMPLATES, *files)))
            except InputError as error:
                failures[name] = str(error)
        return Discovery(tuple(found), failures)

    def covers(self, known: Collection[str]) -> frozenset[str]:
        """The tasks whose rows are prepared."""
        return frozenset(known) & TASKS.keys()

    def open(self, root: Path, native: NativeTask, task: Task) -> OpenTask:
        """Take the task's patterns; its rows are read as they are needed."""
        facts = TASKS[native.name]
        patterns = _patterns_of(native.name, facts, read_patterns(root))
        kept = kept_patterns(facts.patterns or native.name, patterns, facts.targets)
        rows = {
            pool: _unfolded(pool_rows(root, pool, files), facts)
            for pool, files in _split_files(root, facts).items()
        }
        return OpenTask(task, rows, _Renderer(facts, kept), tuple(kept))


def _patterns_of(
    name: str, facts: FlanTask, patterns: Mapping[str, tuple[Pattern, ...]]
) -> tuple[Pattern, ...]:
    key = facts.patterns or name
    if key not in patterns:
        raise InputError(TEMPLATES, f"no patterns {key!r}", f"those of flan/{name}", REMEDY)
    return patterns[key]


def _split_files(root: Path, facts: FlanTask) -> dict[Pool, tuple[Path, ...]]:
    """The files of the first of a task's data sets that is at hand, by pool; nothing where none is.

    Of a data set that comes in parts, train rows alone are not at hand: they would be scored for want of others.
    """
    for dataset in facts.datasets:
        found = {
            pool: tuple(file for file in files if _is_of_part(file, pool, facts))
            for pool, files in find_dataset(root, "flan", dataset).items()
        }
        pools = {pool: files for pool, files in found.items() if files}
        if pools and (facts.parts == ("",) or pools.keys() != {Pool.TRAIN}):
            return pools
    return {}


def _is_of_part(file: Path, pool: Pool, facts: FlanTask) -> bool:
    part = split_of(file).partition("_")[2]
    return part in facts.parts or (pool is Pool.TRAIN and not part)


def _unfolded(rows: Rows, facts: FlanTask) -> Rows:
    return (
        rows if facts.unfold is None else lambda: (part for row in rows() for part in unfold_row(facts, row))
    )


def unfold_row(facts: FlanTask, row: Row) -> list[Row]:
    """The rows in a row, itself where there are no others; InputError where it is of another layout."""
    try:
        return [row] if facts.unfold is None else list(facts.unfold(row))
    except FAULTS as error:
        raise _of_another_layout(row, error) from error


def prepare_row(facts: FlanTask, row: Row) -> Prepared | Dropped:
    """A row as the patterns see it; InputError where it is of another layout."""
    try:
        return facts.prepare(row)
    except FAULTS as error:
        raise _of_another_layout(row, error) from error


def _of_another_layout(row: Row, error: Exception) -> InputError:
    expected = "a record in the layout of its data set"
    return InputError(row.place, f"{type(error).__name__}: {error}", expected, "bring the file again")


class _Shown(NamedTuple):
    """A prepared row, with what the patterns show of its options."""

    fields: Mapping[str, Any]
    references: Sequence[str] = ()
    options: tuple[str, ...] = ()
    candidates: frozenset[str] = frozenset()


class _Renderer:
    """Renders rows; a row is prepared once, since it is rendered with one pattern after another."""

    def __init__(self, facts: FlanTask, patterns: Mapping[str, Pattern]) -> None:
        self.facts, self.patterns = facts, patterns
        self._row: Row | None = None
        self._shown: _Shown | Dropped = _Shown({})

    def __call__(self, row: Row, template: str) -> Example | Dropped:
        if row is not self._row:
            self._shown, self._row = self._show(row), row
        shown = self._shown
        if isinstance(shown, Dropped):
            return shown
        fields, pattern = shown.fields, self.patterns[template]
        try:
            if None in [fields[name] for name in pattern.fields]:
                return Dropped(NO_TARGET)
        except KeyError as error:
            known = ", ".join(f"{{{name}}}" for name in fields)
            raise InputError(
                pattern.place, f"the field {{{error.args[0]}}}", f"one of {known}", REMEDY
            ) from None
        references = distinct((pattern.output.format_map(fields), *shown.references))
        if not references:
            return Dropped(NO_TARGET)
        if shown.options and shown.candidates.isdisjoint(references):
            expected = f"one of {quote(list(shown.options))}"
            raise InputError(row.place, f"the answer {quote(references[0])}", expected, "mend the row")
        return Example(
            id=row.id,
            input=pattern.input.format_map(fields).strip(),
            references=references,
            options=shown.options,
            template=template,
        )

    def _show(self, row: Row) -> _Shown | Dropped:
        """Word the list of options as upstream does; ReCoRD's patterns know it by another name."""
        prepared = prepare_row(self.facts, row)
        if isinstance(prepared, Dropped):
            return prepared
        if not prepared.options:
            return _Shown(prepared.fields, prepared.references)
        listed = "OPTIONS:\n- " + "\n- ".join(prepared.options)
        fields = {**prepared.fields, "options_": listed, "options_str": listed}
        options = distinct(prepared.options)
        return _Shown(fields, prepared.references, options, frozenset(options))
