"""What the sources share whose instructions are ours: rows and the library's templates make an open task.

An adapter brings the rows and, where they need it, a function that prepares a row's fields for the templates:

    def prepare(row: Row) -> Prepared | Dropped:
        label = label_name(row, row.fields.get("label"), ("no", "yes"))
        return label if isinstance(label, Dropped) else Prepared({**row.fields, "label": label})

    templates = load_library("t5")[task.name]
    return open_templated(task, {Pool.TRAIN: rows}, templates, library_place("t5"), prepare)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from benchmark_builder.source import Dropped, OpenTask, Pool, Row, Rows
from task_registry.errors import InputError, quote
from task_registry.types import Example, Task
from templates.template import Template, compile_template

HIDDEN_LABEL = "hidden_label"
"""Rule: a row whose label upstream keeps to itself (-1, empty, absent, as in many test files) is left out."""
NO_TARGET = "no_target"
"""Rule: a row that a template does not apply to, or that says no answer, is left out."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a row brings to the templates."""

    fields: Mapping[str, Any]
    references: Sequence[str] = ()
    """Accepted outputs beside the one that the template renders, which comes first and is trained on."""
    options: Sequence[str] = ()
    """The row's own candidates, where the template does not render them."""


Prepare: TypeAlias = Callable[[Row], Prepared | Dropped]


def unprepared(row: Row) -> Prepared:
    """The preparation of rows whose fields the templates can use as they are."""
    return Prepared(row.fields)


def library_place(source: str) -> Path:
    """What errors name as the file of a source's templates."""
    return Path("templates", "data", f"{source}.yaml")


def open_templated(
    task: Task,
    rows: Mapping[Pool, Rows],
    templates: Sequence[Template],
    place: Path,
    prepare: Prepare = unprepared,
    dropped: Mapping[str, int] | None = None,
) -> OpenTask:
    """Make an open task; an example names its template only where the task has several.

    `place` is the file of the templates. Raises InputError where a template's syntax is wrong; rendering
    raises it where a row lacks a field or its answer is none of its options.
    """
    names = ("",) if len(templates) == 1 else tuple(template.name for template in templates)
    compiled = {name: compile_template(t, place) for name, t in zip(names, templates, strict=True)}

    def render(row: Row, template: str) -> Example | Dropped:
        prepared = prepare(row)
        if isinstance(prepared, Dropped):
            return prepared
        for text in (*prepared.references, *prepared.options):
            if not isinstance(text, str):
                raise InputError(row.place, quote(text), "a text as answer or option", "mend the row")
        rendered = compiled[template].render(prepared.fields, row.place)
        if rendered is None:
            return Dropped(NO_TARGET)
        references = distinct((rendered.output, *prepared.references))
        options = rendered.options or distinct(prepared.options)
        if options and not {rendered.answer, *references} & set(options):
            expected = f"one of {quote(list(options))}"
            raise InputError(row.place, f"the answer {quote(references[0])}", expected, "mend the row")
        return Example(
            id=row.id,
            input=rendered.input,
            references=references,
            description=rendered.description,
            options=options,
            answer=rendered.answer,
            explanation=rendered.explanation,
            template=template,
        )

    return OpenTask(task=task, rows=rows, render=render, templates=names, dropped=dropped or {})


def label_name(row: Row, value: object, names: Sequence[str]) -> str | Dropped:
    """The name of a label given as its index, its name, a truth value or any of these as text.

    Raises InputError for a label that is none of `names`.
    """
    if value is None or value == "" or value == -1 or value == "-1":
        return Dropped(HIDDEN_LABEL)
    if isinstance(value, str) and value in names:
        return value
    text = str(value).strip().lower()
    index = {"false": 0, "true": 1}.get(text, int(text) if text.isdecimal() else -1)
    if not 0 <= index < len(names):
        expected = f"one of {', '.join(names)}, or an index below {len(names)}"
        raise InputError(row.place, f"the label {quote(value)}", expected, "mend the row")
    return names[index]


def field_of(row: Row, name: str, kind: type = str) -> Any:
    """A field of a row; InputError where it is absent or not of the kind."""
    value = row.fields.get(name)
    if not isinstance(value, kind):
        found = (
            f"{quote(value)} in {name}" if name in row.fields else f"no {name} among {', '.join(row.fields)}"
        )
        raise InputError(row.place, found, f"{name}, a {kind.__name__}", "mend the row")
    return value


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts that are not blank, stripped, each once, in order."""
    return tuple(dict.fromkeys(stripped for text in texts if (stripped := text.strip())))
