"""The loop: prompts into the model as one stream of each kind, predictions onto the disk as they come.

Everything whose options are scored is one stream of requests, everything that is generated another, so that
the model sorts and packs across the borders of tasks. It reads ahead from a thread of its own; predictions are
written, and progress is told, by the caller's thread alone.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar

from evaluation.fitting import Fitter, Ready, Skipped
from evaluation.models import (
    GenerateRequest,
    Generation,
    LanguageModel,
    OptionsRequest,
    OptionsScore,
)
from evaluation.options import choose
from evaluation.predictions import Key, Kind, Prediction
from evaluation.requests import PromptOptions, Question, TaskPrompts, questions
from task_registry.bench import Bench

CHUNK = 256
"""Prompts that are tokenised together."""
_ALONE = 32
"""Options that are scored together without a prompt."""

Item = TypeVar("Item")
Watch = Callable[[Prediction], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done: prompts of some tasks, less those that are done already."""

    bench: Bench
    tasks: Sequence[TaskPrompts]
    options: PromptOptions
    done: Container[int] = frozenset()
    """`Key.digest` of prompts that have a prediction."""

    def questions(self, kind: Kind) -> Iterator[Question]:
        """The prompts of one kind that are still to be asked, task after task."""
        return chain.from_iterable(
            questions(self.bench, task, self.options, kind, self._is_wanted) for task in self.tasks
        )

    def _is_wanted(self, key: Key) -> bool:
        return key.digest not in self.done


def fitter(model: LanguageModel, options: PromptOptions) -> Fitter:
    """What fits prompts to a model; raises as `Fitter` does where the two do not go together."""
    return Fitter(model.tokenizer, model.max_length, options)


def evaluate(model: LanguageModel, job: Job, write: Watch) -> None:
    """Ask a model all prompts of `job`, and hand every prediction to `write` as soon as it is known.

    Raises:
        ModelError, MachineError: the model failed; what was written stays.
        InputError: a prompt does not fit, and the options make that an error.
        BenchFolderError: a shard is damaged.
    """
    fitting = fitter(model, job.options)
    for kind in (Kind.OPTIONS, Kind.TEXT):
        stream = _Stream(fitting, job.questions(kind))
        alone: dict[str, float] = {}
        if kind is Kind.OPTIONS and job.options.unconditional:
            alone = unconditional(model, job.questions(kind), chat=job.options.chat_template)
        for index, answer in _answers(model, kind, stream):
            write(_prediction(stream.take(index), answer, alone))
            stream.write_skipped(write)
        stream.write_skipped(write)


def unconditional(model: LanguageModel, asked: Iterable[Question], *, chat: bool = False) -> dict[str, float]:
    """The log-likelihood of each distinct option without its prompt, in nats; of the same tokens as with it."""
    found: dict[str, float] = {}
    distinct = list(dict.fromkeys(option for question in asked for option in question.example.options))
    groups = list(_chunks(distinct, _ALONE))
    requests = chain.from_iterable(
        model.tokenizer.options([("", group) for group in some], chat=chat) for some in _chunks(groups, CHUNK)
    )
    for index, score in model.score_options(requests):
        found |= dict(zip(groups[index], score.logprobs, strict=True))
    return found


def _answers(
    model: LanguageModel, kind: Kind, stream: _Stream
) -> Iterator[tuple[int, OptionsScore | Generation]]:
    if kind is Kind.OPTIONS:
        yield from model.score_options(stream.options())
    else:
        yield from model.generate(stream.prompts())


class _Stream:
    """Requests on their way through the model, each kept until its answer comes."""

    def __init__(self, fitting: Fitter, asked: Iterator[Question]) -> None:
        self._fitting, self._asked = fitting, asked
        self._waiting: dict[int, Ready] = {}
        self._skipped: deque[Skipped] = deque()

    def options(self) -> Iterator[OptionsRequest]:
        """The requests of the options of all questions."""
        for ready in self._ready():
            if isinstance(ready.request, OptionsRequest):
                yield ready.request

    def prompts(self) -> Iterator[GenerateRequest]:
        """The requests to continue all questions."""
        for ready in self._ready():
            if isinstance(ready.request, GenerateRequest):
                yield ready.request

    def take(self, index: int) -> Ready:
        """What the request of that number asked; only once."""
        return self._waiting.pop(index)

    def write_skipped(self, write: Watch) -> None:
        """Write what was left out since the last call."""
        while self._skipped:
            write(_skip(self._skipped.popleft()))

    def _ready(self) -> Iterator[Ready]:
        number = 0
        for chunk in _chunks(self._asked, CHUNK):
            for one in self._fitting.fit(chunk):
                if isinstance(one, Skipped):
                    self._skipped.append(one)
                else:
                    self._waiting[number] = one
                    number += 1
                    yield one


def _prediction(ready: Ready, answer: OptionsScore | Generation, alone: Mapping[str, float]) -> Prediction:
    """The record of one answer."""
    asked = dataclasses.replace(
        _unanswered(ready.question),
        prompt_tokens=ready.prompt_tokens,
        dropped_shots=ready.dropped_shots,
        cut_characters=ready.cut_characters,
    )
    if isinstance(answer, Generation):
        return dataclasses.replace(
            asked, kind=Kind.TEXT, text=answer.text, finish=str(answer.finish), new_tokens=answer.tokens
        )
    options = ready.question.example.options
    return dataclasses.replace(
        asked,
        options=options,
        option_logprobs=answer.logprobs,
        option_tokens=answer.tokens,
        option_bytes=tuple(len(option.encode()) for option in options),
        option_unconditional=tuple(alone[option] for option in options) if alone else (),
        choice=choose(answer.logprobs).index,
        merged=ready.request.merged if isinstance(ready.request, OptionsRequest) else 0,
    )


def _skip(skipped: Skipped) -> Prediction:
    return dataclasses.replace(_unanswered(skipped.question), kind=Kind.SKIPPED, finish=skipped.reason)


def _unanswered(question: Question) -> Prediction:
    """What is known of a prediction before the answer."""
    key, example = question.key, question.example
    return Prediction(
        key.task,
        key.example_id,
        key.template,
        key.shots,
        question.kind,
        example.references,
        example.answer,
        key.demonstration_seed,
    )


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
