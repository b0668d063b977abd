"""Let one operation on files fail in a process of its own: found by Python at its start as `sitecustomize`.

`variables(folder, under, number)` gives the environment. The operation of that number, counted from 1, of those
that write below `under`, ends in EIO, once; with 0 none does. `count(folder)` is how many there were.
"""

from __future__ import annotations

from pathlib import Path

_SITE = """
import atexit, builtins, errno, io, os, sys

UNDER, NUMBER, SEEN = os.environ["FAILING_UNDER"], int(os.environ["FAILING_NUMBER"]), 0

def strike(path):
    global SEEN
    if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(UNDER):
        SEEN += 1
        if SEEN == NUMBER:
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))

def opening(real):
    def open(file, mode="r", *more, **named):
        if set(mode) & set("wxa+"):
            strike(file)
        return real(file, mode, *more, **named)
    return open

def before(real):
    def changing(path, *more, **named):
        strike(path)
        return real(path, *more, **named)
    return changing

def opening_low(real):
    def open(path, flags, *more, **named):
        if flags & (os.O_WRONLY | os.O_RDWR):
            strike(path)
        return real(path, flags, *more, **named)
    return open

io.open = builtins.open = opening(io.open)
os.open = opening_low(os.open)
for name in ("rename", "replace", "mkdir"):
    setattr(os, name, before(getattr(os, name)))

def tell():
    NUMBER = 0
    with os.fdopen(os.open(os.environ["FAILING_COUNT"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), "w") as file:
        file.write(str(SEEN))

atexit.register(tell)
"""


def variables(folder: Path, under: Path, number: int) -> dict[str, str]:
    """The environment of a process in which it happens; `folder` is for our files."""
    (folder / "site").mkdir(parents=True, exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
    return {
        "PYTHONPATH": str(folder / "site"),
        "FAILING_UNDER": str(under),
        "FAILING_NUMBER": str(number),
        "FAILING_COUNT": str(folder / "count"),
    }


def count(folder: Path) -> int:
    """How many operations there were."""
    return int((folder / "count").read_text(encoding="utf-8"))
