"""A stored model without its weights: what another engine needs to run it, and what a record says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from evaluation.huggingface.generating import Ending
from evaluation.huggingface.hub import Origin, locate
from evaluation.huggingface.loading import (
    DTYPES,
    cache_bytes,
    check_vocabulary,
    context_length,
    eos_ids,
    load_config_and_tokenizer,
    loading,
    ordinary_tokens,
    quiet,
)
from evaluation.huggingface.selfcheck import batching_noise
from evaluation.huggingface.tokenizer import HuggingFaceTokenizer
from evaluation.models import ModelOptions, ModelRecord, OptionsRequest, OptionsScore, Tokens
from task_registry.errors import ModelError


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """All that is known of a model before an engine has loaded it."""

    origin: Origin
    record: ModelRecord
    """As the transformers backend states it, but for what the engine decides: empty or 0 here."""
    tokenizer: HuggingFaceTokenizer
    ending: Ending
    hollow: Any
    """The model of `transformers`, its parameters without memory."""
    ordinary: Tokens
    """Ids of the tokenizer's tokens, special ones apart."""

    def noise(self, score: Callable[[Iterable[OptionsRequest]], Iterator[tuple[int, OptionsScore]]]) -> float:
        """What batching does to the log-likelihoods that `score` gives, in nats a token; ModelError if too much."""
        return batching_noise(self.hollow, self.record.bos, self.ordinary, self.record.max_length, score)


def load_outline(options: ModelOptions) -> Outline:
    """Read configuration and tokenizer of a stored model: a few files, however large it is.

    Raises:
        ModelError: see `evaluation.models.load_model`; or the dtype is `auto` and the configuration states none.
    """
    origin = locate(options.name, revision=options.revision)
    config, tokenizer = load_config_and_tokenizer(options)
    with loading(options), quiet():
        hollow = _hollow(config, options, origin)
    ordinary = ordinary_tokens(tokenizer, options.name)
    wrapped, eos = HuggingFaceTokenizer(tokenizer), eos_ids(hollow, tokenizer)
    parameters = sum(value.numel() for value in hollow.parameters())
    record = ModelRecord(
        name=options.name,
        revision=origin.commit,
        architecture=type(hollow).__name__,
        parameters=parameters,
        weights_bytes=parameters * hollow.dtype.itemsize,
        weights_digest="",
        dtype=str(hollow.dtype).removeprefix("torch."),
        device="",
        max_length=context_length(config, tokenizer),
        vocabulary=check_vocabulary(hollow, ordinary, options.name),
        bos=wrapped.bos,
        eos=eos,
        path="",
        path_reason="",
        row_tokens=0,
        noise=0.0,
        cache_bytes=cache_bytes(hollow),
        attention="",
        torch=torch.__version__,
        transformers=transformers.__version__,
    )
    return Outline(origin, record, wrapped, Ending(wrapped.output, eos), hollow, ordinary)


def _hollow(config: Any, options: ModelOptions, origin: Origin) -> Any:
    """The model on the device `meta`, with the generation config that loading it would find."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    dtype = config.get_text_config().dtype if options.dtype == "auto" else DTYPES[options.dtype]
    if dtype is None:
        raise ModelError(f"{options.name}: its config.json does not say in which dtype; give --dtype")
    with torch.device("meta"):
        auto: Any = AutoModelForCausalLM
        model = auto.from_config(config, dtype=dtype, trust_remote_code=options.trust_remote_code)
    with suppress(OSError):  # without one: what the configuration says, as the model has it already
        model.generation_config = GenerationConfig.from_pretrained(
            origin.place, revision=options.revision or "main"
        )
    return model.eval()
