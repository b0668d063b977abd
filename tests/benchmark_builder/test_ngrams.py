"""Words, duplicate keys and n-gram hashes against plain implementations of what their docstrings say."""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from unicodedata import category, normalize

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_builder import ngrams
from benchmark_builder.ngrams import (
    BREAK,
    ENDS,
    FIELD_END,
    FIRST_WORD,
    ROW_END,
    UNKNOWN,
    any_within,
    chunks,
    count_ngrams,
    duplicate_key,
    folded_words,
    normalised,
    rows_of,
    window_hashes,
    word_codes,
    word_numbers,
)
from task_registry.hashing import hash64

# All of Unicode, and often enough the places where folding is hard: marks, other digits, unspaced scripts, breaks.
TEXTS = st.text(
    st.one_of(
        st.sampled_from(
            "aB9 _-*.,İıßſςﬁéẞ½²´नमस्ते漢字かナ日本ไทย한글…’\u0301\u0308\u00ad\u200d\ufe0f\u2212\x1d\x1e"
        ),
        st.characters(),
    )
)


def plain_words(text: str) -> list[str]:
    """Say the same as `folded_words`, without its ends: the text at once, character by character."""
    folded = normalize("NFKC", ngrams._IGNORED.sub("", normalize("NFKC", text).casefold()))
    words, word = [], ""
    for char in folded:
        kind = category(char)
        alone = ngrams._UNSPACED.match(char) is not None
        if kind[0] in "LN" and not (word and (alone or ngrams._UNSPACED.match(word))):
            word += char
        elif kind[0] in "LN":
            words.append(word)
            word = char
        elif kind[0] == "M" and word:
            word += char
        elif kind[0] != "M" and kind != "Cf" and word:
            words.append(word)
            word = ""
    return [*words, word] if word else words


@given(TEXTS)
def test_words_are_runs_of_letters_marks_and_digits_of_any_script(text: str) -> None:
    got = [word.decode() for word in folded_words([text]).split() if word not in ENDS]
    assert got == plain_words(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("The cat, sat.", "  the CAT sat! "),
        ("well-known facts", "Well known\tfacts"),
        ("don't “quote”", 'DON’T "quote"'),
        ("STRASSE", "straße"),
        ("Ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
        ("Ｆｕｌｌ ﬁne №", "full fine no"),
        ("caf\u00e9", "cafe\u0301"),
        ("co\u00adoperate", "cooperate"),
        ("a\u00a0b\u2003c\u3000d", "a b c d"),
        ("«Да», сказал он…", "да сказал он"),
        ("漢字。かな", "漢字 かな"),
        ("x\u2212y = \u22125", "x-y = -5"),
        ("3+4", "3 + 4"),
        ("pages 3-4", "Pages 3\u20134"),
        ("one\x1etwo", "one two"),
    ],
)
def test_equal_but_for_case_punctuation_and_spacing(text: str, same: str) -> None:
    assert normalised(text) == normalised(same)
    assert duplicate_key(text, "yes") == duplicate_key(same, "Yes.")


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("[-58, -85]", "[-58, 85]"),
        ("J << A", "J >> A"),
        ("sqrt(2)*sqrt(3)", "sqrt(2), sqrt(3)"),
        ("1, 23", "12, 3"),
        ("x^2", "x 2"),
        ("2 / 3", "2 % 3"),
        ("3 ≤ 4", "3 ≥ 4"),
        ("I saw it 😀", "I saw it 😡"),
        ("5 €", "5 £"),
        ("नमस्ते दुनिया", "नमस्ता दुनिया"),
        ("สวัสดี", "ลาก่อน"),
        ("漢字", "漢語"),
        ("한글", "한국"),
        ("( ( ) )", "( ) ( )"),
        ("?!", "!?"),
    ],
)
def test_other_questions_stay_apart(text: str, other: str) -> None:
    assert normalised(text) != normalised(other)
    assert normalised(text)


@given(TEXTS)
def test_only_blank_text_is_reduced_to_nothing(text: str) -> None:
    assert bool(normalised(text)) == bool(text.strip())


@given(TEXTS, st.sampled_from([" ", "\n\t", ",", "!? ", "…", "\u2003"]))
def test_what_stands_around_words_does_not_matter(text: str, around: str) -> None:
    assert normalised(f"word {text} word") == normalised(f"{around}word{around} {text} {around}WORD{around}")


def test_the_key_is_a_hash_of_each_field() -> None:
    assert duplicate_key("The cat, sat.", "Yes") == hash64("the cat sat", "yes")
    assert duplicate_key("a b", "c") != duplicate_key("a", "b c")


def test_unspaced_scripts_have_a_word_for_each_letter() -> None:
    words = [word.decode() for word in folded_words(["GPU用の漢字2つ ไทย กี่"]).split()]
    assert words == ["gpu", "用", "の", "漢", "字", "2", "つ", "ไ", "ท", "ย", "กี่", "\x1d"]


def test_words_of_a_native_text_with_our_control_characters() -> None:
    vocabulary = defaultdict(count(FIRST_WORD).__next__, ENDS)
    numbers = word_numbers(folded_words(["a\x1db", f"a{BREAK}c", ""]), vocabulary, learn=True)
    assert numbers.tolist() == [3, FIELD_END, 4, ROW_END, 3, FIELD_END, 5, ROW_END, ROW_END]
    assert word_numbers(folded_words(["c d a"]), vocabulary).tolist() == [5, UNKNOWN, 3, ROW_END]
    assert len(vocabulary) == 5


WORDS = st.lists(st.text("abcé", min_size=1, max_size=40), min_size=1, max_size=30)


@given(WORDS)
def test_codes_belong_to_words_not_to_where_they_stand(words: list[str]) -> None:
    codes = word_codes(" ".join(words).encode())
    alone = [int(word_codes(word.encode())[0]) for word in words]
    assert codes.tolist() == alone
    assert len(set(alone)) == len(set(words))


def test_codes_tell_words_of_every_length_apart() -> None:
    words = [b"a" * length for length in range(1, 200)]
    words += [b"a" * place + b"b" + b"a" * (63 - place) for place in range(64)]
    assert len(set(word_codes(b" ".join(words)).tolist())) == len(words)
    assert word_codes(b"").tolist() == []


@given(st.lists(st.integers(3, 5), max_size=60), st.integers(1, 20))
def test_windows_hash_alike_when_their_words_are_alike(words: list[int], width: int) -> None:
    hashes = window_hashes(np.array(words, np.uint32), width).tolist()
    windows = [tuple(words[start : start + width]) for start in range(len(words) - width + 1)]
    assert len(hashes) == len(windows)
    assert len(set(hashes)) == len(set(windows)) == len(set(zip(hashes, windows, strict=True)))


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 20))
@settings(max_examples=500)
def test_any_within(flags: list[bool], width: int) -> None:
    expected = [any(flags[start : start + width]) for start in range(len(flags) - width + 1)]
    assert any_within(np.array(flags, np.bool_), width).tolist() == expected


@given(st.lists(st.lists(st.lists(st.just("w"), max_size=8), min_size=1), max_size=6), st.integers(1, 5))
def test_ngrams_are_counted_within_fields(rows: list[list[list[str]]], width: int) -> None:
    codes = word_codes(folded_words([BREAK.join(" ".join(field) for field in row) for row in rows]))
    assert count_ngrams(codes, width) == sum(max(0, len(f) - width + 1) for row in rows for f in row)


def test_chunks_hold_every_text_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "CHUNK_CHARACTERS", 20)
    texts = ["", "a" * 50, *(f"text {number}" for number in range(2500)), "b" * 19]
    column = pa.chunked_array([texts[:7], texts[7:]])
    for form in (texts, tuple(texts), pa.array(texts), column, column.dictionary_encode()):
        cut = list(chunks(form))
        assert [text for chunk in cut for text in chunk] == texts == list(rows_of(form))
        assert all(sum(map(len, chunk)) <= 20 for chunk in cut if len(chunk) > 1)


def test_half_a_surrogate_pair_is_folded_like_any_sign() -> None:
    """It is the writer of a shard that refuses it, by its place."""
    assert normalised("The \ud800 Ferry") == normalised("the \ud800 ferry")
    assert folded_words(["\ud800 Ferry"])
