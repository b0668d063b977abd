"""PromptSource: Jinja templates by data set, over the rows of the data sets that they belong to.

Upstream: https://github.com/bigscience-workshop/promptsource at 0cc4b0c of 8 July 2022 (Apache-2.0), from
which OPT-IML took it; each data set has a licence of its own. Layout:

    promptsource/templates/<dataset>[/<config>]/templates.yaml      upstream's templates
    promptsource/<dataset>[/<config>]/<split>.jsonl                 rows (`benchmark_builder.datasets_at_hand`)

    dataset: sample_mood
    templates:
      4b1f7e0a-6f0e-4b1c-9a51-2d8f0c3a7e11: !Template
        answer_choices: sad ||| glad
        id: 4b1f7e0a-6f0e-4b1c-9a51-2d8f0c3a7e11
        jinja: 'How does the writer feel? {{ text }} ||| {{ answer_choices[label] }}'
        metadata: !TemplateMetadata
          choices_in_prompt: false
          languages: [en]
          metrics: [Accuracy]
          original_task: true
        name: feeling
        reference: ''

    {"text": "The boat is mended at last.", "label": 1}

Used are the templates that upstream flags as asking for the data set's original task. Twenty data sets have
none; `promptsource_templates.csv` beside this file says what is used of them, and which templates name options
that are no candidates for their answer.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from benchmark_builder.datasets_at_hand import find_dataset, pool_rows, split_of
from benchmark_builder.readers import read_text
from benchmark_builder.source import Discovery, Dropped, NativeTask, OpenTask, Pool, Row
from benchmark_builder.templated import HIDDEN_LABEL, NO_TARGET, distinct
from task_registry.errors import InputError, Place, quote
from task_registry.types import Example, Task
from templates.template import CompiledTemplate, Template, compile_template

OUTSIDE_OPTIONS = "answer_outside_options"
"""Rule: a row whose answer, as a template words it, is none of that template's options."""

PARTS: Mapping[str, str] = {f"anli/r{n}": "anli" for n in (1, 2, 3)}
"""Tasks that are a part of a data set, whose splits are named after it (`train_r1`): the paper counts ANLI's
rounds as three tasks (T10), upstream has one file of templates for them."""

PARTLY_APPLICABLE = "turk"
"""The data set whose templates the paper scores although none applies to all rows (appendix A.1)."""

UNDOCUMENTED = frozenset({"Zaid/coqa_expanded", "Zaid/quac_expanded", "craffel/openai_lambada"})
"""Data sets whose columns could not be looked up; they are built as all others, but not counted as covered."""

MAX_DEPTH = 50
"""Levels of lists and mappings in a `templates.yaml`; upstream's have four."""

YES, NO, FREE_TEXT = "yes", "no", "free_text"
"""How a template is used; `free_text`: without its options, which are no candidates for its answer."""


@dataclass(frozen=True, slots=True)
class NativeTemplate:
    """One entry of a `templates.yaml`."""

    template: Template
    original_task: bool
    """Whether upstream says that it asks for what the data set was made for."""


class PromptSource:
    """The adapter."""

    name = "promptsource"

    def tasks(self, root: Path, known: Mapping[str, Task]) -> Discovery:
        """Find the data sets that have both templates and rows."""
        templates = {
            file.parent.relative_to(root / self.name / "templates").as_posix(): file.relative_to(root)
            for file in sorted((root / self.name / "templates").rglob("templates.yaml"))
        }
        native: list[NativeTask] = []
        failures: dict[str, str] = {}
        for name in sorted({*templates, *known} - set(PARTS.values())) if templates else ():
            dataset = dataset_of(name)
            try:
                pools = _find(root, name)
                if pools and dataset not in templates:
                    raise _missing(Path(self.name, "templates", dataset), "templates.yaml")
                if not pools and dataset in templates and _has_files(root / self.name / dataset):
                    raise _missing(Path(self.name, dataset), "split file")
            except InputError as error:
                failures[name] = str(error)
                continue
            if pools:
                rows = (file for pool in pools.values() for file in pool)
                native.append(NativeTask(name, (templates[dataset], *rows)))
        return Discovery(tuple(native), failures)

    def covers(self, known: Collection[str]) -> frozenset[str]:
        """All tasks but those whose columns are documented nowhere, so that no template could be checked."""
        return frozenset(known) - UNDOCUMENTED

    def open(self, root: Path, native: NativeTask, task: Task) -> OpenTask:
        """Read and compile the templates that are used; rows are read when they are asked for."""
        file = native.files[0]
        uses = _uses(dataset_of(native.name), file, read_templates(root, file))
        compiled = {t.name: (compile_template(t, file), use) for t, use in uses.items()}
        pools = _find(root, native.name)

        def render(row: Row, template: str) -> Example | Dropped:
            used, use = compiled[template]
            return _render(row, used, ranked=use == YES)

        return OpenTask(
            task=task,
            rows={pool: pool_rows(root, pool, paths) for pool, paths in pools.items()},
            render=render,
            templates=tuple(compiled),
            whole_templates=task.name != PARTLY_APPLICABLE,
        )


def dataset_of(name: str) -> str:
    """The data set, `<dataset>[/<config>]`, of a task."""
    return PARTS.get(name, name)


def _find(root: Path, name: str) -> Mapping[Pool, tuple[Path, ...]]:
    """The split files of a task, by pool."""
    pools = find_dataset(root, PromptSource.name, dataset_of(name))
    if name not in PARTS:
        return pools
    part = "_" + name.rpartition("/")[2]
    ours = {
        pool: tuple(file for file in files if split_of(file).endswith(part)) for pool, files in pools.items()
    }
    return {pool: files for pool, files in ours.items() if files}


def read_templates(root: Path, file: Path) -> tuple[NativeTemplate, ...]:
    """Read a `templates.yaml`, in its order; no tag but upstream's two, and neither constructs an object.

    Raises InputError, with the line where there is one, for what is no such file.
    """
    text = read_text(root, file)
    try:
        check_depth(text)
        content = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = Place(file, f"line {mark.line + 1}") if mark else file
        found = " ".join(str(getattr(error, "problem", error)).split())
        raise InputError(
            place, f"no YAML of templates: {found}", "upstream's YAML", "bring it again"
        ) from error
    entries = content.get("templates") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise InputError(Place(file, "templates"), quote(entries), "templates by id", "bring it again")
    templates = tuple(_template(Place(file, str(id_)), entry) for id_, entry in entries.items())
    names = [native.template.name for native in templates]
    for name in names:
        if names.count(name) > 1:
            raise InputError(file, f"two templates named {name!r}", "a name of its own", "rename one")
    return templates


def check_depth(text: str) -> None:
    """Raise YAMLError where YAML is nested too deeply: PyYAML's quick loader ends the process there."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise yaml.YAMLError("it is nested too deeply")


def _template(place: Place, entry: Any) -> NativeTemplate:
    fields = entry if isinstance(entry, dict) else {}
    for key in ("name", "jinja"):
        if not isinstance(fields.get(key), str) or not fields[key].strip():
            raise InputError(place, f"{key}: {quote(fields.get(key))}", "text", "bring the file again")
    options, metadata = fields.get("answer_choices"), fields.get("metadata")
    if not isinstance(options, (str, type(None))):
        raise InputError(place, f"answer_choices: {quote(options)}", "text or null", "quote it")
    if not isinstance(metadata, dict):
        raise InputError(place, f"metadata: {quote(metadata)}", "a mapping", "bring the file again")
    template = Template(fields["name"].strip(), fields["jinja"], options=options or "")
    return NativeTemplate(template, metadata.get("original_task") is True)


def _uses(name: str, file: Path, templates: tuple[NativeTemplate, ...]) -> dict[Template, str]:
    """The templates that are used, in upstream's order, and how."""
    reviewed = reviewed_templates()
    uses = {
        native.template: reviewed.get((name, native.template.name), YES if native.original_task else NO)
        for native in templates
    }
    used = {template: use for template, use in uses.items() if use != NO}
    if not used:
        expected = "one for the original task, flagged upstream or listed in promptsource_templates.csv"
        raise InputError(file, f"{len(uses)} templates, none of them used", expected, "review them")
    return used


@cache
def reviewed_templates() -> Mapping[tuple[str, str], str]:
    """How templates are used, by data set and name, where upstream's flag does not say it."""
    text = files("benchmark_builder.sources").joinpath("promptsource_templates.csv").read_text("utf-8")
    return {(row["dataset"], row["template"]): row["use"] for row in csv.DictReader(text.splitlines())}


def _render(row: Row, compiled: CompiledTemplate, ranked: bool) -> Example | Dropped:
    fields = row.fields
    if "-" in "".join(fields):
        # As upstream (removeHyphen in promptsource/utils.py): no Jinja name holds a hyphen.
        fields = {name.replace("-", "_"): value for name, value in fields.items()}
    if compiled.hides_answer(fields):
        return Dropped(HIDDEN_LABEL)
    rendered = compiled.render(fields, row.place)
    if rendered is None:
        return Dropped(NO_TARGET)
    options = distinct(rendered.options) if ranked else ()
    if options and rendered.output not in options:
        return Dropped(OUTSIDE_OPTIONS)
    return Example(
        id=row.id,
        input=rendered.input,
        references=(rendered.output,),
        options=options if len(options) > 1 else (),
        template=compiled.name,
    )


def _has_files(folder: Path) -> bool:
    """Whether a folder is there and is more than the parent of other data sets' folders."""
    if not folder.is_dir():
        return False
    entries = list(folder.iterdir())
    return not entries or any(entry.is_file() for entry in entries)


def _missing(folder: Path, what: str) -> InputError:
    return InputError(
        folder, f"no {what}", "the data set's templates and its rows", "fetch promptsource again"
    )


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader and upstream's two tags, which become plain mappings."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge no mappings into others (`<<: *a`): a few lines of it make more keys than memory holds."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "a merge key", key.start_mark)


for _tag in ("!Template", "!TemplateMetadata"):
    _Loader.add_constructor(_tag, lambda loader, node: loader.construct_mapping(node, deep=True))
