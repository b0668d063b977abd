"""Readers of table files: what goes in comes out whatever the format, and each fault names its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark_builder.readers import BATCH, column_types, read_rows, read_tsv
from task_registry.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"text": "Low water at six", "label": 1, "parts": {"who": ["Ann", "Bo"]}, "none": None},
    {"text": 'tab\there, "quote", line\nbreak, ÅÄÖ, \u2028', "label": -1, "parts": {"who": []}, "none": None},
]


def write_jsonl(file: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text(text, encoding="utf-8", newline="")


def write_json(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text(json.dumps(rows), encoding="utf-8")


def write_parquet(file: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), file)


def write_stream(file: Path, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def write_arrow_file(file: Path, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def write_csv(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


TYPED: list[tuple[str, Callable[[Path, list[dict[str, Any]]], None]]] = [
    ("rows.jsonl", write_jsonl),
    ("rows.json", write_json),
    ("rows.parquet", write_parquet),
    ("stream.arrow", write_stream),
    ("file.arrow", write_arrow_file),
]


def rows(root: Path, name: str) -> list[dict[str, Any]]:
    return [fields for _, fields in read_rows(root, Path(name))]


@pytest.mark.parametrize(("name", "write"), TYPED)
def test_typed_rows_come_back(name: str, write: Any, tmp_path: Path) -> None:
    write(tmp_path / name, ROWS)
    assert rows(tmp_path, name) == ROWS


@pytest.mark.parametrize(("name", "write"), TYPED[2:])
def test_records_count_on_over_batches(name: str, write: Any, tmp_path: Path) -> None:
    many = [{"n": n} for n in range(2 * BATCH + 7)]
    write(tmp_path / name, many)
    read = list(read_rows(tmp_path, Path(name)))
    assert read[0] == ("[0]", {"n": 0})
    assert read[-1] == (f"[{2 * BATCH + 6}]", {"n": 2 * BATCH + 6})
    assert len({record for record, _ in read}) == len(many)


def test_a_dictionary_column_is_decoded(tmp_path: Path) -> None:
    table = pa.table({"word": pa.array(["a", "b", "a"]).dictionary_encode()})
    with pa.ipc.new_stream(tmp_path / "x.arrow", table.schema) as writer:
        writer.write_table(table)
    assert rows(tmp_path, "x.arrow") == [{"word": "a"}, {"word": "b"}, {"word": "a"}]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.fixed_dictionaries({"a": CELL, "b": CELL}), min_size=1, max_size=5))
def test_csv_comes_back_with_all_its_line_breaks(tmp_path: Path, table: list[dict[str, str]]) -> None:
    write_csv(tmp_path / "x.csv", table)
    assert rows(tmp_path, "x.csv") == table


def test_a_csv_record_is_the_line_where_it_ends(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,b\n"one\n\ntwo",2\n3,4\n', encoding="utf-8")
    assert [record for record, _ in read_rows(tmp_path, Path("x.csv"))] == ["line 4", "line 5"]


def test_a_field_of_a_csv_may_be_a_book(tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", [{"text": "word " * 60_000}])
    assert rows(tmp_path, "x.csv") == [{"text": "word " * 60_000}]


def test_tsv_quotes_mean_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes('\ufeffa\tb\r\n"one\ttwo"\r\n'.encode())
    assert rows(tmp_path, "x.tsv") == [{"a": '"one', "b": 'two"'}]
    (tmp_path / "y.tsv").write_text('"one\t2\n', encoding="utf-8")
    assert list(read_tsv(tmp_path, Path("y.tsv"), ("a", "b"))) == [("line 1", {"a": '"one', "b": "2"})]


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1}\nno json\n', encoding="utf-8")
    reading = read_rows(tmp_path, Path("x.jsonl"))
    assert next(reading) == ("line 1", {"a": 1})
    with pytest.raises(InputError, match=r"x\.jsonl, line 2: found no JSON"):
        next(reading)


FAULTS = {
    "too many fields": ("x.tsv", "a\tb\n1\t2\t3\n", r"x\.tsv, line 2: found 3 fields, the last '3'"),
    "too few fields": ("x.csv", "a,b\n1,2\n3\n", r"x\.csv, line 3: found 1 fields.*expected 2: a, b"),
    "a quote left open": ("x.csv", 'a\n"one\n', r"x\.csv, line 2: found unexpected end of data"),
    "a column twice": ("x.csv", "a,a\n1,2\n", r"x\.csv, line 1: found the column 'a' twice"),
    "a tsv column twice": ("x.tsv", "a\ta\n1\t2\n", r"x\.tsv, line 1: found the column 'a' twice"),
    "an empty line amid a csv": ("x.csv", "a\n1\n\n2\n", r"x\.csv, line 3: found an empty line"),
    "an empty line amid json lines": ("x.jsonl", '{"a":1}\n\n{"a":2}\n', r"x\.jsonl, line 2: found an empty"),
    "a row that is no object": ("x.jsonl", "[1]\n", r"x\.jsonl, line 1: found \[1\], expected a JSON object"),
    "a json file of another shape": ("x.json", '{"a": 1}', r"x\.json: found .*, expected a list of objects"),
    "a json row that is no object": ("x.json", '[{"a": 1}, 2]', r"x\.json, \[1\]: found 2"),
    "a deep row": ("x.jsonl", "[" * 100_000 + "\n", r"x\.jsonl, line 1: found no JSON"),
    "no content": ("x.jsonl", "", r"x\.jsonl: found no rows"),
    "no content in a csv": ("x.csv", "", r"x\.csv: found no rows"),
    "no content in a tsv": ("x.tsv", "", r"x\.tsv: found no rows"),
    "a header alone": ("x.csv", "a,b\n", r"x\.csv: found no rows"),
    "no Parquet": ("x.parquet", "PAR1 nonsense", r"x\.parquet: found .*, expected a Parquet file"),
    "no Arrow": ("x.arrow", "nonsense", r"x\.arrow: found .*, expected an Arrow file"),
    "another suffix": ("x.xlsx", "a", r"x\.xlsx: found the suffix '\.xlsx'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_its_place(fault: str, tmp_path: Path) -> None:
    name, content, expected = FAULTS[fault]
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=expected) as caught:
        rows(tmp_path, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tsv", "x.parquet", "x.arrow", "x.json"])
def test_an_absent_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{name}: found no such file"):
        rows(tmp_path, name)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tsv"])
def test_bytes_that_are_no_utf8_are_named(name: str, tmp_path: Path) -> None:
    head = b'{"a": 1}\n' if name == "x.jsonl" else b"a\n"
    (tmp_path / name).write_bytes(head + b"na\xefve\n")
    with pytest.raises(InputError, match=r"line 2: found byte 0xef"):
        rows(tmp_path, name)


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_half_a_file_is_an_error(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    write = write_parquet if name == "x.parquet" else write_arrow_file
    write(file, ROWS * 500)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=name):
        rows(tmp_path, name)


def test_empty_lines_at_the_end_are_no_rows(tmp_path: Path) -> None:
    for name, content in (("x.jsonl", '{"a": 1}\n\n\n'), ("x.csv", "a\n1\n\n"), ("x.tsv", "a\n1\n\n")):
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert len(rows(tmp_path, name)) == 1


def test_columns_of_numbers_and_truth_values_are_told(tmp_path: Path) -> None:
    table = "whole,real,truth,text,postcode,gap,empty\n1,0.5,True,a,01234,,\n-1,2,False,3,99999,7,\n"
    (tmp_path / "x.csv").write_text(table, encoding="utf-8")
    types = column_types(tmp_path, Path("x.csv"))
    last = rows(tmp_path, "x.csv")[1]
    assert {name: convert(last[name]) for name, convert in types.items()} == {
        "whole": -1,
        "real": 2.0,
        "truth": False,
        "gap": 7,
    }
    assert types["gap"]("") is None


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("content", ["9" * 5_000, "[" * 100_000], ids=["a long number", "nested lists"])
def test_json_that_python_does_not_take_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=f"{name}.*: found "):
        list(read_rows(tmp_path, Path(name)))


@pytest.mark.parametrize("wrong", [1 << 30, -1], ids=["beyond the file", "negative"])
def test_an_offset_that_leads_out_of_a_batch_is_refused(tmp_path: Path, wrong: int) -> None:
    """Read, the one would end the process; the other is a length below zero."""
    file = tmp_path / "rows.arrow"
    write_stream(file, [{"text": "a" * 40}, {"text": "b" * 40}])
    content = file.read_bytes()
    offsets = (0).to_bytes(4, "little") + (40).to_bytes(4, "little") + (80).to_bytes(4, "little")
    assert content.count(offsets) == 1
    broken = offsets[:4] + wrong.to_bytes(4, "little", signed=True) + offsets[8:]
    file.write_bytes(content.replace(offsets, broken))
    with pytest.raises(InputError, match=r"rows\.arrow: found "):
        list(read_rows(tmp_path, Path("rows.arrow")))


def test_text_that_is_no_utf8_in_a_table_is_refused(tmp_path: Path) -> None:
    for name, write in (("rows.arrow", write_stream), ("rows.parquet", write_parquet)):
        write(tmp_path / name, [{"text": "harbour"}])
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(b"harbour", b"harb\xffur"))
        with pytest.raises(InputError, match=f"{name}: found "):
            list(read_rows(tmp_path, Path(name)))


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        list(read_rows(tmp_path, Path("a" * 300 + ".jsonl")))
