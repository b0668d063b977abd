"""`optiml-bench eval` by several workers: the same scores as one process, and one run whoever goes on with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from kit import TOP, build_folder

from evaluation.run import find_runs, read_run
from optiml_bench.cli import cli
from task_registry.errors import UsageError

EVAL = (
    "eval", "--model", "builtin:tiny-opt", "--device", "cpu", "--eval-set", "all", "--shots", "0",
    "--max-new-tokens", "16", "--limit", "4",
)  # fmt: skip
RAY = ("--engine", "ray", "--address", "local", "--workers", "1")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "data"
    build_folder(None, folder, source=("superni", "flan"))
    return folder


def lines(out: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in out.glob("*/*/predictions/*.jsonl"))


def workers(pid: int) -> list[int]:
    """The processes below a driver that have a model; Ray's own helpers need a minute to notice its end."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/cmdline").read_text().startswith("ray::_Actor"):
                    found.append(child)
            found += workers(child)
    return found


def test_a_run_begun_on_ray_goes_on_with_local_workers_and_ends_as_that_of_one_process(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    out = tmp_path / "results"
    driver = subprocess.Popen(
        [sys.executable, "-m", "optiml_bench", *EVAL, *RAY, "--data", str(bench), "--out", str(out)],
        cwd=TOP, env=os.environ | {"RAY_worker_niceness": "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while driver.poll() is None and lines(out) < 1:
        time.sleep(0.01)
    left = workers(driver.pid)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in left) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left
    assert not [pid for pid in left if Path(f"/proc/{pid}").exists()], "a worker outlives its driver"
    done = lines(out)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    again = CliRunner().invoke(cli, [*EVAL, "--workers", "2", "--data", str(bench), "--out", str(out)])
    assert again.exit_code == 0, again.output
    assert f"goes on, {done} prompts are answered" in again.stdout
    (path,) = find_runs(out)
    killed, finished = read_run(path).sessions
    assert (killed.engine, killed.workers, killed.predictions) == ("ray", None, None)
    assert finished.engine == "local"
    assert finished.workers in (1, 2)
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert finished.accelerator.startswith(f"CPU only, {share} threads"), "each has its share of the cores"

    one = CliRunner().invoke(cli, [*EVAL, "--data", str(bench), "--out", str(tmp_path / "one")])
    assert one.exit_code == 0, one.output
    other = tmp_path / "one" / path.parent.name / path.name
    assert (path / "summary.json").read_bytes() == (other / "summary.json").read_bytes()
    scores, expected = (pq.read_table(folder / "scores.parquet").to_pandas() for folder in (path, other))
    # Batches fall otherwise: likelihoods agree to rounding, everything else exactly.
    assert scores.drop(columns="margin").equals(expected.drop(columns="margin"))
    assert scores.margin.sub(expected.margin).abs().max() < 1e-3


class OnGpu:
    """A team on a machine with a GPU."""

    introduction = SimpleNamespace(model=SimpleNamespace(device="cuda:0"))

    def __init__(self, *_: object) -> None:
        pass


def test_several_local_workers_are_refused_on_a_gpu(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would take its memory as if it were alone."""
    monkeypatch.setattr("evaluation.distributed.Team", OnGpu)
    out = tmp_path / "results"
    result = CliRunner().invoke(cli, [*EVAL, "--workers", "2", "--data", str(bench), "--out", str(out)])
    assert isinstance(result.exception, UsageError)
    assert "--engine ray gives each model its own" in str(result.exception)
    assert not out.exists()


def test_options_that_do_not_go_together(bench: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--address", "auto"), "--address is of a Ray cluster; add --engine ray"),
        (("--gpus-per-model", "2"), "--gpus-per-model is of a Ray cluster; add --engine ray"),
    ):
        out = str(tmp_path / "results")
        result = CliRunner().invoke(cli, [*EVAL, *arguments, "--data", str(bench), "--out", out])
        assert isinstance(result.exception, UsageError)
        assert str(result.exception).startswith(message)
    assert not (tmp_path / "results").exists()
