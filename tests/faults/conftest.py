"""The jobs that faults strike, how often they do, and the count of them at the end.

`make test-faults` strikes every job in every way, many times over; the ordinary test run strikes each job once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fault_jobs import ENGINES, ROUNDS, Job, build_job, evaluate_job, fetch_job, publish_job, write_sources
from kit import build_folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that strikes at random its rounds; a round is the seed of its moments."""
    if "moment" in metafunc.fixturenames:
        metafunc.parametrize("moment", range(max(ROUNDS, 1)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what strikes one job together: each process runs it once undisturbed before."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "name" in callspec.params:
            item.add_marker(pytest.mark.xdist_group(callspec.params["name"]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many runs were struck, by what."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        counts.update(str(value) for name, value in report.user_properties if name == "struck")
    if counts:
        terminalreporter.section("faults survived")
        for fault, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:>5}  {fault}")
        terminalreporter.write_line(f"{counts.total():>5}  in all")


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Native files, and a bench of the sample."""
    folder = tmp_path_factory.mktemp("ground")
    write_sources(folder / "in")
    build_folder(None, folder / "bench", source=("superni", "flan"))
    return folder


@pytest.fixture(scope="session")
def jobs(ground: Path) -> Iterator[Callable[[str], Job]]:
    """Jobs by name, each run once undisturbed when it is first asked for."""
    known: dict[str, Job] = {}
    with ExitStack() as stack:

        def learned(name: str) -> Job:
            if name not in known:
                if name.endswith("ray"):
                    pytest.importorskip("ray", reason="ray is not installed")
                kind, _, engine = name.partition(" ")
                options, mark = ENGINES[f" {engine}" if engine else ""]
                match kind:
                    case "build":
                        job = build_job(ground / "in", name, *options, mark=mark)
                    case "evaluate":
                        job = evaluate_job(ground / "bench", name, *options, mark=mark)
                    case "fetch":
                        job = fetch_job(stack)
                    case _:
                        job = publish_job(ground / "bench", stack)
                place = ground / name.replace(" ", "-")
                place.mkdir()
                job.learn(place / "undisturbed")
                known[name] = job
            return known[name]

        yield learned
