"""`builtin:tiny-opt`: a small deterministic OPT with its own tokenizer, made on the spot, for a first run.

It has OPT's architecture and conventions (byte-level BPE, `</s>` before each text, 2,048 positions) and takes
the same way through the runner as a downloaded model. Its weights are a fixed formula: its scores mean
nothing, and are the same on every machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evaluation.huggingface.assembly import assemble
from evaluation.huggingface.loading import DTYPES, check_options, device_of
from evaluation.huggingface.model import HuggingFaceModel
from evaluation.huggingface.tokenizer import HuggingFaceTokenizer
from evaluation.models import ModelOptions
from task_registry.errors import UsageError

HIDDEN, LAYERS, HEADS, POSITIONS = 64, 2, 4, 2_048
VOCABULARY = 512
_TEXT = """
The question is which of the answers is right. Read the passage, the sentence and the question, then answer.
Is this review positive or negative? Does the first sentence entail the second? True, false, yes or no.
Given a text, write a short summary of it. Translate the sentence. Choose the option that best ends the story.
What is the name of the person, the place or the thing that the text is about? Because, therefore, however.
Input: Output: Question: Answer: Options: Passage: Task: Context: Explanation: one two three four five six
Some people were walking to the house when they saw that there had been something new in the garden.
"""
"""What the tokenizer's merges are learnt from: words that instructions are made of."""


def load_tiny_opt(options: ModelOptions) -> HuggingFaceModel:
    """Make the model and its tokenizer; nothing is read from disk or network.

    On a CPU this process computes with one thread from then on: its passes are too small for several, which on a
    busy machine wait for one another most of the time.

    Raises:
        UsageError: an option that only makes sense for a model that is stored somewhere.
    """
    for name in ("revision", "peft", "quantize", "device_map"):
        if getattr(options, name):
            raise UsageError(f"{options.name} takes no {name}; it is made on the spot")
    check_options(options)
    dtype, device = DTYPES[options.dtype], device_of(options)
    if device.type == "cpu":
        torch.set_num_threads(1)
    model = make_model().to(device)
    return assemble(model if dtype == "auto" else model.to(dtype), make_tokenizer(), options)


def load_tiny_opt_tokenizer() -> tuple[HuggingFaceTokenizer, int]:
    """Its tokenizer and the length of its context."""
    return HuggingFaceTokenizer(make_tokenizer()), POSITIONS


def make_model() -> Any:
    """The model in float32, in evaluation mode."""
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        word_embed_proj_dim=HIDDEN,
        ffn_dim=4 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=POSITIONS,
    )
    with torch.device("meta"):  # no random numbers are drawn
        empty: Any = OPTForCausalLM(config)
    model = empty.to_empty(device="cpu").eval()
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if parameter.ndim == 1:
            parameter.data.fill_(1.0 if name.endswith("norm.weight") else 0.0)
        else:
            scale = 2.0 / math.sqrt(parameter.shape[-1])
            parameter.data.copy_(torch.from_numpy(_weights(tuple(parameter.shape), number) * scale))
    return model


def make_tokenizer() -> Any:
    """A byte-level BPE with OPT's conventions: `<pad>` is 1, `</s>` is 2 and stands before each text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([_TEXT], trainer)
    backend.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    wrapper: Any = PreTrainedTokenizerFast
    return wrapper(
        tokenizer_object=backend, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>"
    )


def _weights(shape: tuple[int, ...], number: int) -> npt.NDArray[np.float32]:
    """Numbers in [-1, 1) that look random: SplitMix64 over a counter, exact on every machine."""
    index = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) + np.uint64(number << 32)
    mixed = index * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    top = (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(40)
    return (top.astype(np.float32) / np.float32(1 << 23) - np.float32(1)).reshape(shape)
