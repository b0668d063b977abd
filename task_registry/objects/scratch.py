"""Room on this machine for what a build writes before it goes up: shared by the build's processes, held by each.

A process that works for a build holds the build's folder below the machine's folder of temporary files by a
shared lock, which the kernel takes from it when it dies. A folder that nobody holds is of a build that is gone;
whoever comes next removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "optiml-bench-build-"
_held: dict[str, int] = {}
"""Open handles of the folders that this process holds, by the build's token."""


def scratch(token: str) -> Path:
    """The folder of a build on this machine, made if need be and held until `leave` or the process's end."""
    folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{token}"
    while token not in _held:
        _sweep()
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_SH)
        if _is_at(handle, folder):
            _held[token] = handle
        else:  # swept away before it was held
            os.close(handle)
    return folder


def leave(token: str) -> None:
    """Remove a build's folder, whoever holds it: the build is over."""
    if token in _held:
        shutil.rmtree(scratch(token), ignore_errors=True)
        os.close(_held.pop(token))


@contextmanager
def alone(token: str, name: str) -> Iterator[Path]:
    """The folder of a build; of its processes on this machine one at a time is in here for the same `name`."""
    folder = scratch(token)
    handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(handle)


def _sweep() -> None:
    """Remove the folders of builds of which no process lives on this machine."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another's, or held, or gone meanwhile
            handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if os.fstat(handle).st_uid == os.getuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False
