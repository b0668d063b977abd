"""PromptSource: which templates are used, what becomes of rows, bad files, and upstream's own rendering."""

from __future__ import annotations

import collections
import csv
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import meta

from benchmark_builder.datasets_at_hand import find_dataset, pool_rows
from benchmark_builder.source import Dropped, NativeTask, OpenTask, Pool, Row
from benchmark_builder.sources.promptsource import (
    FREE_TEXT,
    HIDDEN_LABEL,
    NO,
    NO_TARGET,
    OUTSIDE_OPTIONS,
    YES,
    PromptSource,
    dataset_of,
    read_templates,
    reviewed_templates,
)
from task_registry.catalogue import load_catalogue
from task_registry.errors import InputError
from task_registry.types import Example, Metric, Task
from templates.template import CompiledTemplate, compile_template

KNOWN = {task.name: task for task in load_catalogue().tasks.values() if task.source == "promptsource"}

DATA_SETS = {dataset_of(name) for name in KNOWN}


def entry(jinja: str, name: str = "plain", **changes: Any) -> dict[str, Any]:
    """One template as upstream writes it."""
    metadata = {"choices_in_prompt": False, "languages": ["en"], "metrics": ["Other"], "original_task": True}
    entry = {"name": name, "id": name, "reference": "", "jinja": jinja, "answer_choices": None}
    return entry | {"metadata": metadata} | changes


def write(root: Path, entries: list[dict[str, Any]], name: str = "boats", **splits: list[Any]) -> NativeTask:
    """Write a data set's templates and rows in upstream's layout."""
    folder = root / "promptsource"
    file = folder / "templates" / name / "templates.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"dataset": name, "templates": {e["id"]: e for e in entries}})
    text = text.replace("\n    metadata:", "\n    metadata: !TemplateMetadata")
    for template in entries:
        text = text.replace(f"\n  {template['id']}:\n", f"\n  {template['id']}: !Template\n")
    file.write_text(text, encoding="utf-8")
    for split, rows in splits.items():
        rows_file = folder / name / f"{split}.jsonl"
        rows_file.parent.mkdir(parents=True, exist_ok=True)
        rows_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pools = find_dataset(root, "promptsource", name).values()
    return NativeTask(name, (file.relative_to(root), *(file for files in pools for file in files)))


def task(name: str = "boats") -> Task:
    return Task(f"promptsource/{name}", "Question Answering", Metric.ACCURACY)


def opened(root: Path, entries: list[dict[str, Any]], name: str = "boats", **splits: list[Any]) -> OpenTask:
    return PromptSource().open(root, write(root, entries, name, **splits), task(name))


def rendered(open_task: OpenTask, pool: Pool = Pool.TRAIN) -> list[Example | Dropped]:
    return [open_task.render(row, name) for row in open_task.rows[pool]() for name in open_task.templates]


class TestTemplatesThatAreUsed:
    def test_those_of_the_original_task_in_upstreams_order(self, tmp_path: Path) -> None:
        other = entry("b ||| c", "aside")
        other["metadata"] = {"original_task": False}
        entries = [entry("a ||| b", "zwei "), other, entry("c ||| d", "eins")]
        order = [e["name"].strip() for e in sorted(entries, key=lambda e: e["id"])]
        order.remove("aside")
        assert list(opened(tmp_path, entries, train=[{"x": 1}]).templates) == order

    def test_without_any_the_file_is_named(self, tmp_path: Path) -> None:
        only = entry("a ||| b")
        only["metadata"] = {"original_task": False}
        with pytest.raises(InputError, match=r"templates/boats/templates\.yaml: found 1 templates, none of"):
            opened(tmp_path, [only], train=[{}])

    def test_the_reviewed_table_decides_for_sets_without_flags(self, tmp_path: Path) -> None:
        entries = [entry("{{ t }} ||| {{ t }}", name) for name in ("stereotype", "transform_stereo")]
        for unflagged in entries:
            unflagged["metadata"] = {"original_task": False}
        open_task = opened(tmp_path, entries, "crows_pairs", test=[{"t": "a"}])
        assert open_task.templates == ("stereotype",)

    def test_the_table_is_complete_and_says_why(self) -> None:
        text = files("benchmark_builder.sources").joinpath("promptsource_templates.csv").read_text("utf-8")
        rows = list(csv.DictReader(text.splitlines()))
        assert {row["use"] for row in rows} == {YES, NO, FREE_TEXT}
        assert {row["dataset"] for row in rows} <= DATA_SETS
        assert len({(row["dataset"], row["template"]) for row in rows}) == len(rows)
        assert [row["dataset"] for row in rows] == sorted(row["dataset"] for row in rows)
        assert all(row["reason"] for row in rows)
        used = collections.Counter(row["dataset"] for row in rows if row["use"] != NO)
        assert {row["dataset"] for row in rows} == set(used)
        named_by_the_paper = {
            "cord19/metadata",
            "bing_coronavirus_query_set",
            "blended_skill_talk",
            "crows_pairs",
        }
        assert named_by_the_paper <= set(used)


class TestRows:
    def test_an_example_has_template_options_and_the_rows_id(self, tmp_path: Path) -> None:
        entries = [entry("{{ q }} ||| {{ answer_choices[k] }}", answer_choices='{{ c | join("|||") }}')]
        row = {"q": "When? a|||b", "k": 1, "c": ["at six", "at ten ||| sharp", "at six "]}
        (found,) = rendered(opened(tmp_path, entries, train=[row]))
        options = ("at six", "at ten ||| sharp")
        assert found == Example("train[0]", "When? a|||b", options[1:], options=options, template="plain")

    def test_an_answer_outside_its_options_is_dropped_by_name(self, tmp_path: Path) -> None:
        entries = [entry("{{ q }} ||| {{ k }}", answer_choices="A ||| B")]
        rows = [{"q": "?", "k": "B"}, {"q": "?", "k": "C"}]
        found = rendered(opened(tmp_path, entries, train=rows))
        assert isinstance(found[0], Example)
        assert found[1] == Dropped(OUTSIDE_OPTIONS)

    def test_options_that_are_no_candidates_are_left_out(self, tmp_path: Path) -> None:
        name = "question_to_answer_index"
        entries = [entry("{{ q }} ||| {{ k }}", name, answer_choices="A ||| B")]
        (found,) = rendered(opened(tmp_path, entries, "commonsense_qa", train=[{"q": "?", "k": "E"}]))
        assert isinstance(found, Example)
        assert (found.references, found.options) == (("E",), ())

    def test_a_hyphen_in_a_fields_name_is_an_underscore_as_upstream(self, tmp_path: Path) -> None:
        entries = [entry("{{ question_X }} ||| {{ answer_Y }}")]
        rows = [{"question-X": "?", "answer-Y": "yes"}, {"question-X": "?", "answer-Y": ""}]
        found = rendered(opened(tmp_path, entries, train=rows))
        assert isinstance(found[0], Example)
        assert (found[0].input, found[0].references) == ("?", ("yes",))
        assert found[1] == Dropped(HIDDEN_LABEL)

    def test_one_option_is_no_choice(self, tmp_path: Path) -> None:
        (found,) = rendered(opened(tmp_path, [entry("a ||| b", answer_choices="b ||| ")], train=[{"x": 1}]))
        assert isinstance(found, Example)
        assert found.options == ()

    def test_a_hidden_label_never_becomes_an_answer(self, tmp_path: Path) -> None:
        entries = [
            entry("{{ q }} ||| {{ answer_choices[label] }}", "index", answer_choices="no ||| yes"),
            entry("{{ q }} ||| {% if label == 1 %}yes{% else %}no{% endif %}", "branch"),
            entry("{{ q }} ||| {{ {0: 'no', 1: 'yes'}[label] }}", "mapping"),
        ]
        rows = [{"q": "?", "label": label} for label in (-1, None, "")]
        found = rendered(opened(tmp_path, entries, test=rows), Pool.TEST)
        assert found == [Dropped(HIDDEN_LABEL)] * 9

    def test_a_template_that_does_not_apply_is_counted_by_name(self, tmp_path: Path) -> None:
        entries = [entry("{% if n %}{{ n }} ||| {{ n }}{% endif %}"), entry("n? ||| {{ n }}", "other")]
        rows = [{"n": 0}, {"n": 3}]
        kinds = [type(found).__name__ for found in rendered(opened(tmp_path, entries, train=rows))]
        assert sorted(kinds) == ["Dropped", "Example", "Example", "Example"]
        dropped = [found for found in rendered(opened(tmp_path, entries)) if isinstance(found, Dropped)]
        assert dropped == [Dropped(NO_TARGET)]

    def test_a_rows_list_is_the_same_for_the_next_template(self, tmp_path: Path) -> None:
        changing = [entry("{{ w.append('x') or '' }}in ||| {{ w | join }}", name) for name in ("one", "two")]
        found = rendered(opened(tmp_path, changing, train=[{"w": ["a"]}]))
        assert [example.references for example in found if isinstance(example, Example)] == [("ax",), ("ax",)]


BAD_TEMPLATES: dict[str, tuple[Callable[[str], str], str]] = {
    "a tag that constructs an object": (
        lambda text: text.replace("!TemplateMetadata", "!!python/object/apply:os.getcwd"),
        r"templates\.yaml, line \d+: found no YAML of templates: could not determine a constructor",
    ),
    "a class of upstream's time": (
        lambda text: text.replace("!Template\n", "!!python/object:promptsource.templates.Template\n"),
        r"templates\.yaml, line \d+: found no YAML of templates: could not determine a constructor",
    ),
    "half a file": (
        lambda text: text[: text.index("jinja:") + 9],
        r"templates\.yaml, line \d+: found no YAML",
    ),
    "no templates": (
        lambda text: "dataset: boats\n",
        r"templates\.yaml, templates: found None, expected templates",
    ),
    "a list": (lambda text: "- a\n", r"templates\.yaml, templates: found None"),
    "an entry that is text": (lambda text: "templates: {a: b}\n", r"templates\.yaml, a: found name: None"),
    "no name": (lambda text: text.replace("name:", "title:"), r"templates\.yaml, plain: found name: None"),
    "a name that YAML takes for a truth value": (
        lambda text: text.replace("name: plain", "name: yes"),
        r"templates\.yaml, plain: found name: True, expected text",
    ),
    "options that YAML takes for a number": (
        lambda text: text.replace("answer_choices: null", "answer_choices: 3"),
        r"templates\.yaml, plain: found answer_choices: 3, expected text or null",
    ),
    "no metadata": (
        lambda text: text.replace("metadata:", "meta:"),
        r"templates\.yaml, plain: found metadata: None, expected a mapping",
    ),
    "a syntax error": (
        lambda text: text.replace("{{ q }}", "{{ q }"),
        r"templates\.yaml, template 'plain': found .* in line 1 of",
    ),
}


@pytest.mark.parametrize("kind", BAD_TEMPLATES)
def test_a_bad_file_of_templates_names_its_place(kind: str, tmp_path: Path) -> None:
    change, expected = BAD_TEMPLATES[kind]
    native = write(tmp_path, [entry("{{ q }} ||| a")], train=[{"q": 1}])
    file = tmp_path / native.files[0]
    changed = change(file.read_text(encoding="utf-8"))
    assert changed != file.read_text(encoding="utf-8")
    file.write_text(changed, encoding="utf-8")
    with pytest.raises(InputError, match=r"promptsource/templates/boats/" + expected) as caught:
        PromptSource().open(tmp_path, native, task())
    assert "\n" not in str(caught.value)


def test_a_name_twice_is_an_error(tmp_path: Path) -> None:
    entries = [entry("a ||| b"), entry("c ||| d", id="second", name="plain ")]
    with pytest.raises(InputError, match=r"two templates named 'plain'"):
        opened(tmp_path, entries, train=[{}])


BAD_ROWS = {
    "an undefined field": ("{{ q }} ||| {{ nonsense }}", "'nonsense' is undefined"),
    "an endless loop": (
        "{% set l = [q] %}{% for i in l %}{{ l.append(i) }}{% endfor %} ||| a",
        "come to an end",
    ),
    "a gigabyte": ("{{ q * 10**9 }} ||| a", "a text of 2,000,000,000 characters"),
    "a private name": ("{{ q.__class__ }} ||| a", "unsafe"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_rendering_that_fails_names_row_and_template(kind: str, tmp_path: Path) -> None:
    jinja, found = BAD_ROWS[kind]
    open_task = opened(tmp_path, [entry(jinja, "at the pier")], train=[{"q": "ab"}])
    with pytest.raises(
        InputError, match=rf"boats/train\.jsonl, line 1, template 'at the pier': found .*{found}"
    ):
        rendered(open_task)


class TestDiscovery:
    def test_a_task_has_templates_and_rows(self, tmp_path: Path) -> None:
        native = write(tmp_path, [entry("a ||| b")], "boats/small", train=[{}], test=[{}])
        write(tmp_path, [entry("a ||| b")], "trains")
        found = PromptSource().tasks(tmp_path, {})
        assert found.tasks == (native,)
        assert [file.name for file in native.files] == ["templates.yaml", "test.jsonl", "train.jsonl"]
        assert not found.failures

    def test_rows_without_templates_belong_to_other_sources(self, tmp_path: Path) -> None:
        write(tmp_path, [entry("a ||| b")], train=[{}])
        shutil.copytree(tmp_path / "promptsource" / "boats", tmp_path / "promptsource" / "ferries")
        assert not PromptSource().tasks(tmp_path, {}).failures
        known = {"ferries": task("ferries"), "trains": task("trains")}
        assert set(PromptSource().tasks(tmp_path, known).failures) == {"ferries"}
        shutil.rmtree(tmp_path / "promptsource" / "templates")
        nothing = PromptSource().tasks(tmp_path, known)
        assert (nothing.tasks, dict(nothing.failures)) == ((), {})

    @pytest.mark.parametrize("content", [(), ("readme.md",), ("unsupervised.jsonl",)])
    def test_a_folder_without_a_split_is_a_failure(self, content: tuple[str, ...], tmp_path: Path) -> None:
        write(tmp_path, [entry("a ||| b")])
        folder = tmp_path / "promptsource" / "boats"
        folder.mkdir()
        for name in content:
            (folder / name).write_text("{}", encoding="utf-8")
        found = PromptSource().tasks(tmp_path, {})
        assert not found.tasks
        assert "promptsource/boats: found no split file" in found.failures["boats"]

    def test_the_rounds_of_anli_are_tasks_of_their_own(self, tmp_path: Path) -> None:
        splits = {
            f"{split}_r{n}": [{"x": f"{split} {n}"}] for n in (1, 3) for split in ("train", "dev", "test")
        }
        write(tmp_path, [entry("{{ x }} ||| b")], "anli", **splits)
        source = PromptSource()
        found = source.tasks(tmp_path, KNOWN)
        assert [native.name for native in found.tasks] == ["anli/r1", "anli/r3"]
        assert list(found.failures) == ["anli/r2"], "the data set is there, a round of it is not"
        third = source.open(tmp_path, found.tasks[1], KNOWN["anli/r3"])
        texts = {pool: [example.input for example in rendered(third, pool)] for pool in third.rows}
        assert texts == {Pool.TRAIN: ["train 3"], Pool.VALIDATION: ["dev 3"], Pool.TEST: ["test 3"]}
        assert next(iter(third.rows[Pool.TEST]())).id == "test_r3[0]"

    def test_a_split_twice_is_a_failure_of_that_task_alone(self, tmp_path: Path) -> None:
        write(tmp_path, [entry("a ||| b")], "trains", train=[{}])
        write(tmp_path, [entry("a ||| b")], train=[{}])
        (tmp_path / "promptsource" / "boats" / "train.csv").write_text("a\n1\n", encoding="utf-8")
        found = PromptSource().tasks(tmp_path, {})
        assert [native.name for native in found.tasks] == ["trains"]
        assert "the split 'train' twice" in found.failures["boats"]

    def test_a_split_without_rows_fails_when_it_is_read(self, tmp_path: Path) -> None:
        open_task = opened(tmp_path, [entry("a ||| b")], train=[])
        with pytest.raises(InputError, match=r"boats/train\.jsonl: found no rows"):
            rendered(open_task)


def real_templates(root: Path) -> Iterator[tuple[str, Path]]:
    folder = root / "promptsource" / "templates"
    for file in sorted(folder.rglob("templates.yaml")):
        yield file.parent.relative_to(folder).as_posix(), file.relative_to(root)


@pytest.mark.real
def test_every_real_template_compiles_and_every_catalogue_task_has_some(real_sources: Path) -> None:
    names, count = set(), 0
    for name, file in real_templates(real_sources):
        templates = read_templates(real_sources, file)
        compiled = [compile_template(native.template, file) for native in templates]
        count += len(compiled)
        reviewed = {
            template: use for (dataset, template), use in reviewed_templates().items() if dataset == name
        }
        assert set(reviewed) <= {template.name for template in compiled}, name
        if not any(native.original_task for native in templates):
            assert len(reviewed) == len(compiled), f"{name} has no flagged template and is not reviewed"
            assert set(reviewed.values()) & {YES, FREE_TEXT}, name
        names.add(name)
    assert names == DATA_SETS
    assert count == 2085


@pytest.mark.real
def test_the_fields_of_used_templates_are_columns_of_their_data_sets(real_sources: Path) -> None:
    """Also where no rows are at hand: `promptsource_columns.csv` has the columns that the Hub documents."""
    text = (Path(__file__).parent / "promptsource_columns.csv").read_text(encoding="utf-8")
    table = csv.DictReader(text.splitlines())
    columns = {row["dataset"]: set(row["columns"].replace("-", "_").split("|")) for row in table}
    assert set(columns) <= DATA_SETS
    assert len(columns) == 276
    environment = jinja2.Environment()
    environment.filters |= {"choice": min, "most_frequent": min}
    for name in columns:
        file = Path("promptsource", "templates", name, "templates.yaml")
        for native in read_templates(real_sources, file):
            default = YES if native.original_task else NO
            if reviewed_templates().get((name, native.template.name), default) == NO:
                continue
            sources = (native.template.input, native.template.options)
            used = set().union(*(meta.find_undeclared_variables(environment.parse(text)) for text in sources))
            assert used - {"answer_choices", "zip"} <= columns[name], f"{name} {native.template.name}"


def in_upstreams_way(template: Any) -> Callable[[dict[str, Any]], tuple[list[str], list[str]]]:
    """What upstream's `Template.apply(row, truncate=False)` does, in our words: its parts and its options."""
    environment = jinja2.Environment()
    environment.globals["zip"] = zip
    environment.filters["choice"] = random.Random(0).choice
    environment.filters["most_frequent"] = lambda items: (
        items
        and [
            item for item, n in collections.Counter(items).most_common() if n == max(map(items.count, items))
        ]
    )
    body, choices = map(environment.from_string, (template.input, template.options))

    def apply(row: dict[str, Any]) -> tuple[list[str], list[str]]:
        row = json.loads(json.dumps(row))
        row = {k: v.replace("|||", "<bars>") if isinstance(v, str) else v for k, v in row.items()}
        texts = choices.render(**row).split("|||")
        options = [text.strip().replace("<bars>", "|||") for text in texts]
        parts = body.render(**row, answer_choices=options if template.options else None).split("|||")
        return [part.replace("<bars>", "|||").strip() for part in parts], options if template.options else []

    return apply


@pytest.mark.real
def test_real_rows_are_rendered_as_upstream_renders_them(real_sources: Path) -> None:
    """Every template, flagged or not, over the first rows of every pool that is at hand."""
    equal = 0
    for name, file in real_templates(real_sources):
        pools = find_dataset(real_sources, "promptsource", name)
        rows: list[Row] = [
            row for pool, paths in pools.items() for row in islice(pool_rows(real_sources, pool, paths)(), 5)
        ]
        for native in read_templates(real_sources, file) if rows else ():
            drawn = (
                re.search(r"\|\s*(choice|random)", native.template.input + native.template.options)
                is not None
            )
            apply, ours = in_upstreams_way(native.template), compile_template(native.template, file)
            for row in rows:
                equal += agrees(ours, row, *apply(dict(row.fields)), drawn=drawn)
    assert equal > 2000


def agrees(ours: CompiledTemplate, row: Row, parts: list[str], options: list[str], *, drawn: bool) -> bool:
    result = ours.render(row.fields, row.place)
    where = f"{row.place} {ours.name}"
    if len(parts) != 2 or not all(parts):
        assert result is None, where
        return False
    assert result is not None, where
    if not drawn:
        assert [result.input, result.output] == parts, where
        assert list(result.options) == options, where
    return True


@pytest.mark.real
def test_every_real_data_set_gives_examples(real_sources: Path) -> None:
    source = PromptSource()
    found = source.tasks(real_sources, KNOWN)
    assert not found.failures
    assert len(found.tasks) >= 40
    for native in found.tasks:
        open_task = source.open(real_sources, native, KNOWN[native.name])
        kinds: collections.Counter[str] = collections.Counter()
        for read in open_task.rows.values():
            for row in islice(read(), 20):
                for name in open_task.templates:
                    made = open_task.render(row, name)
                    kinds[made.rule if isinstance(made, Dropped) else "examples"] += 1
        assert kinds["examples"], native.name
        assert kinds[OUTSIDE_OPTIONS] == 0, native.name
