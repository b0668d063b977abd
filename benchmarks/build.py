"""How fast native Super-NaturalInstructions files become checked Arrow shards, against the plain way.

    python benchmarks/build.py SOURCES [ROUNDS]

Both ways build every task of SOURCES/superni, alternating in one process, and the medians' ratio is printed. The
plain way is what a user would write: for each task `json.load`, an f-string for each instance,
`Dataset.from_generator`, `save_to_disk`. It checks nothing, has no splits and no demonstrations. Rates are by
processor time of the one process (the machine may be shared), over instances read.

Two inputs: the files as they are, and, since files at hand may be cut to their first instances, thirty of them
lengthened to `FULL_SIZE` instances, as many as upstream's larger tasks have. TMPDIR in memory (`/dev/shm`) keeps
the disk out of it.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FULL_SIZE = 6500
"""Upstream cuts its tasks at this many instances."""


def instances(sources: Path) -> int:
    return sum(len(json.loads(file.read_bytes())["Instances"]) for file in files(sources))


def files(sources: Path) -> list[Path]:
    return sorted((sources / "superni" / "tasks").glob("*.json"))


def ours(sources: Path, out: Path) -> None:
    from benchmark_builder.blueprint import BuildOptions, draw_up
    from benchmark_builder.build import build
    from task_registry.engines.local import Serial

    report = build(draw_up(BuildOptions(sources=sources, source=("superni",))), out, Serial())
    assert not report.manifest.failed


def plain(sources: Path, out: Path) -> None:
    from datasets import Dataset

    for file in files(sources):
        with file.open() as stream:
            task = json.load(stream)

        def rows(task: dict = task):  # type: ignore[type-arg,no-untyped-def]
            for instance in task["Instances"]:
                yield {
                    "id": instance["id"],
                    "prompt": f"{task['Definition'][0]}\n\nInput: {instance['input']}\nOutput:",
                    "targets": instance["output"],
                }

        Dataset.from_generator(rows, cache_dir=str(out / "cache")).save_to_disk(str(out / file.stem))


def measure(way: Callable[[Path, Path], None], sources: Path) -> tuple[float, float]:
    """Processor and wall seconds of one build."""
    folder = Path(tempfile.mkdtemp())
    try:
        wall, processor = time.perf_counter(), time.process_time()
        way(sources, folder / "out")
        return time.process_time() - processor, time.perf_counter() - wall
    finally:
        shutil.rmtree(folder)


def lengthened(sources: Path, to: Path) -> Path:
    """Copy thirty tasks, spread over all, with their instances repeated under new ids up to `FULL_SIZE`."""
    chosen = files(sources)
    for file in chosen[:: max(1, len(chosen) // 30)]:
        task = json.loads(file.read_bytes())
        native = task["Instances"]
        task["Instances"] = [
            {**native[n % len(native)], "id": f"{n}", "input": f"{native[n % len(native)]['input']} {n}"}
            for n in range(FULL_SIZE)
        ]
        copy = to / "superni" / "tasks" / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(task))
    return to


def compare(title: str, sources: Path, rounds: int) -> None:
    count, tasks = instances(sources), len(files(sources))
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "plain": []}
    for _ in range(rounds):
        seconds["ours"].append(measure(ours, sources))
        seconds["plain"].append(measure(plain, sources))
    print(f"{title}: {tasks} tasks, {count:,} instances, {rounds} rounds, medians")
    medians = {
        name: [statistics.median(column) for column in zip(*runs, strict=True)]
        for name, runs in seconds.items()
    }
    for name, (processor, wall) in medians.items():
        print(
            f"  {name:<6} {processor:6.2f} s processor {wall:6.2f} s wall {count / processor:>9,.0f} instances/s"
        )
    ratios = [plain / ours for plain, ours in zip(medians["plain"], medians["ours"], strict=True)]
    print(f"  ratio  {ratios[0]:6.2f}   processor {ratios[1]:6.2f} wall")


def main() -> None:
    sources = Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        ours(sources, Path(folder) / "out")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        import datasets

        datasets.disable_progress_bars()
        compare("files as they are", sources, rounds)
        compare("full size", lengthened(sources, Path(folder) / "long"), rounds)
    print(f"peak memory of our build of the files as they are: {peak:.0f} MB")


if __name__ == "__main__":
    main()
