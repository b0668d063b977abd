"""Super-NaturalInstructions: one JSON file a task, with its definition, worked examples and instances.

Upstream: https://github.com/allenai/natural-instructions, tag v2.6 (Apache-2.0; each task names the licence
of its own instances). Layout:

    superni/tasks/<task>.json            one task
    superni/splits/<track>/*.txt         optional: names of tasks, one a line; only checked, the plan decides

    {"Definition": ["Say whether the two words rhyme."], "Categories": ["Word Relation Classification"],
     "Positive Examples": [{"input": "cat, hat", "output": "yes", "explanation": "Both end in -at."}], ...,
     "Instances": [{"id": "task0-1", "input": "sun, fun", "output": ["yes"]}]}

An older generation of the schema has the definition as a string, no instance ids, and no URL, Domains or
licence; a third flattens Categories and Domains to strings. All are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from benchmark_builder.readers import read_json, read_text
from benchmark_builder.source import Discovery, Dropped, NativeTask, OpenTask, Pool, Row
from task_registry.errors import InputError, Place, quote
from task_registry.suggest import normal_name
from task_registry.types import Example, Task

NO_REFERENCE = "no_reference"
"""Rule: an instance whose outputs are all empty strings is left out."""
EMPTY_REFERENCE = "empty_reference"
"""Rule: an empty string among an instance's outputs is left out."""
NEGATIVE_EXAMPLE = "negative_example"
"""Rule: upstream's examples of wrong answers are checked but left out: a bench holds right answers."""

MAX_OPTIONS = 26
MIN_INSTANCES_PER_OPTION = 4
"""A classification task's outputs are a closed set if they are few and each occurs this often on average."""


class SuperNaturalInstructions:
    """The adapter."""

    name = "superni"

    def tasks(self, root: Path, known: Mapping[str, Task]) -> Discovery:
        """Find `tasks/*.json` and check that the split lists name nothing unheard of."""
        files = sorted((root / self.name / "tasks").glob("*.json"))
        native = tuple(NativeTask(file.stem, (file.relative_to(root),)) for file in files)
        names = {normal_name(name) for name in (*known, *(task.name for task in native))}
        failures: dict[str, str] = {}
        for file in sorted((root / self.name / "splits").glob("*/*.txt")):
            place = file.relative_to(root)
            try:
                lines = read_text(root, place).splitlines()
            except InputError as error:
                failures[place.stem] = str(error)
                continue
            for number, line in enumerate(lines, 1):
                name = line.strip()
                if name and normal_name(name) not in names:
                    failures[name] = str(_unheard_of(Place(place, f"line {number}"), name))
        return Discovery(native, failures)

    def covers(self, known: Collection[str]) -> frozenset[str]:
        """All tasks: they have one layout, and bring their own instructions."""
        return frozenset(known)

    def open(self, root: Path, native: NativeTask, task: Task) -> OpenTask:
        """Read a task file, check every field that is used, and keep its rows in memory (files are small)."""
        (file,) = native.files
        content = read_json(root, file)
        if not isinstance(content, dict):
            raise InputError(file, f"a JSON {type(content).__name__}", "an object with a task's fields")
        description = _definition(file, content)
        instances, left_out = _instances(file, content)
        positives = _worked_examples(file, content, "Positive Examples")
        negatives = _worked_examples(file, content, "Negative Examples")
        options = _closed_set(task, instances)
        return OpenTask(
            task=_with_native_facts(task, content),
            rows={Pool.POSITIVE: lambda: positives, Pool.INSTANCES: lambda: instances},
            render=_renderer(description, options),
            dropped={EMPTY_REFERENCE: left_out, NEGATIVE_EXAMPLE: len(negatives)},
        )


def _unheard_of(place: Place, name: str) -> InputError:
    expected = "a task of this folder or of the catalogue"
    return InputError(place, f"the task {name!r}", expected, "mend the name or bring the task's file")


def _renderer(description: str, options: tuple[str, ...]) -> Callable[[Row, str], Example | Dropped]:
    closed = frozenset(options)

    def render(row: Row, template: str) -> Example | Dropped:
        references: tuple[str, ...] = row.fields["output"]
        if not references:
            return Dropped(NO_REFERENCE)
        return Example(
            id=row.id,
            input=row.fields["input"],
            references=references,
            description=description,
            options=options if options and closed.issuperset(references) else (),
            explanation=row.fields.get("explanation"),
            template=template,
        )

    return render


def _definition(file: Path, content: dict[str, Any]) -> str:
    """The task's instructions; of several definitions the first, as Tk-Instruct takes it."""
    value = content.get("Definition")
    text = value[0] if isinstance(value, list) and value else value
    if not isinstance(text, str) or not text.strip():
        raise InputError(Place(file, "Definition"), quote(value), "the task's instructions", "write them")
    return text.strip()


def _instances(file: Path, content: dict[str, Any]) -> tuple[list[Row], int]:
    """All instances, checked, and the number of empty outputs left out of them."""
    instances = content.get("Instances")
    if not isinstance(instances, list) or not instances:
        raise InputError(
            Place(file, "Instances"), quote(instances), "one instance or more", "bring the file again"
        )
    rows: list[Row] = []
    seen: set[str] = set()
    left_out = 0
    for number, instance in enumerate(instances):
        record = f"Instances[{number}]"
        if not isinstance(instance, dict):
            raise InputError(Place(file, record), quote(instance), "an object with input and output")
        text, output = instance.get("input"), instance.get("output")
        if type(text) is not str:
            raise InputError(Place(file, f"{record}.input"), quote(text), "a string")
        if type(output) is str:
            output = [output]
        if type(output) is not list or not output:
            raise InputError(Place(file, f"{record}.output"), quote(output), "a string or a list of them")
        for value in output:
            if type(value) is not str:
                raise InputError(Place(file, f"{record}.output"), quote(value), "a string", "quote it")
        references = tuple(output)
        if not all(map(str.strip, references)):
            references = tuple(value for value in references if value.strip())
            left_out += len(output) - len(references)
        id_ = instance.get("id")
        if id_ is None:
            id_ = record
        elif type(id_) is not str:
            raise InputError(Place(file, f"{record}.id"), quote(id_), "a string", "quote it")
        if id_ in seen:
            raise InputError(
                Place(file, f"{record}.id"), f"{id_!r} a second time", "an id of its own", "rename it"
            )
        seen.add(id_)
        rows.append(Row(id_, file, record, {"input": text, "output": references}))
    return rows, left_out


def _worked_examples(file: Path, content: dict[str, Any], key: str) -> list[Row]:
    """The examples beside the instructions, with their explanations."""
    rows = []
    examples = content.get(key) or []
    if not isinstance(examples, list):
        raise InputError(Place(file, key), quote(examples), "a list of examples", "bring the file again")
    for number, example in enumerate(examples):
        record = f"{key}[{number}]"
        if not isinstance(example, dict):
            raise InputError(Place(file, record), quote(example), "an object with input and output")
        output = example.get("output")
        outputs: list[Any] = output if isinstance(output, list) else [output]
        for value in (example.get("input"), *outputs, example.get("explanation") or ""):
            if not isinstance(value, str):
                raise InputError(
                    Place(file, record),
                    quote(value),
                    "a string for input, output and explanation",
                    "quote it",
                )
        fields = {
            "input": example["input"],
            "output": tuple(value for value in outputs if value.strip()),
            "explanation": example.get("explanation") or None,
        }
        rows.append(Row(record, file, record, fields))
    return rows


def _closed_set(task: Task, instances: list[Row]) -> tuple[str, ...]:
    """The sorted outputs of a classification task where they are a closed set, else nothing.

    The paper scores these tasks by generation all the same; the options are there for those who rank them.
    """
    if task.answer_type != "classification":
        return ()
    outputs: set[str] = set()
    for row in instances:
        outputs.update(row.fields["output"])
        if len(outputs) > MAX_OPTIONS:
            return ()
    few = len(outputs) * MIN_INSTANCES_PER_OPTION <= len(instances)
    return tuple(sorted(outputs)) if few and len(outputs) > 1 else ()


def _with_native_facts(task: Task, content: dict[str, Any]) -> Task:
    """Complete the catalogue's facts by the file's own: skills, domains, languages, licence, url."""

    def texts(key: str) -> tuple[str, ...]:
        value = content.get(key)
        values = value if isinstance(value, list) else [value]
        return tuple(text.strip() for text in values if isinstance(text, str) and text.strip())

    licences = tuple(text for text in texts("Instance License") if text.lower() != "unknown")
    return dataclasses.replace(
        task,
        skills=texts("Reasoning") or task.skills,
        domains=texts("Domains") or task.domains,
        input_languages=texts("Input_language") or task.input_languages,
        output_languages=texts("Output_language") or task.output_languages,
        instruction_languages=texts("Instruction_language") or task.instruction_languages,
        licence="|".join(licences) or task.licence,
        url="|".join(texts("URL")) or task.url,
    )
