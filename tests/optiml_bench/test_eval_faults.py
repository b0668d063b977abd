"""What goes wrong in `optiml-bench eval`: one line that says what to do, or a counted skip; nothing finished is lost.

Through the real command line, on a bench of a few made-up tasks, by tiny models in folders.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from evaluation_kit import ToyTask, make_bench, numbered
from kit import command
from tiny_models import make_model, make_tokenizer

from evaluation.huggingface.passes import Passes
from evaluation.predictions import Predictions
from evaluation.run import find_runs
from optiml_bench.cli import main
from task_registry.types import Example, Metric

YES_NO = ("yes", "no")
TINY = ("--model", "builtin:tiny-opt")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of options, one of text, one without demonstrations, and one with a prompt of 100,000 tokens."""
    folder = tmp_path_factory.mktemp("bench") / "data"
    shown = numbered(3, prefix="d", options=YES_NO)
    long = Example("long", "river " * 100_000 + "Is it long?", ("yes",), options=YES_NO)
    make_bench(
        folder,
        ToyTask("flan/choice", numbered(6, options=YES_NO), shown, Metric.ACCURACY),
        ToyTask("superni/write", numbered(4), numbered(3, prefix="d")),
        ToyTask("t5/alone", numbered(2)),
        ToyTask("crossfit/long", [long, *numbered(1, options=YES_NO)], shown, Metric.ACCURACY),
    )
    return folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder with a family's tiny model, changed or not, and its tokenizer."""

    def store(family: str, change: Callable[[Any], object] = lambda model: None) -> Path:
        folder = tmp_path_factory.mktemp("models") / family
        model = make_model(family)
        change(model)
        model.save_pretrained(folder)
        make_tokenizer(family).save_pretrained(folder)
        return folder

    return store


@pytest.fixture
def run(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs `optiml-bench eval` as the shell does; exit code, output, messages."""
    handler = signal.getsignal(signal.SIGTERM)

    def invoke(*arguments: str | Path) -> tuple[int, str, str]:
        where = ("--data", bench, "--out", tmp_path / "results", "--eval-set", "all", "--device", "cpu")
        few = ("--max-new-tokens", "8")
        monkeypatch.setattr(sys, "argv", ["optiml-bench", "eval", *map(str, (*where, *few, *arguments))])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    yield invoke
    signal.signal(signal.SIGTERM, handler)


def one_line(err: str) -> str:
    """The only line of the messages, which is an error's."""
    (line,) = err.splitlines()
    assert line.startswith("Error: ")
    assert len(line) < 420
    return line


def test_a_model_that_does_not_exist_without_a_network(bench: Path, tmp_path: Path) -> None:
    """In a process of its own, since what the libraries say goes past Python; they would try for a minute."""
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    started = time.monotonic()
    done = command("eval", "--model", "nobody/nothing", "--data", bench, "--eval-set", "test", **nowhere)
    assert done.returncode == 7
    assert (
        "nobody/nothing: no such folder, not in the Hub's cache, and the Hub cannot be reached"
        in one_line(done.stderr)
    )
    assert time.monotonic() - started < 30


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_weights, "no file named model.safetensors"),
        (without_tokenizer, "the tokenizer's files are missing"),
    ],
)
def test_a_folder_that_lacks_a_part(
    run: Callable[..., Any], stored: Callable[..., Path], damage: Callable[[Path], None], words: str
) -> None:
    folder = stored("opt")
    damage(folder)
    code, _, err = run("--model", folder)
    assert code == 7
    assert words in one_line(err)


def test_weights_with_nan(run: Callable[..., Any], stored: Callable[..., Path]) -> None:
    def spoil(model: Any) -> None:
        model.model.decoder.layers[1].fc1.weight.data[3, 4] = float("nan")

    code, _, err = run("--model", stored("opt", spoil))
    assert code == 7
    assert "layers.1.fc1.weight holds NaN or infinity; download or convert the weights again" in one_line(err)


def test_a_vocabulary_smaller_than_the_tokenizers(
    run: Callable[..., Any], stored: Callable[..., Path]
) -> None:
    code, _, err = run("--model", stored("opt", lambda model: model.resize_token_embeddings(400)))
    assert code == 7
    assert "gives ids up to 450, the model embeds 400" in one_line(err)


def test_a_tokenizer_without_a_padding_token(run: Callable[..., Any], stored: Callable[..., Path]) -> None:
    """It does no harm: nothing pads with it."""
    assert make_tokenizer("gpt2").pad_token is None
    code, out, err = run("--model", stored("gpt2"), "--tasks", "choice", "--tasks", "write")
    assert (code, err) == (0, "")
    assert "unfinished" not in out


def test_a_bench_that_is_missing_cut_off_or_of_another_version(
    run: Callable[..., Any], bench: Path, tmp_path: Path
) -> None:
    code, _, err = run(*TINY, "--data", tmp_path / "nowhere")
    assert code == 4
    assert "optiml-bench build" in one_line(err)

    other = Path(shutil.copytree(bench, tmp_path / "other"))
    manifest = json.loads((other / "bench.json").read_text())
    (other / "bench.json").write_text(json.dumps(manifest | {"format": 99}))
    code, _, err = run(*TINY, "--data", other)
    assert code == 4
    assert "99" in one_line(err)

    cut = Path(shutil.copytree(bench, tmp_path / "cut"))
    shard = max(cut.glob("shards/flan/choice/test/*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-300])
    code, _, err = run(*TINY, "--data", cut)
    assert code == 4
    assert shard.name in one_line(err)
    assert not (tmp_path / "results").exists(), "it is told before anything is asked"


def test_a_task_without_demonstrations_is_counted_at_five_shots(run: Callable[..., Any]) -> None:
    code, out, err = run(*TINY, "--shots", "0,5", "--tasks", "alone", "--tasks", "write")
    assert (code, err) == (0, "")
    assert "note: 5 shots: 2 prompts not asked for want of a demonstration: t5/alone" in out


def test_a_prompt_of_a_hundred_thousand_tokens(run: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err = run(*TINY, "--shots", "0", "--tasks", "long")
    assert (code, err) == (0, "")
    assert "note: 0 shots: 1 prompts lost the beginning of their question to fit the context" in out
    (path,) = find_runs(tmp_path / "results")
    (long,) = (p for p in Predictions(path).of("crossfit/long") if p.example_id == "long")
    assert long.prompt_tokens > 2_000
    assert long.choice is not None
    code, out, _ = run(*TINY, "--shots", "0", "--tasks", "long", "--overlength", "skip")
    assert "note: 0 shots: 1 prompts skipped, too long for the context" in out
    code, _, err = run(*TINY, "--shots", "0", "--tasks", "long", "--overlength", "error")
    assert code == 3
    assert "crossfit/long, example long, 0 shots" in one_line(err)


BOTH = ("--tasks", "choice", "--tasks", "write", "--shots", "0")


def finished_despite(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, fault: pytest.MonkeyPatch
) -> tuple[int, str]:
    """Exit code and error of a run that `fault` ends; checks that the next goes on to what it would have found."""
    code, _, err = run(*TINY, *BOTH)
    (path,) = find_runs(tmp_path / "results")
    kept = {line for file in path.glob("predictions/*.jsonl") for line in file.read_bytes().splitlines()}
    assert len(kept) == 6, "the options are scored before the first text is written"
    fault.undo()
    assert f"goes on, {len(kept)} prompts are answered" in run(*TINY, *BOTH)[1]
    assert kept < {
        line for file in path.glob("predictions/*.jsonl") for line in file.read_bytes().splitlines()
    }
    assert run(*TINY, *BOTH, "--out", tmp_path / "undisturbed")[0] == 0
    (other,) = find_runs(tmp_path / "undisturbed")
    assert (path / "summary.json").read_bytes() == (other / "summary.json").read_bytes()
    return code, one_line(err)


def test_a_full_disk_keeps_what_is_written(run: Callable[..., Any], tmp_path: Path) -> None:
    """The second source's file is the device that is always full."""
    real = os.open

    def full(path: Any, flags: int, *mode: int) -> int:
        return real("/dev/full" if str(path).endswith("superni.jsonl") else path, flags, *mode)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr("evaluation.predictions.os.open", full)
        code, line = finished_despite(run, tmp_path, fault)
    assert code == 6
    assert line.endswith("superni.jsonl: No space left on device; mend that and run again")


def test_out_of_memory_with_a_single_prompt_keeps_what_is_answered(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.MonkeyPatch.context() as fault:
        step = Passes.step
        calls = []

        def sometimes(self: Passes, *arguments: Any) -> torch.Tensor:
            calls.append(1)  # the self-check's six steps pass
            return step(self, *arguments) if len(calls) <= 6 else full()

        fault.setattr(Passes, "step", sometimes)
        code, line = finished_despite(run, tmp_path, fault)
    assert code == 7
    assert "out of memory with a single prompt on cpu; free some of it, or try --dtype bfloat16" in line
