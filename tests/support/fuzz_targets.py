"""What is fuzzed: for each kind of input that comes from outside, its sound files and what reads them.

A case is one hostile file: `prepare` lays sound ones out in a folder and returns what may be made hostile, by
place; `run` reads them again after one was changed, and may raise nothing but the project's own errors. So a case
that failed is kept as a file, and a file is all that it takes to try it again.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import hostile_bytes
from fuzz_fetch import TARGETS as FETCHED
from fuzz_kit import Files, Target, build_task, files_in, laid_out
from fuzz_rows import RowsSource
from hostile_templates import hostile_template

from benchmark_builder.blueprint import SAMPLE, BuildOptions, draw_up
from benchmark_builder.readers import read_json, read_rows, read_tsv
from benchmark_builder.source import NativeTask
from benchmark_builder.sources import SOURCES
from task_registry.errors import InputError
from task_registry.types import Assignment, Split, Task

TOP = Path(__file__).parents[2]
ROWS: Sequence[Mapping[str, Any]] = [
    {
        "id": n,
        "text": f"row {n}",
        "score": n / 2,
        "tags": ["a", "b"][: n % 3],
        "part": {"of": "it"},
        "right": None,
    }
    for n in range(7)
]


def table_bytes(rows: Sequence[Mapping[str, Any]], form: str) -> bytes:
    """Rows as a Parquet file, an Arrow stream or an Arrow file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, out = pa.Table.from_pylist(list(rows)), io.BytesIO()
    if form.startswith("parquet"):
        pq.write_table(table, out, compression=form.partition(" ")[2] or "snappy")
    else:
        options = pa.ipc.IpcWriteOptions(compression="lz4" if form == "stream lz4" else None)
        opened = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
        with opened(out, table.schema, options=options) as writer:
            writer.write_table(table)
    return out.getvalue()


def text_tables(folder: Path) -> Files:
    """Rows as JSON, JSON lines, CSV and TSV."""
    lines = [json.dumps(row) for row in ROWS]
    flat = [f'{row["id"]},"a ""quoted"" text, {row["text"]}",{row["score"]},True' for row in ROWS]
    tabbed = [f"{row['id']}\t{row['text']}\t{row['score']}" for row in ROWS]
    return laid_out(
        folder,
        {
            "rows.jsonl": "\n".join(lines).encode() + b"\n",
            "rows.json": f"[{', '.join(lines)}]".encode(),
            "rows.csv": "\n".join(["id,text,score,right", *flat]).encode(),
            "rows.tsv": "\n".join(["id\ttext\tscore", *tabbed]).encode(),
            "bare.tsv": "\n".join(tabbed).encode() + b"\n",
        },
    )


def read_text_table(folder: Path, place: str) -> None:
    """Read one of them as a table, and as what else it may be read as."""
    from benchmark_builder.readers import column_types

    file = Path(place)
    if file.suffix == ".json":
        read_json(folder, file)
    if place == "bare.tsv":
        list(read_tsv(folder, file, ("id", "text", "score")))
    elif file.suffix in (".csv", ".tsv"):
        column_types(folder, file)
    list(read_rows(folder, file))


def columnar_tables(folder: Path) -> Files:
    """Rows as Parquet and Arrow files of several kinds."""
    forms = {
        "snappy.parquet": "parquet",
        "plain.parquet": "parquet none",
        "zstd.parquet": "parquet zstd",
        "stream.arrow": "stream",
        "lz4.arrow": "stream lz4",
        "file.arrow": "file",
    }
    return laid_out(folder, {name: table_bytes(ROWS, form) for name, form in forms.items()})


def read_columnar_table(folder: Path, place: str) -> None:
    """Read one of them, every value."""
    list(read_rows(folder, Path(place)))


def saved_data_set(folder: Path) -> Files:
    """A data set as `save_to_disk` leaves it, one of several Parquet files, and CSV whose columns get types."""
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_files": None}
    csv = "label,text\n1,one\n0,none\n"
    files = {
        "custom/saved/train/state.json": json.dumps(state).encode(),
        "custom/saved/train/data-00000-of-00001.arrow": table_bytes(ROWS, "stream"),
        "custom/saved/test-00000-of-00002.parquet": table_bytes(ROWS[:3], "parquet"),
        "custom/saved/test-00001-of-00002.parquet": table_bytes(ROWS[3:], "parquet"),
        "custom/saved/validation.csv": csv.encode(),
    }
    return laid_out(folder, files)


def read_data_set(folder: Path, place: str) -> None:
    """Find the data set and read all its splits."""
    from benchmark_builder.datasets_at_hand import find_dataset, pool_rows

    for pool, files in find_dataset(folder, "custom", "saved").items():
        list(pool_rows(folder, pool, files)())


class SampleSource:
    """One source's files of the sample, and further forms of them, through its adapter to record batches."""

    def __init__(self, name: str, further: Callable[[Path], None] = lambda folder: None) -> None:
        self.name, self.further = name, further
        self.known: dict[str, Task] = {}
        self.assigned: dict[str, Assignment] = {}

    def prepare(self, folder: Path) -> Files:
        """Copy the sample's files."""
        shutil.copytree(SAMPLE / self.name, folder / self.name)
        self.further(folder / self.name)
        for planned in draw_up(BuildOptions(sample=True, source=(self.name,))).tasks:
            self.known[planned.task.name] = planned.task
            self.assigned[planned.task.name] = planned.assignment
        return files_in(folder)

    def run(self, folder: Path, place: str) -> None:
        """Find the tasks, open and assemble those that the file belongs to."""
        discovery = SOURCES[self.name].tasks(folder, self.known)
        concerned = [native for native in discovery.tasks if Path(place) in native.files]
        for native in concerned:
            self.build(folder, native)
        for line in discovery.failures.values():
            raise InputError(place, "a failure", line)

    def build(self, folder: Path, native: NativeTask) -> None:
        """Go as far as a build does, but for writing."""
        task = native.described or self.known[native.name]
        build_task(
            SOURCES[self.name], folder, native, task, native.assignment or self.assigned.get(native.name)
        )


def flan_rows(folder: Path) -> Files:
    """A row of each of FLAN's data sets, in the Hub's columns."""
    import yaml

    rows = yaml.safe_load((TOP / "tests" / "benchmark_builder" / "golden" / "flan_rows.yaml").read_bytes())
    return laid_out(
        folder, {f"{name}.json": json.dumps([facts["row"]]).encode() for name, facts in rows.items()}
    )


def prepare_flan_rows(folder: Path, place: str) -> None:
    """Prepare the rows for the patterns."""
    from benchmark_builder.source import Row
    from benchmark_builder.sources.flan import prepare_row, unfold_row
    from benchmark_builder.sources.flan.tasks import TASKS

    task = TASKS[Path(place).stem]
    for record, fields in read_rows(folder, Path(place)):
        row = Row("train[0]", Path(place), record, fields)
        for part in unfold_row(task, row):
            prepare_row(task, part)


def with_database(folder: Path) -> None:
    """Spider's database beside the schema of the sample."""
    file = folder / "sample_harbour" / "database" / "harbour" / "harbour.sqlite"
    schemas = json.loads((folder / "sample_harbour" / "tables.json").read_text(encoding="utf-8"))
    file = file.parent.parent / schemas[0]["db_id"] / f"{schemas[0]['db_id']}.sqlite"
    file.parent.mkdir(parents=True)
    connection = sqlite3.connect(file)
    names = schemas[0]["table_names_original"]
    for number, name in enumerate(names):
        columns = [column for table, column in schemas[0]["column_names_original"] if table == number]
        connection.execute(
            f'CREATE TABLE "{name}" ({", ".join(f"{chr(34)}{c}{chr(34)} TEXT" for c in columns)})'
        )
        for row in range(5):
            marks = ", ".join("?" * len(columns))
            connection.execute(f'INSERT INTO "{name}" VALUES ({marks})', [f"{c} {row}" for c in columns])
    connection.commit()
    connection.close()


def with_parquet(folder: Path) -> None:
    """One of the sample's tables as the Hub has it, in Parquet."""
    file = folder / "sample_mood" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    file.unlink()
    (folder / "sample_mood" / "train-00000-of-00001.parquet").write_bytes(table_bytes(rows, "parquet"))


def template_case(folder: Path) -> Files:
    """A template and a row; what is made of them comes from `hostile_templates`."""
    sound = {"template": {"name": "t", "input": "{{ x }} ||| {{ y[0] }}"}, "fields": {"x": "a", "y": ["b"]}}
    return laid_out(folder, {"case.json": json.dumps(sound).encode()})


def make_template_case(rng: Random, place: str, content: bytes) -> bytes:
    """A new case; the sound one is not changed but replaced."""
    return json.dumps(hostile_template(rng)).encode()


def render_case(folder: Path, place: str) -> None:
    """Compile the template and render the row."""
    from templates.template import Template, compile_template

    case = json.loads((folder / place).read_text(encoding="utf-8"))
    compiled = compile_template(Template(**case["template"]), folder / "templates.yaml")
    compiled.hides_answer(case["fields"])
    compiled.render(case["fields"], folder / "rows.jsonl")


def plan_files(folder: Path) -> Files:
    """The sample's plan and review, one that ships, and a library of templates."""
    flan = (Path(SAMPLE).parents[1] / "task_registry" / "data" / "plans" / "superni.yaml").read_bytes()
    library = (
        b'task:\n  - name: plain\n    input: "{{ a }}:"\n    output: "{{ b }}"\n  - {name: other, input: x}\n'
    )
    files = {"plan.yaml": (SAMPLE / "plan.yaml").read_bytes(), "superni.yaml": flan, "library.yaml": library}
    files["review.csv"] = (SAMPLE / "leakage_review.csv").read_bytes()
    files |= {
        f"{name}.tasks.csv": (SAMPLE / "catalogue" / f"{name}.csv").read_bytes()
        for name in ("flan", "superni")
    }
    return laid_out(folder, files)


def read_plan(folder: Path, place: str) -> None:
    """Read a plan, a review, a catalogue or a library, and what follows from it."""
    from benchmark_builder.blueprint import _sample_catalogue
    from task_registry.catalogue import read_tasks
    from task_registry.leakage import read_review, review_digest
    from task_registry.plans import load_plan
    from task_registry.splits import assign
    from templates.library import parse_library

    if place == "review.csv":
        review_digest(read_review(folder / place))
    elif place.endswith(".tasks.csv"):
        read_tasks(folder / place)
    elif place == "library.yaml":
        parse_library((folder / place).read_bytes().decode("utf-8", "replace"), folder / place)
    else:
        catalogue = _sample_catalogue() if place == "plan.yaml" else None
        plan = load_plan(folder / place, catalogue)
        assign(plan, catalogue.tasks.values() if catalogue else ())


def archive_files(folder: Path) -> Files:
    """Sound archives of every kind that is unpacked."""
    return laid_out(folder, {f"a{suffix}": packed(suffix, SOUND) for suffix in PACKERS})


Entry = tuple[str, bytes, bytes]
"""An archive's entry: its name, its kind as tar has it, its content."""
SOUND: Sequence[Entry] = [
    ("top/rows.jsonl", tarfile.REGTYPE, b'{"a": 1}\n' * 40),
    ("top/b/x.tsv", tarfile.REGTYPE, b"x\ty\n"),
]
PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    ".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress, ".zip": bytes,
}  # fmt: skip


def packed(suffix: str, entries: Sequence[Entry]) -> bytes:
    """An archive of these entries."""
    out = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, kind, content in entries:
                info = zipfile.ZipInfo(name)
                info.external_attr = (0o120777 if kind == tarfile.SYMTYPE else 0o100644) << 16
                archive.writestr(info, content, zipfile.ZIP_DEFLATED)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in entries:
            member = tarfile.TarInfo(name)
            member.type = kind
            regular = kind == tarfile.REGTYPE
            member.size = len(content) if regular else 0
            member.linkname = "" if regular else content.decode()
            tar.addfile(member, io.BytesIO(content) if regular else None)
    return PACKERS[suffix](out.getvalue())


NAMES = (
    "../outside/secret.jsonl", "/var/hostile", "top/../../outside/x", "..", ".", "", "top", "top/", "top/rows.jsonl",
    "top/b", "top//rows.jsonl", "./top/rows.jsonl", "top/b/../rows.jsonl", "top\\..\\x", "C:\\x", "top/rows.jsonl/x",
    "top/" + "a" * 300, "top/" + "d/" * 300 + "x.tsv", "top/\0x.tsv", "top/\ud800.tsv", "top/é.tsv", "top/b/-rf",
    "top/ ", "~/x",
)  # fmt: skip
KINDS = (
    tarfile.REGTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    tarfile.DIRTYPE,
    b"Z",
)


def make_archive(rng: Random, place: str, content: bytes) -> bytes:
    """A damaged archive, or a whole one of hostile entries."""
    if rng.random() < 0.5:
        return hostile_bytes.mutate(rng, place, content)
    entries = list(SOUND)
    for _ in range(rng.choice((1, 2, 3))):
        kind = rng.choice(KINDS)
        target = rng.choice((b"../outside", b"/etc", b"top", b"../outside/secret.jsonl", b"rows.jsonl", b"."))
        data = (
            rng.choice((b"", b"x", b"\0" * rng.choice((10, 10_000, 3_000_000))))
            if kind == tarfile.REGTYPE
            else target
        )
        entries.insert(rng.randrange(len(entries) + 1), (rng.choice(NAMES), kind, data))
    try:
        made = packed(place[1:], entries)
    except (ValueError, UnicodeError):  # a name that this kind of archive cannot hold
        return hostile_bytes.mutate(rng, place, content)
    return hostile_bytes.mutate(rng, place, made) if rng.random() < 0.2 else made


def unpack_archive(folder: Path, place: str) -> None:
    """Unpack it into a folder of its own."""
    from benchmark_builder.fetch.archives import unpack

    into = folder / "into"
    parts = {"a/": ["**/*.tsv"], "rows.jsonl": ["*/rows.jsonl"]} if place != "a.tar" else {"all/": ["**/*"]}
    try:
        unpack(folder / place, parts, into, address="https://harbour.example/a")
    finally:
        shutil.rmtree(into, ignore_errors=True)


def run_folder(folder: Path, out: str = "results") -> Path:
    """A finished run over a toy bench."""
    from report_kit import make_run, toy_bench

    bench = toy_bench(folder / "bench")
    return make_run(folder / out, bench, lambda task, example, shots: len(example + task) % 2 == 0)


def results(folder: Path) -> Files:
    """A run's record and predictions; the bench is not touched."""
    run = run_folder(folder)
    return {place: content for place, content in files_in(folder, "results").items() if run.name in place}


def read_results(folder: Path, place: str) -> None:
    """Score the run and make of it all that the report shows but for the plots."""
    from evaluation.bootstrap import Resampling
    from evaluation.compare import compare
    from evaluation.options import Normalisation
    from evaluation.report.examples import Examples, bench_of
    from evaluation.report.tables import csv_text, markdown
    from evaluation.report.view import view
    from evaluation.run import find_runs
    from evaluation.scoring import score_run
    from evaluation.summary import summary

    (run,) = find_runs(folder / "results")
    report = score_run(run, Normalisation.SUM, Resampling(resamples=5))
    json.dumps(summary(report), allow_nan=False)
    seen = [view(report)]
    markdown(seen).encode()
    csv_text(seen).encode()
    bench, _ = bench_of(report.record, folder / "bench")
    list(Examples(run, report, bench, 5))
    compare(report, report, Resampling(resamples=5))


def two_runs(folder: Path) -> Files:
    """Two runs, of which the first is made hostile."""
    files = results(folder)
    run_folder(folder, "other")
    return files


def report_commands(folder: Path, place: str) -> None:
    """The commands themselves, over the run."""
    from optiml_bench.commands.compare import compare
    from optiml_bench.commands.report import report

    results, out = str(folder / "results"), ("--out", str(folder / "out"))
    shown = ("--data", str(folder / "bench"), "--examples", "3")
    try:
        report.main([results, *out, *shown], standalone_mode=False)
        compare.main([results, str(folder / "other"), *out, "--normalise", "token"], standalone_mode=False)
    finally:
        shutil.rmtree(folder / "out", ignore_errors=True)


def continued_run(folder: Path, place: str) -> None:
    """What `eval` does with a run that is there: its record is read, its torn lines dropped, its keys known."""
    from evaluation.predictions import Predictions, PredictionWriter
    from evaluation.run import RUN, find_runs, read_run

    (run,) = find_runs(folder / "results")
    if place.endswith(RUN):
        record = read_run(run)
        record.name, record.settings(), record.stands()
    PredictionWriter(run).close()
    found = Predictions(run)
    for task in found.tasks:
        found.of(task)


def bench_folder(folder: Path) -> Files:
    """A toy bench."""
    from report_kit import toy_bench

    toy_bench(folder / "bench")
    return files_in(folder)


def read_bench(folder: Path, place: str) -> None:
    """Open the bench and read everything in it, twice: by example and by digest."""
    from task_registry.bench import Bench
    from task_registry.errors import BenchFolderError
    from task_registry.writer import read_task_record

    if place.endswith("task.json"):
        read_task_record((folder / place).parent)
    bench = Bench.open(folder / "bench")
    damaged = list(bench.damaged())
    for task in bench.tasks:
        for split in Split:
            for example in bench.examples(task, split):
                example.input.encode()
    if damaged:
        raise BenchFolderError(damaged[0])


def published_bench(folder: Path) -> Files:
    """The files of a published bench, as the Hub has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from report_kit import toy_bench

    from task_registry.published import PUBLISHED_SCHEMA, DataFile, manifest_text, tasks_table, to_published

    bench = toy_bench(folder / "bench")
    repo = folder / "repo"
    repo.mkdir()
    (repo / "bench.json").write_text(manifest_text(bench.manifest), encoding="utf-8")
    pq.write_table(tasks_table(list(bench.tasks.values())), repo / "tasks.parquet")
    for source in sorted({built.task.source for built in bench.tasks.values()}):
        for split in (Split.DEMONSTRATIONS, Split.TEST):
            tables = [
                to_published(batch, built)
                for built in bench.tasks.values()
                if built.task.source == source
                for batch in bench.batches(built.task.id, split)
            ]
            file = repo / DataFile(source, split, 0, 1).path
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.concat_tables(tables).cast(PUBLISHED_SCHEMA), file)
    shutil.rmtree(folder / "bench")
    return files_in(folder)


class FolderHub:
    """The two calls of the Hub's client that opening a bench makes, over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dataset_info(self, repo: str, revision: str) -> Any:
        """What a repository holds."""
        return SimpleNamespace(
            sha="c0ffee", siblings=[SimpleNamespace(rfilename=name) for name in files_in(self.folder)]
        )

    def hf_hub_download(self, repo: str, path: str, repo_type: str, revision: str) -> str:
        """Where a file of it lies."""
        return str(self.folder / path)


def open_published(folder: Path, place: str) -> None:
    """Lay the bench out in an empty cache and read it."""
    from task_registry.remote import open_bench

    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        bench = open_bench("hf://org/bench", api=FolderHub(folder / "repo"))  # type: ignore[arg-type]
        for task in bench.tasks:
            list(bench.examples(task, Split.TEST))
    finally:
        shutil.rmtree(folder / "cache", ignore_errors=True)


def _adapters() -> Iterator[Target]:
    further = {"unifiedskg": with_database, "promptsource": with_parquet}
    for name in SOURCES:
        source = SampleSource(name, further.get(name, lambda folder: None))
        yield Target(name, source.prepare, source.run, share=5)


def _rows() -> Iterator[Target]:
    for name in ("t5", "exmix", "crossfit", "reasoning"):
        source = RowsSource(name)
        yield Target(f"{name} rows", source.prepare, source.run, share=4)


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("rows", text_tables, read_text_table, share=12),
        Target("columnar", columnar_tables, read_columnar_table, share=10),
        Target("data sets", saved_data_set, read_data_set, share=4),
        *_adapters(),
        Target("flan rows", flan_rows, prepare_flan_rows, share=4),
        *_rows(),
        Target("templates", template_case, render_case, share=16, make=make_template_case),
        Target("plans", plan_files, read_plan, share=3),
        Target("archives", archive_files, unpack_archive, share=6, make=make_archive),
        Target("results", results, read_results, share=2),
        Target("continued run", results, continued_run, share=6),
        Target("report", two_runs, report_commands),
        *FETCHED,
        Target("bench", bench_folder, read_bench, share=8),
        Target("published", published_bench, open_published, share=3),
    )
}  # fmt: skip
