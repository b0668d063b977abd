"""Random models of a few thousand parameters, with the tokenizer conventions of their families.

Made in the test, without downloads. The weights are larger than an initialisation's, so that what a token may
not look at changes the result by far more than rounding does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GemmaConfig,
    GenerationConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

CORPUS = (
    "Question: is the river longer than the road? Answer: yes, it is. Answer: no, it is not.",
    "Passage: the quick brown fox jumps over 12 lazy dogs; they don't mind.\nOptions:\n- true\n- false",
    "What's the capital? It'll be Zürich, naïve café, 3.14 or 1,000 — “quoted”.\n\n\nOutput: maybe",
    "Premise: a man is walking.\nHypothesis: a person moves.\nDoes it follow? entailment neutral contradiction",
)
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where Qwen's tokenizers split text before they merge: digits stand alone, newlines stick to punctuation."""
WORDS = (
    "the",
    "a",
    "fox",
    "river",
    "yes",
    "no",
    "is",
    "true",
    "longer",
    "12",
    "dogs,",
    "Zürich:",
    "—",
    "don't",
)
"""What random prompts are made of: words, digits, marks, letters and signs of several bytes."""

VOCABULARY = 480
POSITIONS = 512


@dataclass(frozen=True)
class Family:
    """How to make one family's tiny model and tokenizer."""

    config: Callable[[], Any]
    tokenizer: Callable[[], Any]
    shared: bool = True
    """Whether the shared path is right for it; otherwise the runner must notice."""


def make_model(name: str, seed: int = 0) -> Any:
    """A model of a family in float32; the same seed gives the same weights."""
    model = AutoModelForCausalLM.from_config(FAMILIES[name].config()).eval()
    generator = torch.Generator().manual_seed(seed)
    for key, parameter in sorted(model.named_parameters()):
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.25, generator=generator)
        elif key.endswith("bias"):
            parameter.data.normal_(0, 0.1, generator=generator)
    model.tie_weights()
    model.generation_config = GenerationConfig(eos_token_id=make_tokenizer(name).eos_token_id)
    return model


@cache
def make_tokenizer(name: str) -> Any:
    """A family's tokenizer."""
    return FAMILIES[name].tokenizer()


def _sizes(**other: Any) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    } | other


def _gated(**other: Any) -> dict[str, Any]:
    """What the descendants of LLaMA share."""
    shape = {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": POSITIONS}
    return _sizes(**shape) | {"tie_word_embeddings": False} | other


def _trained(pre_tokenizer: Any, special: list[str], *, bytes_first: bool, **bpe: Any) -> Tokenizer:
    """A BPE trained on the corpus."""
    backend = Tokenizer(models.BPE(**bpe))
    backend.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 4,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if bytes_first else [],
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def byte_level(
    special: list[str], *, bos: str | None, eos: str, pad: str | None, side: str, qwen: bool = False
) -> Any:
    """GPT-2's kind: bytes, a space belongs to the word behind it; BOS is put first if `bos` is given."""
    split: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if qwen:
        pieces = pre_tokenizers.Split(Regex(QWEN_WORDS), behavior="isolated", invert=False)
        split = pre_tokenizers.Sequence(
            [pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    backend = _trained(split, special, bytes_first=True)
    if qwen:
        backend.normalizer = normalizers.NFC()
    backend.decoder = decoders.ByteLevel()
    if bos:
        first = (bos, special.index(bos))
        backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[first])
    else:
        backend.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=bos, eos_token=eos, pad_token=pad, padding_side=side
    )


def sentence_piece(*, dummy_prefix: bool, bos: str, eos: str, pad: str | None) -> Any:
    """SentencePiece's kind: `▁` for a space, bytes as a last resort, no splitting before the merges."""
    special = ["<unk>", bos, eos, "<pad>", *(f"<0x{byte:02X}>" for byte in range(256))]
    split = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    backend = _trained(
        split, special, bytes_first=False, unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    if dummy_prefix:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = None
        last: list[Any] = [decoders.Strip(" ", 1, 0)]
    else:
        backend.normalizer = normalizers.Replace(" ", "▁")
        backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        last = []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last]
    )
    backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos,
        eos_token=eos,
        unk_token="<unk>",
        pad_token=pad,
        padding_side="left",
    )


class CharacterTokenizer(PreTrainedTokenizer):
    """A slow tokenizer without offsets: a token a character, but `:` and the space behind it are one."""

    def __init__(self, **kwargs: Any) -> None:
        letters = [chr(code) for code in range(32, 127)]
        self._vocabulary = {
            token: i for i, token in enumerate(["<s>", "</s>", "<unk>", ": ", "\n", *letters])
        }
        super().__init__(bos_token="<s>", eos_token="</s>", unk_token="<unk>", **kwargs)

    @property
    def vocab_size(self) -> int:
        return len(self._vocabulary)

    def get_vocab(self) -> dict[str, int]:
        return dict(self._vocabulary)

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        tokens, place = [], 0
        while place < len(text):
            width = 2 if text.startswith(": ", place) else 1
            tokens.append(text[place : place + width])
            place += width
        return tokens

    def _convert_token_to_id(self, token: str) -> int:
        return self._vocabulary.get(token, 2)

    def _convert_id_to_token(self, index: int) -> str:
        return next((token for token, number in self._vocabulary.items() if number == index), "<unk>")

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)

    def build_inputs_with_special_tokens(self, token_ids_0: list[int], token_ids_1: Any = None) -> list[int]:
        return [0, *token_ids_0]


def merging_tokenizer() -> Any:
    """A fast tokenizer whose `: y` is one token, across the boundary of a prompt and its option."""
    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", *letters, ": ", ": y"])}
    backend = Tokenizer(models.BPE(vocabulary, [(":", " "), (": ", "y")], unk_token="<unk>"))
    backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="<s>", unk_token="<unk>"
    )


def _opt_tokenizer() -> Any:
    return byte_level(["<s>", "<pad>", "</s>", "<unk>"], bos="</s>", eos="</s>", pad="<pad>", side="right")


def _gpt2_tokenizer() -> Any:
    return byte_level(["<|endoftext|>"], bos=None, eos="<|endoftext|>", pad=None, side="right")


def _neox_tokenizer() -> Any:
    made = byte_level(
        ["<|endoftext|>", "<|padding|>"], bos=None, eos="<|endoftext|>", pad="<|padding|>", side="left"
    )
    made.add_tokens([AddedToken("    ", normalized=True)])
    return made


def _qwen_tokenizer() -> Any:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = byte_level(special, bos=None, eos="<|im_end|>", pad="<|endoftext|>", side="left", qwen=True)
    made.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return made


def _llama_tokenizer() -> Any:
    return sentence_piece(dummy_prefix=True, bos="<s>", eos="</s>", pad=None)


def _gemma_tokenizer() -> Any:
    return sentence_piece(dummy_prefix=False, bos="<bos>", eos="<eos>", pad="<pad>")


FAMILIES: dict[str, Family] = {
    "opt": Family(
        lambda: OPTConfig(
            **_sizes(
                ffn_dim=64,
                max_position_embeddings=POSITIONS,
                word_embed_proj_dim=16,
                do_layer_norm_before=True,
            )
        ),
        _opt_tokenizer,
    ),
    "gpt2": Family(
        lambda: GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=POSITIONS),
        _gpt2_tokenizer,
    ),
    "gpt_neox": Family(
        lambda: GPTNeoXConfig(**_sizes(intermediate_size=64, max_position_embeddings=POSITIONS)),
        _neox_tokenizer,
    ),
    "llama": Family(lambda: LlamaConfig(**_gated()), _llama_tokenizer),
    "mistral": Family(lambda: MistralConfig(**_gated(sliding_window=160)), _llama_tokenizer),
    "qwen2": Family(lambda: Qwen2Config(**_gated(tie_word_embeddings=True)), _qwen_tokenizer),
    "gemma": Family(lambda: GemmaConfig(**_gated(head_dim=16, num_key_value_heads=1)), _gemma_tokenizer),
    "gemma2": Family(
        lambda: Gemma2Config(
            **_gated(head_dim=16, sliding_window=160, attn_logit_softcapping=2.0, final_logit_softcapping=5.0)
        ),
        _gemma_tokenizer,
    ),
    "bloom": Family(
        lambda: BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4),
        _gpt2_tokenizer,
        False,
    ),
    "mamba": Family(
        lambda: MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4),
        _neox_tokenizer,
        False,
    ),
    "gptj": Family(
        lambda: GPTJConfig(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=POSITIONS
        ),
        _gpt2_tokenizer,
        False,
    ),
}
SHARED = tuple(name for name, family in FAMILIES.items() if family.shared)
PLAIN = tuple(name for name, family in FAMILIES.items() if not family.shared)


def reference_scores(model: Any, tokenizer: Any, prompt: str, options: list[str]) -> list[float]:
    """Log-likelihood of each option by one bare call of the model, the boundary found from the prompt's tokens.

    Only right where no token reaches across the boundary.
    """
    text = prompt.rstrip(" ")
    start = list(tokenizer(text)["input_ids"]) or [tokenizer.eos_token_id]
    sums = []
    for option in options:
        ids = list(tokenizer(f"{text} {option}")["input_ids"])
        ids = ids if text or tokenizer("")["input_ids"] else start + ids
        assert ids[: len(start)] == start, "a token reaches across the boundary"
        with torch.no_grad():
            logprobs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), dim=-1)
        sums.append(sum(float(logprobs[at - 1, ids[at]]) for at in range(len(start), len(ids))))
    return sums


def reference_output(model: Any, tokenizer: Any, prompt: str, new_tokens: int) -> list[int]:
    """The new tokens of a prompt by the model's own greedy search, alone and without any padding."""
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    with torch.no_grad():
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=new_tokens,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.eos_token_id,
            ),
        )
    return list(output[0, ids.shape[1] :].tolist())
