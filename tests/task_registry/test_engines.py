"""Engines: every spec gets its outcome, whatever happens to the workers; Ray's on a real cluster of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from task_registry.engines import TRIES, Crash, Engine
from task_registry.engines.local import Serial, Workers
from task_registry.engines.ray import Ray
from task_registry.errors import MachineError


@pytest.fixture(scope="module", params=["workers", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine of two workers that may die."""
    if request.param == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    # Actors of Ray are asked for less than a core, so that a machine of one core holds two.
    made = Workers(2) if request.param == "workers" else Ray(2, address="local", cpus=0.5)
    with made as opened:
        yield opened


def double_or_fail(spec: int) -> int:
    """Doubles even numbers; each odd one comes to grief in its own way."""
    if spec == 1:
        raise ValueError("one is odd")
    if spec == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if spec == 5:
        os._exit(7)
    return 2 * spec


def die_at_first(mark: Path) -> int:
    """Kills its worker in the first try."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def count_and_die(tries: Path) -> None:
    with tries.open("a") as file:
        file.write("x")
    os._exit(1)


def fill_the_disk(spec: int) -> int:
    if spec == 2:
        raise MachineError("disk full")
    return spec


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def tell_and_sleep(place: Path) -> None:
    place.with_suffix(".new").write_text(str(os.getpid()))
    place.with_suffix(".new").rename(place)
    if place.name == "long":
        time.sleep(30)


def unsendable(spec: int) -> object:
    return threading.Lock()


def test_a_unit_that_fails_ends_alone(engine: Engine) -> None:
    outcomes = dict(engine.map(double_or_fail, range(10)))
    assert {spec: value for spec, value in outcomes.items() if not isinstance(value, Crash)} == {
        0: 0, 2: 4, 4: 8, 6: 12, 7: 14, 8: 16, 9: 18,
    }  # fmt: skip
    assert "ValueError: one is odd" in outcomes[1].reason
    for spec in (3, 5):
        assert f"died {TRIES} times" in outcomes[spec].reason


def test_it_says_how_a_worker_died() -> None:
    with Workers(1) as engine:
        outcomes = dict(engine.map(double_or_fail, [3, 5, 6]))
    assert "SIGKILL" in outcomes[3].reason
    assert "exit code 7" in outcomes[5].reason
    assert outcomes[6] == 12


def test_a_unit_whose_worker_died_is_done_by_another(engine: Engine, tmp_path: Path) -> None:
    marks = [tmp_path / str(n) for n in range(5)]
    outcomes = dict(engine.map(die_at_first, marks))
    assert set(outcomes) == set(marks)
    assert all(isinstance(pid, int) for pid in outcomes.values()), outcomes


def test_a_unit_that_kills_its_workers_is_given_up(engine: Engine, tmp_path: Path) -> None:
    ((_, outcome),) = engine.map(count_and_die, [tmp_path / "tries"])
    assert isinstance(outcome, Crash)
    assert len((tmp_path / "tries").read_text()) == TRIES


def test_a_full_disk_ends_the_job_and_not_the_engine(engine: Engine) -> None:
    with pytest.raises(MachineError, match="disk full"):
        list(engine.map(fill_the_disk, range(4)))
    assert dict(engine.map(double_or_fail, [4, 6])) == {4: 8, 6: 12}


def test_a_full_disk_ends_a_serial_job() -> None:
    with Serial() as engine, pytest.raises(MachineError, match="disk full"):
        list(engine.map(fill_the_disk, range(4)))


def test_workers_stay_from_one_job_to_the_next(engine: Engine) -> None:
    first: set[object] = set()
    while len(first) < 2:  # the second may join when the first has done it all
        first = {pid for _, pid in engine.map(sleep, [0.2, 0.2])}
    assert first == {pid for _, pid in engine.map(sleep, [0.2, 0.2])}


def test_what_is_under_way_ends_when_the_consumer_stops(engine: Engine, tmp_path: Path) -> None:
    # The long one first: a worker that joins late takes the short one, and nothing is begun while we hold a result.
    places = [tmp_path / "long", tmp_path / "short"]
    results = engine.map(tell_and_sleep, places)
    assert next(results)[0].name == "short"
    deadline = time.monotonic() + 10
    while not places[0].exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    pid = int(places[0].read_text())
    results.close()
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


def test_a_result_that_cannot_be_sent_is_a_fault_of_its_unit(engine: Engine) -> None:
    outcomes = dict(engine.map(unsendable, [3, 4]))
    assert all(isinstance(outcome, Crash) for outcome in outcomes.values())


def test_no_specs_no_workers(engine: Engine) -> None:
    assert list(engine.map(double_or_fail, [])) == []
