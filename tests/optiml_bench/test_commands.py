"""The command line, through click's runner and, where the process matters, through a real one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kit import EVALUATED, TRAINED, command, superni_task, write_superni

from optiml_bench.cli import cli
from task_registry.errors import IncompleteError, UsageError

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    def invoke(*arguments: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return invoke


def test_every_command_has_help_with_an_example(run: Run) -> None:
    for name in cli.commands:
        result = run(name, "--help")
        assert result.exit_code == 0
        assert f"optiml-bench {name}" in result.output.split("Options:")[0].split("Example")[1], name


def test_tasks_lists_and_filters(run: Run) -> None:
    lines = run("tasks", "--eval-set", "dev", "--level", "fully_held_out").stdout.splitlines()
    assert lines[0].startswith("task")
    assert len(lines) == 1 + 23, "paper Table 15 has 23 fully held-out dev tasks"
    assert all("fully_held_out" in line and " dev " in line for line in lines[1:])
    found = json.loads(
        run("tasks", "superni/*copa*", "--category", "cause_effect_classification", "--json").stdout
    )
    assert {fact["category"] for fact in found} == {"Cause Effect Classification"}
    assert "superni/task1393_superglue_copa_text_completion" in {fact["id"] for fact in found}
    assert set(found[0]) >= {"level", "metric", "licence", "reason", "data_source"}


def test_without_a_filter_all_tasks_are_listed(run: Run) -> None:
    assert len(run("tasks").stdout.splitlines()) == 1 + 2213
    assert "2,213 tasks" in run("tasks").stderr


def test_an_unknown_name_gets_a_suggestion(run: Run) -> None:
    for arguments in (
        ["tasks", "superni/task1393_superglue_copa"],
        ["show", "superni/task1393_superglue_copa"],
    ):
        result = run(*arguments)
        assert isinstance(result.exception, UsageError)
        assert "task1393_superglue_copa_text_completion" in str(result.exception)


def test_show_says_what_is_known_and_what_is_assumed(run: Run) -> None:
    out = run("show", "superni/task1664_winobias_text_generation").stdout
    assert "Stereotype Detection" in out
    assert "fully_held_out (dev set)" in out
    assert "paper T15" in out
    assert "licence           unknown" in out


def test_build_and_show_the_sample(run: Run, tmp_path: Path) -> None:
    result = run("build", "--out", tmp_path / "data", "--source", "superni")
    assert result.exit_code == 0, result.output
    assert "No sources at hand: the embedded sample is built" in result.output
    assert re.search(r"superni\s+8\s+41\s+27\s+0\s+134\s+12\s+0", result.output)
    assert "left out by rule no_reference: 1" in result.output
    shown = run("show", "superni/sample_pairs", "--data", tmp_path / "data")
    assert "fish : water. bird : ?" in shown.stdout
    assert "air | sky" in shown.stdout


def test_a_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    write_superni(tmp_path / "in", TRAINED, superni_task())
    write_superni(tmp_path / "in", EVALUATED, superni_task())
    result = run("build", "--sources", tmp_path / "in", "--out", tmp_path / "data", "--dry-run")
    assert "Would build 2 tasks" in result.output
    assert "1 fully_held_out, 1 train" in result.output
    assert not (tmp_path / "data").exists()


def test_failures_end_in_their_exit_code_after_everything_else_is_built(tmp_path: Path) -> None:
    write_superni(tmp_path / "in", TRAINED, "{")
    write_superni(tmp_path / "in", EVALUATED, superni_task())
    result = command("build", "--sources", tmp_path / "in", "--out", tmp_path / "data")
    assert result.returncode == IncompleteError.exit_code
    assert "Traceback" not in result.stderr
    assert "Error: 1 of 2 tasks failed; the others are built" in result.stderr
    assert f"failed: superni/tasks/{TRAINED}.json, line 1 column 2" in result.stderr
    assert (tmp_path / "data" / "shards" / "superni" / EVALUATED).is_dir()


def test_an_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    for arguments in (
        ["show", "superni/nothing"],
        ["build", "--sources", tmp_path / "nowhere"],
        ["build", "--plan", tmp_path / "none.yaml", "--sample", "--out", tmp_path / "x"],
        ["show", "superni/x", "--data", tmp_path],
        ["build", "--sample", "--out", "/dev/null/x"],
    ):
        result = command(*arguments)
        assert result.returncode not in (0, 1), result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
        assert result.stderr.startswith("Error: ")


def test_a_reader_that_has_seen_enough_causes_no_traceback() -> None:
    import subprocess
    import sys

    from kit import TOP

    line = f"{sys.executable} -m optiml_bench tasks | head -1"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith("task")
    assert result.stderr == ""
