"""How evaluation scales with local workers: 1, 2 and 4 models on Ray against one process, by wall and CPU.

    python benchmarks/scaling/evaluation.py [--sizes tiny mid] [--rounds 3]

Each way asks the same job, five-shot: options to score, and texts of 32 tokens to write. One process asks it with
one thread, as every worker does. Measured is the model phase: models are loaded and warm, Ray's start is left out
and told apart. The ways take turns, and medians are printed.

Efficiency by wall is the wall of one process over that of N workers times N; where the machine has fewer than N
cores it cannot exceed cores over N. Efficiency by CPU is the CPU of one process over that of all: what cutting,
sending and prefixes computed again cost; it is the figure to read where the machine is shared. The driver's CPU a
prompt says how many prompts a second one driver could take at most.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
# Else whoever shares the machine goes before Ray's workers, but not before one process.
os.environ |= {"RAY_worker_niceness": "0"}
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "evaluation"), str(HERE.parent.parent)]
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])

from workload import SHAPES, question, save_model  # noqa: E402

if TYPE_CHECKING:
    from evaluation.distributed import Alone, Order, Team
    from evaluation.predictions import Prediction
    from evaluation.runner import Job

SHOTS, NEW_TOKENS = 5, 32
EXAMPLES = {"tiny": (400, 60), "mid": (60, 10)}
"""Of each of two tasks whose options are scored, and of two whose answers are written."""
WORKERS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to ask the job, once."""

    wall_s: float
    model_cpu_s: float
    driver_cpu_s: float
    start_s: float
    """Until all workers have a model."""
    answers: dict[int, Any]


def rows(task: str, examples: int, *, choices: bool) -> Iterator[dict[str, Any]]:
    """The rows of a task of our own, some to show and the others to ask."""
    for index in range(SHOTS + examples):
        asked, options = question(task, index)
        row = {"split": "train" if index < SHOTS else "test", "instruction": asked, "output": options[0]}
        yield row | ({"options": list(options)} if choices else {})


def make_bench(folder: Path, size: str) -> Path:
    """Build a bench of four tasks."""
    import json

    from benchmark_builder.blueprint import BuildOptions, draw_up
    from benchmark_builder.build import build
    from task_registry.engines.local import Serial

    (folder / "sources" / "custom").mkdir(parents=True)
    for count, kind in zip(EXAMPLES[size], ("choose", "write"), strict=True):
        for number in range(2):
            file = folder / "sources" / "custom" / f"{kind}_{number}.jsonl"
            content = rows(file.stem, count, choices=kind == "choose")
            file.write_text("".join(json.dumps(row) + "\n" for row in content))
    report = build(draw_up(BuildOptions(sources=folder / "sources")), folder / "data", Serial())
    assert report.manifest.tasks == 4
    return folder / "data"


def make_job(data: Path, model: Path) -> tuple[Order, Job]:
    from evaluation.distributed import Order
    from evaluation.models import ModelOptions
    from evaluation.requests import PromptOptions, survey
    from evaluation.runner import Job
    from evaluation.selection import Selection, select
    from task_registry.bench import Bench

    bench, prompts = Bench.open(data), PromptOptions(shots=(SHOTS,), max_new_tokens=NEW_TOKENS)
    tasks = tuple(survey(bench, built, prompts) for built in select(bench, Selection("all")))
    options = ModelOptions(str(model), dtype="float32", device="cpu")
    return Order.of(str(data), (), bench, options, prompts), Job(bench, tasks, prompts)


def timed(team: Alone | Team, job: Job, pids: set[int], started: float) -> Measured:
    """Ask the whole job, when all models are loaded, and write the predictions as a run does."""
    from evaluation.predictions import PredictionWriter

    answers: dict[int, Any] = {}

    def write(prediction: Prediction) -> None:
        writer.write(prediction)
        answers[prediction.key.digest] = (prediction.choice, prediction.text)

    before, wall, driver = sum(map(cpu_of, pids)), time.perf_counter(), time.process_time()
    start_s = wall - started
    with TemporaryDirectory() as folder, PredictionWriter(Path(folder)) as writer:
        team.evaluate(job, write)
    wall, driver = time.perf_counter() - wall, time.process_time() - driver
    spent = sum(map(cpu_of, pids)) - before
    return Measured(wall, spent if pids else driver, driver if pids else 0.0, start_s, answers)


def one_process(order: Order, job: Job) -> Measured:
    from evaluation.distributed import Alone
    from evaluation.models import load_model

    started = time.perf_counter()
    team = Alone(load_model(order.model), order.prompts)
    return timed(team, job, set(), started)


def on_ray(order: Order, job: Job, workers: int) -> Measured:
    from evaluation.distributed import Team, present
    from task_registry.engines.ray import Ray

    def process(order: Order) -> int:
        """Load the model where it is not loaded; slow enough that each worker gets one to do."""
        present(order)
        time.sleep(0.5)
        return os.getpid()

    started = time.perf_counter()
    cores = len(os.sched_getaffinity(0))
    with Ray(workers, address="local", cpus=min(1, cores / workers)) as engine:
        pids: set[int] = set()
        while len(pids) < workers:
            pids = {int(pid) for _, pid in engine.map(process, [order] * workers)}  # type: ignore[call-overload]
        return timed(Team(engine, "ray", order, workers), job, pids, started)


def cpu_of(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(size: str, rounds: int, model: Path, data: Path) -> Iterator[str]:
    """The lines of the table for a model."""
    order, job = make_job(data, model)
    found: dict[int, list[Measured]] = {}
    for _ in range(rounds):
        found.setdefault(0, []).append(one_process(order, job))
        for workers in WORKERS:
            found.setdefault(workers, []).append(on_ray(order, job, workers))
    prompts, expected = sum(task.count(job.options) for task in job.tasks), found[0][0].answers

    def middle(workers: int, name: str) -> float:
        return float(median(getattr(one, name) for one in found[workers]))

    for workers, runs in found.items():
        wall, cpu, driver = (middle(workers, name) for name in ("wall_s", "model_cpu_s", "driver_cpu_s"))
        same = min(sum(one.answers[key] == expected[key] for key in expected) for one in runs)
        cells = [
            size,
            f"{workers} on Ray" if workers else "one process",
            f"{wall:.1f} s",
            f"{prompts / wall:,.1f}",
            f"{middle(0, 'wall_s') / wall / workers:.0%}" if workers else "",
            f"{middle(0, 'model_cpu_s') / (cpu + driver):.0%}" if workers else "",
            f"{cpu:.1f} s",
            f"{1000 * driver / prompts:.2f} ms" if workers else "",
            f"{middle(workers, 'start_s'):.1f} s",
            f"{same}/{prompts}",
        ]
        yield f"| {' | '.join(cells)} |"


HEADER = (
    "| model | workers | wall | prompts/s | efficiency by wall | by CPU | CPU of the models "
    "| driver's CPU a prompt | start | same answers |\n|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(
        f"{SHOTS} shots, one thread a model, {cores} cores (load {load:.1f} before), {arguments.rounds} rounds"
    )
    if cores < max(WORKERS):
        print(f"{max(WORKERS)} workers share {cores} cores: at most {cores / max(WORKERS):.0%} efficiency")
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    print(
        "GPU: there is one, and this measures the CPU; use `optiml-bench eval --engine ray` with --workers 1, 2, 4"
        if torch.cuda.is_available()
        else "GPU: none here, not measured"
    )
    print(HEADER)
    with TemporaryDirectory() as folder:
        for size in arguments.sizes:
            model, data = Path(folder) / "models" / size, make_bench(Path(folder) / size, size)
            save_model(model, SHAPES[size])
            for line in compare(size, arguments.rounds, model, data):
                print(line, flush=True)


if __name__ == "__main__":
    main()
