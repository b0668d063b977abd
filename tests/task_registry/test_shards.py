"""Shards: what is written is read again, by us, by `datasets` and through a memory map; damage is found."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from task_registry import shards
from task_registry.errors import BenchFolderError
from task_registry.schema import ROWS_PER_BATCH, SCHEMA
from task_registry.shards import read_batches, read_examples, write_split
from task_registry.types import Example, Split

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EXAMPLES = st.lists(
    st.builds(
        Example,
        id=TEXT,
        input=TEXT,
        references=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
        description=TEXT,
        options=st.lists(TEXT, max_size=3).map(tuple),
        answer=st.none() | TEXT,
        explanation=st.none() | TEXT,
        template=TEXT,
    ),
    min_size=1,
    max_size=8,
)


def example(number: int) -> Example:
    return Example(
        f"id {number}", f"input {number}", (f"a {number}", "b"), description="Do it.", template="t"
    )


@settings(max_examples=60, deadline=None)
@given(examples=EXAMPLES)
def test_examples_survive_the_round_trip(
    examples: list[Example], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("split") / "test"
    summary = write_split(folder, "source/task", Split.TEST, examples)
    assert summary is not None
    assert list(read_examples(folder)) == examples
    assert summary.count == len(examples)
    assert sum(batch.num_rows for batch in read_batches(folder, summary)) == len(examples)


@given(examples=EXAMPLES, data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_digest_tells_any_change(
    examples: list[Example], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    index = data.draw(st.integers(0, len(examples) - 1))
    field = data.draw(st.sampled_from(["id", "input", "answer", "explanation", "template", "options"]))
    old = getattr(examples[index], field)
    new = (*old, "new") if isinstance(old, tuple) else (old or "") + "x"
    changed = [*examples]
    changed[index] = examples[index]._replace(**{field: new})
    folder = tmp_path_factory.mktemp("split")
    first = write_split(folder / "a", "source/task", Split.TEST, examples)
    second = write_split(folder / "b", "source/task", Split.TEST, changed)
    assert first is not None and second is not None
    assert first.digest != second.digest


def test_datasets_and_a_memory_map_read_a_shard(tmp_path: Path) -> None:
    count = 2 * ROWS_PER_BATCH + 7
    write_split(tmp_path / "train", "source/task", Split.TRAIN, map(example, range(count)))
    loaded = datasets.load_from_disk(str(tmp_path / "train"))
    assert len(loaded) == count
    assert loaded[count - 1]["input"] == f"input {count - 1}"
    assert loaded[ROWS_PER_BATCH]["description"] == "Do it."
    assert str(loaded.split) == "train"
    long = loaded.filter(lambda row: row["input"].endswith("7")).map(lambda row: {"size": len(row["input"])})
    assert long[0]["size"] == len("input 7")
    assert datasets.concatenate_datasets([loaded, loaded]).num_rows == 2 * count
    before = pa.total_allocated_bytes()
    with pa.memory_map(str(tmp_path / "train" / "data-00000-of-00001.arrow")) as source:
        table = pa.ipc.open_stream(source).read_all()
        assert table.num_rows == count
        assert pa.total_allocated_bytes() - before < table.nbytes / 10


def test_nothing_leaves_no_folder(tmp_path: Path) -> None:
    assert write_split(tmp_path / "test", "source/task", Split.TEST, []) is None
    assert not (tmp_path / "test").exists()


def test_a_large_split_becomes_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "BYTES_PER_FILE", 40_000)
    examples = [example(n) for n in range(5 * ROWS_PER_BATCH)]
    write_split(tmp_path / "train", "source/task", Split.TRAIN, examples)
    files = sorted(file.name for file in (tmp_path / "train").glob("*.arrow"))
    assert files == [f"data-{i:05}-of-{len(files):05}.arrow" for i in range(len(files))]
    assert len(files) > 1
    assert list(read_examples(tmp_path / "train")) == examples
    assert len(datasets.load_from_disk(str(tmp_path / "train"))) == len(examples)


def test_equal_examples_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_split(tmp_path / name, "source/task", Split.TEST, map(example, range(1500)))
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_off_file_is_an_error(tmp_path: Path, share: float) -> None:
    summary = write_split(tmp_path / "test", "source/task", Split.TEST, map(example, range(3000)))
    assert summary is not None
    file = tmp_path / "test" / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BenchFolderError, match=str(file.parent)):
        list(read_batches(tmp_path / "test", summary))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_a_flipped_bit_is_an_error(tmp_path: Path, share: float) -> None:
    summary = write_split(tmp_path / "test", "source/task", Split.TEST, map(example, range(3000)))
    file = tmp_path / "test" / "data-00000-of-00001.arrow"
    content = bytearray(file.read_bytes())
    # In a text, whose bits no other check looks at.
    content[content.index(b"input", int(len(content) * share))] ^= 1
    file.write_bytes(content)
    with pytest.raises(BenchFolderError, match="damaged: 3,000 examples of digest"):
        list(read_batches(tmp_path / "test", summary))


def test_another_schema_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path / "test", "source/task", Split.TEST, [example(1)])
    file = tmp_path / "test" / "data-00000-of-00001.arrow"
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA.remove_metadata()) as writer:
        assert writer
    other = pa.schema([("input", pa.string())])
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, other) as writer:
        writer.write_batch(pa.record_batch([pa.array(["x"])], schema=other))
    with pytest.raises(BenchFolderError, match="another schema"):
        list(read_examples(tmp_path / "test"))


@pytest.mark.parametrize(
    "name", ["../data-00000-of-00001.arrow", "/dev/zero", "", "data-00000-of-00001.arrow/..", 7]
)
def test_a_file_that_is_none_of_the_folder_is_not_opened(tmp_path: Path, name: object) -> None:
    write_split(tmp_path / "train", "flan/a", Split.TRAIN, [example(1)])
    (tmp_path / "train" / "data-00000-of-00001.arrow").rename(tmp_path / "data-00000-of-00001.arrow")
    (tmp_path / "train" / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(BenchFolderError, match=r"no readable state\.json"):
        list(read_examples(tmp_path / "train"))


def test_bytes_overwritten_anywhere_are_refused_or_read_and_end_no_process(tmp_path: Path) -> None:
    """Without validation, about one in twenty of these ends the process by reading beyond its memory."""
    write_split(tmp_path / "train", "flan/a", Split.TRAIN, [example(n) for n in range(5)])
    file = tmp_path / "train" / "data-00000-of-00001.arrow"
    sound, refused = file.read_bytes(), 0
    for at in range(0, len(sound) - 8, 8):
        file.write_bytes(sound[:at] + b"\xff\xff\xff\x7f" + sound[at + 4 :])
        try:
            list(read_examples(tmp_path / "train"))
        except BenchFolderError:
            refused += 1
    assert refused > 50
