"""JSON's types to frozen dataclasses, by their annotations: nothing of another type comes through."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any

from task_registry.errors import quote

LARGEST = 1 << 62
"""Whole numbers are smaller, so that they fit the columns of a table."""


def typed(hint: Any, value: Any) -> Any:
    """The record, or part of one, that the annotation `hint` describes, from JSON's types.

    Raises TypeError, ValueError or KeyError where the value is of another type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = (one for one in arguments if one is not types.NoneType)
        return typed(hint, value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = _hints(hint)
        return hint(**{name: typed(hints[name], item) for name, item in _kind(dict, value).items()})
    if origin is tuple:
        return tuple(typed(arguments[0], item) for item in _kind(list, value))
    if origin is Mapping:
        return {_text(key): typed(arguments[1], item) for key, item in _kind(dict, value).items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is str:
        return _text(value)
    if hint is float and type(value) is int:
        hint = int
    found = _kind(hint, value) if hint in (int, float, bool) else value
    if type(found) is int and abs(found) >= LARGEST:
        raise ValueError(f"the number {quote(found)}")
    return found


@cache
def _hints(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _kind(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{quote(value)}, which is no {kind.__name__}")
    return value


def _text(value: Any) -> str:
    text: str = _kind(str, value)
    text.encode()  # half a surrogate pair is no text, and could not be written again
    return text
