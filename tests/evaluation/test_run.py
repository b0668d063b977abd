"""A run's folder: the same command goes on, another starts anew and says why, and two never mix."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluation_kit import OPTIONS, ToyModel, ToyTask, make_bench, numbered
from kit import TOP

from evaluation.introduction import introduce
from evaluation.means import Placement
from evaluation.models import ModelOptions
from evaluation.predictions import Kind, Prediction
from evaluation.requests import Overlength, PromptOptions, survey
from evaluation.run import RUN, Run, RunRecord, draw_up, find_runs, folder_name, read_run
from evaluation.selection import Selection
from task_registry.bench import Bench
from task_registry.errors import BenchFolderError
from task_registry.types import EvalSet, Level
from task_registry.version import VERSION


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(
        tmp_path_factory.mktemp("toy") / "data",
        ToyTask("flan/a", numbered(6, templates=("x", "y")), numbered(2, templates=("x",))),
        ToyTask("flan/b", numbered(6, templates=("x", "y")), eval_set=EvalSet.DEV),
        ToyTask("superni/c", numbered(3)),
    )


def record(
    bench: Bench,
    *,
    tasks: tuple[str, ...] = ("flan/a", "flan/b", "superni/c"),
    selection: Selection = Selection("all"),  # noqa: B008 - frozen
    model_options: ModelOptions = OPTIONS,
    model: dict[str, Any] | None = None,
    **prompts: Any,
) -> RunRecord:
    options = PromptOptions(**({"stop": ("\n",), "demonstration_seeds": (1, 2)} | prompts))
    surveyed = tuple(survey(bench, bench.tasks[task], options) for task in tasks)
    lacking = (Placement("flan/z", "flan", "QA", Level.FULLY_HELD_OUT, "Z"),)
    drawn_up = draw_up(bench, selection, options, surveyed, lacking, introduce(ToyModel()), model_options)
    return dataclasses.replace(drawn_up, model=dataclasses.replace(drawn_up.model, **(model or {})))


def prediction(number: int) -> Prediction:
    return Prediction("flan/a", f"e{number}", "x", 0, Kind.TEXT, ("y",), text="y", finish="eos")


def test_a_record_reads_back_equal(bench: Bench, tmp_path: Path) -> None:
    with Run.open(tmp_path, record(bench), "no accelerator") as run:
        during = read_run(run.path)
        assert during == run.record
        assert during.sessions[0].seconds is None
        run.write(prediction(1))
    after = read_run(run.path)
    assert after == run.record
    assert after.sessions[0].predictions == 1
    assert after.sessions[0].seconds is not None
    assert after.sessions[0].accelerator == "no accelerator"
    assert dataclasses.replace(after, sessions=()) == record(bench)


def test_what_is_expected_of_a_task(bench: Bench) -> None:
    """Templates one by one, or merged as in the dev set; then an example counts once."""
    a, b, c = (task.placement for task in record(bench).tasks)
    assert (a.n_examples, a.templates) == (6, ("x", "y"))
    assert (b.n_examples, b.templates) == (6, ())
    assert (c.n_examples, c.templates) == (3, ())
    assert record(bench, limit=2).tasks[0].placement.n_examples == 2


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 2},
        {"shots": (0,)},
        {"seed": 1},
        {"stop": ()},
        {"separator": "\n"},
        {"explanations": True},
        {"unconditional": True},
        {"demonstration_seeds": ()},
        {"max_new_tokens": 9},
        {"overlength": Overlength.SKIP},
        {"tasks": ("flan/a",)},
        {"selection": Selection("test")},
        {"model": {"weights_digest": "d2"}},
        {"model": {"dtype": "bfloat16"}},
        {"model": {"device": "cuda:0"}},
        {"model": {"path": "plain"}},
        {"model_options": ModelOptions("toy", quantize="8bit")},
    ],
    ids=str,
)
def test_whatever_decides_the_predictions_starts_a_run_of_its_own(
    bench: Bench, tmp_path: Path, change: dict[str, Any]
) -> None:
    with Run.open(tmp_path, record(bench)) as first:
        first.write(prediction(1))
    with Run.open(tmp_path, record(bench, **change)) as second:
        assert second.path != first.path
        assert second.predictions.keys == set()
        (name, value) = next(iter(change.items()))
        told = {"tasks": "2 tasks differ", "selection": "eval_set", "model_options": "quantize"}
        expected = told.get(name) or (next(iter(value)) if name == "model" else name)
        assert second.anew.startswith(f"{first.path.name} has ")
        assert expected in second.anew
    assert find_runs(tmp_path) == sorted([first.path, second.path])


@pytest.mark.parametrize(
    "change",
    [
        {"model_options": ModelOptions("toy", batch_tokens=7)},
        {"model": {"device": "cpu:0"}},
        {"model": {"torch": "99"}},
        {"model": {"noise": 0.5}},
    ],
    ids=str,
)
def test_whatever_decides_nothing_goes_on_in_the_same_run(
    bench: Bench, tmp_path: Path, change: dict[str, Any]
) -> None:
    with Run.open(tmp_path, record(bench)) as first:
        first.write(prediction(1))
    with Run.open(tmp_path, record(bench, **change)) as second:
        assert second.path == first.path
        assert second.anew == ""
        assert second.predictions.keys == {prediction(1).key.digest}
        second.write(prediction(2))
    sessions = read_run(first.path).sessions
    assert [session.predictions for session in sessions] == [1, 1]
    assert second.record.model.noise == first.record.model.noise, "choices are judged by one noise"


def test_changed_content_of_the_bench_starts_a_run_of_its_own(bench: Bench, tmp_path: Path) -> None:
    other = make_bench(tmp_path / "data", ToyTask("flan/a", numbered(7), numbered(2)))
    with Run.open(tmp_path, record(bench, tasks=("flan/a",))) as first:
        pass
    with Run.open(tmp_path, record(other, tasks=("flan/a",))) as second:
        assert second.path != first.path
        assert "other tasks or content (1 tasks differ)" in second.anew


def test_another_version_of_the_package_starts_a_run_of_its_own(bench: Bench, tmp_path: Path) -> None:
    """It may compose prompts otherwise."""
    with Run.open(tmp_path, record(bench)) as first:
        pass
    with Run.open(tmp_path, dataclasses.replace(record(bench), version="99")) as second:
        assert second.path != first.path
        assert f"has version {VERSION}, not 99" in second.anew


def test_the_closest_of_several_runs_is_compared_with(bench: Bench, tmp_path: Path) -> None:
    for limit in (1, 2):
        with Run.open(tmp_path, record(bench, limit=limit, seed=limit, max_new_tokens=10 + limit)):
            pass
    with Run.open(tmp_path, record(bench, limit=2, seed=2, max_new_tokens=99)) as run:
        assert run.anew.endswith("has max_new_tokens 12, not 99")


def test_a_session_that_fails_is_recorded_too(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Run.open(tmp_path, record(bench)) as run:
        run.write(prediction(1))
        raise KeyboardInterrupt
    assert read_run(run.path).sessions[0].predictions == 1


def test_what_failed_first_is_what_is_told(bench: Bench, tmp_path: Path) -> None:
    """Where the folder is gone the session's record cannot be completed either."""
    with pytest.raises(OSError, match="first"), Run.open(tmp_path, record(bench)) as run:
        shutil.rmtree(run.path)
        raise OSError("first")
    with pytest.raises(FileNotFoundError), Run.open(tmp_path, record(bench)) as run:
        shutil.rmtree(run.path)


def test_two_processes_never_write_to_one_run(bench: Bench, tmp_path: Path) -> None:
    with Run.open(tmp_path, record(bench)) as run:
        code = (
            "import sys; from pathlib import Path; from evaluation.run import _locked\n"
            "with _locked(Path(sys.argv[1])): pass"
        )
        command = [sys.executable, "-c", code, str(run.path)]
        other = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
        assert "another evaluation is writing to it" in other.stderr
        with (
            pytest.raises(BenchFolderError, match="another evaluation"),
            Run.open(tmp_path, record(bench)),
        ):
            pass
    assert subprocess.run(command, cwd=TOP, check=False).returncode == 0, "the lock is gone"
    assert {file.name for file in run.path.iterdir()} == {RUN, "predictions"}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 1}', '{"format": 99}', '{"format": 1, "x": 2}']
)
def test_a_record_that_cannot_be_read_is_named(bench: Bench, tmp_path: Path, content: str) -> None:
    with Run.open(tmp_path, record(bench)) as run:
        pass
    (run.path / RUN).write_text(content)
    with pytest.raises(BenchFolderError, match=r"run\.json: .*evaluate again"):
        read_run(run.path)
    with pytest.raises(BenchFolderError), Run.open(tmp_path, record(bench)):
        pass
    with Run.open(tmp_path, record(bench, limit=1)) as other:
        assert other.anew == "", "a broken neighbour is no reason to fail"


def test_a_changed_value_in_a_record_is_noticed(bench: Bench, tmp_path: Path) -> None:
    with Run.open(tmp_path, record(bench)) as run:
        pass
    content = json.loads((run.path / RUN).read_text())
    content["prompts"]["overlength"] = "perhaps"
    (run.path / RUN).write_text(json.dumps(content))
    with pytest.raises(BenchFolderError, match="perhaps"):
        read_run(run.path)


def test_no_run_is_told_with_the_command(tmp_path: Path) -> None:
    for attempt in (find_runs, read_run):
        with contextlib.suppress(AttributeError), pytest.raises(BenchFolderError, match="optiml-bench eval"):
            attempt(tmp_path)


def test_a_models_folder(tmp_path: Path) -> None:
    assert folder_name("facebook/opt-iml-30b") == "facebook--opt-iml-30b"
    assert folder_name("builtin:tiny-opt") == "builtin-tiny-opt"
    local = tmp_path / "my model"
    local.mkdir()
    assert folder_name(f"{local}/") == "my-model"
