"""From a model and a tokenizer as `transformers` loads them to a model that the runner works with."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from evaluation.huggingface.loading import (
    attention_window,
    cache_bytes,
    check_vocabulary,
    check_weights,
    context_length,
    eos_ids,
    load_config_and_tokenizer,
    load_parts,
    ordinary_tokens,
    weights_digest,
)
from evaluation.huggingface.memory import budget_for
from evaluation.huggingface.model import HuggingFaceModel
from evaluation.huggingface.passes import Passes
from evaluation.huggingface.selfcheck import choose_path
from evaluation.huggingface.tokenizer import HuggingFaceTokenizer
from evaluation.models import ModelOptions, ModelRecord, Work

ROW_TOKENS = 256
"""Rows are packed up to this length: in longer ones, attention between strangers costs more than it saves."""


def load_huggingface(options: ModelOptions) -> HuggingFaceModel:
    """Load and check the model that `options` name; see `evaluation.models.load_model` for the errors."""
    model, tokenizer, commit = load_parts(options)
    return assemble(model, tokenizer, options, commit)


def load_tokenizer(options: ModelOptions) -> tuple[HuggingFaceTokenizer, int]:
    """The tokenizer of a stored model and the length of its context; see `evaluation.models.load_tokenizer`."""
    config, tokenizer = load_config_and_tokenizer(options)
    ordinary_tokens(tokenizer, options.name)
    return HuggingFaceTokenizer(tokenizer), context_length(config, tokenizer)


@torch.inference_mode()
def assemble(model: Any, tokenizer: Any, options: ModelOptions, commit: str = "") -> HuggingFaceModel:
    """Check a loaded model with its tokenizer, choose its path and its budget, and state its facts.

    `commit` is the one on the Hub that it was loaded from.
    """
    check_weights(model, options.name)
    ordinary = ordinary_tokens(tokenizer, options.name)
    vocabulary = check_vocabulary(model, ordinary, options.name)
    eos = eos_ids(model, tokenizer)
    if hasattr(model, "generation_config"):
        # Greedy means greedy: a checkpoint's own repetition penalty or suppressed tokens would change the text.
        model.generation_config = transformers.GenerationConfig()  # type: ignore[no-untyped-call]
    wrapped = HuggingFaceTokenizer(tokenizer)
    passes = Passes(model)
    length, window = context_length(model.config, tokenizer), attention_window(model)
    verdict = choose_path(
        passes,
        model,
        wrapped.bos,
        ordinary,
        min(length, window or length),
        options.path,
    )
    passes.work = Work()  # what follows counts, not the check
    kept = cache_bytes(model)
    budget, rows = budget_for(model, passes.device, kept, options.batch_tokens)
    parameters = dict(model.named_parameters())
    record = ModelRecord(
        name=options.name,
        revision=commit,
        architecture=type(model).__name__,
        parameters=sum(value.numel() for value in parameters.values()),
        weights_bytes=sum(value.numel() * value.element_size() for value in parameters.values()),
        weights_digest=weights_digest(model),
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(passes.device),
        max_length=length,
        vocabulary=vocabulary,
        bos=wrapped.bos,
        eos=eos,
        path="shared" if verdict.shared else "plain",
        path_reason=verdict.reason,
        row_tokens=ROW_TOKENS,
        noise=verdict.noise,
        cache_bytes=kept,
        attention=str(model.config._attn_implementation),
        torch=torch.__version__,
        transformers=transformers.__version__,
    )
    return HuggingFaceModel(record, wrapped, passes, window=window, budget=budget, rows=rows)
