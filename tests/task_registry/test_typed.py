"""JSON's types to records: the way back from `evaluation.records.plain`, and nothing of another type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest

from task_registry.typed import typed


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    text: str
    number: int | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...]
    named: Mapping[str, float]
    colour: Colour
    is_so: bool


SOUND: dict[str, Any] = {
    "inner": {"text": "a"},
    "many": [{"text": "b", "number": 2}],
    "named": {"x": 1, "y": 0.5},
    "colour": "red",
    "is_so": True,
}


def test_records_come_back() -> None:
    expected = Outer(Inner("a"), (Inner("b", 2),), {"x": 1, "y": 0.5}, Colour.RED, True)
    assert typed(Outer, SOUND) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"inner": {"text": 1}},
        {"inner": {"text": "\ud800"}},
        {"inner": {"text": "a", "number": True}},
        {"inner": {"text": "a", "number": 1.0}},
        {"inner": {"text": "a", "number": 1 << 62}},
        {"inner": {}},
        {"inner": {"text": "a", "other": 1}},
        {"inner": ["text"]},
        {"inner": None},
        {"many": "ab"},
        {"many": {"text": "a"}},
        {"named": {"x": "1"}},
        {"named": {"\udfff": 1.0}},
        {"named": []},
        {"colour": "green"},
        {"colour": ["red"]},
        {"is_so": 1},
        {"unheard": 1},
    ],
)
def test_another_type_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        typed(Outer, SOUND | change)
