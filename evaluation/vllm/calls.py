"""What vLLM is asked for options and prompts, and what its answers hold.

An option is one request: all its tokens but the last are the prompt, and the last is the only one that may be
sampled. vLLM states log-likelihoods from before that restriction, so the sampled token's is that of the option's last;
those of the earlier ones are among the prompt's. This leaves room for options that fill the context, and options
of one token need nothing of their prompt: such requests alone does vLLM answer behind a prefix that it has kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.models import GenerateRequest, OptionsRequest
from task_registry.errors import ModelError


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One request to vLLM."""

    index: int
    """Of the request that it serves."""
    tokens: list[int]
    sampling: Mapping[str, Any]
    """Arguments of its `SamplingParams`."""
    option: int = 0


def option_calls(index: int, request: OptionsRequest) -> Iterator[Call]:
    """The calls that score a request's options; options without a token of their own need none."""
    for option, (branch, scored) in enumerate(zip(request.branches, request.scored, strict=True)):
        if not scored:
            continue
        *tokens, last = np.concatenate((request.context, branch)).tolist()
        sampling = {"temperature": 0.0, "max_tokens": 1, "logprobs": 0, "allowed_token_ids": [last]}
        if scored > 1:
            sampling["prompt_logprobs"] = 0
        yield Call(index, tokens, sampling | {"detokenize": False}, option)


def option_sum(call: Call, scored: int, output: Any) -> float:
    """The log-likelihood of an option's `scored` last tokens, from vLLM's answer to its call.

    Raises:
        ModelError: one of them is missing.
    """
    (last,) = call.sampling["allowed_token_ids"]
    try:
        found = [output.outputs[0].logprobs[0][last].logprob]
        for place in range(len(call.tokens) + 1 - scored, len(call.tokens)):
            found.append(output.prompt_logprobs[place][call.tokens[place]].logprob)
    except (TypeError, LookupError) as error:
        raise ModelError(
            "vLLM gave no log-likelihood of a token that was asked for; use another version of vLLM,"
            " or --backend transformers"
        ) from error
    return math.fsum(found)


def prompt_call(index: int, request: GenerateRequest, eos: Iterable[int]) -> Call:
    """The call that continues a prompt greedily; vLLM ends it at EOS or its limit, stop strings are ours."""
    sampling = {"temperature": 0.0, "max_tokens": request.max_new_tokens, "stop_token_ids": list(eos)}
    return Call(index, request.prompt.tolist(), sampling | {"ignore_eos": True, "detokenize": False})
