"""Runs on the Hugging Face Hub: their scores and predictions as one data set, with a card.

README.md           the card: means, how they were measured, what is withheld
results.json        which runs, and a digest of all that is published
means.parquet       every mean with its interval, as `optiml-bench report` writes it to report.csv
runs/<model>/<run>/run.json, scores.parquet, predictions.parquet

References, options and answers are the data sets' own words. Unless the repository is private, those of tasks
whose licence is not known to allow it are withheld (null); what the model said and every score is there. Folders
of this machine are told by their last part alone.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.predictions import Prediction, Predictions, to_line
from evaluation.records import plain
from evaluation.report.examples import bench_of
from evaluation.report.tables import markdown, markdown_table, number_lines
from evaluation.report.view import RunView, view
from evaluation.run import RunRecord, folder_name
from evaluation.scoring import Report, score_run
from evaluation.summary import summary
from task_registry.catalogue import load_catalogue
from task_registry.errors import UsageError
from task_registry.hashing import text_digest
from task_registry.hub import check_repo_id, quiet_client
from task_registry.licences import terms_of
from task_registry.uploads import CARD, Published, Repository
from task_registry.version import VERSION

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MARKER = "results.json"
MEANS = "means.parquet"
TABLES = ("scores", "predictions")
ROWS_PER_GROUP = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class PublishedRun:
    """One run as it is published."""

    path: Path
    report: Report
    """Of the run's record without this machine's folders."""
    withheld: Mapping[str, str]
    """Tasks whose own words are left out, with their licences; empty where none is stated."""

    @property
    def place(self) -> str:
        """Its folder in the repository."""
        record = self.report.record
        return f"runs/{folder_name(record.model.name)}/{record.name}"

    def predictions(self) -> Iterator[Prediction]:
        """Its predictions as they are published, by task."""
        found = Predictions(self.path)
        for task in self.report.record.tasks:
            yield from found.of(task.placement.task)

    @property
    def digest(self) -> str:
        """Of all that is published of it, but for when and where it was computed."""
        told = json.dumps(summary(self.report), sort_keys=True)
        answers = text_digest(*(text_digest(to_line(one)) for one in self.predictions()))
        return text_digest(self.place, told, answers, *sorted(self.withheld))


@dataclass(frozen=True, slots=True)
class Results:
    """What is published, and where."""

    repo_id: str
    private: bool
    runs: tuple[PublishedRun, ...]
    digest: str

    @property
    def tag(self) -> str:
        """The tag of the revision that holds exactly this."""
        return f"results-{self.digest}"

    @property
    def withheld(self) -> Mapping[str, str]:
        """Over all runs."""
        return {task: licence for run in self.runs for task, licence in sorted(run.withheld.items())}


def gather(
    paths: Sequence[Path],
    repo_id: str,
    *,
    private: bool = False,
    allow_sample: bool = False,
    data: Path | None = None,
) -> Results:
    """Score the runs in folders and decide what of them is published.

    `data` is their bench, which knows the licences; by default it is looked for where a run found it, then the
    catalogue is asked. Raises UsageError for a malformed repository id, for runs on the sample and for a run that
    is there twice, and what scoring raises.
    """
    check_repo_id(repo_id)
    runs = []
    for path in paths:
        report = score_run(path)
        if report.record.bench.sample and not allow_sample:
            raise UsageError(
                f"{path}: a run on the embedded sample, which measures nothing; --allow-sample publishes it all "
                "the same"
            )
        withheld = {} if private else dict(_uncleared(report.record, data))
        report = dataclasses.replace(report, record=_without_folders(report.record))
        runs.append(PublishedRun(path, report, withheld))
    places = [run.place for run in runs]
    for run in runs:
        if places.count(run.place) > 1:
            raise UsageError(
                f"{run.path}: {run.place.removeprefix('runs/')} is there twice; name one of the two"
            )
    return Results(repo_id, private, tuple(runs), text_digest(*(run.digest for run in runs)))


def _uncleared(record: RunRecord, data: Path | None) -> Iterator[tuple[str, str]]:
    """Tasks whose licence is not known to allow that their words are published, with the licence."""
    bench, _ = bench_of(record, data)
    catalogue = load_catalogue().tasks
    for task in record.tasks:
        name = task.placement.task
        if bench is not None and name in bench.tasks:
            licence = bench.tasks[name].task.licence
        else:
            licence = catalogue[name].licence if name in catalogue else ""
        if not terms_of(licence).cleared:
            yield name, licence


def _without_folders(record: RunRecord) -> RunRecord:
    """The record with this machine's folders told by their last part."""
    options = record.model_options
    peft = None if options.peft is None else _last_part(options.peft)
    return dataclasses.replace(
        record,
        bench=dataclasses.replace(record.bench, path=Path(record.bench.path).name),
        model=dataclasses.replace(record.model, name=_last_part(record.model.name)),
        model_options=dataclasses.replace(options, name=_last_part(options.name), peft=peft),
    )


def _last_part(name: str) -> str:
    """A Hub id as it is; of a folder its name."""
    path = Path(name).expanduser()
    return path.resolve().name if path.is_absolute() or name.startswith(".") or path.is_dir() else name


def publish(
    results: Results, *, api: HfApi | None = None, watch: Callable[[str], None] | None = None
) -> Published:
    """Put results on the Hub in one commit and a tag, and tell `watch` of each file that is there.

    What an earlier publication put there and this one lacks is removed. Raises RemoteError for whatever the Hub
    refuses; until the end nobody sees any of it.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    repository = Repository(api or HfApi(), results.repo_id, MARKER, "set of results")
    with quiet_client(), tempfile.TemporaryDirectory(prefix="optiml-bench-") as folder:
        seen = repository.look(results.private)
        if seen.digest == results.digest:
            repository.tag(results.tag, seen.head)
            return Published(repository.url, results.tag, seen.head, unchanged=True)
        contents = small_files(results).items()
        additions = [CommitOperationAdd(path, content) for path, content in contents]
        for run in results.runs:
            for name in TABLES:
                path, file = f"{run.place}/{name}.parquet", Path(folder) / f"{name}.parquet"
                write_table(run, name, file)
                additions.append(repository.send(path, file))
                if watch is not None:
                    watch(path)
        ours = (path for path in seen.files if path.startswith("runs/"))
        message = f"Results {results.digest}: {len(results.runs):,} runs"
        commit, notes = repository.commit(seen, additions, ours, message)
        repository.tag(results.tag, commit)
    return Published(repository.url, results.tag, commit, created=seen.created, notes=notes)


def small_files(results: Results) -> dict[str, bytes]:
    """All but the tables of runs, by path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    views = [view(run.report) for run in results.runs]
    marker = {
        "format": 1,
        "digest": results.digest,
        "version": VERSION,
        "runs": [r.place for r in results.runs],
    }
    means = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(number_lines(views))), means, compression="zstd")
    records = {f"{run.place}/run.json": _json(plain(run.report.record)) for run in results.runs}
    card_ = card(results, views).encode()
    return {CARD: card_, MARKER: _json(marker), MEANS: means.getvalue().to_pybytes(), **records}


def _json(content: object) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def write_table(run: PublishedRun, name: str, file: Path) -> None:
    """Write a run's scores or predictions as Parquet; the same run gives the same bytes."""
    import pyarrow.parquet as pq

    if name == "scores":
        pq.write_table(_scores(run), file, compression="zstd", row_group_size=ROWS_PER_GROUP)
        return
    import pyarrow as pa

    schema, rows = _prediction_schema(), _rows(run)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while chunk := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))


def _scores(run: PublishedRun) -> Any:
    """The table of scores, with what a reader of several runs chooses by in front."""
    import pyarrow as pa

    record, rows = run.report.record, run.report.rows
    places = {task.placement.task: task.placement for task in record.tasks}
    tasks = [places[task] for task in rows.column("task").to_pylist()]
    columns: Iterable[tuple[str, list[str]]] = (
        ("model", [record.model.name] * len(tasks)),
        ("run", [record.name] * len(tasks)),
        ("level", [str(place.level) for place in tasks]),
        ("category", [place.category for place in tasks]),
    )
    for position, (name, values) in enumerate(columns):
        rows = rows.add_column(position, pa.field(name, pa.string()), pa.array(values, pa.string()))
    return rows


def _rows(run: PublishedRun) -> Iterator[dict[str, Any]]:
    model, name = run.report.record.model.name, run.report.record.name
    nothing = dict.fromkeys(("references", "answer", "options"))
    for one in run.predictions():
        yield {"model": model, "run": name} | plain(one) | (nothing if one.task in run.withheld else {})


def _prediction_schema() -> Any:
    """A column for each field of a prediction, by its annotation."""
    import pyarrow as pa

    kinds = {"str": pa.string(), "Kind": pa.string(), "int": pa.int64(), "float": pa.float64()}
    kinds |= {f"tuple[{name}, ...]": pa.list_(kind) for name, kind in kinds.items()}
    fields = [
        (field.name, kinds[str(field.type).removesuffix(" | None")])
        for field in dataclasses.fields(Prediction)
    ]
    return pa.schema([("model", pa.string()), ("run", pa.string()), *fields])


def card(results: Results, views: Sequence[RunView]) -> str:
    """The data set card: the YAML head, and the text."""
    import yaml

    models = list(dict.fromkeys(one.model for one in views))
    title = f"OPT-IML Bench results: {', '.join(models[:3])}{', …' if len(models) > 3 else ''}"
    configs = [{"config_name": "means", "data_files": [{"split": "means", "path": MEANS}]}] + [
        {"config_name": name, "data_files": [{"split": name, "path": f"runs/*/*/{name}.parquet"}]}
        for name in TABLES
    ]
    head = {
        "pretty_name": title,
        "tags": ["benchmark", "evaluation", "instruction-tuning", "arxiv:2212.12017"],
        "configs": configs,
    }
    measured = [
        "\n".join((f"### {one.model} ({one.run})", "", *markdown_table(("what", "value"), one.provenance)))
        for one in views
    ]
    sections = (
        markdown(views, title),
        _loading(results),
        _withholding(results),
        f"## How it was measured\n\nBy `optiml-bench` {VERSION}; the metrics and the aggregation are the paper's "
        "(arXiv 2212.12017). `run.json` beside each run holds all of it.",
        *measured,
    )
    text = "\n\n".join(section.strip() for section in sections if section)
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120)}---\n\n{text}\n"


def _loading(results: Results) -> str:
    repo, tag = results.repo_id, results.tag
    return f"""## Load it

```python
from datasets import load_dataset

means = load_dataset("{repo}", "means", split="means", revision="{tag}")  # every mean with its interval
scores = load_dataset("{repo}", "scores", split="scores", revision="{tag}")  # a row a prediction
predictions = load_dataset("{repo}", "predictions", split="predictions", revision="{tag}")
```"""


def _withholding(results: Results) -> str:
    if not results.withheld:
        return ""
    rows = ((task, licence or "none stated") for task, licence in results.withheld.items())
    count = len(results.withheld)
    tasks = "one task" if count == 1 else f"{count:,} tasks"
    return "\n".join(
        (
            "## What is withheld",
            "",
            "References, answers and options are the data sets' own words. They are null in the predictions of "
            f"{tasks} whose licence is not known to allow that they are passed on; build the bench to have them.",
            "",
            *markdown_table(("task", "licence"), rows),
        )
    )
