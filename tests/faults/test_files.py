"""Disks that are full, writes that fail, sources that change under the reader, shards that rot."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import failing_files
import pytest
from fault_jobs import Job, build_job, write_sources
from kit import build_folder, command, folder_digests

from task_registry.bench import Bench
from task_registry.errors import BenchFolderError, MachineError
from task_registry.types import Split

Jobs = Callable[[str], Job]
Record = Callable[[str, object], None]


@contextmanager
def disk(place: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A file system in memory of `size` bytes at `place`, and a function that gives it another size."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield lambda grown: subprocess.run(
            ["mount", "-o", f"remount,size={grown}", str(place)], check=True
        ) and None  # fmt: skip
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["build", "evaluate", "fetch"])
def test_a_disk_that_fills_up(
    jobs: Jobs, ground: Path, name: str, moment: int, tmp_path: Path, record_property: Record
) -> None:
    job, random = jobs(name), Random(f"{name} {moment}")
    needed = used(ground / name / "undisturbed")
    with disk(tmp_path / "out", int(needed * random.uniform(0.05, 0.8))) as resize:
        code = job.start(tmp_path / "out").wait(timeout=120)
        assert code == MachineError.exit_code, job.said(tmp_path / "out")
        assert "Traceback" not in job.said(tmp_path / "out"), job.said(tmp_path / "out")
        resize(64 << 20)
        job.finish(tmp_path / "out")
    record_property("struck", f"{name}: the disk is full")


@pytest.mark.parametrize("name", ["build", "evaluate", "fetch"])
def test_a_write_that_fails_once(
    jobs: Jobs, name: str, moment: int, tmp_path: Path, record_property: Record
) -> None:
    job, random = jobs(name), Random(f"{name} {moment}")
    quiet = job.start(tmp_path / "quiet", **failing_files.variables(tmp_path, tmp_path / "quiet", 0))
    assert quiet.wait(timeout=120) == 0, job.said(tmp_path / "quiet")
    number = random.randint(1, failing_files.count(tmp_path))
    process = job.start(tmp_path / "out", **failing_files.variables(tmp_path, tmp_path / "out", number))
    code = process.wait(timeout=120)
    assert "Traceback" not in job.said(tmp_path / "out"), job.said(tmp_path / "out")
    job.finish(tmp_path / "out")
    if code:
        record_property("struck", f"{name}: a write fails")


def test_sources_that_change_while_they_are_read(
    moment: int, tmp_path: Path, record_property: Record
) -> None:
    """What a mixture of old and new was read from must not pass for the new."""
    write_sources(tmp_path / "in")
    job, random = build_job(tmp_path / "in", "build"), Random(moment)
    job.learn(tmp_path / "before")
    process = job.start(tmp_path / "out")
    job.wait_until_begun(process, tmp_path / "out")
    files = sorted((tmp_path / "in" / "superni" / "tasks").glob("task12*.json"))
    for file in random.sample(files, 4):
        time.sleep(random.uniform(0, job.seconds / 4))
        changed = file.read_text().replace('"input": "', '"input": "again ')
        if random.random() < 0.5:
            file.write_text(changed)
        else:
            file.with_suffix(".new").write_text(changed)
            file.with_suffix(".new").replace(file)
    process.wait(timeout=120)
    job.learn(tmp_path / "after")
    job.finish(tmp_path / "out")
    record_property("struck", "build: sources change")


def flip(content: bytearray, random: Random) -> bytes:
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


def cut(content: bytearray, random: Random) -> bytes:
    return bytes(content[: random.randrange(len(content))])


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_shard_is_found_and_mended(
    ground: Path,
    damage: Callable[[bytearray, Random], bytes],
    moment: int,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """Found by its digest, unless no value is touched; mended by what the error says."""
    random = Random(moment)
    data = Path(shutil.copytree(ground / "bench", tmp_path / "data"))
    sound = folder_digests(data)
    for _ in range(20):
        file = random.choice(sorted(data.rglob("*.arrow")))
        whole = file.read_bytes()
        file.write_bytes(damage(bytearray(whole), random))
        found = list(Bench.open(data).damaged())
        if found:
            assert len(found) == 1 and str(file.parent) in found[0]
            record_property("struck", f"bench: {damage.__name__}")
        else:
            assert [*contents(data)] == [*contents(ground / "bench")]
        file.write_bytes(whole)
    bench = Bench.open(data)
    task = random.choice([task for task, built in bench.tasks.items() if built.assignment.level])
    file = random.choice([*bench.split_folder(task, Split.TEST).glob("*.arrow")])
    content = bytearray(file.read_bytes())
    content[content.index(next(bench.examples(task, Split.TEST)).input.encode())] ^= 1
    file.write_bytes(cut(content, random) if damage is cut else content)
    asked = ("--model", "builtin:tiny-opt", "--eval-set", "all", "--out", tmp_path / "results")
    evaluated = command("eval", "--data", data, *asked)
    assert evaluated.returncode == BenchFolderError.exit_code, evaluated.stderr
    assert "Traceback" not in evaluated.stderr
    assert f"{file.parent}" in evaluated.stderr and "folder and build again" in evaluated.stderr
    assert not (tmp_path / "results").exists(), "found before anything is asked"
    shutil.rmtree(file.parent)
    build_folder(None, data, source=("superni", "flan"))
    assert folder_digests(data) == sound


def contents(folder: Path) -> Iterator[object]:
    bench = Bench.open(folder)
    for name, built in sorted(bench.tasks.items()):
        for split in built.counts:
            yield from bench.examples(name, split)
