"""Builds into object stores: the local build's bytes, whoever works and whatever fails, and nothing else left there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from kit import EVALUATED, TOP, TRAINED, build_folder, folder_digests, superni_task, write_superni
from leaky_sources import write_leaky
from local_s3 import BUCKET, LocalS3

from optiml_bench.cli import cli
from task_registry.engines import Engine
from task_registry.engines.local import Serial, Workers
from task_registry.engines.ray import Ray
from task_registry.errors import BenchFolderError, MachineError, RemoteError
from task_registry.objects.client import Objects
from task_registry.remote import open_bench
from task_registry.types import Split


def objects(url: str) -> dict[str, str]:
    """Digest of every object below a URL, by its name."""
    store, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {
        path.removeprefix(f"{root}/"): blake2b(store.cat_file(path)).hexdigest() for path in store.find(root)
    }


def scratch_folders() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("optiml-bench-build-*"))


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a build writes before it goes up lies where no other test looks; Ray wants it at a short path."""
    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture
def memory() -> Iterator[str]:
    """A store in this process's memory."""
    yield "memory://bench/data"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(scope="module")
def server() -> Iterator[LocalS3]:
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    pytest.importorskip("moto", reason="moto is not installed")
    with LocalS3() as running:
        yield running


@pytest.fixture
def s3(server: LocalS3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[LocalS3]:
    """A server of S3 that is asked instead of the real one."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield server
    server.mend()


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A place of its own for each test."""
    return f"s3://{BUCKET}/{blake2b(request.node.name.encode(), digest_size=4).hexdigest()}/data"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A trained, an evaluated and a fully supervised task."""
    for name in (TRAINED, EVALUATED):
        rows = [{"id": f"{n}", "input": f"{name} {n}", "output": [f"out {n}"]} for n in range(30)]
        write_superni(tmp_path / "in", name, superni_task(Instances=rows))
    (tmp_path / "in" / "custom").mkdir()
    write_supervised(tmp_path / "in")
    return tmp_path / "in"


def write_supervised(sources: Path) -> None:
    """Write a task that has training rows and scored ones."""
    line = '{{"split": "{}", "instruction": "{} {}?", "output": "{}"}}\n'
    rows = [line.format(split, split, n, n) for split in ("train", "test") for n in range(9)]
    (sources / "custom" / "pages.jsonl").write_text("".join(rows))
    (sources / "custom" / "pages.yaml").write_text("level: fully_supervised\n")


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Sources of every kind of task, with leaks, and the bytes of the folder that a local build makes of them."""
    root = tmp_path_factory.mktemp("leaky")
    write_leaky(root / "in")
    write_supervised(root / "in")
    assert build_folder(root / "in", root / "out").manifest.leaks
    return root / "in", folder_digests(root / "out")


def test_a_store_holds_the_bytes_of_a_folder(memory: str, tmp_path: Path) -> None:
    build_folder(None, tmp_path / "out")
    sample = folder_digests(tmp_path / "out")
    build_folder(None, memory)
    assert objects(memory) == sample
    assert build_folder(None, memory).fresh == 0
    assert objects(memory) == sample
    assert not scratch_folders()


@pytest.mark.parametrize("make", [Serial, lambda: Workers(2), lambda: Ray(1, address="local", cpus=0.5)])
def test_every_engine_sends_up_the_same_bytes(
    s3: LocalS3, url: str, leaky: tuple[Path, dict[str, str]], make: Callable[[], Engine]
) -> None:
    engine = make()
    if isinstance(engine, Ray):
        pytest.importorskip("ray", reason="ray is not installed")
    build_folder(leaky[0], url, engine=engine)
    assert objects(url) == leaky[1]
    assert not scratch_folders()


def test_a_second_build_asks_once_for_each_task(s3: LocalS3, url: str, sources: Path) -> None:
    build_folder(sources, url)
    s3.counts()
    assert build_folder(sources, url).fresh == 0
    asked = s3.counts()
    assert asked["GET"] == 3 + 5, (
        "the records; the manifest, the lock twice at the beginning, before the end, at the end"
    )
    assert asked["PUT"] == 3, "the lock, the index, the manifest"
    assert asked["DELETE"] == 1


def test_only_what_has_changed_is_sent_up_again(memory: str, sources: Path, tmp_path: Path) -> None:
    build_folder(sources, memory)
    file = sources / "superni" / "tasks" / f"{TRAINED}.json"
    file.write_text(file.read_text().replace("out 1", "OUT 1"))
    store = fsspec.filesystem("memory")
    before = {path: store.modified(path) for path in store.find("bench/data/shards")}
    assert build_folder(sources, memory).fresh == 1
    changed = {path for path in before if store.modified(path) != before[path]}
    assert changed == {path for path in before if TRAINED in path}
    build_folder(sources, tmp_path / "out")
    assert objects(memory) == folder_digests(tmp_path / "out")


def test_what_is_smaller_than_before_leaves_nothing_behind(
    memory: str, sources: Path, tmp_path: Path
) -> None:
    build_folder(sources, memory)
    shards = Objects(memory).below(f"shards/superni/{TRAINED}")
    shards.write("train/data-00007-of-00008.arrow", b"of a longer version")
    Objects(memory).write("shards/superni/left/train/state.json", b"of a worker that died")
    (sources / "superni" / "tasks" / f"{TRAINED}.json").write_text("{")
    report = build_folder(sources, memory)
    assert set(report.manifest.failed) == {f"superni/{TRAINED}"}
    build_folder(sources, tmp_path / "out")
    assert objects(memory) == folder_digests(tmp_path / "out")


def test_a_build_that_is_killed_goes_on(s3: LocalS3, url: str, leaky: tuple[Path, dict[str, str]]) -> None:
    for after in (2, 60):
        s3.counts()
        process = subprocess.Popen(
            [sys.executable, "-m", "optiml_bench", "build", "--sources", str(leaky[0]), "--out", url, "--workers", "2"],
            cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        put = 0
        while process.poll() is None and put < after:
            put += s3.counts()["PUT"]
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert "bench.json" not in objects(url)
    build_folder(leaky[0], url)
    assert objects(url) == leaky[1]
    assert not scratch_folders(), "also those of the killed"


@pytest.mark.parametrize("status", [503, 0])
def test_an_answer_that_fails_once_is_asked_for_again(
    s3: LocalS3, url: str, sources: Path, tmp_path: Path, status: int
) -> None:
    for method in ("PUT", "GET"):
        s3.fail(method, "test/", times=1, status=status)
    build_folder(sources, url)
    build_folder(sources, tmp_path / "out")
    assert objects(url) == folder_digests(tmp_path / "out")


def test_a_store_that_refuses_is_one_line_and_the_next_build_goes_on(
    s3: LocalS3, url: str, sources: Path, tmp_path: Path
) -> None:
    s3.fail("PUT", f"{TRAINED}/train", times=1000, status=403)
    with pytest.raises(MachineError, match=rf"^{url}/[^\n]*cannot write it[^\n]*run it again[^\n]*$"):
        build_folder(sources, url)
    assert "bench.json" not in objects(url)
    assert not [name for name in objects(url) if name.startswith(".building")]
    s3.mend()
    assert build_folder(sources, url).fresh == 1, "the others are up"
    build_folder(sources, tmp_path / "out")
    assert objects(url) == folder_digests(tmp_path / "out")


def test_a_store_that_is_not_there(s3: LocalS3, sources: Path) -> None:
    with pytest.raises(RemoteError, match="bucket does not exist"):
        build_folder(sources, "s3://other-bucket/data")


def test_something_else_is_refused_untouched(memory: str, sources: Path) -> None:
    Objects(memory).write("thesis.txt", b"precious")
    with pytest.raises(BenchFolderError, match=r"holds thesis\.txt, which is no bench"):
        build_folder(sources, memory)
    assert list(objects(memory)) == ["thesis.txt"]


def test_a_file_url_is_a_folder(sources: Path, tmp_path: Path) -> None:
    build_folder(sources, f"file://{tmp_path}/one")  # type: ignore[arg-type]
    build_folder(sources, tmp_path / "two")
    assert folder_digests(tmp_path / "one") == folder_digests(tmp_path / "two")


def test_a_bench_in_a_store_is_read_like_a_folder(
    s3: LocalS3, url: str, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(BenchFolderError, match=r"no bench\.json"):
        open_bench(url)
    build_folder(sources, url)
    build_folder(sources, tmp_path / "out")
    told: list[str] = []
    stored, folder = open_bench(url, list(Split), watch=told.append), open_bench(tmp_path / "out")
    assert (stored.manifest, stored.tasks) == (folder.manifest, folder.tasks)
    count = sum(len(built.counts) for built in folder.tasks.values())
    assert [line.rpartition(" and ")[2] for line in told] == [f"{count - 1} more"]
    assert list(stored.damaged()) == []
    told.clear()
    open_bench(url, list(Split), watch=told.append)
    assert told == [], "it is in the cache"
    exported = [
        CliRunner().invoke(cli, ["export", place, "--split", "test"]).stdout
        for place in (url, str(tmp_path / "out"))
    ]
    assert exported[0] == exported[1] != ""


def test_a_damaged_shard_in_a_store_is_told(
    memory: str, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build_folder(sources, memory)
    shards = Objects(memory).below(f"shards/superni/{EVALUATED}")
    (name,) = (name for name in shards.names() if name.startswith("test/data-"))
    content = bytearray(shards.read(name) or b"")
    content[content.index(b"out 3") + 4] ^= 1
    shards.write(name, bytes(content))
    with pytest.raises(RemoteError, match=rf"{EVALUATED}/test"):
        open_bench(memory)
