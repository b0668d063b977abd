"""A bench on disk, opened again: its records are what was built, and what is broken is named."""

from __future__ import annotations

import json
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kit import build_folder

from task_registry.bench import Bench
from task_registry.errors import BenchFolderError, UsageError
from task_registry.records import flatten, unflatten
from task_registry.types import Split


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench") / "data"
    build_folder(None, out, source=("superni",))
    return out


def test_the_records_read_are_the_records_built(tmp_path: Path) -> None:
    report = build_folder(None, tmp_path / "data", source=("superni",))
    bench = Bench.open(tmp_path / "data")
    assert tuple(bench.tasks.values()) == report.tasks
    assert bench.manifest == report.manifest
    assert [unflatten(flatten(one)) for one in report.tasks] == list(report.tasks)


def test_tasks_parquet_is_a_table_for_people(built: Path) -> None:
    table = pandas.read_parquet(built / "tasks.parquet").set_index("id")
    row = table.loc["superni/sample_headlines"]
    assert row["category"] == "Title Generation"
    assert row["n_train"] == 5
    assert list(row["output_languages"]) == ["English"]
    assert dict(row["dropped"])["no_reference"] == 1
    assert table.loc["superni/sample_pairs", "level"] == "fully_held_out"
    assert table.loc["superni/sample_colours_es", "licence"] == "CC BY 4.0"
    assert list(table.loc["superni/sample_pairs", "skills"]) == ["Analogical Reasoning"]


def test_examples_are_counted_and_totalled(built: Path) -> None:
    bench = Bench.open(built)
    for split in Split:
        counted = sum(len(list(bench.examples(task, split))) for task in bench.tasks)
        assert counted == bench.totals[split] == bench.manifest.examples[split]


def test_an_unknown_task_is_named(built: Path) -> None:
    with pytest.raises(UsageError, match="superni/nothing"):
        Bench.open(built).task("superni/nothing")


def copy(built: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(built, to))


def test_a_flipped_bit_is_found(built: Path, tmp_path: Path) -> None:
    bench = Bench.open(copy(built, tmp_path / "data"))
    assert list(bench.damaged()) == []
    file = next(bench.split_folder("superni/sample_pairs", Split.TEST).glob("*.arrow"))
    content = bytearray(file.read_bytes())
    content[content.index(b"fish : water")] ^= 1
    file.write_bytes(content)
    (found,) = Bench.open(bench.path).damaged()
    assert "superni/sample_pairs/test" in found


def test_a_shard_cut_between_two_batches_is_found(built: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    bench = Bench.open(copy(built, tmp_path / "data"))
    file = next(bench.split_folder("superni/sample_sums", Split.TEST).glob("*.arrow"))
    with pa.memory_map(str(file)) as source:
        schema = pa.ipc.open_stream(source).schema
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema):
        pass
    with pytest.raises(BenchFolderError, match=r"damaged: 0 examples of digest .*, expected 100 of"):
        list(bench.examples("superni/sample_sums", Split.TEST))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "bench.json").unlink(), "no bench.json"),
        (lambda path: (path / "bench.json").write_text("{"), "not a readable manifest"),
        (lambda path: (path / "bench.json").write_text('{"format": 99}'), "format 99, expected"),
        (lambda path: (path / "bench.json").write_text("[]"), "not a readable manifest"),
        (lambda path: (path / "tasks.parquet").write_bytes(b"PAR1"), "tasks.parquet"),
        (lambda path: (path / "tasks.parquet").unlink(), "tasks.parquet"),
    ],
)
def test_a_broken_folder_is_named(built: Path, tmp_path: Path, change, message: str) -> None:
    path = copy(built, tmp_path / "data")
    change(path)
    with pytest.raises(BenchFolderError, match=message):
        Bench.open(path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BenchFolderError, match="optiml-bench build"):
        Bench.open(tmp_path / "nothing")


def test_the_manifest_has_nothing_of_the_machine(built: Path) -> None:
    text = (built / "bench.json").read_text()
    assert str(Path.home()) not in text
    assert str(built) not in text
    assert json.loads(text)["sample"] is True


@pytest.mark.parametrize(
    "change",
    [
        {"sources": [1]},
        {"sources": {"flan": {"origin": 1, "tasks": 1, "fingerprint": ""}}},
        {"seed": "0"},
        {"tasks": 1.5},
        {"dropped": {"over_cap": None}},
        {"plan": "\ud800"},
        {"failed": ["flan/a"]},
        {"unheard": 1},
    ],
)
def test_a_manifest_with_another_type_is_refused(
    built: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = copy(built, tmp_path / "data")
    content = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
    (folder / "bench.json").write_text(json.dumps(content | change), encoding="utf-8")
    with pytest.raises(BenchFolderError, match="not a readable manifest"):
        Bench.open(folder)


def test_a_manifest_nested_without_end_is_refused(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "data")
    (folder / "bench.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(BenchFolderError, match="not a readable manifest"):
        Bench.open(folder)


def test_a_task_whose_name_would_leave_its_folder_is_refused(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "data")
    table = pq.read_table(folder / "tasks.parquet")
    rows = [row | {"id": "flan/../../elsewhere"} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "tasks.parquet")
    with pytest.raises(BenchFolderError, match="would leave its folder"):
        Bench.open(folder)
