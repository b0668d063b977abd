"""`publish`, `publish-results`, `export` as processes: what they print, how they end; no token is left anywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from kit import TOP, build_folder, command, folder_digests
from local_hub_writes import Fault, WritableHub, running_hub
from publish_kit import REPO, environment
from report_kit import make_run, toy_bench

from optiml_bench.cli import cli
from task_registry.bench import Bench

SECRET = "hf_SecretOfTheTests0123456789"
CLOSED = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_XET": "1"}
"""Nobody listens there."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "data"
    build_folder(None, folder, source=("custom", "superni"))
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[WritableHub]:
    with running_hub(tmp_path / "hub") as hub:
        hub.tokens[SECRET] = {"write"}
        yield hub


def test_publish_then_export_from_there(data: Path, hub: WritableHub, tmp_path: Path) -> None:
    variables = environment(hub, tmp_path / "home", SECRET)
    allowed = ("--allow-sample", "--allow-unknown-licence")
    first = command("publish", data, "--repo-id", REPO, *allowed, **variables)
    manifest = Bench.open(data).manifest
    digest = manifest.digest
    assert first.returncode == 0, first.stderr
    assert f"{hub.endpoint}/datasets/{REPO}: {manifest.tasks} tasks in " in first.stdout
    assert f"optiml-bench eval --data hf://{REPO}@bench-{digest}" in first.stdout
    again = command("publish", data, "--repo-id", REPO, *allowed, **variables)
    assert "holds this bench already" in again.stdout
    assert len(hub.repositories[REPO].commits) == 2
    file = tmp_path / "test.parquet"
    form = ("--split", "test", "--format", "messages")
    there = command("export", f"hf://{REPO}@{digest}", *form, "--out", file, **variables)
    here = command("export", data, *form)
    assert pq.read_table(file).to_pylist() == [json.loads(line) for line in here.stdout.splitlines()]
    assert f"{file}: {manifest.examples['test']} test examples" in there.stdout
    assert f"Bearer {SECRET}" in hub.authorizations, "the token was used"
    for done in (first, again, there):
        assert SECRET not in done.stdout + done.stderr
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written
    assert not [file for file in written if SECRET.encode() in file.read_bytes()], "and is written nowhere"


def test_publish_results(hub: WritableHub, tmp_path: Path) -> None:
    bench = toy_bench(tmp_path / "data", sample=True)
    run = make_run(tmp_path / "results", bench, lambda *_: True)
    told = ("publish-results", tmp_path / "results", "--repo-id", "org/results")
    variables = environment(hub, tmp_path / "home", SECRET)
    dry = CliRunner().invoke(cli, [str(word) for word in (*told, "--allow-sample", "--dry-run")])
    assert f"runs/toy/{run.name}: 54 predictions" in dry.output
    assert "without references and options: flan/choose: licence none stated" in dry.output
    assert "Would publish 1 run to org/results" in dry.output
    assert hub.requests == []
    first = command(*told, "--allow-sample", **variables)
    assert first.returncode == 0, first.stderr
    assert f"{hub.endpoint}/datasets/org/results: 1 run, commit " in first.stdout
    assert f"Bearer {SECRET}" in hub.authorizations, "the token was used"
    assert SECRET not in first.stdout + first.stderr
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in written if SECRET.encode() in file.read_bytes()], "and is written nowhere"


def test_a_failure_is_one_line_without_the_token(data: Path, hub: WritableHub, tmp_path: Path) -> None:
    hub.faults.append(Fault("/preupload/", 403, error=f"{SECRET} is not allowed"))
    variables = environment(hub, tmp_path / "home", SECRET)
    failed = command(
        "publish", data, "--repo-id", REPO, "--allow-sample", "--allow-unknown-licence", **variables
    )
    assert failed.returncode == 8
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"Error: {REPO}: the token may not upload data/custom/")
    assert "<token> is not allowed" in line
    assert SECRET not in failed.stdout + failed.stderr


def test_a_dry_run_asks_nobody(data: Path) -> None:
    before = folder_digests(data)
    done = command(
        "publish", data, "--repo-id", REPO, "--dry-run", "--allow-sample", "--only-licensed", **CLOSED
    )
    assert done.returncode == 0, done.stderr
    assert "left out: custom/sample_odd_one_out: licence unknown" in done.stdout
    count = Bench.open(data).manifest.tasks - 1
    assert re.search(rf"Would publish {count} tasks to org/bench: \d+ Parquet files", done.stdout)
    assert folder_digests(data) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--repo-id", REPO], 2, "--allow-sample"),
        (["--repo-id", REPO, "--allow-sample"], 9, "--allow-unknown-licence publishes those of unknown licence"),
        (["--repo-id", "bench", "--allow-sample"], 2, "expected ORG/NAME"),
        (["--repo-id", REPO, "--allow-sample", "--include", "t5/*"], 2, "--include 't5/*': matches none of the "),
        (["--repo-id", REPO, "--allow-sample", "--private"], 8, "no answer from the Hub"),
        ([], 2, "Missing option '--repo-id'"),
    ],
)  # fmt: skip
def test_what_publish_refuses(data: Path, arguments: list[str], code: int, message: str) -> None:
    done = command("publish", data, *arguments, **CLOSED)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_export_to_a_file(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "train.jsonl"
    done = command("export", data, "--format", "messages", "--include", "superni/*", "--out", out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    bench = Bench.open(data)
    superni = {id_: b for id_, b in bench.tasks.items() if b.task.source == "superni"}
    counts = {id_: b.counts["train"] for id_, b in superni.items() if "train" in b.counts}
    assert Counter(row["task"] for row in rows) == counts
    assert done.stdout == f"{out}: {len(rows)} train examples of {len(counts)} tasks\n"
    refused = command("export", data, "--split", "validation")
    assert refused.returncode == 2
    assert "no validation examples" in refused.stderr


def test_export_ends_quietly_when_its_reader_leaves(data: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "optiml_bench", "export", data, "--split", "test"],
        cwd=TOP,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 0
    assert errors == ""
