"""The language model that the runner is given: windows of requests, the path they take, memory that runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

import torch

from evaluation.batching import Budget
from evaluation.checks import admit_options, admit_prompt, finite
from evaluation.huggingface.generating import Ending, generate_plain, generate_shared
from evaluation.huggingface.memory import out_of_memory
from evaluation.huggingface.passes import Passes
from evaluation.huggingface.scoring import score_plain, score_shared
from evaluation.huggingface.tokenizer import HuggingFaceTokenizer
from evaluation.models import (
    GenerateRequest,
    Generation,
    ModelRecord,
    OptionsRequest,
    OptionsScore,
    Work,
)
from task_registry.errors import ModelError

WINDOW = 2_048
"""Requests that are grouped and sorted together."""

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")
_Attempt = Callable[[Sequence[int], Budget], Iterator[tuple[int, _Answer]]]
"""Answers some requests of a window within a budget, in any order; may run out of memory."""


class HuggingFaceModel:
    """A model of `transformers`, loaded and checked; `evaluation.models.LanguageModel` is its protocol."""

    def __init__(
        self,
        record: ModelRecord,
        tokenizer: HuggingFaceTokenizer,
        passes: Passes,
        *,
        window: int | None,
        budget: Budget,
        rows: int,
    ) -> None:
        self._record, self._tokenizer, self._passes = record, tokenizer, passes
        self._ending = Ending(tokenizer.output, record.eos)
        self._window, self._budget, self._rows = window, budget, rows

    @property
    def max_length(self) -> int:
        """Tokens that fit into the model's context, prompt and output together."""
        return self._record.max_length

    @property
    def tokenizer(self) -> HuggingFaceTokenizer:
        """The model's own tokenizer."""
        return self._tokenizer

    @property
    def work(self) -> Work:
        """What has been computed so far."""
        return self._passes.work

    def describe(self) -> ModelRecord:
        """The facts of the model as it is loaded."""
        return self._record

    @torch.inference_mode()
    def score_options(self, requests: Iterable[OptionsRequest]) -> Iterator[tuple[int, OptionsScore]]:
        """Score the options of each request."""
        for start, window in _ahead(requests):
            for request in window:
                admit_options(self._record, request)
            scored = [index for index, request in enumerate(window) if any(request.scored)]
            for index in set(range(len(window))).difference(scored):
                nothing = window[index].scored
                yield start + index, OptionsScore((0.0,) * len(nothing), nothing)
            shared, plain = self._by_path(scored, [request.longest for request in window])
            behind = partial(score_shared, self._passes, window, row_tokens=self._record.row_tokens)
            for index, score in self._until_done(shared, behind):
                yield start + index, finite(self._record, score)
            for index, score in self._until_done(plain, partial(score_plain, self._passes, window)):
                yield start + index, finite(self._record, score)

    @torch.inference_mode()
    def generate(self, requests: Iterable[GenerateRequest]) -> Iterator[tuple[int, Generation]]:
        """Continue each prompt greedily until EOS, a stop string, or its limit."""
        for start, window in _ahead(requests):
            for request in window:
                admit_prompt(self._record, request)
            lengths = [len(request.prompt) + request.max_new_tokens for request in window]
            shared, plain = self._by_path(range(len(window)), lengths)
            behind = partial(generate_shared, self._passes, self._ending, window, rows=self._rows)
            for index, output in self._until_done(shared, behind):
                yield start + index, self._ending.generation(window[index], output)
            alone = partial(generate_plain, self._passes, self._ending, window)
            for index, output in self._until_done(plain, alone):
                yield start + index, self._ending.generation(window[index], output)

    def _by_path(self, which: Iterable[int], lengths: Sequence[int]) -> tuple[list[int], list[int]]:
        """Split requests into those for the shared and those for the plain path."""
        limit = self._record.max_length if self._window is None else self._window
        limit = limit if self._record.path == "shared" else 0
        shared = [index for index in which if lengths[index] <= limit]
        return shared, [index for index in which if lengths[index] > limit]

    def _until_done(self, which: Sequence[int], attempt: _Attempt[_Answer]) -> Iterator[tuple[int, _Answer]]:
        """Answer all of `which`; when memory runs out, go on with what is left in half as large passes."""
        waiting = dict.fromkeys(which)
        while waiting:
            try:
                for index, answer in attempt(list(waiting), self._budget):
                    del waiting[index]
                    yield index, answer
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if self._budget.tokens == 1:
                    raise ModelError(
                        f"out of memory with a single prompt on {self._record.device}; free some of it, or try"
                        " --dtype bfloat16, --device-map auto or --quantize 4bit"
                    ) from error
                self._budget = self._budget.halved()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _ahead(requests: Iterable[_Request]) -> Iterator[tuple[int, list[_Request]]]:
    """Windows of requests with the number of their first; the next is read while one is computed."""
    iterator = iter(requests)
    with ThreadPoolExecutor(1, "requests") as reader:
        start, coming = 0, reader.submit(lambda: list(islice(iterator, WINDOW)))
        while window := coming.result():
            coming = reader.submit(lambda: list(islice(iterator, WINDOW)))
            yield start, window
            start += len(window)
