"""`optiml-bench eval`: a model is asked the prompts of a bench, and scored."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optiml_bench.commands.benches import PLACES, opened
from optiml_bench.commands.engines import engine_of, engine_options
from optiml_bench.commands.prompting import numbers, prompt_options, record, unescaped

if TYPE_CHECKING:
    from evaluation.distributed import Alone, Order, Team
    from evaluation.models import ModelOptions, ModelRecord
    from evaluation.predictions import Prediction
    from evaluation.requests import PromptOptions, TaskPrompts
    from evaluation.run import Run
    from evaluation.runner import Job
    from evaluation.selection import Selection
    from task_registry.engines.ray import Ray


@click.command("eval")
@click.option("--model", "name", required=True, help="Hub id, local folder, or builtin:tiny-opt.")
@click.option("--data", default="data", show_default=True, help=f"The bench: {PLACES}.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder of runs.",
)
@click.option(
    "--eval-set",
    type=click.Choice(["dev", "test", "all"]),
    default="dev",
    show_default=True,
    help="The paper's sets, or every task with a level.",
)
@click.option(
    "--level",
    "levels",
    multiple=True,
    type=click.Choice(["fully_held_out", "partially_supervised", "fully_supervised"]),
    help="Only tasks of this level; may be repeated.",
)
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be repeated.")
@click.option(
    "--tasks", multiple=True, metavar="GLOB", help="Only tasks like 'superni/task3*'; may be repeated."
)
@click.option("--limit", type=click.IntRange(min=1), help="Examples of each task, with all their templates.")
@click.option(
    "--shots",
    default="0,5",
    show_default=True,
    callback=numbers,
    metavar="N,...",
    help="Numbers of demonstrations.",
)
@prompt_options
@click.option(
    "--overlength",
    type=click.Choice(["drop-shots", "skip", "error"]),
    default="drop-shots",
    show_default=True,
    help="What becomes of prompts that do not fit the context.",
)
@click.option("--unconditional", is_flag=True, help="Score options without their prompt too.")
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Longest output."
)
@click.option(
    "--stop", multiple=True, callback=unescaped, metavar="TEXT", help="Ends an output; may be repeated."
)
@click.option("--revision", help="Branch, tag or commit of the model on the Hub.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "bfloat16", "float16", "float32"]),
    default="auto",
    show_default=True,
    help="Of the weights; auto: as they are stored.",
)
@click.option("--device", help="cpu, cuda, cuda:1. Default: the first GPU, else the CPU.")
@click.option("--device-map", type=click.Choice(["auto"]), help="Spread the model over all GPUs.")
@click.option(
    "--quantize", type=click.Choice(["8bit", "4bit"]), help="Load the weights through bitsandbytes."
)
@click.option("--peft", metavar="PATH", help="Adapter to put on the model.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that the model's repository brings.")
@click.option(
    "--batch-tokens", type=click.IntRange(min=1), help="Tokens of one pass. Default: by free memory."
)
@click.option(
    "--path",
    type=click.Choice(["auto", "plain"]),
    default="auto",
    show_default=True,
    help="plain: without shared prefixes and packed options.",
)
@click.option(
    "--backend",
    type=click.Choice(["transformers", "vllm"]),
    default="transformers",
    show_default=True,
    help="What runs the model; vllm splits each of its layers over --gpus-per-model GPUs.",
)
@engine_options("Models that answer at the same time, each in a process of its own.")
@click.option(
    "--gpus-per-model",
    type=click.IntRange(min=1),
    metavar="N",
    help="GPUs that each model on a Ray cluster, or behind vLLM, is spread over. Default: 1 where there are any.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be asked and how long it takes.")
def evaluate(name: str, data: str, out: Path, dry_run: bool, **chosen: Any) -> None:
    """Score a causal language model on a bench, 0-shot and few-shot.

    The same command run again goes on where it was stopped; any other option starts a run of its own.

    \b
    Examples:
      optiml-bench eval --model facebook/opt-1.3b --data data/
      optiml-bench eval --model builtin:tiny-opt --eval-set all --limit 20 --dry-run
      optiml-bench eval --model facebook/opt-30b --engine ray --gpus-per-model 2
    """  # fmt: skip
    from evaluation.distributed import Order
    from evaluation.models import ModelOptions
    from evaluation.requests import PromptOptions, survey
    from evaluation.runner import Job
    from evaluation.selection import Selection, select
    from task_registry.errors import UsageError
    from task_registry.remote import EVALUATED_SPLITS

    selection, prompts = record(Selection, chosen), record(PromptOptions, chosen)
    if not prompts.shots:
        raise UsageError("--shots names no number; expected for example 0,5")
    split = chosen["gpus_per_model"] if chosen["backend"] == "vllm" else None
    options = record(ModelOptions, chosen | {"name": name, "tensor_parallel": split})
    bench = opened(data, EVALUATED_SPLITS, selection.sources or None)
    tasks = tuple(survey(bench, built, prompts) for built in select(bench, selection))
    _say_what(data, selection, prompts, tasks, bench.manifest.sample)
    job = Job(bench, tasks, prompts)
    order = Order.of(data, selection.sources, bench, options, prompts)
    with _answering(order, **{option: chosen[option] for option in _ENGINE}) as team:
        _say_model(name, team.introduction.model)
        if dry_run:
            _say_estimate(team, job)
            return
        path = _run(out, job, selection, team, options)
    from optiml_bench.commands.score import score_and_print

    score_and_print(path)


_ENGINE = ("engine", "workers", "address", "gpus_per_model")


@contextmanager
def _answering(
    order: Order, engine: str, workers: int | None, address: str | None, gpus_per_model: int | None
) -> Iterator[Alone | Team]:
    """Who answers: the model in this process, or those of an engine's workers."""
    from evaluation.distributed import Alone, Team
    from evaluation.models import load_model
    from task_registry.engines.ray import Ray
    from task_registry.errors import UsageError

    vllm = order.model.backend == "vllm"
    if engine == "local" and gpus_per_model and not vllm:
        raise UsageError(
            "--gpus-per-model is of a Ray cluster; add --engine ray, or for one model alone --backend vllm"
            " or --device-map auto"
        )
    if engine == "local" and workers and workers > 1 and vllm:
        raise UsageError(
            "--workers would share what vLLM takes for itself; leave it out, or add --engine ray"
        )
    with engine_of(engine, workers, address, gpus_per_model or 0) as opened:
        if isinstance(opened, Ray):
            yield Team(opened, engine, *on_ray(order, opened, gpus_per_model))
        elif workers and workers > 1:
            if "OMP_NUM_THREADS" not in os.environ:
                threads = max(1, len(os.sched_getaffinity(0)) // workers)
                order = dataclasses.replace(order, threads=threads)
            team = Team(opened, engine, order, workers)
            if team.introduction.model.device.startswith("cuda"):
                raise UsageError("--workers would share one GPU; --engine ray gives each model its own")
            yield team
        else:
            yield Alone(load_model(order.model), order.prompts)


def on_ray(order: Order, engine: Ray, gpus_per_model: int | None) -> tuple[Order, int]:
    """The order as workers on a Ray cluster need it, and how many of them it holds at present."""
    if gpus_per_model is None and not (order.model.device or "").startswith("cpu"):
        engine.gpus = 1
        engine.gpus = min(1, engine.capacity())
    if engine.gpus > 1 and order.model.backend == "transformers":
        order = dataclasses.replace(order, model=dataclasses.replace(order.model, device_map="auto"))
    return order, engine.count or max(1, engine.capacity())


def _run(out: Path, job: Job, selection: Selection, team: Alone | Team, options: ModelOptions) -> Path:
    """Ask what is still to be asked; returns the run's folder."""
    from evaluation.run import Run, draw_up
    from evaluation.selection import absent

    lacking, first = absent(job.bench, selection), team.introduction
    drawn_up = draw_up(job.bench, selection, job.options, tuple(job.tasks), lacking, first, options)
    with Run.open(out, drawn_up, first.accelerator, team.engine) as run:
        _say_run(run)
        started = time.monotonic()
        written = _ask(run, dataclasses.replace(job, done=run.predictions.keys), team)
        by = f" by {team.workers} workers" if team.workers > 1 else ""
        click.echo(f"{written:,} prompts in {time.monotonic() - started:.1f} s{by}")
        return run.path


def _ask(run: Run, job: Job, team: Alone | Team) -> int:
    """Run the loop under a progress display, a bar for each level; returns the number of predictions."""
    from optiml_bench.console import progress_bar

    levels = {task.built.task.id: str(task.built.assignment.level) for task in job.tasks}
    totals, done = Counter[str](), Counter[str]()
    for task in job.tasks:
        totals[levels[task.built.task.id]] += task.count(job.options)
        done[levels[task.built.task.id]] += run.predictions.tasks.get(task.built.task.id, 0)
    started, asked, tokens = time.monotonic(), Counter[str](), Counter[str]()
    with progress_bar() as bar:
        bars = {
            level: bar.add_task(level, total=totals[level], completed=done[level], rate="")
            for level in sorted(totals)
        }

        def write(prediction: Prediction) -> None:
            run.write(prediction)
            run.workers = team.workers
            level = levels[prediction.task]
            asked[level] += 1
            tokens[level] += prediction.prompt_tokens + prediction.new_tokens
            seconds = max(time.monotonic() - started, 1e-9)
            rate = f"{asked[level] / seconds:,.1f} examples/s, {tokens[level] / seconds:,.0f} tokens/s"
            bar.update(bars[level], advance=1, rate=rate)

        team.evaluate(job, write)
    return asked.total()


def _say_what(
    data: str, selection: Selection, prompts: PromptOptions, tasks: tuple[TaskPrompts, ...], sample: bool
) -> None:
    levels = Counter(str(task.built.assignment.level) for task in tasks)
    shares = ", ".join(f"{count:,} {level}" for level, count in sorted(levels.items()))
    total = sum(task.count(prompts) for task in tasks)
    kind = " (sample bench: scores mean nothing)" if sample else ""
    click.echo(
        f"{data}{kind}: {len(tasks):,} tasks of eval set {selection.eval_set} ({shares}), {total:,} prompts"
    )


def _say_model(name: str, facts: ModelRecord) -> None:
    from optiml_bench.console import size_text

    click.echo(
        f"{name}: {facts.architecture}, {facts.parameters / 1e6:,.1f} M parameters, {facts.dtype} on "
        f"{facts.device}, {size_text(facts.weights_bytes)}, context {facts.max_length:,}"
    )
    if facts.path == "plain":
        click.echo(f"  the slower plain path is taken: {facts.path_reason}")


def _say_run(run: Run) -> None:
    done = len(run.predictions.keys)
    if done:
        click.echo(f"{run.path}: goes on, {done:,} prompts are answered")
    else:
        click.echo(f"{run.path}: a new run" + (f", since {run.anew}" if run.anew else ""))


def _say_estimate(team: Alone | Team, job: Job) -> None:
    from optiml_bench.console import size_text

    found, facts = team.estimate(job), team.introduction.model
    minutes, seconds = divmod(round(found.seconds), 60)
    click.echo(f"  prompts  {found.scored:,} with options to score, {found.generated:,} to answer freely")
    click.echo(f"  tokens   about {found.tokens:,} to read, at most {found.new_tokens:,} to write")
    click.echo(
        f"  memory   {size_text(facts.weights_bytes)} of weights, "
        f"{size_text(facts.cache_bytes * facts.max_length)} for the keys and values of a full context"
    )
    click.echo(f"  time     about {minutes:,} min {seconds} s, from {found.measured:,} measured prompts")
