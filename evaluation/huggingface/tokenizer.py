"""Text to requests: one join rule, the tokenizer's own BOS exactly once, boundaries by character offsets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from evaluation.batching import common_prefix
from evaluation.huggingface.pieces import PieceEncoder
from evaluation.models import GenerateRequest, OptionsRequest, Tokens, Turn
from task_registry.errors import ModelError, quote

_REMEMBERED = 4_096
"""Endings that are remembered at most: a task repeats few options many times."""

_ANSWER = "<answer>"
"""What the assistant is made to say, to see what a chat template puts before it."""

_Ending = tuple[str, int, bool]
"""The end of a prompt with an option, where the prompt stops in it, and whether something stands before it."""
_Split = tuple[Tokens, Tokens, bool]
"""The prompt's tokens, the option's, and whether a token merged across the boundary."""


class HuggingFaceTokenizer:
    """The runner's view of a `transformers` tokenizer; `evaluation.models.Tokenizer` is its protocol."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._encoder = PieceEncoder(tokenizer)
        self._splits: dict[_Ending, _Split] = {}
        self._lock = Lock()
        """Requests are read ahead in a thread; both the encoder and the splits remember what they saw."""
        self.bos = _special_prefix(tokenizer)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by itself, BOS not counted."""
        with self._lock:
            return [len(ids) for ids in self._encoder.beginnings(texts)]

    def last(self, text: str, tokens: int) -> str:
        """The longest ending of `text` of at most `tokens` tokens, to within a token or two."""

        def fits(start: int) -> bool:
            return len(self._encoder.whole([text[start:]])[0]) <= tokens

        if tokens <= 0 or fits(0):
            return text if tokens > 0 else ""
        if not self._tokenizer.is_fast:
            return text[bisect_left(range(len(text)), True, key=fits) :]
        ((_, spans),) = self._encoder.endings([text], inside=[False])
        # An ending may have more tokens than it had within the text, in its first word; hence the search.
        return text[next((start for start, _ in spans[-tokens:] if fits(start)), len(text)) :]

    def chat(self, turns: Sequence[Turn]) -> str:
        """The prompt that the model's chat template makes of `turns`."""
        return self._rendered(turns, add_generation_prompt=True)

    def options(
        self, prompts: Sequence[tuple[str, Sequence[str]]], *, chat: bool = False
    ) -> list[OptionsRequest]:
        """Prompts with their options as requests; an empty prompt is BOS alone."""
        with self._lock:
            return self._options(prompts, self._chat_join if chat else " ")

    def prompts(
        self,
        prompts: Sequence[str],
        max_new_tokens: int = 256,
        stop: Sequence[str] = (),
        *,
        chat: bool = False,
    ) -> list[GenerateRequest]:
        """Prompts as requests for generation, trailing spaces removed but for those of a chat template."""
        stripped = list(prompts) if chat else [prompt.rstrip(" ") for prompt in prompts]
        with self._lock:
            encoded = self._encoder.beginnings(stripped)
        return [
            GenerateRequest(self._context(text, ids), max_new_tokens, tuple(stop))
            for text, ids in zip(stripped, encoded, strict=True)
        ]

    def decode(self, tokens: Tokens) -> str:
        """The text of `tokens`, special tokens included."""
        return str(self._tokenizer.decode(tokens.tolist()))

    def output(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, special tokens left out."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def _rendered(self, turns: Sequence[Turn], *, add_generation_prompt: bool) -> str:
        if not getattr(self._tokenizer, "chat_template", None):
            raise ModelError("the tokenizer has no chat template; run without --chat-template")
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            text = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:
            raise ModelError(f"the chat template refuses the prompt: {quote(str(error), 120)}") from error
        return str(text)

    @cached_property
    def _chat_join(self) -> str:
        """The white space between where the assistant speaks and its answer, as the chat template has it.

        None after `<|im_start|>assistant` and a line feed; a space after `[/INST]` or `ASSISTANT:`.
        """
        asked = [Turn("user", "?")]
        prompt = self.chat(asked)
        answered = self._rendered([*asked, Turn("assistant", _ANSWER)], add_generation_prompt=False)
        between = answered.removeprefix(prompt).partition(_ANSWER)[0] if answered.startswith(prompt) else ""
        return prompt[len(prompt.rstrip(" ")) :] + (between if between.isspace() else "")

    def _options(self, prompts: Sequence[tuple[str, Sequence[str]]], join: str) -> list[OptionsRequest]:
        stripped = [prompt.rstrip(" ") for prompt, _ in prompts]
        ended = join.startswith(" ")  # then a prompt may be cut at its very end
        cuts = [self._encoder.last_cut(text, len(text) if ended else len(text) - 1) for text in stripped]
        heads = self._encoder.beginnings([text[:cut] for text, cut in zip(stripped, cuts, strict=True)])
        endings = [
            [(f"{text[cut:]}{join}{option}", len(text) - cut, cut > 0) for option in options or ("",)]
            for text, cut, (_, options) in zip(stripped, cuts, prompts, strict=True)
        ]
        self._split([ending for group in endings for ending in group])
        return [
            self._request(text, head, [self._splits[ending] for ending in group], len(options))
            for text, head, group, (_, options) in zip(stripped, heads, endings, prompts, strict=True)
        ]

    def _request(self, prompt: str, head: Tokens, splits: Sequence[_Split], count: int) -> OptionsRequest:
        """One request from a prompt's beginning and the split end of each of its options, if it has any."""
        ends = [end for end, _, _ in splits]
        shared = min(common_prefix(ends[0], end) for end in ends)
        context = self._context(prompt, np.concatenate((head, ends[0][:shared])))
        if not count:
            return OptionsRequest(context, (), ())
        return OptionsRequest(
            context,
            tuple(np.concatenate((end[shared:], option)) for end, option, _ in splits),
            tuple(len(option) for _, option, _ in splits),
            sum(merged for _, _, merged in splits),
        )

    def _context(self, prompt: str, ids: Tokens) -> Tokens:
        """Put BOS before a prompt's tokens, unless its text (a chat template's) begins with it."""
        bos = self._tokenizer.bos_token
        if self.bos and not (bos and prompt.startswith(bos)):
            return np.concatenate((np.asarray(self.bos, np.int32), ids))
        if len(ids):
            return ids
        # Without a token to predict from nothing can be scored; where there is no BOS, EOS ends a text before it.
        for first in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
            if first is not None:
                return np.asarray([first], np.int32)
        raise ModelError("an empty prompt needs a BOS or EOS token, and the tokenizer has neither")

    def _split(self, endings: Sequence[_Ending]) -> None:
        """Make sure that `self._splits` knows each ending."""
        missing = [ending for ending in dict.fromkeys(endings) if ending not in self._splits]
        if len(self._splits) + len(missing) > _REMEMBERED:
            self._splits.clear()
            missing = list(dict.fromkeys(endings))
        for ending, split in zip(missing, self._split_all(missing), strict=True):
            self._splits[ending] = split

    def _split_all(self, endings: Sequence[_Ending]) -> list[_Split]:
        """Split the tokens of each ending where the option's characters begin."""
        # A piece that is the option alone cannot merge with anything; otherwise the prompt's part is needed too.
        alone = list(dict.fromkeys((text[:stop], inside) for text, stop, inside in endings if stop))
        texts = [text for text, _, _ in endings] + [text for text, _ in alone]
        inside = [cut for _, _, cut in endings] + [cut for _, cut in alone]
        if self._tokenizer.is_fast:
            encoded = self._encoder.endings(texts, inside=inside)
        else:
            encoded = [(ids, []) for ids in self._encoder.whole(texts)]
        prompts = {key: ids for key, (ids, _) in zip(alone, encoded[len(endings) :], strict=True)}
        prompts |= {("", True): np.empty(0, np.int32), ("", False): np.empty(0, np.int32)}
        splits: list[_Split] = []
        for (text, stop, cut), (ids, spans) in zip(endings, encoded[: len(endings)], strict=True):
            prompt = prompts[text[:stop], cut]
            merged = not np.array_equal(ids[: len(prompt)], prompt)
            first = len(prompt)
            if merged and spans:
                first = next((i for i, (_, end) in enumerate(spans) if end > stop), len(ids))
            elif merged:
                first = common_prefix(ids, prompt)
            splits.append((ids[:first], ids[first:], merged))
        return splits


def _special_prefix(tokenizer: Any) -> tuple[int, ...]:
    """The ids that the tokenizer itself puts before a text: its BOS rule.

    Raises:
        ModelError: it puts its BOS there twice, or changes the text's own tokens.
    """
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    special = list(tokenizer("a")["input_ids"])
    for length in range(len(special) - len(plain) + 1):
        if special[length : length + len(plain)] == plain:
            prefix = tuple(special[:length])
            if tokenizer.bos_token_id is not None and prefix.count(tokenizer.bos_token_id) > 1:
                raise ModelError(
                    f"the tokenizer puts BOS ({tokenizer.bos_token_id}) before a text twice;"
                    " mend its post-processor or its add_bos_token"
                )
            return prefix
    raise ModelError("the tokenizer tokenises a text differently with special tokens; it cannot be used")
