"""What a language model is to the runner: the requests it takes, the results it gives, the facts it states.

Nothing here imports torch. `load_model` opens the door to the implementation: `evaluation.huggingface`, or
`evaluation.vllm` over it.
A prompt and an output are joined as `prompt.rstrip(" ") + " " + output` (PAPER.md §3), those of a chat template as
it writes an answer itself; the tokenizer does it, so that a request holds token ids only and the model layer is
free to share, pack and sort them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from task_registry.errors import UsageError

Tokens = npt.NDArray[np.int32]
"""Token ids, one dimension."""


class Finish(StrEnum):
    """Why a generation ended."""

    EOS = "eos"
    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True, eq=False)
class OptionsRequest:
    """One prompt and its options, to be scored: the sum of each option's log-likelihood given the prompt.

    Option `i` is the sequence `context + branches[i]`, of which the last `scored[i]` tokens are the option's.
    `context` is what all options share; a branch starts with unscored tokens only where the tokenizer merged
    across the boundary in some option and not in others.
    """

    context: Tokens
    """Starts with the tokenizer's BOS; never empty."""
    branches: tuple[Tokens, ...]
    scored: tuple[int, ...]
    """Zero for an option without a token of its own."""
    merged: int = 0
    """Options whose first token also covers the prompt's last characters; such a token is scored."""

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with its option: what has to fit into the model's context."""
        return len(self.context) + max((len(branch) for branch in self.branches), default=0)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, BOS counted, without any option."""
        first = len(self.branches[0]) - self.scored[0] if self.branches else 0
        return len(self.context) + first


@dataclass(frozen=True, slots=True)
class OptionsScore:
    """The answer to an `OptionsRequest`, in its options' order."""

    logprobs: tuple[float, ...]
    """Natural logarithms, summed over the option's tokens; float32 log-softmax whatever the dtype."""
    tokens: tuple[int, ...]
    """How many tokens each sum runs over."""


@dataclass(frozen=True, slots=True, eq=False)
class GenerateRequest:
    """One prompt to be continued greedily."""

    prompt: Tokens
    """Starts with the tokenizer's BOS; never empty."""
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()
    """Strings that end the output; they are no part of it."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The answer to a `GenerateRequest`."""

    text: str
    """Special tokens and everything from the first stop string on removed; surrounding space kept."""
    finish: Finish
    tokens: int
    """New tokens, the final EOS counted."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation, for chat-tuned models."""

    role: str
    """`system`, `user` or `assistant`."""
    text: str


class Tokenizer(Protocol):
    """Text to requests and back. Takes many texts at once: tokenizers are fast in batches."""

    @property
    def bos(self) -> tuple[int, ...]:
        """What it puts before a text; empty for many tokenizers."""
        ...

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by itself, BOS not counted."""
        ...

    def last(self, text: str, tokens: int) -> str:
        """The longest ending of `text` of at most `tokens` tokens: what is left of one cut at its start."""
        ...

    def chat(self, turns: Sequence[Turn]) -> str:
        """The prompt that the model's chat template makes of `turns`, up to where the assistant speaks.

        Raises:
            ModelError: the tokenizer has no chat template, or the template refuses the turns.
        """
        ...

    def options(
        self, prompts: Sequence[tuple[str, Sequence[str]]], *, chat: bool = False
    ) -> list[OptionsRequest]:
        """Prompts with their options as requests; an empty prompt is BOS alone (unconditional scores).

        `chat`: the prompts come from `chat`. They are taken as they are, and an option stands where the template
        writes an answer: right behind where the assistant speaks, or after the white space that the template has
        there (`[/INST] yes`). A space before it, as after a plain prompt, would be a token that chat-tuned models
        never saw after `assistant` and a line feed.
        """
        ...

    def prompts(
        self,
        prompts: Sequence[str],
        max_new_tokens: int = 256,
        stop: Sequence[str] = (),
        *,
        chat: bool = False,
    ) -> list[GenerateRequest]:
        """Prompts as requests for generation, trailing spaces removed (PAPER.md §3) unless they come from `chat`."""
        ...

    def decode(self, tokens: Tokens) -> str:
        """The text of `tokens`, special tokens included: what `show --tokens` prints beside the ids."""
        ...


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Everything the user may say about a model; a run's record stores it."""

    name: str
    """Hub id, local folder, or `builtin:<name>`."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    dtype: str = "auto"
    """`auto` (as the weights are stored), `bfloat16`, `float16` or `float32`."""
    device: str | None = None
    """`cpu`, `cuda`, `cuda:1`; by default the first GPU, else the CPU."""
    device_map: str | None = None
    """`auto` spreads a model over all GPUs, and over memory where these do not suffice."""
    peft: str | None = None
    """A PEFT adapter (folder or Hub id), merged into the weights."""
    trust_remote_code: bool = False
    quantize: str | None = None
    """`8bit` or `4bit`, by bitsandbytes."""
    batch_tokens: int | None = None
    """Tokens of one forward pass; by default found from the free memory."""
    path: str = "auto"
    """`auto` or `plain`: `plain` forces the simple padded path that everything else is checked against."""
    backend: str = "transformers"
    """`transformers` or `vllm`."""
    tensor_parallel: int | None = None
    """GPUs that vLLM splits every layer over; by default one."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The facts of a loaded model that a run stores and that make two runs comparable."""

    name: str
    revision: str
    """The commit on the Hub; empty for a local folder."""
    architecture: str
    parameters: int
    weights_bytes: int
    weights_digest: str
    """Over every parameter's name, shape and a sample of up to 1,024 of its values, as loaded; behind vLLM over
    the files of weights, with `files:` before it."""
    dtype: str
    device: str
    max_length: int
    vocabulary: int
    bos: tuple[int, ...]
    """What the tokenizer puts before a text."""
    eos: tuple[int, ...]
    """Token ids that end a generation."""
    path: str
    """`shared`: shared prefixes and packed options; `plain`: one padded row an option; `vllm`."""
    path_reason: str
    """Why that path: what the self-check found; of vLLM its version."""
    row_tokens: int
    """Longest row of prompts with their options; a prompt that exceeds it gets a cache of its own. 0 with vLLM."""
    noise: float
    """Largest difference per scored token, in nats, between equally right computations in this dtype."""
    cache_bytes: int
    """Memory of one token's keys and values."""
    attention: str
    torch: str
    transformers: str


@dataclass(frozen=True, slots=True)
class Work:
    """What a model has done so far: for progress, estimates and benchmarks."""

    passes: int = 0
    """Forward passes."""
    tokens: int = 0
    """Tokens fed, padding included."""
    projected: int = 0
    """Positions for which the vocabulary projection was computed."""


class LanguageModel(Protocol):
    """A causal language model that scores options and continues prompts.

    Both methods take requests in any number and order, read them ahead of the computation, and yield each
    result with the index of its request as soon as it is known, in an order of their own. A request longer
    than `max_length` is the caller's fault and raises before its window is computed.
    """

    @property
    def max_length(self) -> int:
        """Tokens that fit into the model's context, prompt and output together."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        ...

    @property
    def work(self) -> Work:
        """What has been computed so far."""
        ...

    def describe(self) -> ModelRecord:
        """The facts of the model as it is loaded."""
        ...

    def score_options(self, requests: Iterable[OptionsRequest]) -> Iterator[tuple[int, OptionsScore]]:
        """Score the options of each request.

        Raises:
            ModelError: a request that does not fit, out of memory with a single one, log-likelihoods of NaN.
        """
        ...

    def generate(self, requests: Iterable[GenerateRequest]) -> Iterator[tuple[int, Generation]]:
        """Continue each prompt greedily until EOS, a stop string, or its limit.

        Raises:
            ModelError: a request that does not fit with its new tokens, out of memory with a single one.
        """
        ...


def load_model(options: ModelOptions) -> LanguageModel:
    """Load the model that `options` name; nothing is downloaded for a local folder or a `builtin:` name.

    Raises:
        ModelError: it does not exist, has no usable weights, or does not fit its tokenizer or the memory.
        MachineError: a package that the options need is not installed.
        UsageError: an unknown `builtin:` name.
    """
    if options.backend == "vllm":
        from evaluation.vllm import load_vllm

        return load_vllm(options)
    if _is_builtin(options.name):
        from evaluation.huggingface import load_tiny_opt

        return load_tiny_opt(options)
    from evaluation.huggingface import load_huggingface

    return load_huggingface(options)


def load_tokenizer(options: ModelOptions) -> tuple[Tokenizer, int]:
    """The tokenizer of the model that `options` name, and how many tokens fit into the model's context.

    No weights are read or fetched: enough to compose and fit prompts, in seconds for a model of any size.

    Raises:
        ModelError, UsageError: as `load_model` does.
    """
    if _is_builtin(options.name):
        from evaluation.huggingface import load_tiny_opt_tokenizer

        return load_tiny_opt_tokenizer()
    from evaluation.huggingface import load_tokenizer as load

    return load(options)


def _is_builtin(name: str) -> bool:
    if name.startswith("builtin:") and name != "builtin:tiny-opt":
        raise UsageError(f"no built-in model {name!r}; there is builtin:tiny-opt")
    return name.startswith("builtin:")
