"""The words of a text, its duplicate key, and the hashes of its n-grams: what the leakage checks compare.

A *word* is a run of letters, digits and combining marks of any script, under Unicode's NFKC and case folding:
a copy with other case, punctuation, spacing or compatibility characters keeps its words. In scripts written
without spaces (Han, kana, Thai, Lao, Khmer, Burmese) a whole clause would be one word: there each letter is a
word of its own. Format characters (soft hyphens, joiners, marks of direction) are left out.

For n-grams a chunk of texts becomes one sequence of words. The end of each row, and each `BREAK` inside a text,
stands in it as a word that is part of no n-gram. Hence no n-gram reaches over a row, or from an input into its
reference: the words on the two sides of that border stand together in no data set, but only in how we join them.

Words are numbered by a vocabulary, exactly, or hashed to 64-bit codes by numpy, in a fifth of the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, TypeAlias
from unicodedata import category, normalize

import numpy as np
from numpy.typing import NDArray

from task_registry.hashing import hash64

if TYPE_CHECKING:
    import pyarrow as pa

Texts: TypeAlias = "Sequence[str] | pa.Array | pa.ChunkedArray"
"""Strings, or an Arrow column of them; none is null."""

Words = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

BREAK = "\x1e"
"""Joins the fields of one text; no n-gram reaches over it."""

UNKNOWN, ROW_END, FIELD_END, FIRST_WORD = range(4)
"""Word numbers: a word outside the vocabulary, the two ends, and the first that is a word."""

ENDS = {b"\x1d": ROW_END, BREAK.encode(): FIELD_END}
"""The vocabulary before its first word."""

CHUNK_CHARACTERS = 1 << 19
"""Texts are taken together up to this size: enough for numpy, little enough for the processor's cache."""

_ROW_BREAK = "\x1d"
_MULTIPLIER = 0x9E3779B97F4A7C15
_MODULUS = 1 << 64
_LANE = 8
_LANE_MASKS = np.array([(1 << 8 * size) - 1 for size in range(_LANE + 1)], np.uint64)
_CODED_BYTES = 64

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_IGNORED = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # variation selectors: marks that draw nothing
_UNSPACED = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"  # above: kana and Han; here: Thai and Lao, Burmese, Khmer
)
_SYMBOL = re.compile(rb"[*+/<=>|~$^%-]")
_HYPHEN = re.compile(rb"-(?:(?![0-9])|(?<=[0-9a-z\x80-\xff-]-))")  # every - that is not the sign of a number


def _byte_table(kept: bytes) -> bytes:
    """For `bytes.translate`: lower case, what folding left of other scripts, `kept`; all else is a space."""
    table = bytearray(b" " * 256)
    for byte in (*b"0123456789abcdefghijklmnopqrstuvwxyz", *range(128, 256), *kept):
        table[byte] = byte
    for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        table[byte] = byte | 0x20
    return bytes(table)


_KEY_BYTES = _byte_table(b"*+/<=>|~$^%-")
_WORD_BYTES = _byte_table(b"\x1d\x1e")


def normalised(text: str) -> str:
    """Return what makes two texts duplicates: their words and symbols, folded and joined by single spaces.

    Case, white space and punctuation go, as in the n-grams. Symbols stay, each a word by itself: Unicode's
    Sm, Sc and So, the ASCII operators `* / % ^`, and a `-` that is the sign of a number. Without them
    `[-58, 85]` would be `[58, 85]`, and `a < b` would be `a > b`: other questions with other answers. A text
    that has neither words nor symbols keeps its punctuation.
    """
    data = _folded(text, symbols=True).encode("utf-8", "surrogatepass").translate(_KEY_BYTES)
    data = _SYMBOL.sub(rb" \g<0> ", _HYPHEN.sub(b" ", data))
    return b" ".join(data.split()).decode("utf-8", "surrogatepass") or " ".join(text.split())


def duplicate_key(*texts: str) -> int:
    """Hash texts (an input, or an input and its references) to 64 bits: equal for equal normalised texts."""
    return hash64(*map(normalised, texts))


def folded_words(texts: Sequence[str]) -> bytes:
    """Fold texts to words with spaces between them, an end after each text and in place of each `BREAK`."""
    rows = [text if text.isascii() else _folded(text, symbols=False) for text in texts]
    joined = _ROW_BREAK.join((*rows, ""))
    if joined.count(_ROW_BREAK) != len(rows):  # a native text holds the character
        joined = _ROW_BREAK.join((*(row.replace(_ROW_BREAK, BREAK) for row in rows), ""))
    data = joined.encode("utf-8", "surrogatepass").translate(_WORD_BYTES)
    for end in ENDS:
        data = data.replace(end, b" " + end + b" ")
    return data


def word_numbers(folded: bytes, vocabulary: Mapping[bytes, int], learn: bool = False) -> Words:
    """Number the words of `folded_words`; shape (words,).

    A word that is not in `vocabulary` is `UNKNOWN`; with `learn` the vocabulary (a `defaultdict`) numbers it.
    """
    words = folded.split()
    numbers = map(vocabulary.__getitem__, words) if learn else map(vocabulary.get, words, repeat(UNKNOWN))
    return np.fromiter(numbers, np.uint32, len(words))


def word_codes(folded: bytes) -> Hashes:
    """Hash the words of `folded_words` to 64 bits each; shape (words,).

    Eight bytes at a time for all words at once, up to `_CODED_BYTES` of a word, and its length: equal words
    have equal codes, and unequal words nearly always unequal ones.
    """
    padded = folded + b" " * (2 * _LANE + -len(folded) % _LANE)
    is_word = np.frombuffer(padded, np.uint8) != ord(" ")
    edges = np.flatnonzero(np.diff(is_word, prepend=False))
    starts, lengths = edges[0::2], edges[1::2] - edges[0::2]
    lanes = np.frombuffer(padded, "<u8")
    codes = lengths.astype(np.uint64) * np.uint64(_MULTIPLIER)
    rest = np.arange(len(starts))
    for offset in range(0, _CODED_BYTES, _LANE):
        if offset:
            rest = rest[lengths[rest] > offset]
        at = starts[rest] + offset
        shift = ((at & 7) << 3).astype(np.uint64)
        lane = lanes[at >> 3] >> shift
        lane |= (lanes[(at >> 3) + 1] << (np.uint64(63) - shift)) << np.uint64(1)
        lane &= _LANE_MASKS[np.minimum(lengths[rest] - offset, _LANE)]
        codes[rest] = _mixed(codes[rest] + lane)
    return codes


def count_ngrams(codes: Hashes, width: int) -> int:
    """Count the n-grams of `width` words, whether known or not, in an array that `word_codes` made."""
    ends = np.flatnonzero(np.isin(codes, END_CODES))
    return int(np.maximum(np.diff(ends, prepend=-1) - width, 0).sum())


def rows_of(texts: Texts) -> Iterator[str]:
    """Go through texts, those of an Arrow column a thousand at a time."""
    if isinstance(texts, Sequence):
        yield from texts
        return
    for start in range(0, len(texts), 1000):
        yield from texts.slice(start, 1000).to_pylist()


def chunks(texts: Texts) -> Iterator[list[str]]:
    """Cut texts into lists of some `CHUNK_CHARACTERS` characters; a longer text is a list by itself."""
    chunk: list[str] = []
    size = 0
    for text in rows_of(texts):
        if chunk and size + len(text) > CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text) + 1
    if chunk:
        yield chunk


def window_hashes(codes: Hashes | Words, width: int) -> Hashes:
    """Hash each run of `width` words, in order of its first word; shape (max(0, words - width + 1),).

    A polynomial in the words' codes modulo 2**64, put together from runs of 1, 2, 4, ... words: five steps
    for 13 words instead of twelve.
    """
    places = len(codes) - width + 1
    if places <= 0:
        return np.empty(0, np.uint64)
    level = codes.astype(np.uint64)
    total = np.zeros(places, np.uint64)
    taken, span = 0, 1
    while True:
        factor = np.uint64(pow(_MULTIPLIER, span, _MODULUS))
        if width & span:
            total *= factor
            total += level[taken : taken + places]
            taken += span
        if 2 * span > width:
            return _mixed(total)
        level = level[:-span] * factor + level[span:]
        span *= 2


def any_within(flags: Flags, width: int) -> Flags:
    """Say whether any of `width` flags is set, from each place on; shape (max(0, flags - width + 1),)."""
    places, span = max(0, len(flags) - width + 1), 1
    while 2 * span <= width:
        flags = flags[:-span] | flags[span:]
        span *= 2
    return flags[:places] | flags[width - span :][:places]


def _folded(text: str, symbols: bool) -> str:
    """Fold what is not ASCII in a text: afterwards every other character that is left is part of a word."""
    if text.isascii():
        return text
    pieces: list[str] = []
    done = 0
    for run in _NOT_ASCII.finditer(text):
        start = max(done, run.start() - 1)  # with the character before it, to which a combining mark belongs
        fold = _folded_word if run.end() - start <= 40 else _folded_run
        pieces += text[done:start], fold(text[start : run.end()], symbols)
        done = run.end()
    return "".join((*pieces, text[done:]))


def _folded_run(run: str, symbols: bool) -> str:
    """Fold a run: NFKC with case folding, unspaced letters set apart, all but words (and symbols) a space."""
    folded: list[str] = []
    in_word = alone = False
    run = normalize("NFKC", _IGNORED.sub("", normalize("NFKC", run).casefold()))
    for char in run.replace("\N{MINUS SIGN}", "-"):
        kind = category(char)
        if kind[0] in "LN":
            was_alone, alone = alone, _UNSPACED.match(char) is not None
            folded.append(f" {char}" if alone or was_alone else char)
            in_word = True
        elif kind[0] == "M":
            folded.append(char if in_word else "")
        elif kind != "Cf":
            blank = f" {char} " if symbols and kind in ("Sm", "Sc", "So") else " "
            folded.append(char if char.isascii() else blank)
            in_word = alone = False
    return "".join(folded) + (" " if alone else "")


_folded_word = lru_cache(maxsize=1 << 15)(_folded_run)


def _mixed(values: Hashes) -> Hashes:
    """Spread every bit over the others, in place; one to one."""
    values *= np.uint64(_MULTIPLIER)
    values ^= values >> np.uint64(32)
    values *= np.uint64(_MULTIPLIER)
    values ^= values >> np.uint64(29)
    return values


END_CODES = word_codes(b" ".join(ENDS))
"""The codes of a row's end and of a `BREAK`."""
