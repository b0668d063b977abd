"""Where the files of the data sets with rationales lie, and how their records are read.

A data set is looked for in the places of `DATA_SETS`, the best first; the first that holds a split of it
gives all its splits. Only the train split may come from elsewhere: where that place lacks it, FLAN's
`cot_data/<name>_train.tsv` has a part of it for nine of the data sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark_builder.datasets_at_hand import find_dataset
from benchmark_builder.readers import read_json, read_rows, read_text, read_tsv
from benchmark_builder.source import Pool, Row, Rows
from benchmark_builder.sources.reasoning.forms import read_record
from task_registry.errors import InputError, Place, quote

SOURCE = "reasoning"
HUB = "hub:"
"""Marks a place that is looked up as a data set at hand, also among those of other sources."""

SPLITS: Mapping[Pool, tuple[str, ...]] = {
    Pool.TRAIN: ("train",),
    Pool.VALIDATION: ("validation", "val", "dev"),
    Pool.TEST: ("test",),
}

DATA_SETS: Mapping[str, tuple[str, ...]] = {
    "aqua_rat": ("aqua_rat/{split}.json", "aqua/{split}.json", "hub:aqua_rat/raw", "hub:aqua_rat"),
    "coqa": ("coqa/coqa-{split}-v1.0.json", "hub:coqa"),
    "cos_e": ("hub:cos_e/v1.11", "cos_e/v1.11/cose_{split}_v1.11_processed.jsonl"),
    "creak": ("creak/{split}.json", "hub:creak"),
    "ecqa": ("ecqa/cqa_data_{split}.csv", "hub:ecqa"),
    "esnli": ("esnli/esnli_{split}*.csv", "hub:esnli"),
    "gsm8k": ("gsm8k/{split}.jsonl", "hub:gsm8k/main", "hub:gsm8k"),
    "math": ("math/{split}/*/*.json", "math/{split}.jsonl", "math/*/{split}-*.parquet", "hub:math"),
    "proofwriter": (
        "proofwriter/meta-{split}.jsonl",
        "proofwriter/OWA/depth-5/meta-{split}.jsonl",
        "proofwriter/proofwriter-dataset-V2020.12.3/OWA/depth-5/meta-{split}.jsonl",
        "proofwriter/{split}.json",
    ),
    "qasc": ("qasc/{split}.jsonl", "hub:qasc"),
    "qed": ("qed/qed-{split}.jsonlines",),
    "sensemaking": (
        "sensemaking/{split}.csv",
        "sensemaking/ALL data/{split}.csv",
        "sensemaking/dataset.jsonl",
    ),
    "strategyqa": (
        "strategyqa/{split}.json",
        "strategyqa/strategyqa_{split}.json",
        "hub:strategyqa",
        "strategyqa_bigbench/task.json",
    ),
    "winowhy": ("winowhy/winowhy.json",),
}
"""The places of each data set, best first; a file without `{split}` holds questions that are trained on."""

QUESTIONS: Mapping[str, str] = {"cos_e": "cos_e/commonsenseqa/*_rand_split.jsonl"}
"""Files with the questions of rationales that come without them, joined by `id`."""

FLAN = ("flan/cot_data", "reasoning/cot_data")
FLAN_NAMES = {"aqua_rat": "aqua"}
FLAN_COLUMNS = ("question", "answer", "rationale")


def find_files(root: Path, name: str) -> Mapping[Pool, tuple[Path, ...]]:
    """Find a data set's files by pool, relative to `root`; nothing where it is not at hand."""
    pools: dict[Pool, tuple[Path, ...]] = {}
    for place in DATA_SETS.get(name, (f"{HUB}{name}",)):
        pools = dict(_at(root, place))
        if pools:
            break
    if Pool.TRAIN not in pools:
        files = (Path(folder, f"{FLAN_NAMES.get(name, name)}_train.tsv") for folder in FLAN)
        if found := next((file for file in files if (root / file).is_file()), None):
            pools[Pool.TRAIN] = (found,)
    return pools


def find_questions(root: Path, name: str) -> tuple[Path, ...]:
    """The files that hold the questions of a data set whose own files lack them."""
    return _glob(root, QUESTIONS[name]) if name in QUESTIONS else ()


def own_folders() -> frozenset[str]:
    """The folders below the source's own that the places of `DATA_SETS` name."""
    places = (place.removeprefix(HUB) for places in DATA_SETS.values() for place in places)
    return frozenset(place.partition("/")[0] for place in places) | {"cot_data"}


def pool_questions(root: Path, pool: Pool, files: tuple[Path, ...], questions: tuple[Path, ...]) -> Rows:
    """The questions of one pool's files, read anew by each call.

    A row's id is its pool and record, `validation[17]`, and of a record with several questions also which.
    """

    def rows() -> Iterator[Row]:
        asked = dict(_asked(root, questions))
        number = 0
        for file in files:
            for record, fields in _records(root, file):
                place = Place(file, record)
                for question in read_record(_joined(fields, asked), place):
                    part = f".{question.part}" if question.part else ""
                    yield Row(f"{pool}[{number}]{part}", file, f"{record}{part}", question._asdict())
                number += 1

    return rows


def _asked(root: Path, questions: tuple[Path, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for file in questions:
        for record, fields in _records(root, file):
            key = fields.get("id")
            if not isinstance(key, str):
                raise InputError(Place(file, record), f"{quote(key)} as id", "a text", "mend the record")
            yield key, fields


def _at(root: Path, place: str) -> Mapping[Pool, tuple[Path, ...]]:
    if place.startswith(HUB):
        return find_dataset(root, SOURCE, place.removeprefix(HUB))
    if "{split}" not in place:
        files = _glob(root, place)
        return {Pool.TRAIN: files} if files else {}
    pools = {
        pool: next((found for word in words if (found := _glob(root, place.format(split=word)))), ())
        for pool, words in SPLITS.items()
    }
    return {pool: files for pool, files in pools.items() if files}


def _glob(root: Path, pattern: str) -> tuple[Path, ...]:
    found = (file.relative_to(root) for file in (root / SOURCE).glob(pattern) if file.is_file())
    return tuple(sorted(found))


def _joined(fields: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """A rationale with its question, where the questions lie in files of their own."""
    if not asked or "explanation" not in fields:
        return fields
    question: Mapping[str, Any] = asked.get(str(fields.get("id")), {"question": None, "answerKey": ""})
    return {**question, **fields}


def _records(root: Path, file: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The records of a file, each with its place in it."""
    if file.suffix == ".tsv" and file.parent.name == "cot_data":
        return read_tsv(root, file, FLAN_COLUMNS)
    return _json_records(root, file) if file.suffix in (".json", ".jsonlines") else read_rows(root, file)


def _json_records(root: Path, file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Objects one a line, in a list, in the `data` or `examples` of an object, or a single one."""
    lines = read_text(root, file).rstrip("\n").split("\n")
    if len(lines) > 1 and _is_json(lines[0]):
        for number, line in enumerate(lines, 1):
            yield f"line {number}", _object(line, Place(file, f"line {number}"))
        return
    content = read_json(root, file)
    key = next((key for key in ("data", "examples") if isinstance(content, dict) and key in content), "")
    listed = content[key] if key else content
    if isinstance(listed, dict):
        yield "the only record", listed
        return
    if not isinstance(listed, list):
        raise InputError(file, quote(listed), "objects with a data set's fields", "bring the file again")
    for number, record in enumerate(listed):
        if not isinstance(record, dict):
            raise InputError(Place(file, f"{key}[{number}]"), quote(record), "an object", "mend the record")
        yield f"{key}[{number}]", record


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _object(line: str, place: Place) -> Mapping[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(place, f"no JSON: {error}", "a JSON object", "bring the file again") from error
    if not isinstance(content, dict):
        raise InputError(place, quote(content), "a JSON object", "bring the file again")
    return content
