"""Fetching through an engine: the same folder as with threads, whoever dies."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from kit import folder_digests
from local_hub import Fault, LocalHub, tar_gz

from benchmark_builder.fetch.distributed import DistributedFetcher, Order, bring
from benchmark_builder.fetch.fetching import Fetcher, Finding
from benchmark_builder.fetch.items import Archive, FileList, HubSet, Item
from benchmark_builder.fetch.remote import Patience, Remote
from benchmark_builder.fetch.store import READY, State, Store
from task_registry.engines import Engine
from task_registry.engines.local import Serial, Workers
from task_registry.engines.ray import Ray

PATIENCE = Patience(tries=3, first_wait=0.0, longest_wait=5.0)
ITEMS = (
    Item(
        "harbour/logs", FileList(tuple(f"https://harbour.example/log{n}.txt" for n in range(3)), "harbour/")
    ),
    Item("promptsource/boats", HubSet("harbour/boats")),
    Item(
        "charts",
        Archive(
            "https://charts.example/charts.tar.gz",
            {"charts/": ("*.txt",), "maps/": ("*.map",)},
            repository=True,
        ),
    ),
    Item("missing", FileList(("https://harbour.example/none.txt",), "missing/")),
)


@pytest.fixture
def upstream(hub: LocalHub, parquet: Callable[[Sequence[Mapping[str, Any]]], bytes]) -> LocalHub:
    """Servers of items of every kind."""
    rows = parquet([{"text": f"boat {n}"} for n in range(50)])
    hub.add_dataset("harbour/boats", {"data/train-00000-of-00001.parquet": rows})
    hub.add_file(
        "charts.example/charts.tar.gz", tar_gz({"bay.txt": b"deep", "bay.map": b"~~"}, top="charts-1")
    )
    for number in range(3):
        hub.add_file(f"harbour.example/log{number}.txt", b"calm " * 50_000)
    return hub


def fetched(fetcher: Fetcher) -> dict[str, Finding]:
    with fetcher.store.taken():
        findings = fetcher.look(ITEMS)
        brought = fetcher.bring(findings)
    return {finding.item.name: finding for finding in (*findings, *brought)}


@pytest.fixture
def expected(upstream: LocalHub, tmp_path: Path) -> dict[str, str]:
    """The folder that threads make."""
    found = fetched(Fetcher(Store(tmp_path / "threads"), Remote(PATIENCE)))
    assert {name: finding.state for name, finding in found.items()} == STATES
    return folder_digests(tmp_path / "threads")


STATES = {item.name: State.FAILED if item.name == "missing" else State.FETCHED for item in ITEMS}


@pytest.mark.parametrize("make", [Serial, lambda: Ray(1, address="local", cpus=0.5)])
def test_an_engine_brings_what_threads_bring(
    expected: dict[str, str], upstream: LocalHub, tmp_path: Path, make: Callable[[], Engine]
) -> None:
    made = make()
    if isinstance(made, Ray):
        pytest.importorskip("ray", reason="ray is not installed")
    with made as engine:
        found = fetched(DistributedFetcher(Store(tmp_path / "out"), engine, PATIENCE))
        assert {name: finding.state for name, finding in found.items()} == STATES
        assert "404" in found["missing"].error
        assert folder_digests(tmp_path / "out") == expected
        again = fetched(DistributedFetcher(Store(tmp_path / "out"), engine, PATIENCE))
    assert {finding.state for finding in again.values()} == {State.THERE, State.FAILED}


def test_a_killed_workers_item_is_brought_by_another(
    expected: dict[str, str], upstream: LocalHub, tmp_path: Path
) -> None:
    hold, out = threading.Event(), tmp_path / "out"

    def kill_the_first() -> None:
        while not hold.is_set():
            time.sleep(0.01)
            if any((out / ".fetching").rglob("*.part")):
                (process,) = multiprocessing.active_children()
                process.kill()
                hold.set()

    killer = threading.Thread(target=kill_the_first)
    with Workers(1) as engine:
        fetcher = DistributedFetcher(Store(out), engine, PATIENCE)
        with fetcher.store.taken():
            findings = fetcher.look(ITEMS)
            upstream.break_next("log1", Fault(drop_after=100_000, hold=hold))
            killer.start()
            try:
                brought = fetcher.bring(findings)
            finally:
                survived = not hold.is_set()
                hold.set()
                killer.join()
    assert not survived
    assert {finding.item.name: finding.state for finding in (*findings, *brought)} == STATES
    assert folder_digests(out) == expected


class Death(BaseException):
    """Stands for the end of a worker's process."""


@pytest.fixture
def orders(upstream: LocalHub, tmp_path: Path) -> Iterator[list[Order]]:
    fetcher = DistributedFetcher(Store(tmp_path / "out"), Serial(), PATIENCE)
    with fetcher.store.taken():
        yield [
            Order(tmp_path / "out", None, PATIENCE, finding.item, finding=finding)
            for finding in fetcher.look(ITEMS)
            if finding.state is State.MISSING
        ]


@pytest.mark.parametrize("renames", range(5))
def test_an_item_whose_worker_dies_while_it_is_put_into_place(
    orders: list[Order],
    expected: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    renames: int,
) -> None:
    rename, replace, left = Path.rename, Path.replace, [renames]

    def dying(move: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def moved(source: Path, target: Path) -> Path:
            if "charts" in str(source) and READY not in str(target):
                if not left[0]:
                    raise Death
                left[0] -= 1
            return move(source, target)

        return moved

    for order in orders:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", dying(rename))
            patched.setattr(Path, "replace", dying(replace))
            try:
                bring(order)
            except Death:
                assert order.item.name == "charts"
        assert bring(order).state is State.FETCHED
    Store(tmp_path / "out")._sweep()
    assert folder_digests(tmp_path / "out") == expected
