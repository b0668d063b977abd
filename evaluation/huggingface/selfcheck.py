"""The check at start: whether the shared path gives what the bare model gives for each option alone.

A model with ALiBi, a recurrent one, or one with attention of its own may ignore the mask, the positions or
the prefix that the shared path hands it, or refuse them. It then takes the plain path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evaluation.batching import Budget
from evaluation.huggingface.attention import NAME, register
from evaluation.huggingface.generating import Ending, generate_shared
from evaluation.huggingface.loading import quiet
from evaluation.huggingface.memory import out_of_memory
from evaluation.huggingface.passes import Passes
from evaluation.huggingface.scoring import score_plain, score_shared
from evaluation.models import GenerateRequest, OptionsRequest, OptionsScore, Tokens
from task_registry.errors import ModelError

Floats = npt.NDArray[np.float64]

LONGEST = 112
"""Tokens of the longest probe with its output."""
_SHARED, _TAILS, _OPTIONS, _ROW = 70, (3, 9, 30), ((1, 4), (2, 2), (3, 1)), 24
"""Three contexts that begin alike, with two options each; two fit a row, one gets a cache of its own."""
_NEW = 6
_BUDGET = Budget(tokens=256, places=256, cached=1_024)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the self-check found."""

    shared: bool
    reason: str
    noise: float
    """Largest difference per scored token between right computations, in nats."""


def choose_path(
    passes: Passes, model: Any, bos: tuple[int, ...], ids: Tokens, length: int, path: str
) -> Verdict:
    """Compare both paths with the bare model on probes made of `ids`; leaves the model ready for the better one.

    `length` is what fits the model's context and its sliding window; `path` `plain` forces the plain path.

    Raises:
        ModelError: the model's log-likelihoods are not finite, or change when prompts are batched.
    """
    if length < LONGEST:
        return Verdict(False, f"a context or window of {length} tokens is too short for the self-check", 0.0)
    requests = _probes(bos, ids)
    expected = [_alone(model, passes.device, request) for request in requests]
    if not np.isfinite(np.concatenate(expected)).all():
        raise ModelError(
            f"the model gives NaN or infinite log-likelihoods in {model.dtype}; try --dtype bfloat16 or float32"
        )
    reason = "asked for"
    if path != "plain":
        before = model.config._attn_implementation
        found, reason = _try_shared(passes, model, requests, expected)
        if found <= _tolerance(model):
            return Verdict(True, "shared prefixes give what the bare model gives", found)
        with quiet():
            model.set_attn_implementation(before)
    plain = _difference(dict(score_plain(passes, requests, range(len(requests)), _BUDGET)), expected)
    return Verdict(False, reason, _tolerated(plain, model))


def batching_noise(
    model: Any,
    bos: tuple[int, ...],
    ids: Tokens,
    length: int,
    score: Callable[[Iterable[OptionsRequest]], Iterator[tuple[int, OptionsScore]]],
) -> float:
    """How far `score`, an engine's, is from itself when the probes come one by one and together, in nats a token.

    Raises:
        ModelError: further than rounding explains.
    """
    if length < LONGEST:
        return 0.0
    requests = _probes(bos, ids)
    alone = [np.asarray(dict(score([request]))[0].logprobs) for request in requests]
    return _tolerated(_difference(dict(score(requests)), alone), model)


def _tolerated(noise: float, model: Any) -> float:
    """What batching may do to a model; ModelError if it is more."""
    if noise > _tolerance(model):
        raise ModelError(
            f"batching changes the model's log-likelihoods by {noise:.1e} nats a token; it cannot be scored"
        )
    return noise


def _tolerance(model: Any) -> float:
    return max(1e-4, 32 * _precision(model))


def _try_shared(
    passes: Passes, model: Any, requests: list[OptionsRequest], expected: Sequence[Floats]
) -> tuple[float, str]:
    """How far the shared path is from the bare model, in nats a token and in words; leaves its attention on."""
    register()
    try:
        with quiet():
            model.set_attn_implementation(NAME)
        scores = dict(score_shared(passes, requests, range(len(requests)), _BUDGET, _ROW))
        found = max(_difference(scores, expected), _regret(passes, model, requests))
        reason = f"shared prefixes change the model's results by {found:.1e} nats a token"
    except Exception as error:
        if out_of_memory(error):
            raise
        found, reason = float("inf"), f"the model refuses shared prefixes ({type(error).__name__})"
    return found, reason


def _precision(model: Any) -> float:
    """The relative step between neighbouring numbers of the coarsest kind that a layer computes with."""
    steps = [torch.finfo(model.dtype).eps]
    if any(value.dtype is torch.int8 for value in model.parameters()):
        # Weights of 8 bits are multiplied with activations that are rounded to 8 bits by what else is in the pass.
        steps.append(2.0**-7)
    return max(steps)


def _probes(bos: tuple[int, ...], ids: Tokens) -> list[OptionsRequest]:
    """Requests of ordinary tokens in a fixed order that looks random."""
    stream = iter(ids[(np.arange(1_024) * 7_919 + 13) % len(ids)])

    def take(count: int) -> Tokens:
        return np.fromiter(stream, np.int32, count)

    shared = np.concatenate((np.asarray(bos, np.int32), take(_SHARED)))
    return [
        OptionsRequest(
            np.concatenate((shared, take(tail))), tuple(take(length) for length in lengths), lengths
        )
        for tail, lengths in zip(_TAILS, _OPTIONS, strict=True)
    ]


def _alone(model: Any, device: torch.device, request: OptionsRequest) -> Floats:
    """Log-likelihood of each option by one plain call of the model: the reference."""
    sums = []
    for branch in request.branches:
        ids = torch.from_numpy(np.concatenate((request.context, branch)).astype(np.int64)).to(device)[None]
        logprobs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].float(), dim=-1)
        start = len(request.context) - 1
        targets = ids[0, start + 1 :].to(logprobs.device)
        sums.append(float(logprobs[start:-1].gather(1, targets[:, None]).sum()))
    return np.asarray(sums)


def _difference(found: Mapping[int, OptionsScore], expected: Sequence[Floats]) -> float:
    """The largest difference between log-likelihoods, per scored token; NaN counts as infinite."""
    differences = [
        np.abs(np.asarray(found[index].logprobs) - sums) / found[index].tokens
        for index, sums in enumerate(expected)
    ]
    return float(np.nan_to_num(np.concatenate(differences), nan=np.inf).max())


def _regret(passes: Passes, model: Any, requests: list[OptionsRequest]) -> float:
    """By how much the bare model likes another token better than the one that was generated, at most."""
    prompts = [GenerateRequest(request.context, _NEW) for request in requests]
    worst = 0.0
    never = Ending(str, ())
    for index, output in generate_shared(passes, never, prompts, range(len(prompts)), _BUDGET, rows=8):
        ids = torch.from_numpy(np.concatenate((prompts[index].prompt, output.tokens)).astype(np.int64))[None]
        logits = model(input_ids=ids.to(passes.device), use_cache=False).logits[0].float()
        start = len(prompts[index].prompt) - 1
        steps = logits[start:-1]
        chosen = steps.gather(1, ids[0, start + 1 :].to(steps.device)[:, None])[:, 0]
        worst = max(worst, float((steps.amax(dim=-1) - chosen).max()))
    return worst
