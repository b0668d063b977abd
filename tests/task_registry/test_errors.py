"""Errors: one line that can be printed, whatever came from outside; values quoted by their beginning."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_registry.errors import LONGEST, BenchError, BenchFolderError, InputError, quote

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.tuples(inner)
    ),
    max_leaves=20,
)


@given(st.text())
def test_an_error_is_one_line_that_can_be_printed(text: str) -> None:
    line = str(BenchError(f"a{text}z"))
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    assert line == f"a{text}z" or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no header:\n  more \r\n", "no header: more"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\x85b\u2028c\td", "a\\x85b\\u2028c\\td"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_moves_a_terminals_cursor_is_escaped(text: str, line: str) -> None:
    assert str(BenchFolderError(text)) == line


def test_a_long_error_keeps_its_place_and_its_remedy() -> None:
    error = InputError(Path("a.csv"), "x" * 100_000, "less", "mend it")
    assert len(str(error)) <= LONGEST + 3
    assert str(error).startswith("a.csv: found x")
    assert str(error).endswith("expected less; mend it")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@given(VALUES)
def test_a_short_value_is_quoted_whole_and_a_long_one_by_its_beginning(value: Any) -> None:
    whole, quoted = repr(value), quote(value)
    if len(whole) <= 60:
        assert quoted == whole
    else:
        assert len(quoted) == 60
        assert quoted.endswith("…")


def test_a_quoted_text_is_cut_where_its_repr_would_be() -> None:
    assert quote("it's " * 30) == repr("it's " * 30)[:59] + "…"


def test_an_endless_value_is_quoted_at_once() -> None:
    shared: list[Any] = []
    for _ in range(100_000):
        shared = [shared, shared]
    own: list[Any] = []
    own.append(own)
    assert quote(shared) == "[" * 59 + "…"
    assert quote(own) == "[" * 59 + "…"
    assert quote({"a": shared})[:8] == "{'a': [["
    assert quote(1 << 100_000) == "a number of 100,001 bits"
