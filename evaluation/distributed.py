"""A job answered by many models at once, on this machine or on many: an engine's workers are sent its units.

Every worker loads the model and opens the bench once, restricts the job to a unit and asks it as one process
asks everything, through `runner.evaluate`. Predictions come back to the driver, which alone writes them: the
run's folder, its name and how it goes on know nothing of workers, which may come and go.
"""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from evaluation import runner
from evaluation.estimate import Estimate, estimate
from evaluation.introduction import Introduction, introduce
from evaluation.models import LanguageModel, ModelOptions, load_model
from evaluation.predictions import Prediction
from evaluation.requests import PromptOptions, TaskPrompts
from evaluation.runner import Job, Watch
from evaluation.units import Unit, cut, restricted
from task_registry.bench import Bench
from task_registry.engines import Crash, Engine
from task_registry.errors import BenchError, BenchFolderError, IncompleteError, MachineError, ModelError
from task_registry.remote import open_bench

Spec = TypeVar("Spec")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker needs to know of a run, whatever unit it is sent."""

    data: str
    """The bench, as every machine finds it."""
    sources: tuple[str, ...]
    digest: str
    """The bench's."""
    model: ModelOptions
    prompts: PromptOptions
    threads: int | None = None
    """Of a worker on a CPU; None: as the engine or the environment has it."""

    @classmethod
    def of(
        cls, data: str, sources: tuple[str, ...], bench: Bench, model: ModelOptions, prompts: PromptOptions
    ) -> Order:
        """The order of a run; workers have working folders of their own, so folders go by absolute paths."""
        model = replace(model, name=_absolute(model.name), peft=model.peft and _absolute(model.peft))
        return cls(_absolute(data), sources, bench.manifest.digest, model, prompts)


def _absolute(name: str) -> str:
    folder = Path(name).expanduser()
    return str(folder.absolute()) if folder.is_dir() else name


class Alone:
    """One model, in this process."""

    engine = "local"
    workers = 1

    def __init__(self, model: LanguageModel, prompts: PromptOptions) -> None:
        from evaluation.huggingface.device import device_summary

        runner.fitter(model, prompts)
        self._model = model
        self.introduction = introduce(model, device_summary())

    def estimate(self, job: Job) -> Estimate:
        """What the job takes."""
        return estimate(self._model, job)

    def evaluate(self, job: Job, write: Watch) -> None:
        """See `runner.evaluate`."""
        runner.evaluate(self._model, job, write)


class Team:
    """The workers of an engine, each with a model of its own."""

    def __init__(self, engine: Engine, name: str, order: Order, expected: int) -> None:
        """`name` is the engine's; so many workers are `expected`, and units made for them: more may join.

        Raises as `load_model` and `runner.fitter` do on the first worker, and MachineError where none comes.
        """
        self.engine, self._engine, self._order, self._expected = name, engine, order, expected
        self._answered: set[str] = set()
        self.introduction = self._first(present, order)

    @property
    def workers(self) -> int:
        """Workers that have answered a unit."""
        return len(self._answered)

    def estimate(self, job: Job) -> Estimate:
        """What the job takes, by what one worker measures, in the time of all that are expected."""
        found = self._first(measure, (self._order, tuple(job.tasks)))
        return replace(found, seconds=found.seconds / self._expected)

    def evaluate(self, job: Job, write: Watch) -> None:
        """Ask all prompts of `job`, and hand every prediction to `write` as its unit comes back.

        Raises:
            ModelError, InputError, BenchFolderError: as `runner.evaluate`; or a worker has another model.
            MachineError: there are no workers, or one is on a machine that cannot go on.
            IncompleteError: workers died again and again over some units; all others are answered.
        """
        specs = [(self._order, self.introduction, unit) for unit in cut(job, self._expected)]
        lost, reason = 0, ""
        for (_, _, unit), outcome in self._engine.map(ask, specs):
            if isinstance(outcome, Crash):
                lost, reason = lost + unit.prompts, outcome.reason
                continue
            answers = _result(outcome)
            self._answered.add(answers.worker)
            for prediction in answers.predictions:
                write(prediction)
        if lost:
            raise IncompleteError(
                f"{lost:,} prompts have no answer, the same command asks them again: {reason}"
            )

    def _first(self, function: Callable[[Spec], Result | BenchError], spec: Spec) -> Result:
        """The result of a unit without which there is nothing to do."""
        ((_, outcome),) = self._engine.map(function, [spec])
        if isinstance(outcome, Crash):
            raise MachineError(f"no worker could load {self._order.model.name}: {outcome.reason}")
        return _result(outcome)


def _result(outcome: Result | BenchError) -> Result:
    if isinstance(outcome, BenchError):
        raise outcome
    return outcome


@dataclass(frozen=True, slots=True)
class Answers:
    """What a worker made of a unit."""

    predictions: tuple[Prediction, ...]
    worker: str
    """Its host and process."""


def _work(function: Callable[[Spec], Result]) -> Callable[[Spec], Result | BenchError]:
    """Make an error of ours an outcome, for the driver to raise; an engine takes others for crashes."""

    @functools.wraps(function)
    def working(spec: Spec) -> Result | BenchError:
        try:
            return function(spec)
        except MachineError:
            raise
        except BenchError as error:
            return error
        except Exception:
            from evaluation.huggingface.device import is_lost

            # A worker that has lost its GPU would take unit after unit and fail at once; another must replace it.
            if is_lost():
                os._exit(1)
            raise

    return working


@_work
def present(order: Order) -> Introduction:
    """A worker's first unit: load the model, and see whether it takes such prompts."""
    model, introduction = _model(order.model, order.threads)
    runner.fitter(model, order.prompts)
    return introduction


@_work
def measure(spec: tuple[Order, tuple[TaskPrompts, ...]]) -> Estimate:
    """Estimate a job of some tasks on a worker."""
    order, tasks = spec
    model, _ = _model(order.model, order.threads)
    return estimate(model, Job(_bench(order.data, order.sources, order.digest), tasks, order.prompts))


@_work
def ask(spec: tuple[Order, Introduction, Unit]) -> Answers:
    """Ask a unit; ModelError where this worker's model would answer otherwise than the one introduced."""
    order, first, unit = spec
    model, introduction = _model(order.model, order.threads)
    if differs := first.difference(introduction):
        raise ModelError(
            f"{introduction.host}: the model has {differs} as on {first.host}; "
            "leave that machine out, or choose --dtype, --path and --revision so that all agree"
        )
    predictions: list[Prediction] = []
    bench = _bench(order.data, order.sources, order.digest)
    runner.evaluate(model, restricted(bench, unit), predictions.append)
    return Answers(tuple(predictions), f"{platform.node()} {os.getpid()}")


@functools.lru_cache(maxsize=1)
def _model(options: ModelOptions, threads: int | None) -> tuple[LanguageModel, Introduction]:
    """The model of this process; loaded at its first unit."""
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it when it is imported
    from evaluation.huggingface.device import device_summary

    try:
        model = load_model(options)
    except ModelError as error:
        raise ModelError(f"{platform.node()}: {error}") from error
    return model, introduce(model, device_summary())


@functools.lru_cache(maxsize=1)
def _bench(data: str, sources: tuple[str, ...], digest: str) -> Bench:
    """The bench, as this machine sees it."""
    try:
        bench = open_bench(data, sources=sources or None)
    except BenchFolderError as error:
        raise BenchFolderError(f"{platform.node()}: {error}") from error
    if bench.manifest.digest != digest:
        raise BenchFolderError(
            f"{platform.node()}: {data} has digest {bench.manifest.digest}, expected {digest}; "
            "every machine must see the same bench"
        )
    return bench
