"""The language model that the runner is given: calls under way in vLLM, and results as they are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Any, TypeVar

from evaluation.checks import admit_options, admit_prompt, finite
from evaluation.huggingface.generating import Output
from evaluation.huggingface.loading import gist
from evaluation.huggingface.outline import Outline
from evaluation.huggingface.tokenizer import HuggingFaceTokenizer
from evaluation.models import (
    GenerateRequest,
    Generation,
    ModelRecord,
    OptionsRequest,
    OptionsScore,
    Work,
)
from evaluation.vllm.calls import Call, option_calls, option_sum, prompt_call
from task_registry.errors import ModelError

IN_FLIGHT = 512
"""Calls that vLLM has at a time: more than it computes together, so that it never waits for the next."""

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Sums:
    """What has come of a request's options."""

    request: OptionsRequest
    open: int
    """Options that have tokens and no answer yet."""
    values: list[float] = field(default_factory=list)

    def score(self) -> OptionsScore:
        return OptionsScore(tuple(self.values), self.request.scored)


class VllmModel:
    """A model that vLLM has loaded; `evaluation.models.LanguageModel` is its protocol."""

    def __init__(self, engine: Any, sampling: Callable[..., Any], outline: Outline) -> None:
        """`engine` is an `LLMEngine`, `sampling` makes its `SamplingParams`."""
        self._engine, self._sampling = engine, sampling
        self._record, self._tokenizer, self._ending = outline.record, outline.tokenizer, outline.ending
        self._names, self._work = count(), Work()
        self._record = replace(self._record, noise=outline.noise(self.score_options))
        self._work = Work()  # what follows counts, not the check

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
        """What has been computed so far, of calls that are answered; passes are vLLM's steps."""
        return self._work

    def describe(self) -> ModelRecord:
        """The facts of the model; those that only loaded weights show are its files' or its configuration's."""
        return self._record

    def score_options(self, requests: Iterable[OptionsRequest]) -> Iterator[tuple[int, OptionsScore]]:
        """Score the options of each request."""
        waiting: dict[int, _Sums] = {}

        def calls() -> Iterator[Call]:
            for index, request in enumerate(requests):
                admit_options(self._record, request)
                asked = sum(scored > 0 for scored in request.scored)
                waiting[index] = _Sums(request, asked, [0.0] * len(request.scored))
                yield from option_calls(index, request)

        def read(call: Call, output: Any) -> float | None:
            scored = waiting[call.index].request.scored[call.option]
            return option_sum(call, scored, output) if output.finished else None

        for call, value in self._answers(calls(), read):
            sums = waiting[call.index]
            sums.values[call.option] = value
            sums.open -= 1
            if not sums.open:
                yield call.index, finite(self._record, waiting.pop(call.index).score())
        for index, sums in waiting.items():  # without a token to score
            yield index, sums.score()

    def generate(self, requests: Iterable[GenerateRequest]) -> Iterator[tuple[int, Generation]]:
        """Continue each prompt greedily until EOS, a stop string, or its limit."""
        waiting: dict[int, GenerateRequest] = {}
        seen: dict[int, int] = {}

        def calls() -> Iterator[Call]:
            for index, request in enumerate(requests):
                admit_prompt(self._record, request)
                waiting[index], seen[index] = request, 0
                yield prompt_call(index, request, self._record.eos)

        def read(call: Call, output: Any) -> Generation | None:
            request, tokens = waiting[call.index], list(output.outputs[0].token_ids)
            for length in range(seen[call.index] + 1, len(tokens) + 1):
                finish = self._ending.reached(request, tokens[:length])
                if finish is not None:
                    return self._ending.generation(request, Output(tokens[:length], finish))
            seen[call.index] = len(tokens)
            return None

        for call, generation in self._answers(calls(), read):
            del waiting[call.index], seen[call.index]
            yield call.index, generation

    def _answers(
        self, calls: Iterator[Call], read: Callable[[Call, Any], _Answer | None]
    ) -> Iterator[tuple[Call, _Answer]]:
        """Keep vLLM busy with `calls`; yield each with what `read` makes of its output, once that is something."""
        waiting: dict[str, Call] = {}
        try:
            while True:
                for call in islice(calls, IN_FLIGHT - len(waiting)):
                    name = str(next(self._names))
                    self._send(name, call)
                    waiting[name] = call
                if not waiting:
                    return
                for output in self._step():
                    call = waiting[output.request_id]
                    answer = read(call, output)
                    if answer is None and not output.finished:
                        continue
                    if answer is None:
                        raise ModelError(f"vLLM ended a request early ({output.outputs[0].finish_reason})")
                    del waiting[output.request_id]
                    if not output.finished:
                        self._engine.abort_request([output.request_id])
                    self._count(call, output)
                    yield call, answer
        finally:
            if waiting:
                self._engine.abort_request(list(waiting))

    def _send(self, name: str, call: Call) -> None:
        try:
            self._engine.add_request(name, {"prompt_token_ids": call.tokens}, self._sampling(**call.sampling))
        except ValueError as error:
            raise ModelError(f"vLLM refuses a request: {gist(error)}") from error

    def _step(self) -> list[Any]:
        """The outputs of one step; ModelError where vLLM's processes have died."""
        self._work = replace(self._work, passes=self._work.passes + 1)
        try:
            return list(self._engine.step())
        except Exception as error:
            raise ModelError(
                f"vLLM failed ({gist(error)}); what it printed says why; for want of memory choose fewer"
                " --batch-tokens"
            ) from error

    def _count(self, call: Call, output: Any) -> None:
        new, done = len(output.outputs[0].token_ids), self._work
        fed = len(call.tokens) - (output.num_cached_tokens or 0) + new - 1
        projected = new + (len(call.tokens) - 1 if "prompt_logprobs" in call.sampling else 0)
        self._work = Work(done.passes, done.tokens + fed, done.projected + projected)
