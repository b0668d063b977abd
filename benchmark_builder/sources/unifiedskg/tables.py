"""Tables: flattened row by row as upstream does, and the data sets that ask about them.

    WikiTableQuestions   https://github.com/ppasupat/WikiTableQuestions (CC-BY-SA-4.0)
    TabFact              https://github.com/wenhuchen/Table-Fact-Checking (MIT; data CC-BY-4.0)
    FeTaQA               https://github.com/Yale-LILY/FeTaQA (CC-BY-SA-4.0)

Upstream writes a table as `col : a | b row 1 : x | y row 2 : ...`, all in lower case, and shortens it to about
1,024 of T5's tokens (utils/processor/*.py): cells to 15 tokens, then by leaving out, at random, rows that have
nothing to do with the request. Here no model's tokenizer is asked and nothing is left to chance: words and
signs are counted, and of the rows those that share a word with the request stay first, then the earlier ones.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark_builder.readers import read_json, read_rows, read_text
from benchmark_builder.source import Pool
from benchmark_builder.sources.unifiedskg.flat import Flat, Layout, Reading
from task_registry.errors import InputError, Place, quote

MAX_WORDS = 1024
MAX_CELL_WORDS = 15
MAX_NAME = 200
"""Characters of a file's name."""
NO_TABLE = "no_table"
"""Rule: a question whose table is not at hand is left out."""
VERDICTS = ("refuted", "entailed")

WORD = re.compile(r"\w+|[^\w\s]")


def flatten_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], request: str = "", cell_words: int = MAX_CELL_WORDS
) -> str:
    """Flatten a table, shortened where it is long; rows are numbered anew, from 1."""
    head = "col : " + " | ".join(header)
    cut = [" | ".join(shorten(cell, cell_words) for cell in row) for row in rows]
    kept = _fitting(cut, request, MAX_WORDS - len(WORD.findall(f"{request} {head}")))
    return " ".join([head, *(f"row {number} : {row}" for number, row in enumerate(kept, 1))])


def shorten(cell: str, words: int) -> str:
    """Cut a cell after so many words and signs."""
    for count, match in enumerate(WORD.finditer(cell), 1):
        if count > words:
            return cell[: match.start()].rstrip()
    return cell


def _fitting(rows: Sequence[str], request: str, room: int) -> Sequence[str]:
    """The rows that fit: those that share a word with the request first, then from the top."""
    words = [WORD.findall(row.lower()) for row in rows]
    sizes = [len(found) + 3 for found in words]
    if sum(sizes) <= room:
        return rows
    asked = {word for word in WORD.findall(request.lower()) if len(word) > 1}
    kept: set[int] = set()
    for index in sorted(range(len(rows)), key=lambda i: (asked.isdisjoint(words[i]), i)):
        if sizes[index] <= room:
            kept.add(index)
            room -= sizes[index]
    return [row for index, row in enumerate(rows) if index in kept]


def even(file: Path, rows: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Check that a table has rows and that all are as wide as its first, the header."""
    if not rows:
        raise InputError(file, "an empty table", "a header and rows", "bring the file again")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            found = f"{len(row)} cells"
            raise InputError(Place(file, f"row {number}"), found, f"{len(rows[0])}", "bring the file again")
    return rows


def inside(folder: Path, name: str, place: Place) -> Path:
    """The file of that name in a folder; InputError where the name leads out of it."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not 0 < len(name) <= MAX_NAME or "\0" in name:
        raise InputError(place, f"the table {quote(name)}", "a file of this folder", "mend the name")
    return folder / path


def _wikitablequestions(reading: Reading) -> Iterator[tuple[str, Flat]]:
    """Questions as TSV, their tables as CSV in which a backslash escapes; answers joined by `|`."""
    for record, row in read_rows(reading.root, reading.file):
        table = inside(reading.folder, row["context"], Place(reading.file, record))
        question = _unescaped(row["utterance"])
        if not (reading.root / table).is_file():
            yield record, Flat(question, "", dropped=NO_TABLE)
            continue
        lines = io.StringIO(read_text(reading.root, table), newline="")
        cells = [
            [" ".join(cell.split()) for cell in line]
            for line in csv.reader(lines, doublequote=False, escapechar="\\")
        ]
        header, *rows = even(table, cells)
        answer = ", ".join(map(_unescaped, row["targetValue"].split("|")))
        flat = flatten_table(header, rows, question)
        yield record, Flat(question.lower(), flat.lower(), (answer.lower(),))


def _unescaped(text: str) -> str:
    escapes = {"n": " ", "p": "|", "\\": "\\"}
    return re.sub(r"\\([np\\])", lambda match: escapes[match[1]], text)


def _tab_fact(reading: Reading) -> Iterator[tuple[str, Flat]]:
    """For each table its statements, whether they hold (1) or not (0), and its caption, which is not used."""
    content = read_json(reading.root, reading.file)
    if not isinstance(content, dict):
        raise InputError(reading.file, quote(content), "statements by table", "bring the file again")
    for name, entry in content.items():
        place = Place(reading.file, name)
        statements, labels = entry[:2]
        table = inside(reading.folder / "data" / "all_csv", name, place)
        known = (reading.root / table).is_file()
        lines = read_text(reading.root, table).rstrip("\n").split("\n") if known else []
        header, *rows = even(table, [line.split("#") for line in lines]) if known else ((),)
        for number, (statement, label) in enumerate(zip(statements, labels, strict=True)):
            part = f"[{number}]"
            if not known:
                yield name, Flat(statement, "", part=part, dropped=NO_TABLE)
                continue
            output = () if label is None or label < 0 else (VERDICTS[label],)
            flat = flatten_table(header, rows, statement)
            yield name, Flat(statement.lower(), flat.lower(), output, part)


def _fetaqa(reading: Reading) -> Iterator[tuple[str, Flat]]:
    """A table with the titles of its page and section, and an answer in a whole sentence."""
    for record, row in read_rows(reading.root, reading.file):
        header, *rows = even(reading.file, row["table_array"])
        titles = f"{row['table_page_title']} | {row['table_section_title']}"
        flat = f"{titles} {flatten_table(header, rows, row['question'])}"
        yield record, Flat(row["question"].lower(), flat.lower(), (row.get("answer", "").lower(),))


WIKITABLEQUESTIONS = Layout(
    name="WikiTableQuestions",
    splits={
        Pool.TRAIN: ("data/random-split-1-train.tsv",),
        Pool.VALIDATION: ("data/random-split-1-dev.tsv",),
        Pool.TEST: ("data/pristine-unseen-tables.tsv",),
    },
    read=_wikitablequestions,
    knowledge=("csv/*/*.csv",),
)
TAB_FACT = Layout(
    name="TabFact",
    splits={
        Pool.TRAIN: ("tokenized_data/train_examples.json",),
        Pool.VALIDATION: ("tokenized_data/val_examples.json",),
        Pool.TEST: ("tokenized_data/test_examples.json",),
    },
    read=_tab_fact,
    knowledge=("data/all_csv/*.csv",),
)
FETAQA = Layout(
    name="FeTaQA",
    splits={
        Pool.TRAIN: ("fetaQA-v1_train.jsonl", "data/fetaQA-v1_train.jsonl"),
        Pool.VALIDATION: ("fetaQA-v1_dev.jsonl", "data/fetaQA-v1_dev.jsonl"),
        Pool.TEST: ("fetaQA-v1_test.jsonl", "data/fetaQA-v1_test.jsonl"),
    },
    read=_fetaqa,
)
