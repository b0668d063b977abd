"""One exception tree for the whole project; the command line turns a class into an exit code.

BenchError                 1   anything of ours
├── UsageError             2   an option or a name that does not exist
├── InputError             3   a native file, row, template or plan that is not as expected
├── BenchFolderError       4   a folder that is no bench, of another format, damaged, or in use
├── IncompleteError        5   the job ended, but parts of it failed; what succeeded is kept
├── MachineError       6   disk full, no permission, a missing package, a worker that died
├── ModelError             7   a model or tokenizer that cannot be loaded or used
├── RemoteError            8   a download or upload that failed
└── GateError              9   an audit or comparison that did not pass
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST = 2000
"""Characters of an error's line: names and values from outside may be as long as a book."""


class BenchError(Exception):
    """Base of every error that the project raises on purpose; its text is one line for the user."""

    exit_code = 1

    def __init__(self, *parts: object) -> None:
        super().__init__(*(one_line(part) if isinstance(part, str) else part for part in parts))


class UsageError(BenchError):
    """An option, task or name that does not exist."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the native files: a file and, if any, the line or record in it."""

    path: Path
    record: str = ""

    def __str__(self) -> str:
        return f"{self.path}, {self.record}" if self.record else str(self.path)


class InputError(BenchError):
    """Native input that is not as expected: the place, what was found, what was expected, what to do."""

    exit_code = 3

    def __init__(self, place: Place | Path | str, found: str, expected: str, remedy: str = "") -> None:
        self.place, self.found, self.expected, self.remedy = place, found, expected, remedy
        tail = f"; {remedy}" if remedy else ""
        super().__init__(f"{place}: found {found}, expected {expected}{tail}")

    def __reduce__(self) -> tuple[type[InputError], tuple[object, ...]]:
        """Pickle by the four parts, so that the error crosses a process boundary whole."""
        return type(self), (self.place, self.found, self.expected, self.remedy)


class BenchFolderError(BenchError):
    """A folder that is no bench, holds something else, has another format version, is damaged or in use."""

    exit_code = 4


class IncompleteError(BenchError):
    """The job came to its end, but parts of it failed; everything that succeeded is kept."""

    exit_code = 5


class MachineError(BenchError):
    """The machine's side: a full disk, a missing permission or package, a worker process that died."""

    exit_code = 6


class ModelError(BenchError):
    """A model or tokenizer that cannot be loaded or used."""

    exit_code = 7


class RemoteError(BenchError):
    """A download or an upload that failed for good."""

    exit_code = 8


class GateError(BenchError):
    """An audit or a comparison that did not pass its threshold."""

    exit_code = 9


def quote(value: object, limit: int = 60) -> str:
    """Shorten a value for an error line: its repr, cut in the middle of nothing, never over two lines.

    Only what is shown is looked at: a value from outside may be endless, or nested without end.
    """
    text = ""
    for piece in _pieces(value, limit):
        text += piece
        if len(text) > limit:
            return f"{text[: limit - 1]}…"
    return text


def _pieces(value: object, limit: int) -> Iterator[str]:
    """A value's repr, piece by piece; what could not be shown within `limit` is not complete."""
    if isinstance(value, str):
        # A quotation mark far behind must not change how the beginning is quoted.
        yield repr(value if len(value) <= limit else value[: limit + 1])
    elif isinstance(value, dict) and limit > 0:
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield ", " if number else ""
            yield from _pieces(key, limit - 1)
            yield ": "
            yield from _pieces(item, limit - 1)
        yield "}"
    elif type(value) in (list, tuple) and limit > 0:
        yield "[" if type(value) is list else "("
        for number, item in enumerate(value):  # type: ignore[arg-type]
            yield ", " if number else ""
            yield from _pieces(item, limit - 1)
        yield "]" if type(value) is list else ",)" if len(value) == 1 else ")"  # type: ignore[arg-type]
    elif isinstance(value, int) and value.bit_length() > 4 * LONGEST:
        yield f"a number of {value.bit_length():,} bits"
    else:
        yield "…" if isinstance(value, (dict, list, tuple)) else repr(value)


def one_line(text: str) -> str:
    """A text as one line of what can be printed, its middle left out where it is very long."""
    if not text.isprintable():
        text = re.sub(r"\s*[\r\n]\s*", " ", text.strip())
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]} … {text[-half:]}"
