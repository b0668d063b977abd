"""The build: deterministic to the byte, resumable at any moment, refused where it would do harm."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kit import (
    EVALUATED,
    TOP,
    TRAINED,
    build_folder,
    command,
    folder_digests,
    superni_task,
    write_superni,
)
from leaky_sources import words, write_leaky

from benchmark_builder.blueprint import BuildOptions, draw_up
from benchmark_builder.unit import complete
from task_registry.bench import Bench
from task_registry.catalogue import load_catalogue
from task_registry.engines.local import Serial, Workers
from task_registry.errors import BenchFolderError, MachineError, UsageError
from task_registry.types import Split


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder of sources with twelve tasks, some evaluated, some with a few hundred instances."""
    names = [task.name for task in load_catalogue().select("superni/task11*")][:12]
    for count, name in enumerate(names):
        instances = [
            {"id": f"n{n}", "input": f"{name} {n}", "output": [f"out {n}"]} for n in range(40 * count + 3)
        ]
        write_superni(tmp_path / "in", name, superni_task(Instances=instances))
    return tmp_path / "in"


def test_workers_and_reruns_give_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    build_folder(sources, tmp_path / "one")
    once = folder_digests(tmp_path / "one")
    build_folder(sources, tmp_path / "many", engine=Workers(3))
    assert folder_digests(tmp_path / "many") == once
    assert build_folder(sources, tmp_path / "one").fresh == 0
    assert folder_digests(tmp_path / "one") == once
    assert not any(name.startswith(".") for name in once)


def test_another_seed_or_cap_builds_again_and_a_larger_cap_only_adds(sources: Path, tmp_path: Path) -> None:
    def ids(**options: object) -> dict[str, set[str]]:
        report = build_folder(sources, tmp_path / "out", **options)
        assert report.fresh == report.manifest.tasks
        bench = Bench.open(tmp_path / "out")
        return {task: {e.id for e in bench.examples(task, Split.TRAIN)} for task in bench.tasks}

    small, large, other = ids(cap=10), ids(cap=30), ids(cap=10, seed=1)
    assert any(small.values())
    for task, chosen in small.items():
        assert chosen <= large[task]
        assert len(chosen) <= 10
    assert small != other


def test_the_choice_depends_neither_on_order_nor_on_other_tasks(tmp_path: Path) -> None:
    instances = [{"id": f"n{n}", "input": f"word {n}", "output": [str(n)]} for n in range(60)]
    chosen = []
    for count, rows in enumerate([instances, instances[::-1]]):
        root = tmp_path / f"in{count}"
        write_superni(root, TRAINED, superni_task(Instances=rows))
        if count:
            other = [{"id": f"o{n}", "input": f"other {n}", "output": [str(n)]} for n in range(5)]
            write_superni(root, EVALUATED, superni_task(Instances=other))
        build_folder(root, tmp_path / f"out{count}", cap=20)
        bench = Bench.open(tmp_path / f"out{count}")
        chosen.append({e.id for e in bench.examples(f"superni/{TRAINED}", Split.TRAIN)})
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 20


def test_only_what_has_changed_is_built_again(sources: Path, tmp_path: Path) -> None:
    first = build_folder(sources, tmp_path / "out")
    changed = sources / first.tasks[3].origin
    changed.write_text(changed.read_text().replace("out 1", "OUT 1"))
    second = build_folder(sources, tmp_path / "out")
    assert second.fresh == 1
    assert second.manifest.digest != first.manifest.digest
    build_folder(sources, tmp_path / "new")
    assert folder_digests(tmp_path / "new") == folder_digests(tmp_path / "out")


def test_a_damaged_record_or_a_missing_split_is_built_again(sources: Path, tmp_path: Path) -> None:
    report = build_folder(sources, tmp_path / "out")
    once = folder_digests(tmp_path / "out")
    shards = tmp_path / "out" / "shards"
    (shards / report.tasks[0].task.id / "task.json").write_text("{")
    split = next(iter(report.tasks[1].counts))
    (shards / report.tasks[1].task.id / split / "state.json").unlink()
    assert build_folder(sources, tmp_path / "out").fresh == 2
    assert folder_digests(tmp_path / "out") == once


def test_a_task_whose_file_is_gone_leaves_only_when_told(sources: Path, tmp_path: Path) -> None:
    report = build_folder(sources, tmp_path / "out")
    once = folder_digests(tmp_path / "out")
    (sources / report.tasks[0].origin).unlink()
    with pytest.raises(BenchFolderError, match="1 tasks that this build would not make"):
        build_folder(sources, tmp_path / "out")
    assert folder_digests(tmp_path / "out") == once
    assert command("build", "--sources", sources, "--out", tmp_path / "out", "--replace").returncode == 0
    build_folder(sources, tmp_path / "new")
    assert folder_digests(tmp_path / "new") == folder_digests(tmp_path / "out")


def test_the_sample_gives_way_to_real_sources(sources: Path, tmp_path: Path) -> None:
    build_folder(None, tmp_path / "out")
    report = build_folder(sources, tmp_path / "out")
    assert not report.manifest.sample
    assert not any("sample_" in task for task in Bench.open(tmp_path / "out").tasks)


def test_the_sample_is_never_mixed_with_real_data(sources: Path) -> None:
    blueprint = draw_up(BuildOptions(sources=sources))
    assert not blueprint.sample
    assert all("sample_" not in planned.task.id for planned in blueprint.tasks)
    sample = draw_up(BuildOptions())
    assert sample.sample
    assert all(planned.task.name.startswith("sample_") for planned in sample.tasks)


@pytest.mark.parametrize("content", ["file", "folder"])
def test_a_folder_of_something_else_is_refused_untouched(sources: Path, tmp_path: Path, content: str) -> None:
    out = tmp_path / "out"
    if content == "file":
        out.write_text("precious")
    else:
        out.mkdir()
        (out / "thesis.txt").write_text("precious")
    before = folder_digests(tmp_path)
    with pytest.raises(BenchFolderError, match="choose another --out"):
        build_folder(sources, out)
    assert folder_digests(tmp_path) == before


def test_a_second_build_into_the_same_folder_is_refused(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        result = command("build", "--sources", sources, "--out", out)
    finally:
        os.close(handle)
    assert result.returncode == BenchFolderError.exit_code
    assert "another build is writing" in result.stderr
    assert list(out.iterdir()) == []
    assert command("build", "--sources", sources, "--out", out).returncode == 0


def test_a_disk_that_is_full_is_one_line_and_the_next_build_goes_on(sources: Path, tmp_path: Path) -> None:
    # A limit on the size of files stands for the full disk: writes fail with EFBIG instead of ENOSPC.
    import resource

    out = tmp_path / "out"
    process = subprocess.run(
        [sys.executable, "-m", "optiml_bench", "build", "--sources", str(sources), "--out", str(out)],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: (
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)),
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
        )[0],
    )
    assert process.returncode == MachineError.exit_code, process.stderr
    assert "Traceback" not in process.stderr
    assert "run the build again" in process.stderr
    assert not (out / "bench.json").exists()
    assert not (out / ".building").exists()
    build_folder(sources, out)
    build_folder(sources, tmp_path / "new")
    assert folder_digests(out) == folder_digests(tmp_path / "new")


def test_a_source_that_changes_meanwhile_fails_its_task_alone(tmp_path: Path) -> None:
    for name in (TRAINED, EVALUATED):
        write_superni(tmp_path / "in", name, superni_task())

    class Meanwhile(Serial):
        def map(self, function: Callable[[Any], Any], specs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
            if function is complete:  # by now the digest is known, and the rows are not read
                write_superni(tmp_path / "in", TRAINED, superni_task(Definition=["Name the same again."]))
            yield from super().map(function, specs)

    report = build_folder(tmp_path / "in", tmp_path / "out", engine=Meanwhile())
    assert list(report.manifest.failed) == [f"superni/{TRAINED}"]
    assert "found other content than when the build began" in report.manifest.failed[f"superni/{TRAINED}"]
    build_folder(tmp_path / "in", tmp_path / "out")
    build_folder(tmp_path / "in", tmp_path / "new")
    assert folder_digests(tmp_path / "out") == folder_digests(tmp_path / "new")


def test_names_that_do_not_exist(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        draw_up(BuildOptions(sources=sources, tasks=("superni/task1152_bard_analogical_reasoning",)))
    with pytest.raises(UsageError, match="no source 'superna'"):
        draw_up(BuildOptions(sources=sources, source=("superna",)))
    with pytest.raises(UsageError, match="none of the folders"):
        draw_up(BuildOptions(sources=tmp_path / "nowhere"))
    named = draw_up(BuildOptions(sources=sources, tasks=(f"superni/{TRAINED}",)))
    assert "no native files at hand" in named.failed[f"superni/{TRAINED}"]


def start(sources: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "optiml_bench", "build", "--sources", str(sources), "--out", str(out),
         "--workers", str(workers)],
        cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def memory(pid: int) -> int:
    """How many bytes a process holds; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def write_supervised(sources: Path, name: str) -> None:
    """Write a fully supervised task, some of whose training rows ask about scored pages."""
    rows = [
        {"split": split, "instruction": f"{words(page, count=20)} {split}?", "output": f"{page}"}
        for split, pages in (("test", range(30)), ("train", range(20, 200)))
        for page in pages
    ]
    file = sources / "custom" / f"{name}.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    file.with_suffix(".yaml").write_text("level: fully_supervised\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on_to_the_same_bytes(sources: Path, tmp_path: Path, workers: int) -> None:
    """At five moments from the first task to the last; see tests/faults for others, and other ways to end."""
    for number in range(12):
        content = superni_task(
            Instances=[
                {"id": f"{n}", "input": f"{number} {n}" * 9, "output": [f"o {n}"]} for n in range(4000)
            ]
        )
        name = load_catalogue().select("superni/task12*")[number].name
        write_superni(sources, name, content)
    write_leaky(sources)
    write_supervised(sources, "pages")
    undisturbed = build_folder(sources, tmp_path / "undisturbed")
    assert len(undisturbed.manifest.leaks) == 2, "tasks and examples that leave"
    expected = folder_digests(tmp_path / "undisturbed")
    out = tmp_path / "out"
    stopped_early = 0
    for tasks_before_the_blow in (0, 2, 5, 9, 14):
        process = start(sources, out, workers)
        while process.poll() is None and len(list(out.glob("shards/*/*/task.json"))) < tasks_before_the_blow:
            time.sleep(0.002)
        # Before that the process is still importing, where an interrupt can end it in ways of its own.
        while process.poll() is None and not out.exists():
            time.sleep(0.002)
        pids = children(process.pid)
        process.kill()
        code = process.wait(timeout=30)
        stopped_early += code != 0
        assert code in (0, -signal.SIGKILL)
        for folder in out.glob("shards/*/*"):
            assert (folder / "task.json").exists(), "a half-written task is visible"
        if code:
            assert not (out / "bench.json").exists()
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids), "a worker outlived its build"
    assert stopped_early >= 2
    build_folder(sources, out)
    assert folder_digests(out) == expected


def test_a_killed_workers_task_is_built_by_another(sources: Path, tmp_path: Path) -> None:
    big = superni_task(
        Instances=[{"id": f"{n}", "input": f"{n}" * 9, "output": [f"o {n}"]} for n in range(300_000)]
    )
    write_superni(sources, TRAINED, big)
    process = start(sources, tmp_path / "out", 2)
    victim = None
    deadline = time.monotonic() + 60
    while victim is None and time.monotonic() < deadline:
        # The worker that has read the large file is by far the largest process.
        victim = next((pid for pid in children(process.pid) if memory(pid) > 250 << 20), None)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    assert process.wait(timeout=60) == 0
    build_folder(sources, tmp_path / "undisturbed")
    assert folder_digests(tmp_path / "out") == folder_digests(tmp_path / "undisturbed")
