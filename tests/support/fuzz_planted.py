"""Targets with planted faults: what the fuzzing must see."""

from __future__ import annotations

import faulthandler
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from fuzz_kit import Target

from task_registry.errors import InputError

SOUND = b"sound"


class TwoLinesError(InputError):
    """An error of ours whose text is no line."""

    def __str__(self) -> str:
        return "one\ntwo"


def _prepared(folder: Path) -> Mapping[str, bytes]:
    (folder / "in").mkdir()
    (folder / "in" / "file.txt").write_bytes(SOUND)
    return {"in/file.txt": SOUND}


def _make(rng: Random, place: str, content: bytes) -> bytes:
    return b"hostile %d" % rng.randrange(10**9)


def _target(name: str, fault: Callable[[Path], object]) -> Target:
    def run(folder: Path, place: str) -> None:
        if (folder / place).read_bytes() != SOUND:
            fault(folder)

    return Target(name, _prepared, run, make=_make)


def _refuse(folder: Path) -> None:
    raise InputError("file.txt", "a lie", "the truth")


def _two_lines(folder: Path) -> None:
    raise TwoLinesError("file.txt", "a lie", "the truth")


def _hang(folder: Path) -> None:
    while True:
        pass


TARGETS = {
    target.name: target
    for target in (
        _target("refuses", _refuse),
        _target("accepts", lambda folder: None),
        _target("raises", lambda folder: {}["nothing"]),
        _target("says two lines", _two_lines),
        _target("crashes", lambda folder: faulthandler._sigsegv()),  # type: ignore[attr-defined]
        _target("exits", lambda folder: os._exit(3)),
        _target("hangs", _hang),
        _target("swallows memory", lambda folder: bytearray(2 << 30)),
        _target("writes outside", lambda folder: (folder.parent / "stray").write_text("x", encoding="utf-8")),
        _target("removes outside", lambda folder: (folder.parent / "outside" / "secret.jsonl").unlink()),
        _target("reads outside", lambda folder: (folder.parent / "outside" / "secret.jsonl").read_bytes()),
        _target("starts a process", lambda folder: subprocess.run(["true"], check=False)),
    )
}
