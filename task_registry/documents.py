"""YAML documents that are read by hand-written rules, so that a mistake is told by its file and line.

Safe YAML only. A mapping remembers its line; a key that stands twice, which YAML would let pass, is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from task_registry.errors import InputError, Place, quote
from task_registry.suggest import did_you_mean


class Mapped(dict[str, Any]):
    """A YAML mapping that remembers where it and its keys stand."""

    line = 1
    lines: Mapping[str, int] = MappingProxyType({})
    """The line of each key."""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, building `Mapped` for every mapping."""


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[Mapped]:
    mapped = Mapped()
    mapped.line = node.start_mark.line + 1
    mapped.lines = lines = {}
    yield mapped
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            problem = f"the key {quote(key)}, which is no text: put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        if key in mapped:
            problem = f"the key {key!r} a second time"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        lines[key] = key_node.start_mark.line + 1
        mapped[key] = loader.construct_object(value_node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def load_mapping(path: Path) -> Mapped:
    """Read a YAML file that holds one mapping; `InputError` with the line if it does not."""
    try:
        document = yaml.load(path.read_bytes(), _Loader)
    except yaml.MarkedYAMLError as error:
        place = Place(path, f"line {error.problem_mark.line + 1}" if error.problem_mark else "")
        raise InputError(place, error.problem or "no YAML", "a YAML mapping") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(path, quote(str(error)), "a YAML mapping in UTF-8") from None
    if not isinstance(document, Mapped):
        raise InputError(path, quote(document), "a YAML mapping")
    return document


@dataclass(frozen=True, slots=True)
class Fields:
    """Typed access to the mappings of one document; every method raises `InputError` with the line."""

    path: Path

    def fault(self, at: Mapped, key: str, found: str, expected: str, remedy: str = "") -> InputError:
        """The error for something found under a key of a mapping, or in the mapping if it has no such key."""
        line = at.lines.get(key, at.line)
        return InputError(Place(self.path, f"line {line}"), found, expected, remedy)

    def check_keys(self, mapped: Mapped, keys: Collection[str]) -> None:
        """Refuse keys that are not among `keys`."""
        for key in mapped:
            if key not in keys:
                expected = f"one of {', '.join(keys)}{did_you_mean(key, keys)}"
                raise self.fault(mapped, key, f"key {key!r}", expected)

    def known(self, mapped: Mapped, key: str, kind: str, name: str, names: Collection[str]) -> str:
        """Return a name, found under `key`, that must be among `names`."""
        if name not in names:
            listed = f"one of {', '.join(names)}" if len(names) <= 12 else f"a {kind} of the catalogue"
            raise self.fault(mapped, key, f"{kind} {name!r}", f"{listed}{did_you_mean(name, names)}")
        return name

    def text(self, mapped: Mapped, key: str) -> str:
        """Return the text under `key`, without white space around it; it must not be empty."""
        value = mapped.get(key)
        if not isinstance(value, str) or not value.strip():
            found = f"{key} {quote(value)}" if key in mapped else f"no {key}"
            raise self.fault(mapped, key, found, f"a text as {key}", self._remedy(value))
        return value.strip()

    def texts(self, mapped: Mapped, key: str) -> tuple[str, ...]:
        """Return the text or the list of texts under `key`, empty if there is no such key."""
        value = mapped.get(key, [])
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            expected = "a text or a list of texts"
            raise self.fault(mapped, key, f"{key} {quote(value)}", expected, self._remedy(value))
        for item in items:
            if not isinstance(item, str) or not item.strip():
                raise self.fault(mapped, key, f"{key} {quote(item)}", "a text", self._remedy(item))
        return tuple(item.strip() for item in items)

    def mapping(self, mapped: Mapped, key: str) -> Mapped:
        """Return the mapping under `key`, empty if there is no such key."""
        value = mapped.get(key, Mapped())
        if not isinstance(value, Mapped):
            raise self.fault(mapped, key, f"{key} {quote(value)}", "a mapping")
        return value

    def mappings(self, mapped: Mapped, key: str) -> tuple[Mapped, ...]:
        """Return the list of mappings under `key`, empty if there is no such key."""
        value = mapped.get(key, [])
        if not isinstance(value, list):
            raise self.fault(mapped, key, f"{key} {quote(value)}", "a list of mappings")
        for item in value:
            if not isinstance(item, Mapped):
                raise self.fault(mapped, key, f"{key} {quote(item)}", "a list of mappings")
        return tuple(value)

    def count(self, mapped: Mapped, key: str, default: int) -> int:
        """Return the whole number under `key`, from 1, or the default if there is no such key."""
        value = mapped.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.fault(mapped, key, f"{key} {quote(value)}", "a whole number from 1")
        return value

    @staticmethod
    def _remedy(value: object) -> str:
        return "put it in quotes" if isinstance(value, bool | int | float) else ""
