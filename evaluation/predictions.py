"""Predictions on disk: append-only files of one JSON object a line, and the key by which a run goes on.

<run>/predictions/<source>.jsonl

A line is written whole and at once, so a killed run leaves at most one torn line, the last; it is dropped and
its prompt asked again. Lines stand in the order in which the model answered. Which file a line stands in means
nothing to a reader: several writers may each have their own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from task_registry.errors import InputError, Place, quote
from task_registry.hashing import hash64

PREDICTIONS = "predictions"


class Kind(StrEnum):
    """How an example was asked."""

    OPTIONS = "options"
    """Its options were scored."""
    TEXT = "text"
    """An output was generated."""
    SKIPPED = "skipped"
    """Not at all: its prompt does not fit the model's context."""


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a prompt the one that it is within a run; a prompt with a prediction is not asked again."""

    task: str
    example_id: str
    template: str
    shots: int
    demonstration_seed: int | None = None

    @property
    def digest(self) -> int:
        """64 bits that stand for it: a run holds hundreds of thousands of keys in memory."""
        seed = "" if self.demonstration_seed is None else str(self.demonstration_seed)
        return hash64(self.task, self.example_id, self.template, str(self.shots), seed)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model made of one prompt, with all that is needed to score it without bench and model."""

    task: str
    example_id: str
    template: str
    shots: int
    """The number that was asked for; see `dropped_shots`."""
    kind: Kind
    references: tuple[str, ...]
    answer: str | None = None
    """The bare answer where the references hold more."""
    demonstration_seed: int | None = None
    """None: demonstrations in their stored order."""
    options: tuple[str, ...] = ()
    option_logprobs: tuple[float, ...] = ()
    """Nats, summed over the option's tokens."""
    option_tokens: tuple[int, ...] = ()
    option_bytes: tuple[int, ...] = ()
    option_unconditional: tuple[float, ...] = ()
    """As `option_logprobs`, without the prompt; empty unless asked for."""
    choice: int | None = None
    """The option of highest `option_logprobs`; None where several share it."""
    merged: int = 0
    """Options whose first token also covers the prompt's last characters."""
    text: str | None = None
    """What was generated."""
    finish: str | None = None
    """Why generation ended: `eos`, `stop` or `length`; of a skipped prompt the reason."""
    new_tokens: int = 0
    prompt_tokens: int = 0
    """BOS counted."""
    dropped_shots: int = 0
    """Demonstrations that did not fit, the furthest first."""
    cut_characters: int = 0
    """Characters cut from the beginning of the question, which did not fit either."""

    @property
    def key(self) -> Key:
        """Which prompt it answers."""
        return Key(self.task, self.example_id, self.template, self.shots, self.demonstration_seed)


_FIELDS = tuple(field.name for field in dataclasses.fields(Prediction))
_TUPLES = tuple(field.name for field in dataclasses.fields(Prediction) if str(field.type).startswith("tuple"))
_LARGEST = 1 << 62
"""Whole numbers fit a table's column."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "Kind": (str,),
    "tuple[str, ...]": (str,),
    "tuple[int, ...]": (int,),
    "tuple[float, ...]": (float, int),
}
_CHECKS = tuple((field.name, _TYPES[str(field.type)]) for field in dataclasses.fields(Prediction))
"""The types of a field's value, or of its items where it is a tuple."""


def to_line(prediction: Prediction) -> str:
    """One line of JSON without its line feed; every field, so that a table reader finds equal columns."""
    return json.dumps({name: getattr(prediction, name) for name in _FIELDS}, ensure_ascii=False)


def from_line(line: bytes, place: Place) -> Prediction:
    """Read one line back; InputError with its place where it is none of ours."""
    try:
        fields: dict[str, Any] = json.loads(line)
        _check(fields)
        if b"\\u" in line:  # half a surrogate pair, which our own lines cannot hold, would be no text
            json.dumps(fields, ensure_ascii=False).encode()
        fields |= {name: tuple(fields[name]) for name in _TUPLES}
        return Prediction(**{**fields, "kind": Kind(fields["kind"])})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        remedy = "remove that line; the next run asks its prompt again"
        raise InputError(
            place, quote(line[:80].decode("utf-8", "replace")), f"a prediction ({error})", remedy
        ) from None


def _check(fields: Any) -> None:
    """Raise ValueError, TypeError or KeyError where a line's fields cannot be a prediction's."""
    for name, types in _CHECKS:
        value = fields[name]
        items = value if name in _TUPLES and type(value) is list else (value,)
        for item in items:
            if type(item) not in types or (type(item) is int and abs(item) > _LARGEST):
                raise TypeError(f"{name} {quote(value)}")
        if name in _TUPLES and items is not value:
            raise TypeError(f"{name} {quote(value)}")
    options, choice = len(fields["options"]), fields["choice"]
    if fields["kind"] != Kind.SKIPPED and not fields["references"]:
        raise ValueError("no references")
    if fields["kind"] == Kind.OPTIONS:
        counts = [len(fields[name]) for name in ("option_logprobs", "option_tokens", "option_bytes")]
        counts.append(len(fields["option_unconditional"]) or options)
        if not options or counts != [options] * 4 or not (choice is None or 0 <= choice < options):
            raise ValueError(f"{options} options, their values {counts}, choice {choice}")


class PredictionWriter:
    """Appends predictions to a run's files; not for two writers at once.

    Opening drops what a killed run left of its last lines.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / PREDICTIONS
        self._folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, int] = {}
        for file in sorted(self._folder.glob("*.jsonl")):
            _drop_torn_line(file)

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, prediction: Prediction) -> None:
        """Append one prediction; once this returns, a killed process does not lose it.

        Raises OSError, with the file's name, where the disk is full; what was written before stays readable.
        """
        source = prediction.task.partition("/")[0]
        if source not in self._files:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._files[source] = os.open(self._folder / f"{source}.jsonl", flags, 0o644)
        line = memoryview((to_line(prediction) + "\n").encode())
        try:
            while line:
                line = line[os.write(self._files[source], line) :]
        except OSError as error:
            error.filename = str(self._folder / f"{source}.jsonl")
            raise

    def close(self) -> None:
        """Bring everything to the disk and close the files."""
        files, self._files = self._files, {}
        with contextlib.ExitStack() as stack:
            for handle in files.values():
                stack.callback(os.close, handle)
            for handle in files.values():
                os.fsync(handle)


def _drop_torn_line(file: Path) -> None:
    """Cut a file after its last line feed."""
    with file.open("r+b") as handle:
        size = end = handle.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 16))
            handle.seek(start)
            place = handle.read(end - start).rfind(b"\n")
            if place >= 0:
                end = start + place + 1
                break
            end = start
        if end < size:
            handle.truncate(end)


class Predictions:
    """The predictions of a run, in memory only as places in files: there may be hundreds of thousands.

    A prompt that was answered twice counts once, by its first line; a torn last line is passed over.
    Raises InputError for any other line that cannot be read.
    """

    def __init__(self, run: Path) -> None:
        self._places: dict[str, list[tuple[Path, int]]] = {}
        self.keys: set[int] = set()
        """`Key.digest` of each."""
        folder = run / PREDICTIONS
        for file in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
            for start, prediction in _read(file):
                digest = prediction.key.digest
                if digest not in self.keys:
                    self.keys.add(digest)
                    self._places.setdefault(prediction.task, []).append((file, start))

    @property
    def tasks(self) -> Mapping[str, int]:
        """How many there are of each task."""
        return {task: len(places) for task, places in sorted(self._places.items())}

    def of(self, task: str) -> list[Prediction]:
        """All predictions of a task, sorted by shots, seed, template and example, whatever order they came in."""
        found = []
        with contextlib.ExitStack() as stack:
            handles: dict[Path, BinaryIO] = {}
            for file, start in self._places.get(task, ()):
                if file not in handles:
                    handles[file] = stack.enter_context(file.open("rb"))
                handles[file].seek(start)
                found.append(from_line(handles[file].readline(), Place(file, f"byte {start}")))
        return sorted(found, key=_order)


def _order(prediction: Prediction) -> tuple[int, int, str, str]:
    seed = prediction.demonstration_seed
    return prediction.shots, -1 if seed is None else seed, prediction.template, prediction.example_id


def _read(file: Path) -> Iterator[tuple[int, Prediction]]:
    """The whole lines of a file, each with where it begins."""
    start = 0
    with file.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):
                return
            yield start, from_line(line, Place(file, f"line {number}"))
            start += len(line)
