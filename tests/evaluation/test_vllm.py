"""The vLLM backend: what it asks and how it reads the answers, on an engine that computes with `transformers`.

Where vLLM is installed, the same comparison runs on the real engine, with one run of the command line.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import POSITIONS, make_model, make_tokenizer

import evaluation.models
import evaluation.vllm.loading
import evaluation.vllm.model
from evaluation.huggingface import HuggingFaceModel, load_huggingface
from evaluation.huggingface.outline import load_outline
from evaluation.introduction import introduce
from evaluation.models import Finish, GenerateRequest, LanguageModel, ModelOptions, OptionsRequest
from evaluation.vllm import VllmModel
from evaluation.vllm.calls import Call, option_calls, option_sum
from evaluation.vllm.loading import check_options, engine_arguments
from evaluation.weights import files_digest, weight_files
from task_registry.errors import MachineError, ModelError, UsageError

QUESTIONS: list[tuple[str, list[str]]] = [
    ("Question: is the river longer than the road? Answer:", ["yes", "no", "it is not longer"]),
    ("Passage: the quick brown fox.\nOptions:\n- true\n- false", ["true", "false"]),
    ("", ["yes", "maybe, it is"]),
    ("Does it follow?", ["entailment", "neutral", "contradiction"]),
    ("Is it?", [" ", "naïve café"]),
]
PROMPTS = [prompt for prompt, _ in QUESTIONS]
STOPS: list[tuple[str, ...]] = [(), ("\n",), ("e", "an"), ("it is",)]
"""Some that end within a token, and over several."""


class Engine:
    """vLLM's `LLMEngine` as far as it is used; a step gives each request under way one token, last come first."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._open: dict[str, tuple[list[int], dict[str, Any], list[int]]] = {}
        self.most = 0
        self.aborted: list[str] = []

    def add_request(self, name: str, prompt: dict[str, list[int]], params: dict[str, Any]) -> None:
        assert name not in self._open
        assert all(type(token) is int for token in prompt["prompt_token_ids"])
        if len(prompt["prompt_token_ids"]) + 1 > POSITIONS:
            raise ValueError("The decoder prompt plus the number of output tokens is longer than the model")
        self._open[name] = (prompt["prompt_token_ids"], params, [])
        self.most = max(self.most, len(self._open))

    def abort_request(self, names: Sequence[str]) -> None:
        self.aborted += names
        for name in names:
            self._open.pop(name, None)  # vLLM does not mind names of what has ended

    def step(self) -> list[Any]:
        return [self._answer(name) for name in reversed(list(self._open))]

    @torch.inference_mode()
    def _answer(self, name: str) -> Any:
        prompt, params, new = self._open[name]
        raw = self._model(input_ids=torch.tensor([prompt + new])).logits[0].float().log_softmax(-1)
        allowed = params.get("allowed_token_ids") or list(range(raw.shape[1]))
        token = allowed[int(raw[-1, allowed].argmax())]
        new.append(token)
        finished = len(new) >= params["max_tokens"] or token in params.get("stop_token_ids", ())
        if finished:
            del self._open[name]
        said = lambda place, one: {one: SimpleNamespace(logprob=float(raw[place, one]))}  # noqa: E731
        return SimpleNamespace(
            request_id=name,
            finished=finished,
            num_cached_tokens=None,
            prompt_logprobs=[None, *(said(place, one) for place, one in enumerate(prompt[1:]))]
            if "prompt_logprobs" in params
            else None,
            outputs=[
                SimpleNamespace(
                    token_ids=list(new),
                    finish_reason="length",
                    logprobs=[said(-1, token)] if "logprobs" in params else None,
                )
            ],
        )


@pytest.fixture(scope="module", params=["opt", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored model."""
    path = tmp_path_factory.mktemp("model") / str(request.param)
    make_model(request.param).save_pretrained(path)
    make_tokenizer(request.param).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def reference(folder: Path) -> HuggingFaceModel:
    """The model behind the transformers backend."""
    return load_huggingface(ModelOptions(str(folder)))


@pytest.fixture
def engine(folder: Path) -> Engine:
    return Engine(make_model(folder.name))


@pytest.fixture
def model(folder: Path, engine: Engine) -> VllmModel:
    """The same model behind an engine like vLLM's."""
    return VllmModel(engine, dict, load_outline(ModelOptions(str(folder))))


def compare_options(found: LanguageModel, expected: LanguageModel, within: float) -> None:
    """Both take the same requests and give the same sums, to `within` nats a token."""
    requests = found.tokenizer.options(QUESTIONS)
    filling = np.arange(POSITIONS - 2, dtype=np.int32) % 300 + 20
    branches = (np.asarray([7, 8], np.int32), np.asarray([9], np.int32), np.asarray([11, 12], np.int32))
    requests.append(OptionsRequest(filling, branches, (1, 1, 2)))
    requests.append(OptionsRequest(filling[:9], (np.empty(0, np.int32),), (0,)))
    mine, theirs = dict(found.score_options(requests)), dict(expected.score_options(requests))
    assert mine.keys() == theirs.keys() == set(range(len(requests)))
    for index, score in mine.items():
        assert score.tokens == theirs[index].tokens
        for value, wanted, tokens in zip(score.logprobs, theirs[index].logprobs, score.tokens, strict=True):
            assert abs(value - wanted) <= within * tokens


def compare_texts(found: LanguageModel, expected: LanguageModel) -> set[Finish]:
    """Both give the same texts, for the same number of tokens and the same reasons; returns these."""
    reasons = set()
    for stop in STOPS:
        requests = found.tokenizer.prompts(PROMPTS, 24, stop)
        mine = dict(found.generate(requests))
        assert mine == dict(expected.generate(requests))
        reasons |= {one.finish for one in mine.values()}
    return reasons


# On an engine that computes with transformers


def test_options_have_the_sums_of_the_transformers_backend(
    model: VllmModel, reference: HuggingFaceModel
) -> None:
    compare_options(model, reference, 1e-5)


def test_texts_end_where_those_of_the_transformers_backend_end(
    model: VllmModel, reference: HuggingFaceModel, engine: Engine
) -> None:
    assert {Finish.STOP, Finish.LENGTH} <= compare_texts(model, reference)
    assert engine.aborted, "stop strings are found while a request is under way"


def test_eos_ends_a_text(model: VllmModel, reference: HuggingFaceModel) -> None:
    """Every token is declared EOS: the first ends the text, counts, and leaves none."""
    ending = model._ending
    eos = tuple(range(model.describe().vocabulary))
    model._record = dataclasses.replace(model._record, eos=eos)
    model._ending = type(ending)(model.tokenizer.output, eos)
    for generation in dict(model.generate(model.tokenizer.prompts(PROMPTS, 8))).values():
        assert (generation.text, generation.finish, generation.tokens) == ("", Finish.EOS, 1)


def test_the_record_is_the_one_of_the_transformers_backend(
    model: VllmModel, reference: HuggingFaceModel
) -> None:
    """But for what another engine decides; parameters are counted without their values, tied ones once."""
    mine, theirs = model.describe(), reference.describe()
    differing = {
        field.name
        for field in dataclasses.fields(mine)
        if getattr(mine, field.name) != getattr(theirs, field.name)
    }
    assert differing <= {
        *("weights_digest", "device", "path", "path_reason", "row_tokens", "noise", "attention")
    }
    assert 0 <= mine.noise < 1e-5
    assert model.max_length == POSITIONS


def test_a_run_of_one_backend_is_not_continued_by_the_other(
    model: VllmModel, reference: HuggingFaceModel
) -> None:
    model._record = dataclasses.replace(model._record, path="vllm", device="cpu")
    assert introduce(reference).tokenizer == introduce(model).tokenizer
    assert introduce(reference).decisive()["path"] != introduce(model).decisive()["path"]


def test_calls_under_way_are_limited_and_answers_keep_their_places(
    model: VllmModel, reference: HuggingFaceModel, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation.vllm.model, "IN_FLIGHT", 3)
    engine.most = 0
    compare_options(model, reference, 1e-5)
    compare_texts(model, reference)
    assert engine.most == 3


def test_who_stops_reading_leaves_nothing_under_way(model: VllmModel, engine: Engine) -> None:
    answers = model.score_options(model.tokenizer.options(QUESTIONS))
    next(answers)
    assert isinstance(answers, Iterator)
    answers.close()  # type: ignore[attr-defined]
    assert not engine._open
    compared = dict(model.generate(model.tokenizer.prompts(PROMPTS, 2)))
    assert len(compared) == len(PROMPTS)


def test_what_does_not_fit_is_refused(model: VllmModel) -> None:
    long = np.full(POSITIONS, 20, np.int32)
    with pytest.raises(ModelError, match="must be cut"):
        list(model.score_options([OptionsRequest(long, (long[:1],), (1,))]))
    with pytest.raises(ModelError, match="must be cut"):
        list(model.generate([GenerateRequest(long[:-1], 2)]))
    with pytest.raises(ModelError, match="has no embedding"):
        list(model.generate([GenerateRequest(np.asarray([9_999], np.int32), 2)]))


def test_an_engine_that_dies_is_told_in_one_line(
    model: VllmModel, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies() -> list[Any]:
        raise RuntimeError("EngineCore encountered\nan issue")

    monkeypatch.setattr(engine, "step", dies)
    with pytest.raises(ModelError, match="EngineCore encountered an issue") as told:
        list(model.generate(model.tokenizer.prompts(PROMPTS, 2)))
    assert "\n" not in str(told.value)


def test_a_model_that_batching_changes_is_refused(
    folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a thousandth of a nat for each request beside it."""
    step = engine.step

    def swayed() -> list[Any]:
        beside, outputs = len(engine._open), step()
        for output in outputs:
            for stated in output.outputs[0].logprobs[0].values():
                stated.logprob += 1e-3 * beside
        return outputs

    monkeypatch.setattr(engine, "step", swayed)
    with pytest.raises(ModelError, match="batching changes"):
        VllmModel(engine, dict, load_outline(ModelOptions(str(folder))))


# One call


def tokens(*values: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.asarray(values, np.int32)


def test_an_option_is_its_tokens_but_the_last_and_the_last_alone_allowed() -> None:
    request = OptionsRequest(tokens(2, 5), (tokens(7), tokens(6, 7, 8), tokens(6)), (1, 2, 0))
    one, two = option_calls(4, request)
    assert (one.index, one.option, one.tokens) == (4, 0, [2, 5])
    assert one.sampling["allowed_token_ids"] == [7]
    assert "prompt_logprobs" not in one.sampling, "which would keep vLLM from using the prefix that it has"
    assert (two.index, two.option, two.tokens) == (4, 1, [2, 5, 6, 7])
    assert two.sampling["allowed_token_ids"] == [8]
    assert two.sampling["prompt_logprobs"] == 0


def test_a_log_likelihood_that_is_missing_is_an_error() -> None:
    call = Call(0, [2, 5, 6], {"allowed_token_ids": [7]})
    said = SimpleNamespace(logprobs=[{7: SimpleNamespace(logprob=-1.0)}])
    assert option_sum(call, 1, SimpleNamespace(outputs=[said], prompt_logprobs=None)) == -1.0
    for lacking in (None, [None, {}, {}], [None]):
        with pytest.raises(ModelError, match="no log-likelihood"):
            option_sum(call, 2, SimpleNamespace(outputs=[said], prompt_logprobs=lacking))
    with pytest.raises(ModelError, match="no log-likelihood"):
        option_sum(call, 1, SimpleNamespace(outputs=[SimpleNamespace(logprobs=[{8: said}])]))


# Loading


def test_vllm_is_told_what_it_would_choose_otherwise(folder: Path) -> None:
    """It would load float32 in 16 bits, sample as the checkpoint suggests, and pass long prompts whole."""
    options = ModelOptions(str(folder), backend="vllm", tensor_parallel=2, batch_tokens=64)
    arguments = engine_arguments(options, load_outline(options))
    assert arguments["dtype"] == "float32"
    assert arguments["generation_config"] == "vllm"
    assert arguments["skip_tokenizer_init"] is True
    assert arguments["max_model_len"] == POSITIONS
    assert (arguments["tensor_parallel_size"], arguments["max_num_batched_tokens"]) == (2, 64)
    assert arguments["max_num_seqs"] <= 64
    half = load_outline(dataclasses.replace(options, dtype="bfloat16"))
    assert (half.record.dtype, half.record.weights_bytes) == ("bfloat16", 2 * half.record.parameters)


def test_a_configuration_without_dtype_asks_for_it(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if "dtype" not in k}))
    with pytest.raises(ModelError, match="give --dtype"):
        load_outline(ModelOptions(str(tmp_path)))
    assert load_outline(ModelOptions(str(tmp_path), dtype="float16")).record.dtype == "float16"


def test_options_of_the_transformers_backend_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("device", "cpu"), ("device_map", "auto"), ("peft", "x"), ("quantize", "4bit")):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} does not go with"):
            check_options(ModelOptions("owner/name", backend="vllm", **{name: value}))
    with pytest.raises(UsageError, match="--path plain"):
        check_options(ModelOptions("owner/name", backend="vllm", path="plain"))
    with pytest.raises(UsageError, match="made on the spot"):
        check_options(ModelOptions("builtin:tiny-opt", backend="vllm"))
    monkeypatch.setattr(evaluation.vllm.loading, "find_spec", lambda _: None)
    with pytest.raises(MachineError, match=r"optiml-bench\[vllm\]"):
        evaluation.models.load_model(ModelOptions("owner/name", backend="vllm"))


def test_the_digest_of_files_sees_names_sizes_and_values(tmp_path: Path) -> None:
    content = bytearray(range(256)) * 40
    (tmp_path / "model-1.safetensors").write_bytes(content)
    (tmp_path / "model-2.safetensors").write_bytes(b"")
    (tmp_path / "training.bin").write_bytes(b"not weights where there are safetensors")
    files = weight_files(tmp_path)
    assert [file.name for file in files] == ["model-1.safetensors", "model-2.safetensors"]
    digest = files_digest(files)
    assert digest.startswith("files:")
    assert digest == files_digest(weight_files(tmp_path))
    seen = {digest}
    content[-1] ^= 1
    files[0].write_bytes(content)
    seen.add(files_digest(files))
    files[0].write_bytes(content + b"\0")
    seen.add(files_digest(files))
    seen.add(files_digest([files[0], files[1].rename(tmp_path / "model-3.safetensors")]))
    assert len(seen) == 4
    with pytest.raises(ModelError, match="no weights"):
        weight_files(tmp_path / "none")


def test_a_large_file_is_sampled_from_end_to_end(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    with file.open("wb") as stream:
        stream.truncate(64 << 20)
    digest = files_digest([file])
    with file.open("r+b") as stream:
        stream.seek(1_023 * (64 << 10))
        stream.write(b"\1")
    assert files_digest([file]) != digest


# With vLLM itself

SKIPPED = importlib.util.find_spec("vllm") is None
SIZES = {"vocab_size": 480, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
"""vLLM has no attention for heads as small as those of the other tests' models."""


def store(family: str, path: Path) -> Path:
    """Store a random model with heads of 64."""
    from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, OPTConfig

    tokenizer = make_tokenizer(family)
    config: Any = OPTConfig(**SIZES, word_embed_proj_dim=128, ffn_dim=256, max_position_embeddings=POSITIONS)
    if family == "llama":
        config = LlamaConfig(
            **SIZES, intermediate_size=256, num_key_value_heads=1, max_position_embeddings=POSITIONS
        )
    torch.manual_seed(0)
    random = AutoModelForCausalLM.from_config(config).eval()
    for parameter in random.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.15)
    random.tie_weights()
    random.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    random.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


COMPARISON = """
import sys
from test_vllm import QUESTIONS, compare_options, compare_texts
from evaluation.models import ModelOptions, load_model
if __name__ == "__main__":
    expected, found = (load_model(ModelOptions(sys.argv[1], backend=one)) for one in ("transformers", "vllm"))
    compare_options(found, expected, 1e-3)
    compare_options(found, expected, 1e-3)  # now behind prefixes that vLLM has kept
    left = found.score_options(found.tokenizer.options(QUESTIONS))
    next(left)
    left.close()
    print(sorted(compare_texts(found, expected)), found.describe().path_reason, found.describe().dtype)
"""


def alone(*arguments: str | Path) -> str:
    """The output of Python in a process of its own: vLLM warns of much, starts others and outlives a test."""
    top = Path(__file__).parents[2]
    path = os.pathsep.join(map(str, (top, top / "tests" / "support", Path(__file__).parent)))
    environment = os.environ | {
        "PYTHONPATH": path,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


@pytest.mark.skipif(SKIPPED, reason="vllm is not installed")
@pytest.mark.parametrize("family", ["opt", "llama"])
def test_vllm_gives_what_transformers_gives(family: str, tmp_path: Path) -> None:
    (tmp_path / "comparison.py").write_text(COMPARISON)
    told = alone(tmp_path / "comparison.py", store(family, tmp_path / family))
    assert "vLLM" in told
    assert "float32" in told
    assert "stop" in told


@pytest.mark.skipif(SKIPPED, reason="vllm is not installed")
def test_the_command_line_has_the_same_predictions_from_both(tmp_path: Path) -> None:
    from evaluation.predictions import Predictions
    from evaluation.run import find_runs, read_run

    name, out = store("opt", tmp_path / "opt"), tmp_path / "results"
    alone("-m", "optiml_bench", "build", "--sample", "--out", tmp_path / "data")
    for backend in ("transformers", "vllm", "vllm"):
        command = ("-m", "optiml_bench", "eval", "--model", name, "--data", tmp_path / "data", "--out", out)
        told = alone(
            *command, "--eval-set", "all", "--limit", "2", "--max-new-tokens", "8", "--backend", backend
        )
    assert "0 prompts in" in told, "the third goes on with the second's run"
    runs = find_runs(out)
    assert {read_run(path).model.path for path in runs} == {"shared", "vllm"}
    first, second = (
        [one for task in read_run(path).tasks for one in Predictions(path).of(task.placement.task)]
        for path in runs
    )
    assert len(first) == len(second) > 0
    others = {one.key: one for one in second}
    for one in first:
        other = others[one.key]
        assert other.option_logprobs == pytest.approx(one.option_logprobs, abs=1e-3)
        assert dataclasses.replace(other, option_logprobs=one.option_logprobs) == one
