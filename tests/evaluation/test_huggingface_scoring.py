"""Scores equal those of the bare model, option by option; batches, packing, order and memory change nothing."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAMILIES, PLAIN, SHARED, WORDS, make_model, make_tokenizer, reference_scores

from evaluation.batching import Budget
from evaluation.huggingface import HuggingFaceModel, assemble
from evaluation.models import ModelOptions, OptionsRequest, OptionsScore
from task_registry.errors import ModelError

CLOSE = 1e-4
"""Nats per scored token."""
OPTION_WORDS = (*WORDS, "(maybe)")

Question = tuple[str, list[str]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may reach for the network."""

    def refuse(*_: object) -> None:
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@cache
def wrapped(name: str, path: str = "auto") -> HuggingFaceModel:
    return assemble(make_model(name), make_tokenizer(name), ModelOptions(name, path=path))


@cache
def bare(name: str) -> Any:
    return make_model(name)


def sized(model: HuggingFaceModel, budget: Budget, row_tokens: int = 256) -> HuggingFaceModel:
    """The same model with other limits."""
    record = replace(model.describe(), row_tokens=row_tokens)
    return HuggingFaceModel(
        record, model.tokenizer, model._passes, window=model._window, budget=budget, rows=8
    )


def scores(model: HuggingFaceModel, questions: list[Question]) -> list[OptionsScore]:
    found: dict[int, OptionsScore] = {}
    for index, score in model.score_options(model.tokenizer.options(questions)):
        assert index not in found
        found[index] = score
    return [found[index] for index in range(len(questions))]


def assert_close(found: list[OptionsScore], expected: list[list[float]]) -> None:
    for score, sums in zip(found, expected, strict=True):
        for value, other, count in zip(score.logprobs, sums, score.tokens, strict=True):
            assert abs(value - other) <= CLOSE * max(count, 1)


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(OPTION_WORDS) for _ in range(words))


def few_shot(rng: random.Random, count: int, demonstrations: int = 40) -> list[Question]:
    """Questions behind the same demonstrations, of very different lengths."""
    shown = text(rng, demonstrations)
    return [
        (
            f"{shown}\n\n\nQuestion: {text(rng, rng.randint(1, 12))}?\nAnswer:",
            [text(rng, rng.randint(1, 4)) for _ in range(3)],
        )
        for _ in range(count)
    ]


def mixed(seed: int) -> list[Question]:
    """Few-shot, zero-shot, empty and long prompts, one and many options, in any order."""
    rng = random.Random(seed)
    questions = few_shot(rng, 6)
    questions += [
        (
            f"{text(rng, rng.randint(1, 30))}:",
            [text(rng, rng.randint(1, 6)) for _ in range(rng.randint(1, 5))],
        )
        for _ in range(4)
    ]
    questions += [
        ("", ["yes", "no"]),
        ("Is it?", ["", "true", "true"]),
        (text(rng, 5) + "?", [text(rng, 9) for _ in range(9)]),
    ]
    rng.shuffle(questions)
    return questions


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_equal_the_bare_models(name: str) -> None:
    """Every family, on the path that the self-check chooses for it."""
    model, questions = wrapped(name), mixed(1)
    assert model.describe().path == ("shared" if name in SHARED else "plain")
    expected = [reference_scores(bare(name), make_tokenizer(name), *question) for question in questions]
    found = scores(model, questions)
    assert_close(found, expected)
    for score, (prompt, options) in zip(found, questions, strict=True):
        lengths = [
            len(make_tokenizer(name)(f" {option}", add_special_tokens=False)["input_ids"])
            for option in options
        ]
        assert prompt == "" or score.tokens == tuple(lengths) or name in ("llama", "mistral")


@pytest.mark.parametrize("name", ["opt", "gpt_neox", "qwen2", "gemma2"])
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_batches_rows_and_order_change_nothing(name: str, data: st.DataObject) -> None:
    questions = data.draw(st.permutations(mixed(2)))
    expected = {
        repr(question): score
        for question, score in zip(mixed(2), scores(wrapped(name), mixed(2)), strict=True)
    }
    tokens = data.draw(st.sampled_from([1, 17, 64, 300, 5_000]))
    budget = Budget(tokens, data.draw(st.sampled_from([1, 5, 1_000])), 10_000)
    model = sized(wrapped(name), budget, data.draw(st.sampled_from([2, 9, 40, 256])))
    kept = questions[: data.draw(st.integers(1, len(questions)))]
    assert_close(scores(model, kept), [list(expected[repr(question)].logprobs) for question in kept])


@pytest.mark.parametrize("name", ["opt", "llama", "gemma"])
def test_the_plain_path_gives_the_same(name: str) -> None:
    plain = wrapped(name, "plain")
    assert plain.describe().path == "plain" and plain.describe().path_reason == "asked for"
    questions = mixed(3)
    expected = [list(score.logprobs) for score in scores(wrapped(name), questions)]
    assert_close(scores(plain, questions), expected)


def test_the_shared_path_feeds_each_token_once() -> None:
    """40 questions behind 60 shared words: the demonstrations are fed once, and scored positions alone projected."""
    model = assemble(make_model("opt"), make_tokenizer("opt"), ModelOptions("opt"))
    requests = model.tokenizer.options(few_shot(random.Random(5), 40, demonstrations=60))
    start = model.work
    assert (start.passes, start.tokens, start.projected) == (0, 0, 0), "the self-check does not count"
    list(model.score_options(requests))
    shared = min(len(request.context) for request in requests) - 30
    alone = sum(len(request.context) - shared + sum(map(len, request.branches)) for request in requests)
    everything = sum(
        len(request.context) + len(branch) for request in requests for branch in request.branches
    )
    assert model.work.tokens < 1.3 * (alone + shared) < everything / 4
    assert model.work.projected <= sum(sum(request.scored) for request in requests)


@pytest.mark.parametrize("name", ["mistral", "gemma2"])
def test_prompts_beyond_a_sliding_window_take_the_plain_path(name: str) -> None:
    rng = random.Random(7)
    questions = [*few_shot(rng, 3, demonstrations=150), *few_shot(rng, 3, demonstrations=20)]
    model = wrapped(name)
    lengths = [request.longest for request in model.tokenizer.options(questions)]
    assert min(lengths[:3]) > 160 > max(lengths[3:]), "the tiny models have a window of 160"
    expected = [reference_scores(bare(name), make_tokenizer(name), *question) for question in questions]
    assert_close(scores(model, questions), expected)


@pytest.mark.parametrize("name", PLAIN)
def test_models_that_need_it_say_why_they_take_the_plain_path(name: str) -> None:
    assert "refuses" in wrapped(name).describe().path_reason


def test_a_model_that_only_seems_to_follow_the_mask_is_found() -> None:
    """Its attention drops the mask in silence: scores would be wrong, and the plain path is taken."""
    model = make_model("llama")
    forward = model.forward

    def without_positions(*args: Any, position_ids: Any = None, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    model.forward = without_positions
    made = assemble(model, make_tokenizer("llama"), ModelOptions("llama"))
    assert made.describe().path == "plain" and "change the model's results" in made.describe().path_reason
    questions = mixed(4)
    expected = [reference_scores(bare("llama"), make_tokenizer("llama"), *question) for question in questions]
    assert_close(scores(made, questions), expected)


def small_memory(model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch, limit: int) -> list[int]:
    """Let each pass of more than `limit` tokens fail as a GPU does; returns the sizes that were tried."""
    tried: list[int] = []
    real = model._passes._run

    def run(ids: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        tried.append(ids.numel())
        if ids.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(ids, *args, **kwargs)

    monkeypatch.setattr(model._passes, "_run", run)
    return tried


def test_when_memory_runs_out_smaller_passes_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = mixed(6)
    expected = [list(score.logprobs) for score in scores(wrapped("opt"), questions)]
    model = sized(wrapped("opt"), Budget(4_096, 4_096, 4_096))
    tried = small_memory(model, monkeypatch, limit=150)
    assert_close(scores(model, questions), expected)
    assert max(tried) > 150
    before = len(tried)
    scores(model, questions)
    assert max(tried[before:]) <= 150, "the smaller budget is kept"


def test_out_of_memory_with_one_prompt_is_an_error_and_keeps_what_was_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = random.Random(8)
    short, long = few_shot(rng, 5, demonstrations=3), [(text(rng, 150) + ":", ["yes", "no"])]
    model = sized(wrapped("opt"), Budget(4_096, 4_096, 4_096))
    small_memory(model, monkeypatch, limit=100)
    found = []
    with pytest.raises(ModelError, match="out of memory with a single prompt"):
        for index, _ in model.score_options(iter(model.tokenizer.options(short + long))):
            found.append(index)
    assert 5 not in found


def test_requests_are_read_ahead_and_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.huggingface.model.WINDOW", 4)
    questions = mixed(9)
    requests = wrapped("opt").tokenizer.options(questions)
    read: list[int] = []

    def stream() -> Iterator[OptionsRequest]:
        for number, request in enumerate(requests):
            read.append(number)
            yield request

    first = next(iter(wrapped("opt").score_options(stream())))
    assert first[0] < 4 and len(read) < len(requests)
    expected = [list(score.logprobs) for score in scores(sized(wrapped("opt"), Budget(1, 1, 1)), questions)]
    assert_close(scores(wrapped("opt"), questions), expected)


def test_an_error_while_requests_are_made_reaches_the_caller() -> None:
    def broken() -> Iterator[OptionsRequest]:
        yield from wrapped("opt").tokenizer.options([("Is it?", ["yes"])])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(wrapped("opt").score_options(broken()))


def test_requests_with_nothing_to_score_are_answered() -> None:
    empty = OptionsRequest(np.asarray([2], np.int32), (), ())
    nothing = OptionsRequest(np.asarray([2, 5], np.int32), (np.empty(0, np.int32),) * 2, (0, 0))
    (some,) = wrapped("opt").tokenizer.options([("Is it?", ["yes"])])
    found = dict(wrapped("opt").score_options([empty, some, nothing]))
    assert found[0] == OptionsScore((), ()) and found[2] == OptionsScore((0.0, 0.0), (0, 0))
    assert found[1].logprobs[0] < 0
    assert list(wrapped("opt").score_options([])) == []


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_computed() -> None:
    model = wrapped("opt")
    done = model.work
    with pytest.raises(ModelError, match=r"100,\d\d\d tokens, opt takes 512; it must be cut"):
        list(model.score_options(model.tokenizer.options([("fox " * 100_000, ["yes"])])))
    assert model.work == done


def test_a_token_without_embedding_is_refused() -> None:
    with pytest.raises(ModelError, match=r"token 480.*no embedding"):
        list(
            wrapped("opt").score_options(
                [OptionsRequest(np.asarray([2], np.int32), (np.asarray([480], np.int32),), (1,))]
            )
        )


def test_nan_in_the_results_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrapped("opt")
    real = model._passes._run
    monkeypatch.setattr(model._passes, "_run", lambda *args, **kwargs: real(*args, **kwargs) * float("nan"))
    with pytest.raises(ModelError, match="NaN or infinite log-likelihoods in float32"):
        scores(model, [("Is it?", ["yes"])])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_near_and_summed_in_float32(dtype: torch.dtype) -> None:
    made = assemble(make_model("llama").to(dtype), make_tokenizer("llama"), ModelOptions("llama"))
    record = made.describe()
    assert record.path == "shared" and f"torch.{record.dtype}" == str(dtype)
    assert 0 < record.noise < 0.25
    questions = few_shot(random.Random(10), 8)
    exact = scores(wrapped("llama"), questions)
    for score, other in zip(scores(made, questions), exact, strict=True):
        for value, near, count in zip(score.logprobs, other.logprobs, score.tokens, strict=True):
            assert abs(value - near) < 0.5 * count
            assert value != float(torch.tensor(value, dtype=dtype)) or count == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", SHARED)
def test_a_gpu_gives_what_the_cpu_gives(name: str) -> None:
    made = assemble(make_model(name).cuda(), make_tokenizer(name), ModelOptions(name))
    assert made.describe().path == "shared" and made.describe().device.startswith("cuda")
    for score, other in zip(scores(made, mixed(12)), scores(wrapped(name), mixed(12)), strict=True):
        for value, near, count in zip(score.logprobs, other.logprobs, score.tokens, strict=True):
            assert abs(value - near) < 1e-3 * max(count, 1)
    prompts = made.tokenizer.prompts([prompt for prompt, _ in mixed(12)], 8)
    assert dict(made.generate(prompts)) == dict(wrapped(name).generate(prompts))


def test_the_noise_of_float32_is_far_below_what_counts() -> None:
    assert 0 < wrapped("opt").describe().noise < 1e-5


def test_the_model_leaves_the_callers_gradients_alone() -> None:
    """Generators that switch gradients off must not do so for whoever consumes them."""
    for _ in wrapped("opt").score_options(wrapped("opt").tokenizer.options(mixed(11))):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
