"""Processes that are killed, interrupted, or two at once, at random moments: nothing is lost, the end is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from fault_jobs import INTERRUPTED, JOBS, KILLED, ROUNDS, SLOW, SPREAD, Job, command_line, descendants

Jobs = Callable[[str], Job]
Record = Callable[[str, object], None]


def after_a_while(job: Job, out: Path, random: Random) -> subprocess.Popen[bytes]:
    """Start a job and come back at a random moment of its work."""
    process = job.start(out)
    job.wait_until_begun(process, out)
    time.sleep(random.uniform(0, job.seconds))
    return process


def kill(process: subprocess.Popen[bytes], random: Random) -> None:
    process.kill()


def terminate(process: subprocess.Popen[bytes], random: Random) -> None:
    process.terminate()


def interrupt_twice(process: subprocess.Popen[bytes], random: Random) -> None:
    """Ctrl-C goes to all processes of the terminal, and is given again by who finds it slow."""
    for _ in range(2):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(random.uniform(0, 0.1))


BLOWS = {
    kill: {KILLED},
    # Python and Ray take handlers down before they end; and Python itself ends by SIGINT where text is run by `exec`.
    terminate: {INTERRUPTED, -signal.SIGTERM, -signal.SIGINT},
    interrupt_twice: {INTERRUPTED, -signal.SIGINT, 1},
}
"""What strikes the job's own process, with the exit codes that are right then."""

STRIKES = [
    (name, blow)
    for turn, name in enumerate(JOBS)
    for number, blow in enumerate(BLOWS)
    if ROUNDS or (name != SLOW and (turn + number) % len(BLOWS) == 0)
]
ON_RAY = [name for name in SPREAD if name.endswith("ray") and (ROUNDS or name != SLOW)]


@pytest.mark.parametrize(("name", "blow"), STRIKES)
def test_a_job_that_is_stopped_goes_on(
    jobs: Jobs,
    name: str,
    blow: Callable[[subprocess.Popen[bytes], Random], None],
    moment: int,
    tmp_path: Path,
    record_property: Record,
) -> None:
    job, random = jobs(name), Random(f"{name} {blow.__name__} {moment}")
    process = after_a_while(job, tmp_path / "out", random)
    helpers = job.workers(process)
    struck = process.poll() is None
    if struck:
        blow(process, random)
    code = process.wait(timeout=120)
    assert code in BLOWS[blow] | {0}, job.said(tmp_path / "out")
    deadline = time.monotonic() + 20
    while any(map(command_line, helpers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [line for line in map(command_line, helpers) if line], "a worker outlived its job"
    job.finish(tmp_path / "out")
    if struck and code:
        record_property("struck", f"{name}: {blow.__name__}")


@pytest.mark.parametrize("name", SPREAD)
def test_a_worker_that_is_killed_is_replaced(
    jobs: Jobs, name: str, moment: int, tmp_path: Path, record_property: Record
) -> None:
    job, random = jobs(name), Random(f"{name} {moment}")
    process = after_a_while(job, tmp_path / "out", random)
    workers = job.workers(process)
    if workers:
        os.kill(random.choice(workers), signal.SIGKILL)
    assert process.wait(timeout=120) == 0, job.said(tmp_path / "out")
    assert job.outcome(tmp_path / "out") == job.expected
    if workers:
        record_property("struck", f"{name}: a worker is killed")


@pytest.mark.parametrize("name", ON_RAY)
def test_the_head_of_the_cluster_is_killed(
    jobs: Jobs, name: str, moment: int, tmp_path: Path, record_property: Record
) -> None:
    job, random = jobs(name), Random(f"{name} {moment}")
    process = after_a_while(job, tmp_path / "out", random)
    heads = [pid for pid in descendants(process.pid) if "gcs_server" in command_line(pid).partition(" ")[0]]
    for pid in heads:
        os.kill(pid, signal.SIGKILL)
    code = process.wait(timeout=180)
    job.finish(tmp_path / "out")
    if heads and code:
        record_property("struck", f"{name}: the head is killed")


@pytest.mark.parametrize("name", ["build", "evaluate", "fetch"])
def test_two_at_once_on_one_folder(
    jobs: Jobs, name: str, moment: int, tmp_path: Path, record_property: Record
) -> None:
    job, random = jobs(name), Random(f"{name} {moment}")
    first = job.start(tmp_path / "out")
    job.wait_until_begun(first, tmp_path / "out")
    time.sleep(random.uniform(0, job.seconds / 2))
    second = job.start(tmp_path / "out")
    codes = [process.wait(timeout=120) for process in (first, second)]
    assert codes[0] == 0, job.said(tmp_path / "out")
    assert codes[1] in (0, 4), job.said(tmp_path / "out")
    assert "Traceback" not in job.said(tmp_path / "out")
    job.finish(tmp_path / "out")
    if codes[1]:
        record_property("struck", f"{name}: two at once")
