"""Native file formats: each reader turns a fault of the file into one line that names its place."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from task_registry.errors import InputError, Place, quote

BATCH = 1000
"""Rows that are turned into Python objects at once."""


def read_text(root: Path, file: Path) -> str:
    """Read a UTF-8 file; `file` is relative to `root` and is what errors name."""
    try:
        content = (root / file).read_bytes()
    except IsADirectoryError:
        raise InputError(file, "a folder", "a file", "remove it or put the file there") from None
    except FileNotFoundError:
        raise InputError(file, "no such file", "a file", "bring it, or remove what names it") from None
    except OSError as error:
        raise InputError(
            file, f"no access ({error.strerror})", "a readable file", "mend its rights"
        ) from error
    if not content or content.isspace():
        raise InputError(file, "an empty file", "content", "bring the file again")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x}, which is no UTF-8"
        raise InputError(Place(file, f"line {line}"), found, "UTF-8 text", "convert the file") from error


def read_json(root: Path, file: Path) -> Any:
    """Read a JSON file."""
    text = read_text(root, file)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = Place(file, f"line {error.lineno} column {error.colno}")
        ends_early = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        cut = " (the file is cut off)" if ends_early else ""
        raise InputError(place, f"no JSON: {error.msg}{cut}", "JSON", "bring the file again") from error
    except ValueError as error:
        raise InputError(file, f"no JSON: {error}", "JSON", "bring the file again") from error
    except RecursionError as error:
        raise InputError(file, "JSON nested too deeply", "a task", "bring the file again") from error


def read_rows(root: Path, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a table file, each with its record (`line 4`, `[17]`), as they are read.

    The suffix says the format: `.jsonl`, `.json` (a list of objects), `.csv` and `.tsv` with a header (every
    value is a string), `.parquet`, `.arrow` (stream or file format; dictionaries are decoded). Raises
    InputError with the record's place for what is no row, and for a file without rows.
    """
    reader = _READERS.get(file.suffix)
    if reader is None:
        raise InputError(file, f"the suffix {file.suffix!r}", f"one of {', '.join(_READERS)}", "convert it")
    empty = True
    for row in reader(root, file):
        empty = False
        yield row
    if empty:
        raise InputError(file, "no rows", "rows", "bring the file again")


def read_tsv(root: Path, file: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a TSV file without a header, named by `columns`; quotes mean nothing.

    Raises InputError at a line with more or fewer fields than there are columns.
    """
    yield from _named(file, enumerate(_lines(root, file), 1), columns)


def column_types(root: Path, file: Path) -> dict[str, Callable[[str], Any]]:
    """How to read the columns of a CSV or TSV file that hold nothing but numbers or truth values.

    A column is of whole numbers, of numbers or of `True` and `False` if all its values are, but for empty
    ones, which become None; all other columns are text and not named here. Reads the whole file.
    """
    open_: dict[str, list[tuple[re.Pattern[str], Callable[[str], Any]]]] = {}
    for _, row in read_rows(root, file):
        for name, value in row.items():
            left = open_.setdefault(name, list(_TYPES))
            if value and left:
                left[:] = [type_ for type_ in left if type_[0].fullmatch(value)]
    return {name: _or_none(left[0][1]) for name, left in open_.items() if 0 < len(left) < len(_TYPES)}


_TYPES: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"-?(0|[1-9]\d{0,17})"), int),
    (re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d{1,3})?"), float),
    (re.compile("True|False|true|false"), lambda text: text in ("True", "true")),
)
"""What a column may be, in order of preference; leading zeros make it text."""


def _or_none(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: convert(text) if text else None


def _read_tsv_with_header(root: Path, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = enumerate(_lines(root, file), 1)
    _, header = next(lines, (1, ""))
    yield from _named(file, lines, header.split("\t"))


def _named(
    file: Path, lines: Iterable[tuple[int, str]], columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    width = len(columns)
    if len(set(columns)) < width:
        raise _twice(file, columns)
    for number, line in lines:
        values = line.split("\t")
        if len(values) != width:
            raise _ragged(file, number, values, columns)
        yield f"line {number}", dict(zip(columns, values, strict=True))


def _twice(file: Path, columns: Sequence[str]) -> InputError:
    name = next(name for name in columns if columns.count(name) > 1)
    return InputError(
        Place(file, "line 1"), f"the column {name!r} twice", "a name for each column", "rename one"
    )


def _ragged(file: Path, number: int, values: Sequence[str], columns: Sequence[str]) -> InputError:
    extra = f", the last {quote(values[-1])}" if values else ""
    expected = f"{len(columns)}: {', '.join(columns)}"
    found = f"{len(values)} fields{extra}"
    return InputError(Place(file, f"line {number}"), found, expected, "mend the line")


def _read_csv(root: Path, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # The module's limit of 131,072 characters a field is a process-wide setting; documents are longer.
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(_decoded(root, file), strict=True)
    blank = 0
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise _twice(file, header)
        for values in reader:
            if not values:
                blank = blank or reader.line_num
                continue
            if blank:
                raise _blank_line(file, blank)
            if len(values) != len(header):
                raise _ragged(file, reader.line_num, values, header)
            yield f"line {reader.line_num}", dict(zip(header, values, strict=True))
    except csv.Error as error:
        place = Place(file, f"line {reader.line_num}")
        raise InputError(place, str(error), "CSV", "mend the line") from error


def _read_jsonl(root: Path, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_lines(root, file), 1):
        place = Place(file, f"line {number}")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(place, f"no JSON: {error}", "a JSON object", "bring the file again") from error
        yield place.record, _checked(place, row)


def _read_json_rows(root: Path, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    content = read_json(root, file)
    if not isinstance(content, list):
        raise InputError(file, quote(content), "a list of objects", "convert it")
    for number, row in enumerate(content):
        yield f"[{number}]", _checked(Place(file, f"[{number}]"), row)


def _checked(place: Place, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(place, quote(row), "a JSON object with the row's fields", "bring the file again")
    return row


def _read_parquet(root: Path, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(_existing(root, file)) as table:
            yield from _numbered(table.iter_batches(BATCH))
    except (pa.ArrowException, *UNREADABLE) as error:
        raise InputError(file, _one_line(error), "a Parquet file", "bring the file again") from error


def _read_arrow(root: Path, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa

    try:
        with pa.memory_map(str(_existing(root, file))) as source:
            try:
                batches: Iterable[Any] = pa.ipc.open_stream(source)
            except pa.ArrowInvalid:
                source.seek(0)
                table = pa.ipc.open_file(source)
                batches = (table.get_batch(index) for index in range(table.num_record_batches))
            yield from _numbered(part for batch in batches for part in _slices(batch))
    except (pa.ArrowException, *UNREADABLE) as error:
        raise InputError(file, _one_line(error), "an Arrow file", "bring the file again") from error


UNREADABLE = (OSError, ValueError, OverflowError, TypeError, NotImplementedError)
"""What pyarrow raises, beside its own, over a damaged file and over values that Python has no type for."""


def _slices(batch: Any) -> Iterator[Any]:
    return (batch.slice(start, BATCH) for start in range(0, batch.num_rows, BATCH))


def _numbered(batches: Iterable[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of record batches. Lengths and offsets in a damaged one would lead out of the process's memory."""
    number = 0
    for batch in batches:
        batch.validate(full=True)
        for row in batch.to_pylist():
            yield f"[{number}]", row
            number += 1


def _lines(root: Path, file: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, without their ends; empty ones may only stand at its end."""
    blank = 0
    for number, line in enumerate(_decoded(root, file), 1):
        content = line.rstrip("\r\n")
        if not content:
            blank = blank or number
            continue
        if blank:
            raise _blank_line(file, blank)
        yield content


def _blank_line(file: Path, number: int) -> InputError:
    return InputError(Place(file, f"line {number}"), "an empty line", "a row", "remove it")


def _decoded(root: Path, file: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, with or without a byte order mark; only a line feed ends a line."""
    with _existing(root, file).open("rb") as stream:
        for number, content in enumerate(stream, 1):
            try:
                yield content.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                found = f"byte 0x{content[error.start]:02x}, which is no UTF-8"
                raise InputError(Place(file, f"line {number}"), found, "UTF-8 text", "convert it") from error


def _existing(root: Path, file: Path) -> Path:
    path = root / file
    try:
        found = path.is_file()
    except OSError as error:
        raise InputError(
            file, error.strerror or "no access", "a file", "mend the name or its rights"
        ) from error
    if not found:
        raise InputError(file, "no such file", "a file", "bring it, or remove what names it")
    return path


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


_READERS: dict[str, Callable[[Path, Path], Iterator[tuple[str, dict[str, Any]]]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json_rows,
    ".csv": _read_csv,
    ".tsv": _read_tsv_with_header,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}
SUFFIXES = tuple(_READERS)
"""The suffixes that `read_rows` knows."""
