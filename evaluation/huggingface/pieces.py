"""Encode text piece by piece, exactly: what neighbouring texts share is tokenised once.

The few-shot prompts of a task repeat the same demonstrations, and the options of a prompt repeat the prompt.
A text may be cut where a space follows another character and its pieces be encoded apart, if no token of the
vocabulary reaches across such a place: no merge of a BPE and no segment of a unigram model then depends on
what lies beyond the cut. This is checked over the vocabulary and on probes; where it does not hold, texts are
encoded whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.models import Tokens

Span = tuple[int, int]
"""First and last character (exclusive) that a token covers."""

_ANCHOR = "a"
"""Stands before a piece, so that a tokenizer that treats the start of a text apart sees the middle of one."""
_ACROSS = re.compile(r"[^\s\0ĠĊĉč▁][ Ġ▁]")
"""A token with a space after another character, in plain, byte-level or SentencePiece spelling."""
_PROBES = (
    "Question: what's 12,345 + é? Answer:  yes  and\nno\n\n\nQ: 'tis 3.5%  of naïve Ünïts A:",
    " leading space. 東京 is big \t tabs\t and <b>tags</b> (x) [y] OK",
    "Ein Satz mit Umlauten: äöü ß. Another one follows",
)
_SHORTEST_SHARED = 64
"""Characters of a common beginning below which remembering it is not worth it."""


class PieceEncoder:
    """Turns text into token ids, without any special token of the tokenizer's own.

    Not thread-safe: it remembers the beginning that the last texts shared.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._previous = self._shared = ""
        self._shared_ids = np.empty(0, np.int32)
        self._anchor = len(self.whole([_ANCHOR])[0])
        self._cuts = bool(tokenizer.is_fast) and _no_token_across(tokenizer)
        self._cuts = self._cuts and all(self._probe(text) for text in _PROBES)

    def last_cut(self, text: str, end: int) -> int:
        """The last place at or before `end` where `text` may be cut; 0 if there is none.

        At its very end (`end` is its length) it may be cut where a space will follow there.
        """
        if not self._cuts:
            return 0
        if end == len(text) and end > 0 and not text[-1].isspace():
            return end
        place = text.rfind(" ", 0, end + 1)
        while place > 0 and text[place - 1].isspace():
            place = text.rfind(" ", 0, place)
        return max(place, 0)

    def whole(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of each text, encoded as one piece."""
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [np.asarray(ids, np.int32) for ids in encoded]

    def beginnings(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of each text; what neighbours begin with alike is encoded once."""
        if not self._cuts:
            return self.whole(texts)
        starts: list[Tokens] = []
        rests: list[str] = []
        for text in texts:
            cut = self._learn(text)
            starts.append(self._shared_ids)
            rests.append(text[cut:] if cut == 0 else _ANCHOR + text[cut:])
        return [
            np.concatenate((start, ids[self._anchor :])) if len(start) else ids
            for start, ids in zip(starts, self.whole(rests), strict=True)
        ]

    def endings(self, texts: Sequence[str], *, inside: Sequence[bool]) -> list[tuple[Tokens, list[Span]]]:
        """Tokens of each text and the characters that they cover; `inside` marks what follows a cut.

        The tokenizer must be a fast one: others do not know which characters a token covers.
        """
        if not texts:
            return []
        padded = [_ANCHOR + text if cut else text for text, cut in zip(texts, inside, strict=True)]
        encoded = self._tokenizer(
            padded, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        found: list[tuple[Tokens, list[Span]]] = []
        for ids, spans, cut in zip(encoded["input_ids"], encoded["offset_mapping"], inside, strict=True):
            skip, shift = (self._anchor, len(_ANCHOR)) if cut else (0, 0)
            moved = [(start - shift, end - shift) for start, end in spans[skip:]]
            found.append((np.asarray(ids[skip:], np.int32), moved))
        return found

    def _learn(self, text: str) -> int:
        """How many characters of `text` the remembered beginning covers, after learning from this text."""
        # The space behind the cut has to be there in this text too.
        known = (
            self._shared
            and text.startswith(self._shared)
            and text[len(self._shared) : len(self._shared) + 1] in ("", " ")
        )
        if not known:
            common = _common_length(self._shared, text)
            if 2 * common < len(self._shared) or not self._shared:
                common = _common_length(self._previous, text)
            # A cut behind the text's last character would be one that no space follows.
            cut = self.last_cut(text, min(common, len(text) - 1)) if common >= _SHORTEST_SHARED else 0
            self._shared = text[:cut]
            self._shared_ids = self.whole([self._shared])[0] if cut else np.empty(0, np.int32)
        self._previous = text
        return len(self._shared)

    def _probe(self, text: str) -> bool:
        """Whether every cut of `text` leaves its tokens as they are."""
        (expected,) = self.whole([text])
        for place in range(1, len(text)):
            if text[place] == " " and not text[place - 1].isspace():
                head, tail = self.whole([text[:place], _ANCHOR + text[place:]])
                if not np.array_equal(np.concatenate((head, tail[self._anchor :])), expected):
                    return False
        return True


def _no_token_across(tokenizer: Any) -> bool:
    """Whether no token of the vocabulary, added ones included, holds or swallows a space after another character."""
    swallowing = any(token.rstrip for token in tokenizer.added_tokens_decoder.values())
    return not swallowing and _ACROSS.search("\0".join(tokenizer.get_vocab())) is None


def _common_length(one: str, other: str) -> int:
    """Characters that two texts begin with alike, by halving: slices compare far faster than a loop."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
