"""`optiml-bench report` and `compare` as a user meets them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_kit import make_run, number_of, toy_bench

from optiml_bench.cli import cli
from task_registry.errors import BenchFolderError, GateError, UsageError


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Runs of two models below one folder: the second is right about more."""
    bench = toy_bench(tmp_path / "data", sample=True)
    for name, below in (("one", 4), ("two", 6)):
        make_run(
            tmp_path / "results",
            bench,
            lambda _, example, __, below=below: number_of(example) < below,
            name=name,
        )
    return tmp_path / "results"


def test_a_report_of_many_runs(tmp_path: Path, results: Path) -> None:
    found = invoke("report", results, "--out", tmp_path / "report")
    assert found.exit_code == 0, found.output
    assert "50.0†" in found.stdout and "75.0†" in found.stdout and "rests on sample data" in found.stdout
    assert {file.name for file in (tmp_path / "report").iterdir()} == {
        "index.html",
        "report.md",
        "report.csv",
    }
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.endswith("</html>\n") and page.count("<main ") == 2
    rows = rows_of(tmp_path / "report" / "report.csv")
    assert {row["model"] for row in rows} == {"one", "two"}


def test_a_run_named_twice_is_shown_once(tmp_path: Path, results: Path) -> None:
    found = invoke("report", results / "one", *(results / "one").iterdir(), "--out", tmp_path / "report")
    assert found.exit_code == 0 and found.stdout.count("fully_held_out") == 1


def test_a_bench_that_has_moved_is_named_or_its_prompts_are_missed(tmp_path: Path, results: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    invoke("report", results / "one", "--out", tmp_path / "without")
    assert "--data says where it is" in (tmp_path / "without" / "index.html").read_text(encoding="utf-8")
    invoke("report", results / "one", "--out", tmp_path / "with", "--data", tmp_path / "moved")
    assert "--data says where it is" not in (tmp_path / "with" / "index.html").read_text(encoding="utf-8")


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    result = invoke("report", tmp_path, "--out", tmp_path / "report")
    assert isinstance(result.exception, BenchFolderError)
    assert not (tmp_path / "report").exists()


def test_a_comparison_says_what_changed_and_writes_it(tmp_path: Path, results: Path) -> None:
    found = invoke("compare", results / "one", results / "two", "--out", tmp_path / "compared")
    assert found.exit_code == 0, found.output
    assert "+25.0" in found.stdout and "B wins 12, loses 0" in found.stdout
    rows = rows_of(tmp_path / "compared" / "changes.csv")
    (level,) = [row for row in rows if (row["name"], row["shots"]) == ("fully_held_out", "0")]
    assert (level["change"], level["sample"]) == ("0.25", "True")
    won = rows_of(tmp_path / "compared" / "examples.csv")
    assert {row["example_id"] for row in won} == {"e4", "e5"}
    told = (tmp_path / "compared" / "compare.md").read_text(encoding="utf-8")
    assert "sample data" in told and "B wins 12, loses 0, 42 are even." in told
    assert "| flan/choose | 5 | 4 | 0 | 12 |" in told
    page = (tmp_path / "compared" / "index.html").read_text(encoding="utf-8")
    assert page.endswith("</html>\n") and page.count("data-verdict=") == 4


def test_the_gate_fails_on_a_loss_after_the_table_is_shown(results: Path) -> None:
    passed = invoke("compare", results / "one", results / "two", "--fail-under", "-1")
    assert passed.exit_code == 0, passed.output
    failed = invoke("compare", results / "two", results / "one", "--fail-under", "-1")
    assert isinstance(failed.exception, GateError) and "-25.0" in failed.stdout


def test_a_folder_of_several_runs_is_no_side_of_a_comparison(results: Path) -> None:
    result = invoke("compare", results, results / "two")
    assert isinstance(result.exception, UsageError) and "2 runs, expected one" in str(result.exception)


def test_the_gates_exit_code_reaches_the_shell(results: Path) -> None:
    command = [sys.executable, "-m", "optiml_bench", "compare", str(results / "two"), str(results / "one")]
    done = subprocess.run([*command, "--fail-under", "-1"], capture_output=True, text=True, check=False)
    assert done.returncode == GateError.exit_code
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
