"""A run on disk: its record, its name, its lock.

results/<model>/<run>/
  run.json          what decides the predictions, what was expected, and every session that worked on it
  predictions/      see `evaluation.predictions`
  scores.parquet, summary.json   see `evaluation.scoring`

A run's name is a digest of what decides its predictions: the same command goes on where it was stopped, any
other starts a run of its own. What decides nothing (batch size, machine, versions) is recorded by session.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from evaluation.introduction import Introduction, decisive, shown
from evaluation.means import Placement
from evaluation.models import ModelOptions, ModelRecord
from evaluation.predictions import Prediction, Predictions, PredictionWriter
from evaluation.records import plain, typed
from evaluation.requests import PromptOptions, TaskPrompts, TemplateCounts
from evaluation.selection import Selection
from task_registry.bench import Bench
from task_registry.errors import BenchFolderError
from task_registry.hashing import text_digest
from task_registry.types import Metric
from task_registry.version import VERSION

RUN = "run.json"
FORMAT = 1

_TOLD = 4
"""Differences between two runs that are told at most."""


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """Which bench."""

    path: str
    """The folder that it was read from."""
    digest: str
    sample: bool
    plan: str
    version: str
    """Of the package that built it."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task of the run, with all that its scores need to know of the bench."""

    placement: Placement
    metric: Metric
    digest: str
    merged: bool
    """Whether its prompts are a sample over all templates, scored as one."""
    templates: Mapping[str, TemplateCounts]


@dataclass(frozen=True, slots=True)
class Session:
    """One stretch of work on a run: from a command's start to its end."""

    started: str
    """UTC."""
    version: str
    python: str
    torch: str
    transformers: str
    machine: str
    """Where the command ran; models may have been elsewhere."""
    memory_bytes: int
    accelerator: str
    """Of the first model that was loaded."""
    device: str
    batch_tokens: int | None
    path_reason: str
    seconds: float | None = None
    """None: it was killed."""
    predictions: int | None = None
    engine: str = "local"
    """`local` or `ray`."""
    workers: int | None = None
    """Processes that answered prompts."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """`run.json`."""

    format: int
    version: str
    selection: Selection
    prompts: PromptOptions
    model_options: ModelOptions
    model: ModelRecord
    tokenizer: str
    """Digest of the token ids of a fixed text."""
    bench: BenchRecord
    tasks: tuple[TaskRecord, ...]
    absent: tuple[Placement, ...]
    """Tasks that the bench's plan wants here and the bench lacks."""
    sessions: tuple[Session, ...] = ()

    @property
    def name(self) -> str:
        """The run's folder: its eval set and a digest of all that decides."""
        decisive = self.settings() | self.stands()
        parts = [f"{key}={value}" for key, value in sorted(decisive.items())]
        return f"{self.selection.eval_set}-{text_digest(*parts)[:12]}"

    def settings(self) -> dict[str, str]:
        """The options and facts of the model that decide predictions and scores, by the names of their fields."""
        found: dict[str, str] = {}
        for part in (self.selection, self.prompts):
            found |= {field.name: shown(getattr(part, field.name)) for field in dataclasses.fields(part)}
        found |= decisive(self.model, self.tokenizer)
        found |= {"quantize": shown(self.model_options.quantize), "plan": self.bench.plan}
        return found | {"version": self.version}

    def stands(self) -> dict[str, str]:
        """What each task is asked, and where it stands in the means."""
        found = {task.placement.task: _stand(task.placement, task.digest) for task in self.tasks}
        return found | {place.task: _stand(place, "absent") for place in self.absent}


def _stand(place: Placement, digest: str) -> str:
    return "\t".join((digest, place.level, place.category, place.group))


def draw_up(
    bench: Bench,
    selection: Selection,
    options: PromptOptions,
    tasks: tuple[TaskPrompts, ...],
    absent: tuple[Placement, ...],
    introduction: Introduction,
    model_options: ModelOptions,
) -> RunRecord:
    """The record of a run that is about to begin."""
    manifest = bench.manifest
    return RunRecord(
        format=FORMAT,
        version=VERSION,
        selection=selection,
        prompts=options,
        model_options=model_options,
        model=dataclasses.replace(introduction.model, name=model_options.name),
        tokenizer=introduction.tokenizer,
        bench=BenchRecord(str(bench.path), manifest.digest, manifest.sample, manifest.plan, manifest.version),
        tasks=tuple(_task_record(task) for task in tasks),
        absent=absent,
    )


def _task_record(prompts: TaskPrompts) -> TaskRecord:
    task, level = prompts.built.task, prompts.built.assignment.level
    if level is None:
        raise ValueError(f"{task.id} has no level")
    counts, n_examples = prompts.templates, prompts.examples
    templates: tuple[str, ...] = ()
    if len(counts) > 1 and not prompts.merged:
        # A template that does not apply to every example has fewer; the smallest one is what all must reach.
        n_examples, templates = min(one.prompts for one in counts.values()), tuple(counts)
    place = Placement(task.id, task.source, task.category, level, task.group, n_examples, templates)
    return TaskRecord(place, task.metric, prompts.built.digest, prompts.merged, counts)


class Run:
    """A run's folder, locked for this process."""

    def __init__(self, path: Path, record: RunRecord, anew: str) -> None:
        self.path, self.record = path, record
        self.anew = anew
        """Why this is not the continuation of an earlier run of the model; empty where it is, or is the first."""
        self.predictions = Predictions(path)
        self.workers: int | None = None
        """Processes that answer prompts, for the session's record."""
        self._writer = PredictionWriter(path)
        self._written = 0

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, out: Path, record: RunRecord, accelerator: str = "", engine: str = "local"
    ) -> Iterator[Run]:
        """Open the folder of the run that `record` describes below `out`, made if need be, and lock it.

        The session is recorded at once, and completed at the end, however that comes. Raises BenchFolderError
        where another process works on the run, or its record cannot be read.
        """
        path = out / folder_name(record.model_options.name) / record.name
        path.mkdir(parents=True, exist_ok=True)
        started = monotonic()
        with _locked(path):
            earlier = read_run(path) if (path / RUN).exists() else None
            anew = "" if earlier else _why_anew(path, record)
            record = dataclasses.replace(
                earlier or record,
                sessions=(*(earlier.sessions if earlier else ()), _session(record, accelerator, engine)),
            )
            _write(path, record)
            run = cls(path, record, anew)
            try:
                yield run
            except BaseException:
                # On a full disk this fails too, and what failed first is what has to be told.
                with contextlib.suppress(OSError):
                    run._finish(monotonic() - started)
                raise
            run._finish(monotonic() - started)

    def _finish(self, seconds: float) -> None:
        """Close the files and complete the session's record."""
        self._writer.close()
        *earlier, last = self.record.sessions
        last = dataclasses.replace(
            last, seconds=round(seconds, 1), predictions=self._written, workers=self.workers
        )
        self.record = dataclasses.replace(self.record, sessions=(*earlier, last))
        _write(self.path, self.record)

    def write(self, prediction: Prediction) -> None:
        """Append a prediction."""
        self._writer.write(prediction)
        self._written += 1


def read_run(path: Path) -> RunRecord:
    """Read a run's record; BenchFolderError where there is none, or one of another format."""
    file = path / RUN
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            message = (
                f"{file}: format {content['format']}, expected {FORMAT}; remove the folder and evaluate again"
            )
            raise BenchFolderError(message)
        record: RunRecord = typed(RunRecord, content)
    except FileNotFoundError:
        raise BenchFolderError(f"{path}: no {RUN}, so it is no run; see `optiml-bench eval`") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"{file}: not a readable record of a run ({error}); remove the folder and evaluate again"
        raise BenchFolderError(message) from error
    return record


def find_runs(path: Path) -> list[Path]:
    """The folders of all runs at or below a folder, sorted; BenchFolderError if there is none."""
    found = sorted(file.parent for file in path.rglob(RUN)) if path.is_dir() else []
    if not found:
        raise BenchFolderError(f"{path}: no run there or below; see `optiml-bench eval --out`")
    return found


def folder_name(model: str) -> str:
    """The folder of a model's runs: `owner--name` for the Hub, the folder's own name for a local one."""
    if Path(model).expanduser().is_dir():
        model = Path(model).expanduser().resolve().name
    return re.sub(r"[^\w.+-]+", "-", model.replace("/", "--"))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on a folder; it leaves no file and dies with the process."""
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchFolderError(
                f"{path}: another evaluation is writing to it; wait for it to end"
            ) from None
        yield
    finally:
        os.close(handle)


def _why_anew(path: Path, record: RunRecord) -> str:
    """What differs from the most alike of the model's other runs; empty if it has none."""
    found = []
    for file in path.parent.glob(f"*/{RUN}"):
        with contextlib.suppress(BenchFolderError):  # one of another version of this package, say
            differences = _differences(read_run(file.parent), record)
            found.append((len(differences), file.parent.name, differences))
    if not found:
        return ""
    count, name, differences = min(found)
    more = f", and {count - _TOLD} more" if count > _TOLD else ""
    return f"{name} has {', '.join(differences[:_TOLD])}{more}"


def _differences(old: RunRecord, new: RunRecord) -> list[str]:
    """In words: the settings one by one, the tasks together."""
    before, after = old.settings(), new.settings()
    words = [
        f"{name} {_brief(before.get(name))}, not {_brief(after.get(name))}"
        for name in dict.fromkeys((*after, *before))
        if before.get(name) != after.get(name)
    ]
    stood, stands = old.stands(), new.stands()
    others = sum(stood.get(task) != stands.get(task) for task in {**stood, **stands})
    return [*words, f"other tasks or content ({others:,} tasks differ)"] if others else words


def _brief(value: str | None) -> str:
    return "none" if value is None else value if len(value) <= 40 else f"{value[:39]}…"


def _session(record: RunRecord, accelerator: str, engine: str) -> Session:
    model = record.model
    return Session(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        version=VERSION,
        python=platform.python_version(),
        torch=model.torch,
        transformers=model.transformers,
        machine=f"{platform.platform()}, {os.cpu_count()} CPUs",
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerator=accelerator,
        device=model.device,
        batch_tokens=record.model_options.batch_tokens,
        path_reason=model.path_reason,
        engine=engine,
    )


def _write(path: Path, record: RunRecord) -> None:
    """Write the record, a line for each key; a killed process leaves the old one or the new one."""
    content: dict[str, Any] = plain(record)
    lines = (f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items())
    building = path / f".{RUN}"
    try:
        building.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        building.replace(path / RUN)
    except OSError as error:
        building.unlink(missing_ok=True)
        error.filename = error.filename or str(path / RUN)
        raise
