"""The project's only source of choices that look random: BLAKE2b over what the choice depends on.

Independent of order, of the number of workers and of Python's own string hash, so a rerun chooses alike.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path


def hash64(*parts: str) -> int:
    """Hash the NUL-joined UTF-8 of `parts` to an integer in [0, 2**64)."""
    return int.from_bytes(blake2b(_joined(parts), digest_size=8).digest(), "big")


def _joined(parts: tuple[str, ...]) -> bytes:
    # Half a surrogate pair is no text, but it is the writer of a shard that refuses it, by its place.
    return "\0".join(parts).encode("utf-8", "surrogatepass")


def choice_hash(seed: int, task: str, example_id: str, purpose: str) -> int:
    """The hash behind one choice for one example: which rows a cap keeps, which template, which delimiter."""
    return hash64(str(seed), task, example_id, purpose)


def text_digest(*parts: str) -> str:
    """A 128-bit hexadecimal digest of the NUL-joined UTF-8 of `parts`."""
    return blake2b(_joined(parts), digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """A 128-bit hexadecimal digest of a file's bytes."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
