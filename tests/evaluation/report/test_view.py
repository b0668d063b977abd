"""What is shown, against what was computed; and what stands beside it."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path

import pytest
from evaluation_kit import ToyTask, make_bench, numbered
from report_kit import CHOICES, HOSTILE, make_run, number_of, toy_bench

from evaluation.means import Placement, Scope
from evaluation.report.tables import SAMPLE_MARK, csv_text, level_table, markdown
from evaluation.report.view import ALL, Number, RunView, view
from evaluation.requests import PromptOptions
from evaluation.scoring import Report, score_run
from task_registry.types import Level, Metric


@pytest.fixture
def report(tmp_path: Path) -> Report:
    bench = toy_bench(tmp_path / "data")
    absent = Placement("superni/gone", "superni", "Word Analogy", Level.PARTIALLY_SUPERVISED, "")
    path = make_run(
        tmp_path / "out",
        bench,
        lambda task, name, shots: number_of(name) % 2 == 0 or shots > 0,
        absent=(absent,),
    )
    return score_run(path)


def test_every_number_is_the_mean_that_was_computed(report: Report) -> None:
    shown = view(report)
    tables = {
        Scope.LEVEL: shown.levels[:-1],
        Scope.CATEGORY: shown.categories,
        Scope.TASK: shown.tasks,
        Scope.ALL: shown.levels[-1:],
    }
    for scope, rows in tables.items():
        expected = sorted(
            (m.key.shots, m.value, m.low, m.high)
            for m in report.means
            if m.key.scope is scope and m.key.shots is not None and not math.isnan(m.value)
        )
        found = sorted(
            (k, n.value, n.low, n.high)
            for row in rows
            for k, n in row.numbers.items()
            if not math.isnan(n.value)
        )
        assert found == expected and found, scope
    assert shown.average.name == ALL
    assert [row.name for row in shown.levels[:-1]] == [str(level) for level in Level]


def test_half_at_zero_shots_and_all_at_five_is_a_gain_of_half(report: Report) -> None:
    rows = {row.name: row for row in view(report).tasks}
    assert rows["flan/choose"].gain == pytest.approx(0.5)
    assert rows["superni/hostile"].gain == 0.0
    assert rows["flan/choose"].metric == Metric.ACCURACY
    assert math.isnan(rows["superni/gone"].gain), "nothing was scored of it"


def test_extremes_are_the_ends_of_the_ranking_and_never_meet(report: Report) -> None:
    found = view(report)
    rows = [dataclasses.replace(found.categories[0], name=str(n), numbers={5: value(n)}) for n in range(13)]
    for count, expected in ((0, 0), (1, 0), (3, 1), (7, 3), (13, 5)):
        shuffled = tuple(rows[:count][::2] + rows[:count][1::2])
        weakest, strongest = dataclasses.replace(found, categories=shuffled).extremes
        assert [row.name for row in weakest] == [str(n) for n in range(expected)]
        assert [row.name for row in strongest] == [str(count - 1 - n) for n in range(expected)]
    nothing = dataclasses.replace(rows[0], numbers={5: value(math.nan)})
    assert dataclasses.replace(found, categories=(nothing, *rows[1:3])).extremes[0] == (rows[1],)


def value(number: float) -> Number:
    return Number(number, number, number, 1, 1, 1, ())


def test_a_source_of_one_level_stands_there_once(report: Report) -> None:
    rows = [(row.source, row.level) for row in view(report).sources]
    assert rows == [
        ("flan", ""),
        ("superni", ""),
        ("superni", "partially_supervised"),
        ("superni", "fully_supervised"),
    ]


def test_what_is_missing_is_said_beside_the_number(report: Report) -> None:
    shown = view(report)
    assert shown.missing == ("superni/gone",)
    row = next(row for row in shown.levels if row.name == "partially_supervised")
    assert "1 of 2 tasks" in row.numbers[0].notes
    assert (row.numbers[0].n_tasks, row.numbers[0].n_expected) == (1, 2)
    counts = dict(shown.losses)
    assert counts["prompts answered"] == {0: 8 * 2 + 10 + 1, 5: 8 * 2 + 10 + 1}
    assert counts["prompts with fewer demonstrations than wanted"] == {0: 0, 5: 1}
    assert "ties between options, which count as wrong" not in counts


def test_templates_are_ranked_by_how_much_they_differ(tmp_path: Path) -> None:
    tasks = [
        ToyTask(f"flan/{name}", numbered(4, templates=("a", "b"), options=CHOICES), metric=Metric.ACCURACY)
        for name in ("even", "wide")
    ]
    bench = make_bench(tmp_path / "data", *tasks)
    path = make_run(tmp_path / "out", bench, lambda *_: True, PromptOptions(shots=(0,)))
    file = next((path / "predictions").iterdir())
    lines = file.read_text().splitlines()
    wrong = [
        line.replace('"option_logprobs": [-1.0, -3.0]', '"option_logprobs": [-3.0, -1.0]')
        if '"template": "b"' in line and "flan/wide" in line and ("e0" in line or "e1" in line)
        else line
        for line in lines
    ]
    file.write_text("\n".join(wrong) + "\n")
    wide, even = view(score_run(path)).templates
    assert (wide.task, wide.lowest, wide.highest, wide.mean) == ("flan/wide", ("b", 0.5), ("a", 1.0), 0.75)
    assert (even.task, even.lowest[1], even.highest[1]) == ("flan/even", 1.0, 1.0)
    assert not wide.merged


def test_provenance_names_what_the_numbers_hang_on(report: Report) -> None:
    told = dict(view(report).provenance)
    assert report.record.bench.digest in told["bench"]
    assert report.record.model.weights_digest in told["weights"]
    assert told["separator"] == "\\n\\n\\n"
    assert "session 1" in told


@pytest.mark.parametrize("sample", [False, True])
def test_every_number_of_sample_data_is_marked(tmp_path: Path, sample: bool) -> None:
    bench = toy_bench(tmp_path / "data", sample=sample)
    shown = view(score_run(make_run(tmp_path / "out", bench, lambda *_: True)))
    _, lines = level_table([shown])
    cells = [cell for line in lines for cell in line[2:]]
    assert cells and all((SAMPLE_MARK in cell) is sample for cell in cells)
    assert (SAMPLE_MARK in markdown([shown])) is sample
    notes = [note for row in shown.tasks for number in row.numbers.values() for note in number.notes]
    assert any("sample data" in note for note in notes) is sample


def test_the_csv_holds_every_number_to_the_last_digit(report: Report) -> None:
    shown = view(report)
    rows = list(csv.DictReader(io.StringIO(csv_text([shown, shown]))))
    levels = [row for row in rows if row["scope"] == "level"]
    assert len(levels) == 2 * 3 * 2
    for row in levels:
        number = next(one for one in shown.levels if one.name == row["name"]).numbers[int(row["shots"])]
        assert float(row["value"]) == number.value
        assert float(row["low"]) == number.low
    gone = [row for row in rows if row["name"] == "superni/gone"]
    assert gone and all(row["value"] == "" for row in gone)


def test_a_name_is_neither_markup_in_markdown_nor_a_formula_in_a_sheet(tmp_path: Path) -> None:
    bench = toy_bench(tmp_path / "data")
    shown: RunView = view(
        score_run(make_run(tmp_path / "out", bench, lambda *_: True, name="=cmd|' /C calc'!A0"))
    )
    text = markdown([shown])
    assert "\\<img" in text and HOSTILE not in text
    table = [line for line in text.splitlines() if line.startswith("| Odd")]
    assert table and all(line.replace("\\|", "").count("|") == 5 for line in table), "one cell too many"
    model = next(csv.DictReader(io.StringIO(csv_text([shown]))))["model"]
    assert model.startswith("'=")
