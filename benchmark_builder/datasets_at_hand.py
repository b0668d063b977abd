"""Rows of public data sets, stored once and shared: where a data set's splits lie, and their rows.

A data set is looked for in the source's own folder, then among the Hub data sets of `promptsource/`, which
`fetch` fills. Within its folder `<dataset>[/<config>]/` a split may be

    <split>.jsonl  .parquet  .arrow  .csv  .tsv  .json          one file
    <split>-00000-of-00002.parquet                              several, as on the Hub; also in `data/`
    <split>/0000.parquet                                        several, as the Hub's conversions name them
    <split>/data-00000-of-00001.arrow + state.json              `Dataset.save_to_disk`
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmark_builder.readers import SUFFIXES, column_types, read_rows
from benchmark_builder.source import Pool, Row, Rows
from task_registry.errors import InputError, quote

SHARED = "promptsource"
"""The folder in which the rows of public data sets are stored once, for all sources."""

SHARD = re.compile(r"-\d{5}-of-\d{5}$")

POOL_WORDS: Mapping[str, Pool] = {
    "train": Pool.TRAIN,
    "training": Pool.TRAIN,
    "validation": Pool.VALIDATION,
    "valid": Pool.VALIDATION,
    "val": Pool.VALIDATION,
    "dev": Pool.VALIDATION,
    "development": Pool.VALIDATION,
    "test": Pool.TEST,
}
"""The first word of a split's name says its pool: `validation_matched`, `train_r1`, `dev`."""

OTHER_SPLITS: Mapping[str, Pool] = {
    "labelled_dev": Pool.VALIDATION,  # fever/v1.0, whose paper_dev and paper_test are its two halves
    "challenge": Pool.TEST,  # quail
}
"""Splits of the data sets that we know whose first word does not say their pool."""

WHOLE = "full"
"""A split of everything: the train pool of a data set that has no other, else all rows once more."""


def find_dataset(root: Path, source: str, dataset: str) -> Mapping[Pool, tuple[Path, ...]]:
    """Find the split files of a data set, by pool, relative to `root`; nothing where it is not at hand.

    `root` is the folder of all sources, `dataset` a name such as `super_glue/cb`. The first folder that holds
    a split wins; splits are not gathered from two. Raises InputError where a folder holds one split twice.
    """
    for owner in dict.fromkeys((source, SHARED)):
        pools = _pools(root, Path(owner, *dataset.split("/")))
        if pools:
            return pools
    return {}


def pool_rows(root: Path, pool: Pool, files: Sequence[Path]) -> Rows:
    """The rows of one pool's files, read anew by each call.

    A row's id is its split and number, `validation[17]`: the number runs on over the files of a split. Columns
    of CSV and TSV files that hold numbers or truth values become such, as the `datasets` library reads them.
    """

    def rows() -> Iterable[Row]:
        split, number = "", 0
        for file in files:
            if split_of(file) != split:
                split, number = split_of(file), 0
            types = column_types(root, file) if file.suffix in (".csv", ".tsv") else {}
            for record, fields in read_rows(root, file):
                for name, convert in types.items():
                    fields[name] = convert(fields[name])
                yield Row(f"{split}[{number}]", file, record, fields)
                number += 1

    return rows


def split_of(file: Path) -> str:
    """The split that a file belongs to, as upstream names it: `validation_matched`."""
    name = SHARD.sub("", file.stem)
    return name if _pool(name) else file.parent.name


def _pool(split: str) -> Pool | None:
    if split in OTHER_SPLITS:
        return OTHER_SPLITS[split]
    if split == WHOLE:
        return Pool.TRAIN
    return POOL_WORDS.get(re.split(r"[-_.]", split, maxsplit=1)[0].lower())


def _pools(root: Path, folder: Path) -> dict[Pool, tuple[Path, ...]]:
    """The files of a data set's folder by pool, in order of split and shard."""
    splits: dict[str, list[Path]] = {}
    for place in (folder, folder / "data"):
        if not (root / place).is_dir():
            continue
        for entry in sorted((root / place).iterdir()):
            name = place / entry.name
            if entry.is_dir():
                files = _split_folder(root, name) if _pool(entry.name) else []
                split = entry.name
            else:
                files = [name] if entry.suffix in SUFFIXES and _pool(SHARD.sub("", entry.stem)) else []
                split = SHARD.sub("", entry.stem)
            if not files:
                continue
            sharded = all(SHARD.search(file.stem) for file in (*splits.get(split, ()), *files))
            if split in splits and not (sharded and splits[split][0].parent == files[0].parent):
                found = f"the split {split!r} twice ({splits[split][0].name}, {files[0].name})"
                raise InputError(folder, found, "each split once", "remove one of them")
            splits.setdefault(split, []).extend(files)
    if len(splits) > 1:
        splits.pop(WHOLE, None)
    pools: dict[Pool, tuple[Path, ...]] = {}
    for split in sorted(splits):
        pool = _pool(split)
        assert pool is not None
        pools[pool] = (*pools.get(pool, ()), *splits[split])
    return pools


def _split_folder(root: Path, folder: Path) -> list[Path]:
    """The files of a split that has a folder of its own."""
    state = root / folder / "state.json"
    if state.is_file():
        return _saved_files(root, folder)
    return [
        folder / entry.name
        for entry in sorted((root / folder).iterdir())
        if entry.suffix in (".parquet", ".arrow", ".jsonl")
    ]


def _saved_files(root: Path, folder: Path) -> list[Path]:
    """The files of a `save_to_disk` folder, in the order that its state names."""
    place = folder / "state.json"
    try:
        state = json.loads((root / place).read_text(encoding="utf-8"))
        names = [str(entry["filename"]) for entry in state["_data_files"]]
        indices = state.get("_indices_files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            place, f"{type(error).__name__}: {error}", "a data set's state", "save it again"
        ) from error
    if indices:
        found = f"a selection of rows ({quote(indices)})"
        raise InputError(place, found, "the rows themselves", "save it after flatten_indices()")
    for name in names:
        if Path(name).name != name or not name:
            raise InputError(place, quote(name), "a file of this folder", "save it again")
    return [folder / name for name in names]
