"""Generated text equals that of the model's own greedy search, whatever is batched, shared or finished first."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAMILIES, WORDS, make_model, make_tokenizer, reference_output

from evaluation.batching import Budget
from evaluation.huggingface import HuggingFaceModel, assemble
from evaluation.models import Finish, GenerateRequest, Generation, ModelOptions
from task_registry.errors import ModelError

NEW = 12


@cache
def wrapped(name: str, path: str = "auto") -> HuggingFaceModel:
    return assemble(make_model(name), make_tokenizer(name), ModelOptions(name, path=path))


def sized(model: HuggingFaceModel, budget: Budget, rows: int) -> HuggingFaceModel:
    """The same model with other limits."""
    return HuggingFaceModel(
        model.describe(), model.tokenizer, model._passes, window=model._window, budget=budget, rows=rows
    )


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


@cache
def prompts() -> tuple[str, ...]:
    """Few-shot prompts with the same demonstrations, and others of many lengths; one has a single token."""
    rng = random.Random(1)
    shown = text(rng, 40)
    few_shot = [f"{shown}\n\n\nQuestion: {text(rng, rng.randint(1, 15))}?\nAnswer:" for _ in range(6)]
    return (*few_shot, *(f"{text(rng, count)}:" for count in (1, 4, 30)), "a")


@cache
def expected(name: str) -> tuple[tuple[int, ...], ...]:
    model = make_model(name)
    return tuple(tuple(reference_output(model, make_tokenizer(name), prompt, NEW)) for prompt in prompts())


def outputs(model: HuggingFaceModel, requests: list[GenerateRequest]) -> list[Generation]:
    found: dict[int, Generation] = {}
    for index, generation in model.generate(iter(requests)):
        assert index not in found
        found[index] = generation
    return [found[index] for index in range(len(requests))]


def assert_expected(name: str, found: list[Generation], which: list[int]) -> None:
    made = make_tokenizer(name)
    for generation, index in zip(found, which, strict=True):
        tokens = expected(name)[index]
        assert generation.text == made.decode(tokens, skip_special_tokens=True)
        ended = tokens[-1] == made.eos_token_id
        assert (generation.finish, generation.tokens) == (Finish.EOS if ended else Finish.LENGTH, len(tokens))


@pytest.mark.parametrize("name", FAMILIES)
def test_text_equals_the_models_own_greedy_search(name: str) -> None:
    model = wrapped(name)
    assert_expected(
        name, outputs(model, model.tokenizer.prompts(prompts(), NEW)), list(range(len(prompts())))
    )


@pytest.mark.parametrize("name", ["opt", "gpt2", "qwen2", "gemma2"])
@settings(max_examples=12, deadline=None)
@given(st.data())
def test_batches_and_order_change_nothing(name: str, data: st.DataObject) -> None:
    which = data.draw(st.permutations(range(len(prompts()))))[: data.draw(st.integers(1, len(prompts())))]
    budget = Budget(
        data.draw(st.sampled_from([1, 40, 5_000])), 100, data.draw(st.sampled_from([1, 90, 10_000]))
    )
    model = sized(wrapped(name), budget, rows=data.draw(st.integers(1, 12)))
    requests = model.tokenizer.prompts([prompts()[index] for index in which], NEW)
    assert_expected(name, outputs(model, requests), which)


def planted_eos(name: str) -> tuple[HuggingFaceModel, int, list[int]]:
    """A model that takes for EOS what it generates anyway; with that token, and where each prompt then ends."""
    made = wrapped(name)

    def ends(token: int) -> list[int]:
        return [tokens.index(token) + 1 if token in tokens else NEW for tokens in expected(name)]

    candidates = {token for tokens in expected(name) for token in tokens}
    token = min(
        (token for token in candidates if max(ends(token)) == NEW),
        key=lambda token: (sum(ends(token)), token),
    )
    model = HuggingFaceModel(
        replace(made.describe(), eos=(token,)),
        made.tokenizer,
        made._passes,
        window=None,
        budget=Budget(4_096, 4_096, 4_096),
        rows=32,
    )
    return model, token, ends(token)


@pytest.mark.parametrize("name", ["opt", "llama", "bloom"])
def test_a_row_ends_at_eos_and_leaves_the_others_alone(name: str) -> None:
    model, token, ends = planted_eos(name)
    assert min(ends) < NEW // 2 < max(ends), "some end early, some do not"
    found = outputs(model, model.tokenizer.prompts(prompts(), NEW))
    for generation, tokens, end in zip(found, expected(name), ends, strict=True):
        ended = token in tokens
        kept = tokens[: end - 1] if ended else tokens
        assert generation.text == make_tokenizer(name).decode(kept, skip_special_tokens=True)
        assert (generation.finish, generation.tokens) == (Finish.EOS if ended else Finish.LENGTH, end)


def test_finished_rows_are_not_computed_on() -> None:
    model, _, ends = planted_eos("opt")
    start = model.work.tokens
    requests = model.tokenizer.prompts(prompts(), NEW)
    list(model.generate(requests))
    prefill = sum(len(request.prompt) for request in requests)
    fed = model.work.tokens - start
    assert prefill + sum(ends) < prefill + NEW * len(ends) - 2 * NEW, (
        "the planted token saves at least two rows"
    )
    assert fed < prefill + sum(ends) + NEW


@pytest.mark.parametrize("name", ["opt", "llama", "mamba"])
def test_stop_strings_end_a_text_and_are_cut_off(name: str) -> None:
    """The stop string is taken from the middle of a text that is generated without it."""
    model = wrapped(name)
    free = outputs(model, model.tokenizer.prompts(prompts(), NEW))
    longest = max((generation.text for generation in free), key=len)
    stop = longest[len(longest) // 2 : len(longest) // 2 + 2]
    stopped = outputs(model, model.tokenizer.prompts(prompts(), NEW, stop=("never this", stop)))
    hits = 0
    for generation, other in zip(stopped, free, strict=True):
        assert generation.text == other.text.split(stop)[0]
        if stop in other.text:
            hits += 1
            assert generation.finish is Finish.STOP and generation.tokens <= other.tokens
        else:
            assert generation == other
    assert 0 < hits < len(free)


def test_each_request_has_its_own_limit() -> None:
    model = wrapped("opt")
    limits = [1 + index for index in range(len(prompts()))]
    requests = [
        replace(request, max_new_tokens=limit)
        for request, limit in zip(model.tokenizer.prompts(prompts(), NEW), limits, strict=True)
    ]
    for generation, limit, tokens in zip(outputs(model, requests), limits, expected("opt"), strict=True):
        assert generation.tokens == min(limit, len(tokens))
        assert generation.text == make_tokenizer("opt").decode(tokens[:limit], skip_special_tokens=True)


@pytest.mark.parametrize("name", ["opt", "gpt2"])
def test_a_full_context_ends_while_others_go_on(name: str) -> None:
    """A row at the last of the learned positions must not be moved beyond it while it waits to leave."""
    model, rng = wrapped(name), random.Random(5)
    (full,) = model.tokenizer.prompts([text(rng, 600)], 3)
    full = replace(full, prompt=full.prompt[: model.max_length - 3])
    rest = model.tokenizer.prompts([f"{text(rng, 5)}?" for _ in range(9)], NEW)
    alone = [outputs(model, [request])[0] for request in (full, *rest)]
    assert outputs(model, [full, *rest]) == alone


def test_what_prompts_share_is_fed_once() -> None:
    model = wrapped("opt")
    requests = model.tokenizer.prompts(prompts()[:6], 1)
    start = model.work
    list(model.generate(requests))
    shared = min(len(request.prompt) for request in requests) - 20
    assert (
        model.work.tokens - start.tokens
        < sum(len(request.prompt) - shared for request in requests) * 1.6 + shared
    )
    assert model.work.projected - start.projected == 6


def test_a_checkpoints_own_sampling_settings_do_not_touch_greedy_text() -> None:
    """Instruction-tuned checkpoints bring a repetition penalty that `generate` would apply."""
    model = make_model("bloom")
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.eos_token_id = [0, 479]
    ids = torch.tensor([make_tokenizer("bloom")(prompts()[0])["input_ids"]])
    penalised = model.generate(ids, do_sample=False, max_new_tokens=NEW)[0, ids.shape[1] :]
    assert tuple(penalised.tolist()) != expected("bloom")[0]
    made = assemble(model, make_tokenizer("bloom"), ModelOptions("bloom"))
    assert set(made.describe().eos) == {0, 479}
    assert_expected("bloom", outputs(made, made.tokenizer.prompts(prompts()[:1], NEW)), [0])


@pytest.mark.parametrize(("tokens", "new"), [(505, 8), (10, 600)])
def test_a_prompt_that_leaves_no_room_for_its_output_is_refused(tokens: int, new: int) -> None:
    model = wrapped("opt")
    (request,) = model.tokenizer.prompts(["fox " * 600], new)
    with pytest.raises(ModelError, match="it must be cut"):
        list(model.generate([replace(request, prompt=request.prompt[:tokens])]))


def test_a_limit_below_one_is_refused() -> None:
    model = wrapped("opt")
    with pytest.raises(ModelError, match="max_new_tokens is 0"):
        list(model.generate(model.tokenizer.prompts(["a"], 0)))


def test_when_memory_runs_out_smaller_batches_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sized(wrapped("gpt2"), Budget(4_096, 4_096, 4_096), rows=32)
    real = model._passes._run

    def run(ids: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if ids.shape[0] > 2 or ids.numel() > 130:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
            )
        return real(ids, *args, **kwargs)

    monkeypatch.setattr(model._passes, "_run", run)
    found = outputs(model, model.tokenizer.prompts(prompts(), NEW))
    assert_expected("gpt2", found, list(range(len(prompts()))))


def test_prompts_beyond_a_sliding_window_take_the_plain_path() -> None:
    """The window of the tiny model is 160; the shared path would let every token see all before it."""
    rng = random.Random(3)
    long = [f"{text(rng, 170)}:", f"{text(rng, 30)}:"]
    model = wrapped("mistral")
    requests = model.tokenizer.prompts(long, NEW)
    assert len(requests[0].prompt) > 160 > len(requests[1].prompt) + NEW
    found = outputs(model, requests)
    bare = make_model("mistral")
    for generation, prompt in zip(found, long, strict=True):
        tokens = reference_output(bare, make_tokenizer("mistral"), prompt, NEW)
        assert generation.text == make_tokenizer("mistral").decode(tokens, skip_special_tokens=True)
