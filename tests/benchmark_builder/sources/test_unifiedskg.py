"""The UnifiedSKG adapter: all 21 tasks flattened already, seven flattened here, and what goes wrong.

The expected texts agree with upstream's own functions (seq2seq_construction and utils/processor at commit
073a52b), which gave the same on all schemas, queries, dialogues and short tables of the real files.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_builder.source import Dropped, OpenTask, Pool, Row
from benchmark_builder.sources.unifiedskg import UnifiedSKG
from benchmark_builder.sources.unifiedskg.databases import normal_query
from benchmark_builder.sources.unifiedskg.tables import MAX_WORDS, WORD, flatten_table, shorten
from benchmark_builder.sources.unifiedskg.wikisql import answer
from task_registry.catalogue import load_catalogue
from task_registry.errors import InputError
from task_registry.types import Example
from templates.library import load_library

ADAPTER = UnifiedSKG()
KNOWN = {task.name: task for task in load_catalogue().tasks.values() if task.source == "unifiedskg"}


def write(root: Path, name: str, content: Any) -> None:
    """Write a native file: a text as it is, a list for `.jsonl` one a line, anything else as JSON."""
    file = root / "unifiedskg" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".jsonl" and not isinstance(content, str):
        content = "".join(json.dumps(record) + "\n" for record in content)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def opened(root: Path, name: str) -> OpenTask:
    (native,) = (native for native in ADAPTER.tasks(root, KNOWN).tasks if native.name == name)
    return ADAPTER.open(root, native, KNOWN[name])


def rows(task: OpenTask) -> Iterator[tuple[Pool, Row]]:
    return ((pool, row) for pool, read in task.rows.items() for row in read())


def rendered(root: Path, name: str) -> list[Example | Dropped]:
    task = opened(root, name)
    return [task.render(row, "") for _, row in rows(task)]


def examples(root: Path, name: str) -> list[Example]:
    found = rendered(root, name)
    assert all(isinstance(example, Example) for example in found), found
    return [example for example in found if isinstance(example, Example)]


def texts(root: Path, name: str) -> list[tuple[str, ...]]:
    return [(example.input, *example.references) for example in examples(root, name)]


FLATTENED = {"text_in": "REQUEST", "struct_in": "KNOWLEDGE", "seq_out": "entailed"}
LAST_FIELDS = {
    "grailqa": "KG query:",
    "webqsp": "KG query:",
    "spider": "SQL query:",
    "sparc": "SQL query:",
    "cosql": "SQL query:",
    "wikitq": "answer:",
    "wikisql": "answer:",
    "compwebq": "answer:",
    "hybridqa": "answer:",
    "mmqa": "answer:",
    "fetaqa": "answer:",
    "sqa": "answer:",
    "dart": "textual description:",
    "totto": "textual description:",
    "sql2text": "query in natural language:",
    "logic2text": "query description:",
}


@pytest.mark.parametrize("name", KNOWN)
def test_each_of_the_21_tasks_is_built_from_upstreams_flattened_files(name: str, tmp_path: Path) -> None:
    record = FLATTENED | ({"seq_out": "refutes"} if name == "feverous" else {})
    write(tmp_path, f"{name}/train.jsonl", [record])
    write(tmp_path, f"{name}/dev.json", [record])
    write(tmp_path, f"{name}/test.jsonl", [record])
    assert set(opened(tmp_path, name).rows) == {Pool.TRAIN, Pool.VALIDATION, Pool.TEST}
    first, *_ = examples(tmp_path, name)
    assert first.references == (record["seq_out"],)
    assert first.input.endswith(LAST_FIELDS.get(name, ":"))
    assert ("KNOWLEDGE" in first.input) == (name != "sql2text")
    assert ("REQUEST" in first.input) == (name not in ("dart", "totto"))
    assert bool(first.options) == (KNOWN[name].answer_type == "classification")
    assert (first.description, first.answer, first.explanation) == ("", None, None)


def test_every_task_of_the_catalogue_has_its_fields_named() -> None:
    assert len(KNOWN) == 21
    assert set(KNOWN) <= set(load_library("unifiedskg"))


@pytest.mark.parametrize(
    ("joined", "text", "knowledge"),
    [
        ("how deep? ; structured knowledge: col : a", "how deep?", "col : a"),
        (
            "and now? ; structured knowledge: | db ; context: how? | why?",
            "and now? || how? | why?",
            "| db",
        ),
        ("structured knowledge: a : b : c", "", "a : b : c"),
        ("only a request", "only a request", ""),
    ],
)
def test_a_joined_text_comes_apart_again(joined: str, text: str, knowledge: str, tmp_path: Path) -> None:
    write(tmp_path, "spider/train.jsonl", [{"seq_in": joined, "seq_out": "x"}])
    ((_, row),) = rows(opened(tmp_path, "spider"))
    assert (row.fields["text_in"], row.fields["struct_in"]) == (text, knowledge)


def test_flattened_records_may_have_several_outputs_or_none(tmp_path: Path) -> None:
    outputs: list[Any] = [["one", "two", "one"], "", "null", " kept "]
    write(tmp_path, "webqsp/test.jsonl", [FLATTENED | {"seq_out": output} for output in outputs])
    several, hidden, without, kept = rendered(tmp_path, "webqsp")
    assert isinstance(several, Example)
    assert several.references == ("one", "two")
    assert hidden == Dropped("hidden_label")
    assert without == Dropped("no_target")
    assert isinstance(kept, Example)
    assert kept.references == ("kept",)


# Tables

CSV = '"Isle","Shops"\n"Skeld","a \\"bakery\\", an inn"\n"Linga","none,\nyet"\n'
FLAT_CSV = 'col : isle | shops row 1 : skeld | a "bakery", an inn row 2 : linga | none, yet'
QUESTIONS = "id\tutterance\tcontext\ttargetValue\n"


def test_wikitablequestions_unescapes_tables_and_answers(tmp_path: Path) -> None:
    write(tmp_path, "wikitablequestions/csv/200-csv/1.csv", CSV)
    question = "nt-1\tWhere is\\nthe Inn?\tcsv/200-csv/1.csv\tSkeld|A\\pB\\\\C\n"
    write(tmp_path, "wikitablequestions/data/random-split-1-dev.tsv", QUESTIONS + question)
    assert texts(tmp_path, "wikitq") == [
        (f"table: {FLAT_CSV} question: where is the inn? answer:", "skeld, a|b\\c")
    ]


def test_a_question_whose_table_is_not_at_hand_is_left_out_by_rule(tmp_path: Path) -> None:
    question = "nt-1\tWhere?\tcsv/200-csv/9.csv\tSkeld\n"
    write(tmp_path, "wikitablequestions/data/random-split-1-dev.tsv", QUESTIONS + question)
    assert rendered(tmp_path, "wikitq") == [Dropped("no_table")]
    write(tmp_path, "tab_fact/tokenized_data/val_examples.json", {"9.html.csv": [["a", "b"], [1, 0], "c"]})
    assert rendered(tmp_path, "tab_fact") == [Dropped("no_table")] * 2


def test_tab_fact_has_a_row_a_statement_with_both_verdicts_to_choose_from(tmp_path: Path) -> None:
    write(tmp_path, "tab_fact/data/all_csv/1-1.html.csv", "Tree#Planted\nplum#1974\n")
    statements = ["The plum be old", "the plum be new", "the plum be"]
    write(
        tmp_path,
        "tab_fact/tokenized_data/test_examples.json",
        {"1-1.html.csv": [statements, [1, 0, -1], "c"]},
    )
    task = opened(tmp_path, "tab_fact")
    old, new, hidden = (task.render(row, "") for _, row in rows(task))
    assert isinstance(old, Example)
    table = "col : tree | planted row 1 : plum | 1974"
    assert old.input == f"table: {table} statement: the plum be old entailed or refuted:"
    assert (old.id, old.options, old.references) == ("test[0][0]", ("entailed", "refuted"), ("entailed",))
    assert isinstance(new, Example)
    assert (new.id, new.references) == ("test[0][1]", ("refuted",))
    assert hidden == Dropped("hidden_label")
    assert str(list(rows(task))[1][1].place).endswith("test_examples.json, 1-1.html.csv[1]")


def test_fetaqa_has_the_titles_before_the_table(tmp_path: Path) -> None:
    record = {
        "table_page_title": "Skeld",
        "table_section_title": "Shops",
        "table_array": [["Shop", "Open"], ["Bakery", "6 to 12"]],
        "question": "When can I buy Bread?",
        "answer": "The bakery is open from 6 to 12.",
    }
    write(tmp_path, "fetaqa/fetaQA-v1_dev.jsonl", [record])
    table = "skeld | shops col : shop | open row 1 : bakery | 6 to 12"
    question = "when can i buy bread?"
    assert texts(tmp_path, "fetaqa") == [
        (f"table: {table} question: {question} answer:", "the bakery is open from 6 to 12.")
    ]


CELLS = st.text("ab 1.", max_size=12)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width)))


@given(TABLES, st.text("ab ?", max_size=20))
def test_a_table_that_fits_is_flattened_whole(table: list[list[str]], request_: str) -> None:
    flat = flatten_table(["h"] * len(table[0] if table else ["h"]), table, request_)
    expected = [" | ".join(row) for row in table]
    assert re.split(r" row \d+ : ", flat, maxsplit=len(table))[1:] == expected


@given(st.integers(1, 400), st.sets(st.integers(0, 399), max_size=3), st.integers(1, 30))
def test_a_long_table_keeps_within_bounds_and_the_rows_that_are_asked_for(
    length: int, asked: set[int], words: int
) -> None:
    table = [[f"name{n}", " ".join(["word"] * words)] for n in range(length)]
    request_ = " ".join(f"name{n}" for n in asked)
    flat = flatten_table(["name", "words"], table, request_, cell_words=20)
    assert len(WORD.findall(flat)) <= MAX_WORDS
    kept = [int(n) for n in re.findall(r"name(\d+)", flat)]
    assert kept == sorted(kept)
    assert set(kept) >= {n for n in asked if n < length}
    assert re.findall(r"row (\d+)", flat) == [str(n) for n in range(1, len(kept) + 1)]
    if len(kept) < length:
        assert len(WORD.findall(flat)) + len(WORD.findall(request_)) > MAX_WORDS - min(words, 20) - 6


@pytest.mark.parametrize(
    ("cell", "short"), [("one two", "one two"), ("one, two", "one,"), ("", ""), (" 3.5 km ", " 3.")]
)
def test_a_cell_is_cut_after_so_many_words_and_signs(cell: str, short: str) -> None:
    assert shorten(cell, 2) == short


TABLE = {
    "header": ["loch", "depth", "fish"],
    "types": ["text", "real", "text"],
    "rows": [["Ard", "32", "perch"], ["Bran", 7.5, "none"], ["Corr", "1,100", "Perch"], ["Dhu", "-", "eel"]],
}


@pytest.mark.parametrize(
    ("sel", "agg", "conds", "expected"),
    [
        (0, 0, [[2, 0, "PERCH"]], ("Ard", "Corr")),
        (0, 0, [[1, 0, 32.0]], ("Ard",)),
        (0, 0, [[1, 1, "30"]], ("Ard", "Corr")),
        (0, 0, [[1, 2, 32]], ("Bran",)),
        (0, 0, [[2, 0, "perch"], [1, 1, 32]], ("Corr",)),
        (0, 0, [[0, 0, "Ewe"]], ()),
        (0, 3, [[0, 0, "Ewe"]], ("0",)),
        (0, 3, [], ("4",)),
        (1, 1, [], ("1100",)),
        (1, 2, [], ("7.5",)),
        (1, 4, [[2, 0, "perch"]], ("1132",)),
        (1, 5, [[2, 0, "perch"]], ("566",)),
        (1, 5, [[0, 0, "Dhu"]], ()),
    ],
)
def test_a_query_of_wikisql_is_carried_out(
    sel: int, agg: int, conds: list[list[Any]], expected: tuple[str, ...]
) -> None:
    assert answer(TABLE, {"sel": sel, "agg": agg, "conds": conds}) == expected


@pytest.mark.parametrize("folder", ["wikisql", "wikisql/data"])
def test_wikisql_joins_questions_with_their_tables(folder: str, tmp_path: Path) -> None:
    def ask(question: str, table: str, fish: str) -> dict[str, Any]:
        return {
            "question": question,
            "table_id": table,
            "sql": {"sel": 0, "agg": 0, "conds": [[2, 0, fish]]},
        }

    questions = [
        ask("Where are Perch?", "1-1", "perch"),
        ask("And pike?", "1-1", "pike"),
        ask("?", "1-9", "eel"),
    ]
    write(tmp_path, f"{folder}/dev.jsonl", questions)
    write(tmp_path, f"{folder}/dev.tables.jsonl", [TABLE | {"id": "1-1"}])
    found, nothing, elsewhere = rendered(tmp_path, "wikisql")
    assert isinstance(found, Example)
    flat = "col : loch | depth | fish row 1 : ard | 32 | perch row 2 : bran | 7.5 | none"
    assert found.input.startswith(f"table: {flat} row 3 : corr")
    assert found.input.endswith("question: where are perch? answer:")
    assert found.references == ("ard, corr",)
    assert nothing == Dropped("no_target")
    assert elsewhere == Dropped("no_table")


# Databases

SCHEMA = {
    "db_id": "harbour",
    "table_names_original": ["Boat", "berth"],
    "column_names_original": [[-1, "*"], [0, "Id"], [0, "Name"], [0, 'odd "kind"'], [1, "Boat_Id"]],
}
FLAT_SCHEMA = '| harbour | boat : id , name , odd "kind" | berth : boat_id'


def write_spider(root: Path, *questions: str, **changes: Any) -> None:
    write(root, "spider/tables.json", [SCHEMA])
    records = [{"db_id": "harbour", "question": text, "query": "SELECT  1"} | changes for text in questions]
    write(root, "spider/dev.json", records)


def write_database(root: Path, content: bytes | None = None) -> None:
    file = root / "unifiedskg" / "spider" / "database" / "harbour" / "harbour.sqlite"
    file.parent.mkdir(parents=True)
    if content is not None:
        file.write_bytes(content)
        return
    connection = sqlite3.connect(file)
    connection.execute('CREATE TABLE Boat (Id INTEGER, Name TEXT, "odd ""kind""" TEXT)')
    connection.execute("CREATE TABLE berth (Boat_Id INTEGER)")
    boats = [(1, "Puffin"), (2, "Old Tern"), (3, "Tern"), (4, "7"), (5, "the"), (6, None), (7, "Skua" * 40)]
    connection.executemany("INSERT INTO Boat VALUES (?, ?, 'Ferry')", boats)
    connection.commit()
    connection.close()


def test_spider_has_the_schema_and_the_question_and_a_normal_query(tmp_path: Path) -> None:
    write_spider(tmp_path, "How Many? ", query="SELECT count(*) , Name FROM Boat WHERE Name  =  'Old Tern'")
    assert texts(tmp_path, "spider") == [
        (
            f"database: {FLAT_SCHEMA} question: How Many? SQL query:",
            "select count(*), name from boat where name = 'Old Tern'",
        )
    ]


def test_spider_may_come_as_the_hubs_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write(tmp_path, "spider/tables.json", [SCHEMA])
    record = {"db_id": "harbour", "question": "How many?", "query": "SELECT 1"}
    for split in ("train", "validation"):
        file = tmp_path / "unifiedskg" / "spider" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist([record]), file)
    text = f"database: {FLAT_SCHEMA} question: How many? SQL query:"
    assert texts(tmp_path, "spider") == [(text, "select 1")] * 2


def test_spider_shows_the_values_that_the_question_names(tmp_path: Path) -> None:
    write_database(tmp_path)
    write_spider(tmp_path, "Is the Old Tern a ferry, or the Puffin?", "Is boat 7 the one?", "Is it a tern?")
    long, none, short = (text for text, _ in texts(tmp_path, "spider"))
    assert '| boat : id , name ( Old Tern , Tern ) , odd "kind" ( Ferry ) | berth : boat_id question:' in long
    assert f"database: {FLAT_SCHEMA} question:" in none
    assert "name ( Tern )" in short


def test_a_database_that_is_none_or_lacks_a_table_is_told(tmp_path: Path) -> None:
    write_spider(tmp_path, "Which?")
    write_database(tmp_path, b"version https://git-lfs.github.com/spec/v1\n" * 40)
    with pytest.raises(
        InputError, match=r"harbour\.sqlite: found file is not a database \(table Boat, column"
    ):
        rendered(tmp_path, "spider")


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "VIEW Boat AS WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT n Id FROM c",
            "a view",
        ),
        ("TABLE Boat (Id TEXT AS (hex(zeroblob(90000000))), b INTEGER)", "string or blob too big"),
    ],
)
def test_a_database_that_is_a_program_is_refused(tmp_path: Path, statement: str, found: str) -> None:
    """SQLite would carry these out: one without end, the other with gigabytes."""
    write_spider(tmp_path, "Which?")
    write_database(tmp_path, b"")
    connection = sqlite3.connect(
        tmp_path / "unifiedskg" / "spider" / "database" / "harbour" / "harbour.sqlite"
    )
    connection.execute(f"CREATE {statement}")
    if statement.startswith("TABLE"):
        connection.execute("INSERT INTO Boat (b) VALUES (1)")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match=rf"harbour\.sqlite: found {found}"):
        rendered(tmp_path, "spider")


def test_a_question_about_an_unknown_database_is_told(tmp_path: Path) -> None:
    write_spider(tmp_path, "Which?", db_id="airport")
    with pytest.raises(
        InputError, match=r"dev\.json, \[0\]: found the database 'airport', expected one of the 1"
    ):
        rendered(tmp_path, "spider")


def test_a_database_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "spider/tables.json", [SCHEMA | {"db_id": "../../harbour"}])
    write(tmp_path, "spider/dev.json", [{"db_id": "../../harbour", "question": "?", "query": "SELECT 1"}])
    with pytest.raises(InputError, match=r"expected a file of this folder"):
        rendered(tmp_path, "spider")


@pytest.mark.parametrize(
    "schemas", [[{"db_id": "x"}], ["x"], [SCHEMA | {"column_names_original": [[5, "a"]]}], 7]
)
def test_schemas_that_are_none_are_told(schemas: Any, tmp_path: Path) -> None:
    write_spider(tmp_path, "Which?")
    write(tmp_path, "spider/tables.json", schemas)
    with pytest.raises(
        InputError, match=r"tables\.json: found \w+Error.*expected a list of database schemas"
    ):
        rendered(tmp_path, "spider")


@pytest.mark.parametrize(
    ("query", "normal"),
    [
        ("SELECT  A , B FROM T", "select a, b from t"),
        ("SELECT A FROM T WHERE B = 'Loch'", "select a from t where b = 'Loch'"),
        ('SELECT A FROM T WHERE B LIKE "%Loch Ard%"', 'select a from t where b like "%loch ard%"'),
        ("SELECT T1.A FROM T AS T1", "select t1.a from t as t1"),
    ],
)
def test_a_query_is_written_as_upstream_trains_on_it(query: str, normal: str) -> None:
    assert normal_query(query) == normal


def test_conversations_about_databases_come_flattened(tmp_path: Path) -> None:
    record = {"text_in": "and old? || how many?", "struct_in": FLAT_SCHEMA, "seq_out": "select 1"}
    write(tmp_path, "sparc/train.jsonl", [record])
    assert texts(tmp_path, "sparc") == [
        (f"database: {FLAT_SCHEMA} question sequence: and old? || how many? SQL query:", "select 1")
    ]


# Triples and dialogues


def test_dart_trains_on_every_sentence_and_is_scored_against_all(tmp_path: Path) -> None:
    sentences = [{"source": "s", "text": text} for text in ("Loch Ard is 32 m deep.", "Loch Ard: 32 m.")]
    record = {
        "tripleset": [["Loch Ard", "DEPTH", "32 m"], ["Loch Ard", "FISH", "pike"]],
        "annotations": sentences,
    }
    for split in ("train", "test"):
        write(
            tmp_path, f"dart/dart-v1.1.1-full-{split}.json", [record, record | {"annotations": sentences[:1]}]
        )
    text = "triples: Loch Ard : depth : 32 m | Loch Ard : fish : pike textual description:"
    assert texts(tmp_path, "dart") == [
        (text, "Loch Ard is 32 m deep."),
        (text, "Loch Ard: 32 m."),
        (text, "Loch Ard is 32 m deep."),
        (text, "Loch Ard is 32 m deep.", "Loch Ard: 32 m."),
        (text, "Loch Ard is 32 m deep."),
    ]
    write(tmp_path, "dart/dart-v1.0.0-full-train.json", [record])
    ids = [row.id for _, row in rows(opened(tmp_path, "dart"))]
    assert ids[:3] == ["train[0].annotations[0]", "train[0].annotations[1]", "train[1]"]
    assert ids[3:] == ["test[0]", "test[1]"]


def talk(turns: str, items: Any) -> dict[str, Any]:
    """A dialogue whose speakers are the letters; each says letter and number, in capitals."""
    speakers = {"d": "driver", "a": "assistant"}
    return {
        "dialogue": [
            {"turn": speakers[letter], "data": {"utterance": f" {letter.upper()}{n} "}}
            for n, letter in enumerate(turns)
        ],
        "scenario": {"kb": {"column_names": ["stop", "line"], "items": items}},
    }


def test_kvret_has_a_row_an_answer_with_what_was_said_before_backwards(tmp_path: Path) -> None:
    dialogue = talk("dadada", [{"line": "4", "stop": "Market"}, {"stop": "Gate"}])
    write(tmp_path, "kvret/kvret_dev_public.json", [dialogue])
    table = "table: col : stop | line row 1 : market | 4 row 2 : gate |  dialogue:"
    assert texts(tmp_path, "kvret") == [
        (f"{table} d0 response:", "a1"),
        (f"{table} d2 || a1 | d0 response:", "a3"),
        (f"{table} d4 || a3 | d2 | a1 | d0 response:", "a5"),
    ]
    assert [row.id for _, row in rows(opened(tmp_path, "kvret"))][2] == "validation[0].answers[2]"


@pytest.mark.parametrize(("turns", "answers"), [("d", 0), ("dad", 1), ("dadd", 1), ("daad", 2), ("da", 1)])
def test_dialogues_that_break_off_give_the_answers_that_they_have(
    turns: str, answers: int, tmp_path: Path
) -> None:
    write(tmp_path, "kvret/kvret_dev_public.json", [talk(turns, None), talk("da", None)])
    found = texts(tmp_path, "kvret")
    assert len(found) == answers + 1
    assert found[-1] == ("table: col : stop | line dialogue: d0 response:", "a1")


# Folders and faults


def test_a_folder_of_another_name_is_the_task_unless_its_own_is_there(tmp_path: Path) -> None:
    write(tmp_path, "wikitablequestions/csv/200-csv/1.csv", CSV)
    write(
        tmp_path, "wikitablequestions/data/random-split-1-dev.tsv", QUESTIONS + "a\tb\tcsv/200-csv/1.csv\tc\n"
    )
    (native,) = ADAPTER.tasks(tmp_path, KNOWN).tasks
    assert (native.name, len(native.files)) == ("wikitq", 2)
    write(tmp_path, "wikitq/train.jsonl", [FLATTENED])
    write(tmp_path, "empty/readme.md", "nothing")
    (native,) = ADAPTER.tasks(tmp_path, KNOWN).tasks
    assert [file.as_posix() for file in native.files] == ["unifiedskg/wikitq/train.jsonl"]


WHOLE = json.dumps(FLATTENED) + "\n"
BAD = {
    "no output": (
        "spider/train.jsonl",
        WHOLE + '{"text_in": "a"}',
        r"line 2: found no seq_out among text_in, exp",
    ),
    "no request": ("spider/train.jsonl", '{"seq_out": "a"}', r"line 1: found no text_in among seq_out"),
    "no text": ("spider/train.jsonl", '{"text_in": 7, "seq_out": "a"}', r"line 1: found 7, expected text_in"),
    "one output of two": (
        "spider/train.jsonl",
        '{"text_in": "a", "seq_out": ["a", 1]}',
        r"line 1: found 1, expected text_in",
    ),
    "no tables": (
        "wikisql/dev.jsonl",
        '{"question": "?", "table_id": "1", "sql": {}}',
        r"tables lie in \*\.tables",
    ),
    "a wrong column": (
        "wikitablequestions/data/random-split-1-dev.tsv",
        "id\tutterance\n1\t?\n",
        r"dev\.tsv: found KeyError: 'context', expected records of WikiTableQuestions",
    ),
    "a path that leads out": (
        "wikitablequestions/data/random-split-1-dev.tsv",
        QUESTIONS + "1\t?\t../../../etc/passwd\tx\n",
        r"dev\.tsv, line 2: found the table .*passwd', expected a file of this folder",
    ),
    "too many fields": (
        "wikitablequestions/data/random-split-1-dev.tsv",
        QUESTIONS + "1\t?\ta.csv\tx\ty\n",
        r"dev\.tsv, line 2: found 5 fields",
    ),
    "statements that are none": (
        "tab_fact/tokenized_data/val_examples.json",
        "[1]",
        r"found \[1\], expected stat",
    ),
    "a label too few": (
        "tab_fact/tokenized_data/val_examples.json",
        '{"x.csv": [["a"], [1], ""], "y.csv": [["a", "b"], [1], ""]}',
        r"val_examples\.json, after y\.csv: found ValueError",
    ),
    "an uneven table": (
        "fetaqa/fetaQA-v1_dev.jsonl",
        '{"table_array": [["a"], ["b", "c"]], "table_page_title": "", "table_section_title": "", "question": ""}',
        r"fetaQA-v1_dev\.jsonl, row 2: found 2 cells, expected 1",
    ),
    "a triple of two": (
        "dart/dart-v1.1.1-full-dev.json",
        '[{"tripleset": [["a", "b"]], "annotations": []}]',
        r"full-dev\.json: found ValueError",
    ),
    "half a file": ("kvret/kvret_dev_public.json", '[{"dialogue": [', r"no JSON: .*cut off"),
    "no rows": ("kvret/kvret_dev_public.json", "[]", r"public\.json: found no rows"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_fault_is_told_with_its_place(fault: str, tmp_path: Path) -> None:
    file, content, message = BAD[fault]
    write(tmp_path, file, content)
    (native,) = ADAPTER.tasks(tmp_path, KNOWN).tasks
    with pytest.raises(InputError, match=message) as caught:
        rendered(tmp_path, native.name)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_uneven_or_empty_table_file_is_told(tmp_path: Path) -> None:
    question = QUESTIONS + "1\t?\tcsv/200-csv/1.csv\tx\n"
    write(tmp_path, "wikitablequestions/data/random-split-1-dev.tsv", question)
    for content, message in (
        ('"a","b"\n"c"\n', r"1\.csv, row 2: found 1 cells"),
        (" ", r"1\.csv: found an empty"),
    ):
        write(tmp_path, "wikitablequestions/csv/200-csv/1.csv", content)
        with pytest.raises(InputError, match=message):
            rendered(tmp_path, "wikitq")


def test_a_verdict_outside_the_two_is_told(tmp_path: Path) -> None:
    write(tmp_path, "tab_fact/train.jsonl", [FLATTENED | {"seq_out": "perhaps"}])
    with pytest.raises(InputError, match=r"line 1: found the answer 'perhaps', expected one of \['entailed'"):
        rendered(tmp_path, "tab_fact")


def test_a_task_without_words_fails_when_opened(tmp_path: Path) -> None:
    write(tmp_path, "tides/train.jsonl", [FLATTENED])
    (native,) = ADAPTER.tasks(tmp_path, KNOWN).tasks
    with pytest.raises(InputError, match="no template for isles"):
        ADAPTER.open(tmp_path, native, KNOWN["dart"].__class__("unifiedskg/isles", "", KNOWN["dart"].metric))


@pytest.mark.real
def test_all_real_files_are_read_and_every_row_is_an_example_or_left_out_by_rule(real_sources: Path) -> None:
    counts = {}
    for native in ADAPTER.tasks(real_sources, KNOWN).tasks:
        if native.name not in KNOWN or "wikisql" in native.name:
            continue
        task = opened(real_sources, native.name)
        assert all((real_sources / file).is_file() for file in native.files)
        counts[native.name] = count = Counter[str]()
        for pool, row in rows(task):
            example = task.render(row, "")
            count[example.rule if isinstance(example, Dropped) else pool] += 1
            assert isinstance(example, Dropped) or len(example.input.split()) < 2 * MAX_WORDS
    assert counts["dart"] == {Pool.VALIDATION: 900}
    assert counts["spider"] == {Pool.VALIDATION: 250}
    assert counts["tab_fact"] == {Pool.VALIDATION: 896, Pool.TEST: 605}
    assert counts["kvret"] == {Pool.VALIDATION: 378, Pool.TEST: 265}
    assert set(counts["wikitq"]) == {Pool.TRAIN, Pool.VALIDATION, Pool.TEST, "no_table"}
