"""`optiml-bench eval`, `score` and `show --shots` on the embedded sample, by the built-in tiny model.

The process is really killed, and the network really shut off.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from kit import TOP, build_folder, command
from local_hub_writes import running_hub
from publish_kit import REPO, client, environment, publish_all

from evaluation.huggingface import HuggingFaceModel
from evaluation.models import GenerateRequest
from evaluation.run import find_runs, read_run
from optiml_bench.cli import INTERRUPTED, cli
from task_registry.bench import Bench
from task_registry.errors import BenchFolderError, ModelError, UsageError

Run = Callable[..., Result]
TINY = ("--model", "builtin:tiny-opt", "--device", "cpu")
SMALL = ("--eval-set", "all", "--limit", "3", "--max-new-tokens", "8")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "data"
    build_folder(None, folder, source=("superni", "flan"))
    return folder


@pytest.fixture
def run(bench: Path, tmp_path: Path) -> Run:
    def invoke(command: str, *arguments: str | Path) -> Result:
        where = ("--data", bench, "--out", tmp_path / "results") if command == "eval" else ()
        return CliRunner().invoke(cli, [command, *map(str, (*where, *arguments))])

    return invoke


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every attempt to connect or to look up a name fails the test."""

    def refuse(*arguments: object, **_: object) -> NoReturn:
        pytest.fail(f"a network call: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield


def test_the_sample_is_evaluated_through_the_whole_path(run: Run, tmp_path: Path, no_network: None) -> None:
    result = run("eval", *TINY, *SMALL)
    assert result.exit_code == 0, result.output
    out = result.stdout
    assert "sample bench: scores mean nothing" in out
    assert "OPTForCausalLM, 0.3 M parameters" in out
    for level in ("fully_held_out", "partially_supervised", "fully_supervised", "all categories"):
        assert re.search(rf"^{level} +\d+ +[\d.]+ \[[\d.]+, [\d.]+\] +[\d.]+ \[[\d.]+, [\d.]+\]", out, re.M)
    assert "note: the sample bench: these numbers show how things work" in out
    (path,) = find_runs(tmp_path / "results")
    summary = json.loads((path / "summary.json").read_text())
    assert summary["complete"]
    assert summary["sample"]
    record = read_run(path)
    assert record.sessions[0].accelerator.startswith("CPU only")
    assert record.model.bos == (2,)
    assert (record.model.path, record.model.row_tokens) == ("shared", 256)
    assert pq.read_table(path / "scores.parquet").num_rows == summary["means"][-1]["prompts"]["expected"]


def test_the_same_command_does_nothing_again_and_another_starts_anew(run: Run) -> None:
    first = run("eval", *TINY, *SMALL, "--shots", "0")
    again = run("eval", *TINY, *SMALL, "--shots", "0")
    assert re.search(r": a new run$", first.stdout, re.M)
    assert re.search(r": goes on, \d+ prompts are answered$", again.stdout, re.M)
    assert "0 prompts in" in again.stdout
    table = first.stdout[first.stdout.index("builtin:tiny-opt, eval set") :]
    assert again.stdout.endswith(table)
    other = run("eval", *TINY, *SMALL, "--shots", "0", "--seed", "1")
    assert re.search(r": a new run, since all-\w{12} has seed 0, not 1$", other.stdout, re.M)


def test_score_gives_the_same_again_without_bench_and_model(
    run: Run, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = run("eval", *TINY, *SMALL).stdout.split(" s\n\n", 1)[1]
    (path,) = find_runs(tmp_path / "results")
    before = {name: (path / name).read_bytes() for name in ("summary.json", "scores.parquet")}
    for name in before:
        (path / name).unlink()
    monkeypatch.setattr("evaluation.models.load_model", lambda _: pytest.fail("the model is loaded"))
    result = run("score", tmp_path / "results")
    assert result.exit_code == 0, result.output
    assert result.stdout.lstrip() == table
    assert {name: (path / name).read_bytes() for name in before} == before
    by_byte = run("score", path, "--normalise", "byte")
    assert "ranked by byte" in by_byte.stdout
    assert isinstance(run("score", bench).exception, BenchFolderError)
    assert "--unconditional" in str(run("score", path, "--normalise", "unconditional").exception)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    result = run("eval", *TINY, *SMALL, "--dry-run")
    assert result.exit_code == 0, result.output
    prompts = re.search(r"([\d,]+) with options to score, ([\d,]+) to answer freely", result.stdout)
    total = re.search(r"([\d,]+) prompts$", result.stdout, re.M)
    assert prompts
    assert total
    assert sum(int(part) for part in prompts.groups()) == int(total[1])
    assert re.search(r"time +about \d+ min \d+ s, from \d+ measured prompts", result.stdout)
    assert not (tmp_path / "results").exists()


def test_what_cannot_work_is_told_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    wrong: list[tuple[tuple[str, ...], type[Exception], str]] = [
        ((*TINY, "--data", str(tmp_path / "no")), BenchFolderError, "optiml-bench build --out"),
        (("--model", "builtin:huge"), UsageError, "builtin:tiny-opt"),
        ((*TINY, "--chat-template"), ModelError, "no chat template"),
        ((*TINY, "--max-new-tokens", "2048"), UsageError, "leaves no room"),
        ((*TINY, "--tasks", "superni/sample_pear"), UsageError, "did you mean superni/sample_pairs"),
        ((*TINY, "--shots", ","), UsageError, "--shots"),
        (("--model", str(tmp_path)), ModelError, "config.json"),
    ]
    for arguments, error, message in wrong:
        result = run("eval", *arguments)
        assert isinstance(result.exception, error), (arguments, result.output)
        assert message in str(result.exception)
        assert "\n" not in str(result.exception)
        assert not (tmp_path / "results").exists()
    assert run("eval", *TINY, "--shots", "a few").exit_code == 2


def test_a_local_model_is_evaluated_without_the_network(run: Run, tmp_path: Path, no_network: None) -> None:
    from tiny_models import make_model, make_tokenizer

    folder = tmp_path / "my-model"
    make_model("opt").save_pretrained(folder)
    make_tokenizer("opt").save_pretrained(folder)
    result = run(
        "eval", "--model", folder, "--device", "cpu", "--tasks", "sample_why_then", "--shots", "0",
        "--max-new-tokens", "8", "--eval-set", "all",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (path,) = find_runs(tmp_path / "results")
    assert path.parent.name == "my-model"


def test_a_prompt_is_shown_to_the_letter(run: Run, bench: Path) -> None:
    result = run("show", "superni/sample_pairs", "--data", bench, "--shots", "2", "--examples", "1")
    assert result.exit_code == 0, result.output
    plain = result.stdout
    assert "\n\n\nfish : water. bird : ?\nOutput:\n--- expected: air | sky" in plain
    fitted = run(
        "show", "superni/sample_pairs", "--data", bench, "--shots", "2", "--examples", "1",
        "--model", "builtin:tiny-opt", "--tokens",
    ).stdout  # fmt: skip
    head, tail = fitted.split("prompt: 2 ")
    assert plain.startswith(head)
    decoded = tail.splitlines()[1].strip()
    assert decoded == repr("</s>" + head.split("\n", 1)[1].removesuffix("\n"))
    options = run(
        "show", "flan/sample_why_then", "--data", bench, "--shots", "0", "--examples", "1",
        "--model", "builtin:tiny-opt", "--tokens",
    ).stdout  # fmt: skip
    assert re.search(r"option 1, the last \d+ scored:", options)
    for arguments in (("--shots", "1"), ("--data", bench, "--shots", "1", "--tokens")):
        assert isinstance(run("show", "superni/sample_pairs", *arguments).exception, UsageError)


def test_a_prompt_is_shown_by_a_models_tokenizer_alone(
    run: Run, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `eval` asks it with the same options, cut to fit; the weights need not even be there."""
    from tiny_models import make_model, make_tokenizer

    folder = tmp_path / "my-model"
    make_model("qwen2").save_pretrained(folder)
    make_tokenizer("qwen2").save_pretrained(folder)
    asked: list[GenerateRequest] = []
    generate = HuggingFaceModel.generate

    def watched(self: HuggingFaceModel, requests: Iterable[GenerateRequest]) -> Iterator[Any]:
        kept = list(requests)
        asked.extend(kept)
        return generate(self, kept)

    monkeypatch.setattr(HuggingFaceModel, "generate", watched)
    how = ("--model", folder, "--chat-template", "--max-new-tokens", "384", "--shots", "2")
    run("eval", *how, "--device", "cpu", "--tasks", "sample_pairs", "--eval-set", "all")
    (folder / "model.safetensors").unlink()
    shown = run("show", "superni/sample_pairs", "--data", bench, "--tokens", "--examples", "99", *how)
    assert shown.exit_code == 0, shown.output
    ids = re.findall(r"^prompt: ([\d ]+)$", shown.stdout, re.M)
    assert ids == [" ".join(map(str, request.prompt)) for request in asked]
    assert "demonstrations and" in shown.stdout, "the context is too short for all of it"


LONGER = ("--eval-set", "all", "--limit", "8", "--max-new-tokens", "48", "--batch-tokens", "256")


def kill_when_under_way(bench: Path, out: Path, number: signal.Signals, lines: int) -> tuple[int, str]:
    """Start the evaluation as a process, signal it once it has written so many lines; exit code and messages."""
    arguments = ["eval", *TINY, *LONGER, "--data", str(bench), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "optiml_bench", *arguments],
        cwd=TOP,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        written = sum(f.read_bytes().count(b"\n") for f in out.glob("*/*/predictions/*.jsonl"))
        if written >= lines:
            process.send_signal(number)
            break
        time.sleep(0.01)
    _, messages = process.communicate(timeout=60)
    return process.returncode, messages


def test_a_run_that_is_killed_goes_on_and_ends_in_the_same_scores(
    run: Run, bench: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    assert kill_when_under_way(bench, out, signal.SIGKILL, 20)[0] == -signal.SIGKILL
    (path,) = find_runs(out)
    file = next(path.glob("predictions/*.jsonl"))
    with file.open("ab") as handle:
        handle.write(b'{"task": "flan/sample_why')  # what a kill in the middle of a line leaves
    code, messages = kill_when_under_way(bench, out, signal.SIGTERM, 60)
    assert code == INTERRUPTED
    assert messages.endswith("Interrupted; what is finished is kept, the same command goes on from there.\n")
    assert "Traceback" not in messages
    done = sum(f.read_bytes().count(b"\n") for f in path.glob("predictions/*.jsonl"))
    result = run("eval", *TINY, *LONGER)
    assert f"goes on, {done} prompts are answered" in result.stdout
    sessions = read_run(path).sessions
    assert [session.predictions is None for session in sessions] == [True, False, False]

    undisturbed = run("eval", *TINY, *LONGER, "--out", tmp_path / "other")
    assert undisturbed.exit_code == 0, undisturbed.output
    other = tmp_path / "other" / path.parent.name / path.name
    assert (path / "summary.json").read_bytes() == (other / "summary.json").read_bytes()
    one, two = (pq.read_table(folder / "scores.parquet").to_pandas() for folder in (path, other))
    # Batches fall otherwise after a break: likelihoods agree to rounding, everything else exactly.
    assert one.drop(columns="margin").equals(two.drop(columns="margin"))
    assert one.margin.sub(two.margin).abs().max() < 1e-3


def test_a_published_bench_is_the_same_bench(
    run: Run, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a Hub on 127.0.0.1: the run has the same name, so it goes on from the one on the folder."""
    with running_hub(tmp_path / "hub") as hub:
        publish_all(Bench.open(bench), client(hub, monkeypatch, tmp_path / "cache"))
        assert run("eval", *TINY, *SMALL, "--shots", "0").exit_code == 0
        arguments = (*TINY, *SMALL, "--shots", "0", "--out", tmp_path / "results", "--data", f"hf://{REPO}")
        result = command("eval", *arguments, **environment(hub, tmp_path / "home"))
    assert result.returncode == 0, result.stderr
    assert re.search(r"goes on, \d+ prompts are answered\n0 prompts in", result.stdout)
    assert "Fetching data/flan/test-00000" in result.stderr
    assert len(find_runs(tmp_path / "results")) == 1
