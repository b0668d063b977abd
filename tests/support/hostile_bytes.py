"""Files made hostile: what a broken disk, a careless script or an ill-meaning stranger may make of a sound one.

Every choice comes from the `Random` that is passed in, so that a case is its seed. JSON is changed by its structure
half of the time and any text by its lines and bytes; binary files by their bytes, and where lengths and offsets
stand by whole numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from random import Random
from typing import Any

Mutation = Callable[[Random, bytes], bytes]

LARGEST = 1 << 20
"""Bytes of a hostile file."""

TEXTS = (
    "", " ", "\0", "\ufeff", "\ud800", "\udfff a", "\u2028", "\x85", "\x1b[2J", "a\nb", "a\tb", "\r", "²", "٣", "İ",
    "-1", "0", "1", "7", "99", "1e999", "NaN", "0x10", "true", "None", "null", "A", "(A) x (B) y",
    "|||", " ||| ", "a ||| b", "a|||", "{{ 1 }}", "{{ x", "{% raw %}", "{0.__class__}", "%s%n", "####", "\\boxed{{",
    "((triple1) -> int9)", "<script>", "&amp;", "=1+1", "/", "..", ".", "../../outside/secret.jsonl", "/etc/passwd",
    "/dev/zero", "CON", "data-00000-of-00001.arrow", "a" * 300, "word " * 2_000, "\\" * 99, "(" * 5_000, "x" * 100_000,
)  # fmt: skip
"""Texts that programs stumble over."""

NUMBERS: tuple[float, ...] = (
    0, -0.0, 1, -1, 2, 7, 99, -99, 0.5, 127, 2**31, -(2**31) - 1, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63) - 1,
    10**400, 1e308, 1e-320, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip

LITERALS = (
    b"null", b"NaN", b"-Infinity", b"1e999", b"9" * 5_000, b"-" + b"9" * 20, b"[" * 5_000, b'{"a":' * 2_000, b"[]",
    b'"\\ud800"', b'"\\u0000"', b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\r",
    b"\n", b"\n\n", b"\t", b"\\t", b'"', b"'", b",", b":", b"&a [*a, *a]", b"*a", b"&a", b"<<: *a",
    b"!!python/object:os.system", b"!!binary x", b"2001-99-99", b"0x" + b"f" * 5_000, b"1:99:99.",
    b"{{ 9 ** 9 ** 9 }}", b"{%", b"\x1a", b"\xe2\x80\xa8", b"- " * 500, b"? ", b"|", b">",
    b"%YAML 9.9\n---", b"---\n", b"...\n", b"\x85", b"a" * 70_000,
)  # fmt: skip
"""What is put into text files."""

EDGES = (
    0,
    1,
    -1,
    0x7F,
    0x80,
    0xFFFF,
    0x7FFFFFFF,
    -0x80000000,
    0x7FFFFFFFFFFFFFFF,
    -0x8000000000000000,
    0x10000000,
)


def mutate(rng: Random, place: str, content: bytes) -> bytes:
    """One to three changes to a file, by what its suffix says it is."""
    suffix = PurePath(place).suffix
    if suffix in BINARY:
        changes: Sequence[Mutation] = BINARY_CHANGES
    elif suffix in (".json", ".jsonl", ".jsonlines") and rng.random() < 0.6:
        changes = (change_json,)
    else:
        changes = TEXT_CHANGES
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(changes)(rng, content)
    return content[:LARGEST]


BINARY = frozenset((".parquet", ".arrow", ".sqlite", ".gz", ".bz2", ".xz", ".zip", ".tar"))


def flip(rng: Random, content: bytes) -> bytes:
    """Flip one bit, or a few."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8)) if content else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: Random, content: bytes) -> bytes:
    """Cut off the end, the beginning, or a part of the middle."""
    start, end = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    return rng.choice((content[:end], content[start:], content[:start] + content[end:], b""))


def repeat(rng: Random, content: bytes) -> bytes:
    """Repeat a part, sometimes very often."""
    start = rng.randrange(len(content) + 1)
    part = content[start : start + rng.choice((1, 4, 40, 400))]
    times = rng.choice((1, 2, 10, 1_000))
    return content[:start] + part * min(times, LARGEST // max(1, len(part))) + content[start:]


def overwrite(rng: Random, content: bytes) -> bytes:
    """Write a number from the edge of its type over some bytes, where lengths and offsets stand more often."""
    if len(content) < 8:
        return content
    width = rng.choice((1, 2, 4, 8))
    number = rng.choice(EDGES) & ((1 << 8 * width) - 1)
    near_an_end = rng.choice((0, len(content) - 512, len(content))) + rng.randrange(512)
    at = rng.choice((near_an_end, rng.randrange(len(content))))
    at = max(0, min(at, len(content) - width)) // width * width
    return content[:at] + number.to_bytes(width, rng.choice(("little", "big"))) + content[at + width :]


def swap_blocks(rng: Random, content: bytes) -> bytes:
    """Copy one block over another."""
    size = rng.choice((4, 16, 64))
    if len(content) <= size:
        return content
    one, other = (rng.randrange(len(content) - size) for _ in range(2))
    return content[:one] + content[other : other + size] + content[one + size :]


def noise(rng: Random, content: bytes) -> bytes:
    """Put some random bytes in."""
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.choice((1, 3, 16, 200))) + content[at:]


def insert(rng: Random, content: bytes) -> bytes:
    """Put something in that means something to some parser."""
    at = rng.choice((0, len(content), rng.randrange(len(content) + 1)))
    return content[:at] + _literal(rng) + content[at:]


def replace_token(rng: Random, content: bytes) -> bytes:
    """Put something hostile in the place of a word, a number or a text."""
    tokens = list(re.finditer(rb'"[^"\n]*"|[A-Za-z_]+|-?[0-9.]+|[\t,:]', content))
    if not tokens:
        return insert(rng, content)
    token = rng.choice(tokens)
    return content[: token.start()] + _literal(rng) + content[token.end() :]


def change_lines(rng: Random, content: bytes) -> bytes:
    """Drop, repeat, swap, join or empty lines."""
    lines = content.split(b"\n")
    at, other = (rng.randrange(len(lines)) for _ in range(2))
    match rng.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = [lines[other]] * rng.choice((1, 1, 100))
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = b""
        case 4:
            lines[at : at + 2] = [b"".join(lines[at : at + 2])]
        case _:
            lines[at] = b" " * rng.choice((1, 2, 8)) + lines[at]
    return b"\n".join(lines)


def reencode(rng: Random, content: bytes) -> bytes:
    """Write the text in another encoding, with other line ends, or behind a byte order mark."""
    text = content.decode("utf-8", "replace")
    match rng.randrange(4):
        case 0:
            return text.encode(rng.choice(("utf-16", "utf-16-be", "utf-32", "latin-1")), "replace")
        case 1:
            return content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\0")))
        case 2:
            return b"\xef\xbb\xbf" * rng.choice((1, 2)) + content
        case _:
            return content.replace(b" ", "\u2028".encode())


def _literal(rng: Random) -> bytes:
    if rng.random() < 0.6:
        return rng.choice(LITERALS)
    text = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
    return rng.choice((text, b'"' + text + b'"'))


TEXT_CHANGES: tuple[Mutation, ...] = (
    flip, cut, repeat, noise, insert, insert, replace_token, replace_token, replace_token, change_lines,
    change_lines, reencode,
)  # fmt: skip
BINARY_CHANGES: tuple[Mutation, ...] = (
    flip,
    flip,
    flip,
    cut,
    repeat,
    overwrite,
    overwrite,
    overwrite,
    swap_blocks,
    noise,
)


def change_json(rng: Random, content: bytes) -> bytes:
    """Change the values of a JSON file, or of one line of a file of JSON lines; others byte by byte."""
    text = content.decode("utf-8", "surrogatepass") if _is_utf8(content) else ""
    try:
        return _dumped(rng, change_value(rng, json.loads(text)))
    except (ValueError, RecursionError):
        lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    try:
        lines[at] = _dumped(rng, change_value(rng, json.loads(lines[at])))
    except (ValueError, RecursionError):
        return rng.choice(TEXT_CHANGES)(rng, content)
    return b"\n".join(lines)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _dumped(rng: Random, value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def change_value(rng: Random, value: Any) -> Any:
    """Change one part of a JSON value, at any depth."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        return _changed_inside(rng, value)
    match rng.randrange(5):
        case 0:
            return [value]
        case 1:
            return {rng.choice(TEXTS): value}
        case 2:
            return nested(rng, value)
        case 3 if isinstance(value, str):
            at = rng.randrange(len(value) + 1)
            return value[:at] + rng.choice(TEXTS) + value[at:]
        case _:
            return hostile_value(rng)


def _changed_inside(rng: Random, value: Any) -> Any:
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    if rng.random() < 0.6:
        changed = value.copy()
        changed[key] = change_value(rng, value[key])
        return changed
    if isinstance(value, list):
        return rng.choice(
            (value[:key], value[key + 1 :], value + value, [*value, hostile_value(rng)], value[::-1])
        )
    others = {name: item for name, item in value.items() if name != key}
    renamed = {**others, rng.choice(TEXTS): value[key]}
    return rng.choice(
        (others, renamed, {**value, rng.choice(TEXTS): hostile_value(rng)}, list(value.values()))
    )


def hostile_value(rng: Random, depth: int = 3) -> Any:
    """A value that nobody expects where a text, a number or a list should stand."""
    match rng.randrange(8):
        case 0 | 1 | 2:
            return rng.choice(TEXTS)
        case 3 | 4:
            return rng.choice(NUMBERS)
        case 5:
            return rng.choice((None, True, False, [], {}, [[]], [None]))
        case 6 if depth:
            return [hostile_value(rng, depth - 1) for _ in range(rng.randrange(4))]
        case 7 if depth:
            return {rng.choice(TEXTS): hostile_value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return "plain"


def nested(rng: Random, value: Any) -> Any:
    """The value under many lists or objects."""
    for _ in range(rng.choice((2, 50, 300, 800))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value
