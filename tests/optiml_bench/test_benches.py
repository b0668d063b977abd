"""Commands on a bench in an object store say what they say of the same bench in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from kit import build_folder

from benchmark_builder.blueprint import BuildOptions, draw_up
from benchmark_builder.build import build
from optiml_bench.cli import cli
from task_registry.engines.local import Serial


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The same bench in a folder and in a store in memory."""
    folder, url = tmp_path_factory.mktemp("benches") / "data", "memory://benches/data"
    build_folder(None, folder, source=("superni", "flan"))
    build(draw_up(BuildOptions(sources=None, sample=True, source=("superni", "flan"))), url, Serial())
    yield str(folder), url
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize(
    "command",
    [
        ["audit", "DATA"],
        ["show", "superni/sample_pairs", "--data", "DATA"],
        ["show", "superni/sample_pairs", "--data", "DATA", "--shots", "2"],
        ["export", "DATA", "--split", "test"],
        [
            "publish",
            "DATA",
            "--repo-id",
            "org/name",
            "--allow-sample",
            "--allow-unknown-licence",
            "--dry-run",
        ],
    ],
    ids=" ".join,
)
def test_a_store_is_as_good_as_a_folder(
    command: list[str], places: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    in_folder, in_store = (
        CliRunner().invoke(cli, [place if word == "DATA" else word for word in command]) for place in places
    )
    assert in_store.exit_code == in_folder.exit_code == 0, in_store.output
    assert in_folder.stdout
    assert in_store.stdout == in_folder.stdout
    assert "Fetching" in in_store.stderr
