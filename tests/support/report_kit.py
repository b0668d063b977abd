"""What tests of report and comparison need: runs whose predictions the test makes up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from evaluation_kit import OPTIONS, ToyModel, ToyTask, make_bench, numbered

from evaluation.introduction import introduce
from evaluation.means import Placement
from evaluation.predictions import Kind, Prediction
from evaluation.requests import PromptOptions, survey
from evaluation.run import Run, draw_up
from evaluation.selection import Selection
from task_registry.bench import Bench
from task_registry.types import Example, Level, Metric

ZERO_FIVE = PromptOptions(shots=(0, 5))
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&amp;"
CHOICES = ("yes", "no")

Right = Callable[[str, str, int], bool]
"""Whether a model is right: by task, example id, shots."""


def toy_bench(folder: Path, sample: bool = False) -> Bench:
    """A bench of three tasks of three levels: a choice under two templates, a text, and one of hostile texts."""
    hostile: dict[str, Any] = {"input": f"Say {HOSTILE}", "references": (HOSTILE,), "template": HOSTILE}
    return make_bench(
        folder,
        ToyTask(
            "flan/choose",
            numbered(8, templates=("one", "two"), options=CHOICES),
            numbered(5, prefix="d", templates=("one", "two"), options=CHOICES),
            metric=Metric.ACCURACY,
            category="Textual Entailment",
        ),
        ToyTask(
            "superni/write",
            numbered(10, description="Count on."),
            numbered(5, prefix="d"),
            level=Level.PARTIALLY_SUPERVISED,
            category="Word Analogy",
        ),
        ToyTask(
            "superni/hostile",
            [Example(id="h0", **hostile)],
            [Example(id="d0", **hostile)],
            metric=Metric.EXACT_MATCH,
            level=Level.FULLY_SUPERVISED,
            category=f"Odd {HOSTILE}",
        ),
        sample=sample,
    )


def make_run(
    out: Path,
    bench: Bench,
    right: Right,
    options: PromptOptions = ZERO_FIVE,
    name: str = "toy",
    absent: tuple[Placement, ...] = (),
    tasks: Iterable[str] | None = None,
) -> Path:
    """A run whose model is right where `right` says so; returns its folder."""
    names = sorted(bench.tasks if tasks is None else tasks)
    prompts = tuple(survey(bench, bench.tasks[task], options) for task in names)
    model_options = dataclasses.replace(OPTIONS, name=name)
    record = draw_up(bench, Selection("all"), options, prompts, absent, introduce(ToyModel()), model_options)
    record = dataclasses.replace(record, model=dataclasses.replace(record.model, name=name))
    with Run.open(out, record) as run:
        for task in prompts:
            for prediction in _answers(bench, task.built.task.id, options, right, task.taken):
                run.write(prediction)
    return run.path


def _answers(
    bench: Bench, task: str, options: PromptOptions, right: Right, taken: frozenset[str] | None
) -> Iterator[Prediction]:
    from task_registry.types import Split

    for shots, seed in options.rounds:
        for example in bench.examples(task, Split.TEST):
            if taken is None or example.id in taken:
                yield _answer(example, task, shots, seed, right(task, example.id, shots))


def _answer(example: Example, task: str, shots: int, seed: int | None, is_right: bool) -> Prediction:
    choice = int(not is_right) if example.options else None
    ones = (1,) * len(example.options)
    return Prediction(
        task=task,
        example_id=example.id,
        template=example.template,
        shots=shots,
        kind=Kind.OPTIONS if example.options else Kind.TEXT,
        references=example.references,
        demonstration_seed=seed,
        options=example.options,
        option_logprobs=tuple(-1.0 if index == choice else -3.0 for index in range(len(example.options))),
        option_tokens=ones,
        option_bytes=ones,
        choice=choice,
        text=None if example.options else example.references[0] if is_right else f"nothing {HOSTILE}",
        finish=None if example.options else "eos",
        prompt_tokens=7,
    )


def number_of(example_id: str) -> int:
    """The number in an id like `e7`."""
    return int(example_id[1:])
