"""How a build scales with workers, and what it asks of an object store: 1, 2 and 4 local workers, and Ray.

    python benchmarks/scaling/build.py [--tasks 200] [--instances 4000] [--rounds 3] [--skip-store]

The input is made on the spot: task files of Super-NaturalInstructions, of which every tenth is scored and all
others are trained on. The ways take turns, and medians are printed. Measured is the build itself, into a new
folder: workers are started before (Ray's start is told apart), and have imported what they need.

Efficiency by wall is the wall of one process over that of N workers times N; where the machine has fewer than N
cores it cannot exceed cores over N. Efficiency by CPU is the CPU of one process over that of all processes: what
starting, sending and gathering twice cost; it is the figure to read where the machine is shared. The driver's CPU
a task says how many tasks a second one driver could hand out at most.

The requests to a store are counted at a server of S3 on 127.0.0.1 (it needs the extra `s3` and `moto`), for a first
build and for one that finds everything up to date. That server's time says nothing of a real store.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

os.environ |= {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
TOP = Path(__file__).parent.parent.parent
sys.path[:0] = [str(TOP), str(TOP / "tests" / "support")]
os.environ["PYTHONPATH"] = os.pathsep.join([str(TOP), os.environ.get("PYTHONPATH", "")])

from benchmark_builder.blueprint import BuildOptions, draw_up  # noqa: E402
from benchmark_builder.build import build  # noqa: E402
from task_registry.engines import Engine  # noqa: E402
from task_registry.engines.local import Serial, Workers  # noqa: E402
from task_registry.engines.ray import Ray  # noqa: E402
from task_registry.hashing import hash64  # noqa: E402

SCORED_EVERY = 10
WORDS = 30


@dataclass(frozen=True, slots=True)
class Measured:
    """One build."""

    wall_s: float
    driver_cpu_s: float
    workers_cpu_s: float
    start_s: float
    digest: str

    @property
    def cpu_s(self) -> float:
        """Of all processes."""
        return self.driver_cpu_s + self.workers_cpu_s


def write_sources(root: Path, tasks: int, instances: int) -> Path:
    """Write task files of made-up words, of catalogue tasks' names."""
    from task_registry.catalogue import load_catalogue

    planned = {task.name: task for task in load_catalogue().select("superni/*")}
    folder = root / "superni" / "tasks"
    folder.mkdir(parents=True)
    options = BuildOptions(sources=root)
    for name in planned:
        (folder / f"{name}.json").write_text("{}")
    blueprint = draw_up(options)
    scored = [one.task.name for one in blueprint.tasks if one.assignment.level]
    trained = [one.task.name for one in blueprint.tasks if not one.assignment.level]
    chosen = [*scored[: tasks // SCORED_EVERY], *trained[: tasks - tasks // SCORED_EVERY]]
    for file in folder.iterdir():
        file.unlink()
    vocabulary = [f"w{hash64('word', str(number)) % 10**6}" for number in range(5000)]
    for name in chosen:
        draw = random.Random(name)
        rows = [
            {
                "id": f"n{number}",
                "input": " ".join(draw.choices(vocabulary, k=WORDS)),
                "output": draw.choices(vocabulary),
            }
            for number in range(instances)
        ]
        content = {
            "Categories": ["Word Analogy"], "Definition": [f"Answer as {name} asks."],
            "Positive Examples": [], "Negative Examples": [], "Instances": rows,
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content))
    return root


def idle(_: int) -> int:
    """Bring up a worker, with what a build imports; returns its process."""
    import benchmark_builder.build

    time.sleep(0.3)
    return os.getpid() if benchmark_builder.build else 0


def cpu_of(pids: set[int]) -> float:
    """Seconds of processor time of processes."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Kept:
    """An engine that a build uses and does not end."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.map = engine, engine.map

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def measure(sources: Path, make: Callable[[], Engine], workers: int) -> Measured:
    """Build once into a new folder."""
    begun = time.perf_counter()
    with make() as engine, tempfile.TemporaryDirectory() as folder:
        pids: set[int] = set()
        while workers and len(pids) < workers:
            pids |= {pid for _, pid in engine.map(idle, range(2 * workers)) if isinstance(pid, int)}
        started = time.perf_counter()
        own, theirs = time.process_time(), cpu_of(pids)
        report = build(draw_up(BuildOptions(sources=sources)), Path(folder) / "out", Kept(engine))  # type: ignore[arg-type]
        wall = time.perf_counter() - started
        assert not report.manifest.failed, report.manifest.failed
        own, theirs = time.process_time() - own, cpu_of(pids) - theirs
        return Measured(wall, own, theirs, started - begun, report.manifest.digest)


def ways() -> dict[str, tuple[int, Callable[[], Engine]]]:
    """The engines, each with its number of workers; none is this process."""
    import ray  # noqa: F401  (said before the first round, where it is missing)

    return {
        "one process": (0, Serial),
        **{f"{count} local": (count, lambda count=count: Workers(count)) for count in (1, 2, 4)},  # type: ignore[misc]
        **{
            f"{count} Ray": (count, lambda count=count: Ray(count, address="local", cpus=0.25))  # type: ignore[misc]
            for count in (1, 2, 4)
        },
    }


def tell(runs: dict[str, list[Measured]], counts: dict[str, int], tasks: int) -> None:
    """Print a line for each way."""
    one = runs["one process"]
    wall_1, cpu_1 = median(run.wall_s for run in one), median(run.cpu_s for run in one)
    print(f"{'':<12} {'wall':>8} {'CPU':>8} {'driver':>8} {'by wall':>8} {'by CPU':>8} {'start':>7}")
    for name, measured in runs.items():
        wall, cpu = median(run.wall_s for run in measured), median(run.cpu_s for run in measured)
        driver, start = median(run.driver_cpu_s for run in measured), median(run.start_s for run in measured)
        print(
            f"{name:<12} {wall:>6.1f} s {cpu:>6.1f} s {1000 * driver / tasks:>5.1f} ms "
            f"{wall_1 / wall / max(1, counts[name]):>8.0%} {cpu_1 / cpu:>8.0%} {start:>5.1f} s"
        )
    assert len({run.digest for measured in runs.values() for run in measured}) == 1, "another digest"


def tell_requests(sources: Path, tasks: int) -> None:
    """Count what a build asks of a store, and print it."""
    from local_s3 import BUCKET, LocalS3

    with LocalS3() as store:
        os.environ |= store.environment
        for title in ("first build", "up to date"):
            store.counts()
            began = time.perf_counter()
            build(draw_up(BuildOptions(sources=sources)), f"s3://{BUCKET}/data", Serial())
            counts: Counter[str] = store.counts()
            listed = ", ".join(f"{count:,} {method}" for method, count in sorted(counts.items()))
            print(
                f"requests, {title}: {sum(counts.values()) / tasks:.2f} a task ({listed}) "
                f"in {time.perf_counter() - began:.0f} s of one process"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--instances", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-store", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = write_sources(Path(folder), given.tasks, given.instances)
        tasks = len(draw_up(BuildOptions(sources=sources)).tasks)
        print(
            f"{tasks} tasks of {given.instances:,} instances, {os.cpu_count()} cores, {given.rounds} rounds, medians"
        )
        runs: dict[str, list[Measured]] = {}
        engines = ways()
        for _ in range(given.rounds):
            for name, (workers, make) in engines.items():
                runs.setdefault(name, []).append(measure(sources, make, workers))
        tell(runs, {name: workers for name, (workers, _) in engines.items()}, tasks)
        if not given.skip_store:
            tell_requests(sources, tasks)


if __name__ == "__main__":
    main()
