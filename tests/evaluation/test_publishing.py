"""Runs on a small Hub, by the real clients: what is there, what is withheld, and what is left when it goes wrong."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, HfApi
from local_hub_writes import Fault, WritableHub, running_hub
from publish_kit import TOKEN, client, environment, run_script
from report_kit import ZERO_FIVE, make_run, number_of, toy_bench

from evaluation.predictions import Predictions
from evaluation.publishing import Results, card, gather, publish, small_files
from evaluation.report.view import view
from evaluation.run import find_runs, folder_name, read_run
from evaluation.scoring import score_run
from task_registry.bench import Bench
from task_registry.errors import RemoteError, UsageError
from task_registry.uploads import Published

REPO = "org/results"
OPEN = "flan/choose"
"""The one task of the bench whose licence allows it."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    found = toy_bench(tmp_path_factory.mktemp("bench") / "data")
    tasks = {
        name: dataclasses.replace(
            built,
            task=dataclasses.replace(built.task, licence="MIT" if name == OPEN else "CC BY-ND 4.0"),
        )
        for name, built in found.tasks.items()
    }
    return Bench(found.path, found.manifest, tasks)


@pytest.fixture(autouse=True)
def at_hand(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench with its licences is what a run finds."""
    monkeypatch.setattr("evaluation.publishing.bench_of", lambda record, data: (bench, ""))


@pytest.fixture
def run(bench: Bench, tmp_path: Path) -> Path:
    return make_run(tmp_path / "results", bench, lambda _, name, __: number_of(name) < 4, name="org/model")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[WritableHub]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub: WritableHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HfApi:
    return client(hub, monkeypatch, tmp_path / "cache")


def put(api: HfApi, *paths: Path, **options: Any) -> Published:
    return publish(gather(paths, REPO, **options), api=api)


def files(hub: WritableHub) -> set[str]:
    repository = hub.repositories[REPO]
    return set(repository.commits[repository.refs["main"]]) - {".gitattributes"}


def table(hub: WritableHub, run: Path, name: str) -> list[dict[str, Any]]:
    place = f"runs/{folder_name(read_run(run).model.name)}/{run.name}/{name}.parquet"
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(hub.read(REPO, place))).to_pylist()
    return rows


READ_BACK = """
import json, sys
from datasets import load_dataset
repo, revision = sys.argv[1:]
read = {n: list(load_dataset(repo, n, split=n, revision=revision)) for n in ("means", "scores", "predictions")}
print(json.dumps(read))
"""


def test_load_dataset_reads_means_scores_and_predictions(
    run: Path, bench: Bench, hub: WritableHub, api: HfApi, tmp_path: Path
) -> None:
    other = make_run(tmp_path / "results", bench, lambda *_: False, name="second")
    published = put(api, run, other)
    read = json.loads(run_script(READ_BACK, environment(hub, tmp_path / "home"), REPO, published.tag))
    report = score_run(run)
    assert [row["model"] for row in read["scores"]].count("org/model") == report.rows.num_rows
    ours = [row for row in read["scores"] if row["model"] == "org/model"]
    places = {task.placement.task: task.placement for task in report.record.tasks}
    assert [
        {k: v for k, v in row.items() if k not in ("model", "run", "level", "category")} for row in ours
    ] == report.rows.to_pylist()
    assert all(
        (row["level"], row["category"]) == (str(places[row["task"]].level), places[row["task"]].category)
        for row in ours
    )
    assert {row["model"] for row in read["means"]} == {"org/model", "second"}
    mean = next(
        r for r in read["means"] if r["model"] == "org/model" and r["scope"] == "all" and r["shots"] == 5
    )
    assert mean["value"] == view(report).average.numbers[5].value
    assert {row["run"] for row in read["predictions"]} == {run.name, other.name}


def test_what_is_not_cleared_is_withheld_and_listed(run: Path, hub: WritableHub, api: HfApi) -> None:
    put(api, run)
    rows = table(hub, run, "predictions")
    own = {row["task"]: row for row in rows}
    for name, row in own.items():
        words = [row[field] for field in ("references", "options", "answer")]
        assert (words == [None, None, None]) is (name != OPEN), name
    there = {one.key.digest: one for task in own for one in Predictions(run).of(task)}
    assert len(rows) == len(there)
    said = [(row["task"], row["text"], row["choice"], row["option_logprobs"]) for row in rows]
    assert said == [(p.task, p.text, p.choice, list(p.option_logprobs)) for p in there.values()]
    text = hub.read(REPO, "README.md").decode()
    assert "2 tasks whose licence is not known to allow" in text
    assert "| superni/write | CC BY-ND 4.0 |" in text
    assert "| flan/choose | MIT |" not in text


def test_a_private_repository_has_everything(run: Path, hub: WritableHub, api: HfApi) -> None:
    put(api, run, private=True)
    assert hub.repositories[REPO].private
    for row, one in zip(
        table(hub, run, "predictions"),
        [p for task in Predictions(run).tasks for p in Predictions(run).of(task)],
        strict=True,
    ):
        assert (row["references"], row["options"]) == (list(one.references), list(one.options))
    assert "withheld" not in hub.read(REPO, "README.md").decode()
    hub.create("org/open")
    with pytest.raises(RemoteError, match="exists and is public"):
        publish(gather([run], "org/open", private=True), api=api)


def test_unchanged_results_make_no_commit_and_others_replace_them(
    run: Path, bench: Bench, hub: WritableHub, api: HfApi, tmp_path: Path
) -> None:
    first = put(api, run)
    repository = hub.repositories[REPO]
    del repository.refs[first.tag]
    again = put(api, run)
    assert (again.commit, again.unchanged) == (first.commit, True)
    assert repository.refs[first.tag] == first.commit
    lines = [file.read_text(encoding="utf-8").splitlines() for file in (run / "predictions").iterdir()]
    for file, own in zip((run / "predictions").iterdir(), lines, strict=True):
        file.write_text("".join(f"{line}\n" for line in reversed(own)), encoding="utf-8")
    assert put(api, run).unchanged, "in whatever order the model answered"
    other = make_run(tmp_path / "results", bench, lambda *_: True, ZERO_FIVE, name="other")
    second = put(api, other)
    assert second.tag != first.tag
    assert files(hub) == {"README.md", "results.json", "means.parquet"} | {
        f"runs/other/{other.name}/{name}" for name in ("run.json", "scores.parquet", "predictions.parquet")
    }
    assert len(repository.commits) == 3


@pytest.mark.parametrize(("pattern", "missing"), [("^PUT ", 2), ("/commit/", 0), ("preupload", 3)])
def test_a_failure_leaves_main_as_it_was(
    run: Path, hub: WritableHub, api: HfApi, pattern: str, missing: int
) -> None:
    hub.faults.append(Fault(pattern, after=1 if pattern == "^PUT " else 0))
    with pytest.raises(RemoteError, match="no answer from the Hub") as raised:
        put(api, run)
    assert TOKEN not in str(raised.value)
    assert hub.repositories[REPO].messages == ["initial commit"]
    hub.faults.clear()
    sent = hub.count("^PUT ")
    put(api, run)
    assert hub.count("^PUT ") - sent == missing, "what has gone up is not sent again"


def test_a_bench_is_not_overwritten(run: Path, hub: WritableHub, api: HfApi) -> None:
    hub.create(REPO, files={"bench.json": b'{"digest": "abc"}'})
    with pytest.raises(RemoteError, match=r"holds bench\.json, which is no set of results"):
        put(api, run)


def test_this_machines_folders_are_not_told(bench: Bench, tmp_path: Path) -> None:
    """A model in a local folder, a bench somewhere below home: their names are all that goes out."""
    (tmp_path / "secret place" / "my-model").mkdir(parents=True)
    run = make_run(tmp_path / "r", bench, lambda *_: True, name=str(tmp_path / "secret place" / "my-model"))
    results = gather([run], REPO)
    for name, content in small_files(results).items():
        for secret in (str(tmp_path), str(bench.path.parent), "secret place"):
            assert secret.encode() not in content, name
    assert results.runs[0].place == f"runs/my-model/{run.name}"


def test_the_clients_accept_the_card(run: Path) -> None:
    results = gather([run], REPO)
    text = text_of(results)
    head = DatasetCard(text).data.to_dict()
    assert head["pretty_name"] == "OPT-IML Bench results: org/model"
    assert [config["config_name"] for config in head["configs"]] == ["means", "scores", "predictions"]
    assert "| fully\\_held\\_out | 1 | 50.0 " in text, "four of eight are right"
    assert f'revision="{results.tag}"' in text


def text_of(results: Results) -> str:
    return card(results, [view(one.report) for one in results.runs])


def test_what_is_refused_before_anything_is_sent(run: Path, tmp_path: Path) -> None:
    sample = make_run(tmp_path / "s", toy_bench(tmp_path / "sample", sample=True), lambda *_: True)
    with pytest.raises(UsageError, match="--allow-sample"):
        gather([sample], REPO)
    with pytest.raises(UsageError, match="expected ORG/NAME"):
        gather([run], "results")
    with pytest.raises(UsageError, match="is there twice"):
        gather([run, run], REPO)
    assert find_runs(tmp_path / "results") == [run]
