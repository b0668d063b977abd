"""One split of one task on disk: Arrow IPC stream files that `datasets.load_from_disk` and a memory map read.

<split>/data-0000i-of-0000n.arrow + state.json + dataset_info.json
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from task_registry.errors import BenchFolderError, quote
from task_registry.schema import ROWS_PER_BATCH, SCHEMA, feed_digest, to_batch, to_examples
from task_registry.types import Example, Split

BYTES_PER_FILE = 256 << 20
"""A file that has grown past this is closed and the next one begun: bounded memory for those who copy it."""

_DATA_FILE = re.compile(r"data-\d{5}-of-\d{5}\.arrow")
_TEXT = {"dtype": "string", "_type": "Value"}
_TEXTS = {"feature": _TEXT, "_type": "List"}
_FEATURES = {field.name: _TEXTS if pa.types.is_list(field.type) else _TEXT for field in SCHEMA}
_DATASET_INFO = json.dumps(
    {"citation": "", "description": "", "features": _FEATURES, "homepage": "", "license": ""}
)
"""What `datasets` wants to know of the columns; the same for every split."""


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What was written: the number of examples and the digest of their logical content."""

    count: int
    digest: str


def write_split(folder: Path, task: str, split: Split, examples: Iterable[Example]) -> SplitSummary | None:
    """Write a split's examples to the new folder `folder`; None, and no folder, where there are none."""
    stream = iter(examples)
    digest, count, files = blake2b(digest_size=16), 0, 0
    writer = sink = None
    try:
        while chunk := list(islice(stream, ROWS_PER_BATCH)):
            if writer is None or sink is None:
                folder.mkdir(parents=True, exist_ok=True)
                sink = (folder / f"part-{files}").open("wb")
                writer = pa.ipc.new_stream(sink, SCHEMA)
                files += 1
            batch = to_batch(task, chunk)
            feed_digest(digest, batch)
            writer.write_batch(batch)
            count += len(chunk)
            if sink.tell() > BYTES_PER_FILE:
                writer.close()
                sink.close()
                writer = sink = None
    finally:
        if writer is not None:
            writer.close()
        if sink is not None:
            sink.close()
    if not count:
        return None
    names = [f"data-{i:05}-of-{files:05}.arrow" for i in range(files)]
    for i, name in enumerate(names):
        (folder / f"part-{i}").rename(folder / name)
    summary = SplitSummary(count, digest.hexdigest())
    _write_datasets_files(folder, names, split, summary)
    return summary


def _write_datasets_files(folder: Path, names: list[str], split: Split, summary: SplitSummary) -> None:
    """Write the two JSON files that `datasets.load_from_disk` wants beside the Arrow files."""
    state: dict[str, object] = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": summary.digest[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": str(split),
    }
    (folder / "state.json").write_text(json.dumps(state) + "\n", encoding="utf-8")
    (folder / "dataset_info.json").write_text(_DATASET_INFO, encoding="utf-8")


def read_batches(folder: Path, expected: SplitSummary | None = None) -> Iterator[pa.RecordBatch]:
    """Yield a split's record batches from a memory map, in order.

    Raises BenchFolderError where a file is missing, cut off or of another schema; and, after the last batch,
    where the content is not the expected one: a bit that has flipped, a stream cut off between two batches.
    """
    digest, count = blake2b(digest_size=16), 0
    for path in _data_files(folder):
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                if not reader.schema.equals(SCHEMA):
                    raise BenchFolderError(
                        f"{path}: another schema than this version's; remove its folder and build again"
                    )
                for batch in reader:
                    # Lengths and offsets in a damaged one would lead out of the process's memory.
                    batch.validate(full=True)
                    if expected is not None:
                        feed_digest(digest, batch)
                        count += batch.num_rows
                    yield batch
        except (OSError, pa.ArrowException) as error:
            raise BenchFolderError(
                f"{path}: cannot be read ({error}); remove its folder and build again"
            ) from error
    if expected is not None and expected != SplitSummary(count, digest.hexdigest()):
        raise BenchFolderError(
            f"{folder}: damaged: {count:,} examples of digest {digest.hexdigest()}, expected "
            f"{expected.count:,} of {expected.digest}; remove that folder and build again"
        )


def read_examples(folder: Path) -> Iterator[Example]:
    """Yield a split's examples in order."""
    for batch in read_batches(folder):
        yield from to_examples(batch)


def _data_files(folder: Path) -> list[Path]:
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        names = [entry["filename"] for entry in state["_data_files"]]
        if strange := [name for name in names if not _DATA_FILE.fullmatch(name)]:
            raise ValueError(f"the file {quote(strange[0])}")
        return [folder / name for name in names]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BenchFolderError(
            f"{folder}: no readable state.json ({error}); remove that folder and build again"
        ) from error
