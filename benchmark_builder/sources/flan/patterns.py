"""FLAN's patterns: read from upstream's `templates.py` as literals, checked, and without those that invert.

The file is parsed and never run. A pattern is a pair of Python format strings that may hold plain `{fields}`
and nothing else: no attribute, index, conversion or width, by which a format string reaches further.

`inverting.csv` is the reviewed list of the patterns that turn a task around, such as one that asks for a
question where the task asks for its answer; the paper leaves them out of training and evaluation (§2.4, §5.3).
A number counts upstream's list from 0; by the fields that a pattern `writes` a changed file is noticed.
"""

from __future__ import annotations

import ast
import csv
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter

from benchmark_builder.readers import read_text
from task_registry.errors import InputError, Place, quote

TEMPLATES = Path("flan", "templates.py")
INVERTING = Path(__file__).with_name("inverting.csv")

REVIEWED = "as google-research/FLAN has it at commit e9e4ec6"
REMEDY = "bring upstream's file: optiml-bench fetch flan"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One wording of a task: what is asked, and what is to be written."""

    input: str
    output: str
    fields: tuple[str, ...]
    """The fields that either names."""
    writes: str
    """The fields that the output names, with spaces between them."""
    place: Place


def read_patterns(root: Path) -> dict[str, tuple[Pattern, ...]]:
    """Read PATTERNS, by key; raises InputError with its line for anything but lists of pairs of texts."""
    text = read_text(root, TEMPLATES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of a doubtful escape in a text of upstream's
            module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise InputError(Place(TEMPLATES, line), f"no Python: {error}", "Python literals", REMEDY) from None
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == "PATTERNS" for target in targets):
            return dict(_entries(getattr(node, "value", None), node.lineno))
    raise InputError(TEMPLATES, "no PATTERNS", "PATTERNS = {...}", REMEDY)


def kept_patterns(key: str, patterns: Sequence[Pattern], targets: Sequence[str]) -> dict[str, Pattern]:
    """The patterns that ask for a task's target, by upstream's name for them, `type_3`.

    Raises InputError where the file is not the one that was reviewed: where a pattern that is to be left out
    is not there or writes something else, or one that is to be kept asks for another field than a target.
    """
    left_out = inverting().get(key, {})
    kept: dict[str, Pattern] = {}
    for number, pattern in enumerate(patterns):
        expected = (left_out[number],) if number in left_out else targets
        bare = number in left_out or pattern.output == f"{{{pattern.writes}}}"
        if pattern.writes not in expected or not bare:
            found = f"a pattern that writes {quote(pattern.output)}"
            wanted = " or ".join("{" + fields.replace(" ", "} {") + "}" for fields in expected)
            raise InputError(pattern.place, found, f"{wanted}, {REVIEWED}", REMEDY)
        if number not in left_out:
            kept[f"type_{number}"] = pattern
    if max(left_out, default=-1) >= len(patterns) or not kept:
        raise InputError(TEMPLATES, f"{len(patterns)} patterns for {key!r}", f"more, {REVIEWED}", REMEDY)
    return kept


@cache
def inverting() -> Mapping[str, Mapping[int, str]]:
    """The reviewed table: by key and number of a pattern that is left out, the fields that it writes."""
    table: dict[str, dict[int, str]] = {}
    with INVERTING.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            table.setdefault(row["patterns"], {})[int(row["number"])] = row["writes"]
    return table


def _entries(value: ast.expr | None, line: int) -> Iterator[tuple[str, tuple[Pattern, ...]]]:
    if not isinstance(value, ast.Dict):
        raise _unexpected(value, line, "a dict of lists of patterns")
    seen: dict[str, int] = {}
    for key_node, list_node in zip(value.keys, value.values, strict=True):
        key = _literal(key_node)
        if not isinstance(key, str):
            raise _unexpected(key_node, list_node.lineno, "a task's name as a text")
        if key in seen:
            found = f"{key!r} a second time, first on line {seen[key]}"
            raise InputError(Place(TEMPLATES, f"line {list_node.lineno}"), found, "each task once", REMEDY)
        seen[key] = list_node.lineno
        if not isinstance(list_node, ast.List | ast.Tuple) or not list_node.elts:
            raise _unexpected(list_node, list_node.lineno, f"a list of patterns for {key!r}")
        yield key, tuple(_pattern(key, number, node) for number, node in enumerate(list_node.elts))


def _pattern(key: str, number: int, node: ast.expr) -> Pattern:
    pair = _literal(node)
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
        raise _unexpected(node, node.lineno, f"a pair of texts as {key}[{number}]")
    place = Place(TEMPLATES, f"line {node.lineno}, {key}[{number}]")
    asked, written = (tuple(dict.fromkeys(_field_names(text, place))) for text in pair)
    return Pattern(*pair, tuple(dict.fromkeys(asked + written)), " ".join(written), place)


def _field_names(text: str, place: Place) -> Iterator[str]:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise InputError(place, f"{error} in {quote(text)}", "plain {fields}", REMEDY) from None
    for _, name, width, conversion in parts:
        if name is None:
            continue
        if not name.isidentifier() or width or conversion:
            found = (
                "{" + name + (f"!{conversion}" if conversion else "") + (f":{width}" if width else "") + "}"
            )
            raise InputError(place, f"{found} in {quote(text)}", "plain {fields}", REMEDY)
        yield name


def _literal(node: ast.expr | None) -> object:
    """The value of a literal; None for anything that would have to be run."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _unexpected(node: ast.expr | None, line: int, expected: str) -> InputError:
    found = _shown(node) if node is not None else "nothing"
    return InputError(Place(TEMPLATES, f"line {getattr(node, 'lineno', line)}"), found, expected, REMEDY)


def _shown(node: ast.expr) -> str:
    try:
        return quote(ast.unparse(node))
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        return f"something that is too large to show ({type(node).__name__})"
