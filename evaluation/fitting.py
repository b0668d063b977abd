"""Prompts become requests that fit the model's context.

The budget of a prompt is the context less BOS and less the longest option or `max_new_tokens`. Prompts are
tokenised in batches; only those that turn out too long are shortened, one by one (`templates.prompt.fit`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evaluation.models import GenerateRequest, OptionsRequest, Tokenizer, Tokens, Turn
from evaluation.predictions import Kind
from evaluation.requests import Overlength, PromptOptions, Question, shortened, turns
from task_registry.errors import InputError, UsageError
from templates.prompt import Fitted, Prompt, fit

_LONGEST_TOKEN = 12
"""Characters a token has at most in ordinary text; see `_Budget.count`."""
_SLACK = 8
"""Tokens by which a text that is cut in front may be encoded longer."""
_ATTEMPTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A question as a request that fits."""

    question: Question
    request: OptionsRequest | GenerateRequest
    dropped_shots: int = 0
    cut_characters: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, BOS counted."""
        if isinstance(self.request, OptionsRequest):
            return self.request.prompt_tokens
        return len(self.request.prompt)

    @property
    def prompt(self) -> Prompt:
        """The prompt that is asked."""
        return shortened(self.question.prompt, self.dropped_shots, self.cut_characters)

    def tokens(self) -> Iterator[tuple[str, Tokens]]:
        """What the model is fed, labelled: the prompt and each option, which may begin with unscored tokens."""
        request = self.request
        if isinstance(request, GenerateRequest):
            yield "prompt:", request.prompt
            return
        yield "prompt:", request.context
        for number, branch in enumerate(request.branches):
            yield f"option {number}, the last {request.scored[number]} scored:", branch


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A question that is not asked, and why."""

    question: Question
    reason: str


class Fitter:
    """Turns questions into requests for one model."""

    def __init__(self, tokenizer: Tokenizer, max_length: int, options: PromptOptions) -> None:
        """`max_length` is the model's context in tokens.

        Raises UsageError where an output alone would fill the context, and ModelError where the options want a
        chat template and the tokenizer has none: before anything is asked.
        """
        self._tokenizer, self._max_length, self._options = tokenizer, max_length, options
        self._bos = len(tokenizer.bos)
        if options.max_new_tokens + self._bos >= max_length:
            raise UsageError(
                f"--max-new-tokens {options.max_new_tokens} leaves no room for a prompt in the model's context "
                f"of {max_length:,} tokens; choose fewer"
            )
        if options.chat_template:
            tokenizer.chat([Turn("user", "?")])

    def fit(self, questions: Sequence[Question]) -> list[Ready | Skipped]:
        """Requests for questions of one kind, in their order.

        Raises InputError for a prompt that does not fit, where the options say so.
        """
        requests = self._requests(questions, [self.text(question.prompt) for question in questions])
        return [
            Ready(question, request) if self._excess(request) <= 0 else self._cut_to_fit(question, request)
            for question, request in zip(questions, requests, strict=True)
        ]

    def text(self, prompt: Prompt) -> str:
        """What the model is given to read."""
        return self._tokenizer.chat(turns(prompt)) if self._options.chat_template else prompt.text

    def _requests(
        self, questions: Sequence[Question], texts: Sequence[str]
    ) -> Sequence[OptionsRequest | GenerateRequest]:
        options = self._options
        if questions and questions[0].kind is Kind.OPTIONS:
            pairs = [(text, q.example.options) for text, q in zip(texts, questions, strict=True)]
            return self._tokenizer.options(pairs, chat=options.chat_template)
        return self._tokenizer.prompts(
            texts, options.max_new_tokens, options.stop, chat=options.chat_template
        )

    def _excess(self, request: OptionsRequest | GenerateRequest) -> int:
        """Tokens by which a request is too long."""
        if isinstance(request, OptionsRequest):
            return request.longest - self._max_length
        return len(request.prompt) + request.max_new_tokens - self._max_length

    def _cut_to_fit(self, question: Question, request: OptionsRequest | GenerateRequest) -> Ready | Skipped:
        if self._options.overlength is Overlength.ERROR:
            raise InputError(
                f"{question.key.task}, example {question.key.example_id}, {question.key.shots} shots",
                f"a prompt {self._excess(request):,} tokens too long",
                f"at most {self._max_length:,} tokens with its output",
                "choose --overlength drop-shots or skip",
            )
        if self._options.overlength is Overlength.SKIP:
            return Skipped(question, "overlength")
        reserve = self._options.max_new_tokens
        if isinstance(request, OptionsRequest):
            reserve = max(request.scored, default=0)
        budget = self._max_length - self._bos - reserve
        for _ in range(_ATTEMPTS):
            try:
                fitted = fit(question.prompt, budget, _Budget(self._tokenizer, budget).count)
            except ValueError:
                break
            (request,) = self._requests([question], [self.text(fitted.prompt)])
            excess = self._excess(request)
            if excess <= 0:
                return _ready(question, request, fitted)
            # What a chat template adds, and a token more or less at the seam, shows only in the request.
            budget -= excess
        return Skipped(question, "no room beside the instructions and the longest option or output")


def _ready(question: Question, request: OptionsRequest | GenerateRequest, fitted: Fitted) -> Ready:
    return Ready(question, request, fitted.dropped, fitted.cut)


@dataclass(frozen=True, slots=True)
class _Budget:
    """Counts tokens, but of a text far too long only so many as show that it is."""

    tokenizer: Tokenizer
    tokens: int

    def count(self, text: str) -> int:
        """Tokens of a text; some number above the budget where it has more."""
        enough = _LONGEST_TOKEN * (self.tokens + _SLACK)
        if len(text) > enough:
            (found,) = self.tokenizer.count([text[-enough:]])
            if found > self.tokens + _SLACK:
                return found
        (found,) = self.tokenizer.count([text])
        return found
