"""Room on this machine: shared by the processes of a build, gone when none is left."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import TOP

from task_registry.objects.scratch import leave, scratch

HOLD = "import sys; from task_registry.objects.scratch import scratch; print(scratch('theirs'), flush=True); input()"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another build's process that holds its folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_what_somebody_holds_stays_and_what_a_dead_one_held_goes(holder: subprocess.Popen[str]) -> None:
    assert holder.stdout is not None
    theirs = Path(holder.stdout.readline().strip())
    (theirs / "shards").mkdir()
    ours = scratch("first")
    assert theirs.is_dir()
    holder.kill()
    holder.wait()
    second = scratch("second")
    assert not theirs.exists()
    assert ours.is_dir()
    for token in ("first", "second"):
        leave(token)
    assert not ours.exists()
    assert not second.exists()


def test_a_folder_is_made_again_after_it_was_left() -> None:
    for _ in range(2):
        (scratch("again") / "file").touch()
        leave("again")
    leave("again")
