"""Rows of every task in upstream's own forms, for the sources whose sample shows only some of them.

The rows are those of the adapters' own tests, which say for each task what it is made of; each file is read by
every task that it belongs to, as far as a build goes.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from fuzz_kit import Files, build_task, laid_out

from benchmark_builder.recipes import load_recipes
from benchmark_builder.source import NativeTask
from benchmark_builder.sources import SOURCES
from task_registry.catalogue import load_catalogue
from task_registry.types import Task

TESTS = Path(__file__).parent.parent / "benchmark_builder" / "sources"

Contents = Iterator[tuple[str, str, Any]]
"""Folders of sources, places in them, and what stands there: text, rows, or one thing as JSON."""


@cache
def tests_of(source: str) -> ModuleType:
    """The module of a source's tests."""
    spec = importlib.util.spec_from_file_location(f"rows_of_{source}", TESTS / f"test_{source}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def t5_rows() -> Contents:
    """In the Hub's columns, one data set a task, and in the layouts of GLUE, SuperGLUE and SQuAD."""
    for name, golden in tests_of("t5").REFERENCE.items():
        recipe = load_recipes("t5")[name]
        if recipe.data:
            split = next((s for s in recipe.splits if s.startswith(("train", "valid"))), "validation")
            yield "hub", f"promptsource/{recipe.data[0]}/{split}.jsonl", [golden["row"]]
    for place, content in NATIVE_T5.items():
        yield "native", place, content


NATIVE_T5: Mapping[str, Any] = {
    "t5/glue_native/AX/diagnostic-full.tsv": "Premise\tHypothesis\tLabel\nBoats float.\tNone does.\tcontradiction\n",
    "t5/glue_native/CoLA/train.tsv": "own\t0\t*\tThe otter swam the across river.\n",
    "t5/glue_native/MRPC/train.tsv": "Quality\t#1 String\t#2 String\n1\tIt was sold.\tThey sold it.\n",
    "t5/super_glue_native/MultiRC/val.jsonl": [
        {
            "passage": {
                "text": "The goats graze in April.",
                "questions": [{"question": "When?", "answers": [{"text": "in April", "label": 1}]}],
            }
        }
    ],
    "t5/super_glue_native/ReCoRD/val.jsonl": [
        {
            "passage": {"text": "Heron came in.\n@highlight\nAll cheered", "entities": [{"start": 0, "end": 4}]},
            "qas": [{"query": "@placeholder won.", "answers": [{"text": "Heron"}]}],
        }
    ],
    "t5/super_glue_native/WSC/train.jsonl": [
        {
            "text": "The mason left the stone because it was heavy.",
            "target": {"span1_text": "the stone", "span2_text": "it", "span2_index": 6},
            "label": True,
        }
    ],
    "t5/squad_native/dev-v1.1.json": {
        "data": [
            {
                "paragraphs": [
                    {"context": "It was built in 1712.", "qas": [{"question": "When?", "answers": [{"text": "1712"}]}]}
                ]
            }
        ]
    },
}  # fmt: skip
"""Rows of the layouts that differ from the Hub's."""


def exmix_rows() -> Contents:
    """Each task in its repository's layout."""
    tests = tests_of("exmix")
    for files, _ in tests.CASES.values():
        for place, content in files.items():
            yield "native", f"exmix/{place}", content


def crossfit_rows() -> Contents:
    """The data sets of all kept tasks, and the gym's files of two others."""
    tests = tests_of("crossfit")
    blimp = {name: ([tests.PAIR], "", ()) for name in load_recipes("crossfit") if name.startswith("blimp-")}
    for name, (rows, *_) in (tests.DATA_SETS | blimp).items():
        recipe = load_recipes("crossfit")[name]
        split = next((s for s in recipe.splits if s.startswith("train")), "train")
        yield "hub", f"promptsource/{recipe.data[0]}/{split}.jsonl", rows
    yield "gym", "crossfit/sick/sick_16_100_train.jsonl", [tests.METAICL]
    for split in ("train", "dev", "test"):
        yield (
            "gym",
            f"crossfit/proto_qa/proto_qa_16_13_{split}.tsv",
            f"what floats in {split} ?\ta cork\ta boat\n",
        )
        yield (
            "gym",
            f"crossfit/race-high/race-high_16_13_{split}.tsv",
            f"Why {split}? (A) by day (B) at night\tby day\n",
        )


def reasoning_rows() -> Contents:
    """Each data set in each of its forms, which need folders of their own; CoS-E with its questions."""
    cases = tests_of("reasoning").CASES.values()
    for number, (_, place, record, _) in enumerate(cases):
        yield (
            f"{number}",
            place,
            record if isinstance(record, str | list) or place.endswith(".json") else [record],
        )
    explained = {"id": "y", "explanation": {"open-ended": "A sieve leaks", "selected": ""}}
    yield "cos_e", "reasoning/cos_e/v1.11/cose_dev_v1.11_processed.jsonl", [explained]
    choices = [{"label": "A", "text": "a sieve"}, {"label": "B", "text": "a bucket"}]
    question = {"id": "y", "answerKey": "B", "question": {"stem": "What carries water?", "choices": choices}}
    yield "cos_e", "reasoning/cos_e/commonsenseqa/dev_rand_split.jsonl", [question]


CONTENTS = {"t5": t5_rows, "exmix": exmix_rows, "crossfit": crossfit_rows, "reasoning": reasoning_rows}


def written(place: str, content: Any) -> bytes:
    """A file's bytes: a text as it is, rows one a line, all else as JSON."""
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, list) and not place.endswith(".json"):
        return "".join(json.dumps(row) + "\n" for row in content).encode()
    return json.dumps(content).encode()


class RowsSource:
    """One source's rows, through its adapter to record batches."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: dict[str, Task] = {}
        self.natives: dict[str, list[NativeTask]] = {}
        """Which tasks read from a file, by its place."""

    def prepare(self, folder: Path) -> Files:
        """Write the rows and find the tasks, once: a hostile row changes no name."""
        files = {f"{top}/{place}": written(place, content) for top, place, content in CONTENTS[self.name]()}
        laid_out(folder, files)
        self.known = {t.name: t for t in load_catalogue().tasks.values() if t.source == self.name}
        for top in sorted({place.partition("/")[0] for place in files}):
            for native in SOURCES[self.name].tasks(folder / top, self.known).tasks:
                for file in native.files:
                    self.natives.setdefault(f"{top}/{file}", []).append(native)
        return {place: content for place, content in files.items() if place in self.natives}

    def run(self, folder: Path, place: str) -> None:
        """Build the tasks that the file belongs to."""
        top = place.partition("/")[0]
        for native in self.natives[place]:
            build_task(SOURCES[self.name], folder / top, native, self.known[native.name])
