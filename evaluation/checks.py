"""What every engine refuses: requests that a model cannot take, and log-likelihoods that are no numbers."""

from __future__ import annotations

from evaluation.models import GenerateRequest, ModelRecord, OptionsRequest, OptionsScore, Tokens
from task_registry.errors import ModelError


def admit_options(record: ModelRecord, request: OptionsRequest) -> None:
    """Refuse options that do not fit the model, or hold tokens that it does not know; ModelError."""
    _admit(record, request.longest, request.context, *request.branches)


def admit_prompt(record: ModelRecord, request: GenerateRequest) -> None:
    """Refuse a prompt that does not fit the model with its output; ModelError."""
    if request.max_new_tokens < 1:
        raise ModelError(f"max_new_tokens is {request.max_new_tokens}; expected 1 or more")
    _admit(record, len(request.prompt) + request.max_new_tokens, request.prompt)


def finite(record: ModelRecord, score: OptionsScore) -> OptionsScore:
    """The score, if all of it are finite numbers; ModelError otherwise."""
    if all(abs(value) < float("inf") for value in score.logprobs):
        return score
    raise ModelError(
        f"{record.name} gives NaN or infinite log-likelihoods in {record.dtype};"
        " try --dtype bfloat16 or float32"
    )


def _admit(record: ModelRecord, length: int, *tokens: Tokens) -> None:
    if length > record.max_length:
        raise ModelError(
            f"a prompt with its output has {length:,} tokens, {record.name} takes {record.max_length:,};"
            " it must be cut before it is sent to the model"
        )
    highest = max((int(part.max()) for part in tokens if len(part)), default=0)
    if highest >= record.vocabulary:
        raise ModelError(
            f"a prompt holds token {highest}, for which {record.name} has no embedding"
            f" ({record.vocabulary:,} rows); model and tokenizer do not belong together"
        )
