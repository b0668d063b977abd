"""The files of a model's weights, for engines that keep what they load in processes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from task_registry.errors import ModelError

_PIECES, _PIECE = 1_024, 4_096
"""Pieces of each file that its digest runs over, and bytes of each."""


def weight_files(folder: Path) -> list[Path]:
    """The files of weights in a model's folder: safetensors, else those of torch; sorted.

    Raises:
        ModelError: there are none.
    """
    for pattern in ("*.safetensors", "*.bin", "*.pt"):
        if found := sorted(folder.glob(pattern)):
            return found
    raise ModelError(
        f"{folder}: no .safetensors, .bin or .pt files, so no weights; copy them into the folder"
    )


def files_digest(files: Sequence[Path]) -> str:
    """A 128-bit digest of every file's name, size and up to 1,024 evenly spaced pieces of 4 KiB.

    Like the digest of loaded parameters it is quick for any size. Unlike it, it changes with the files' format,
    names and dtype while the model stays the same; `files:` before it says which of the two it is.
    """
    digest = blake2b(digest_size=16)
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            for start in range(0, size, max(_PIECE, -(-size // _PIECES))):
                stream.seek(start)
                digest.update(stream.read(_PIECE))
    return f"files:{digest.hexdigest()}"
