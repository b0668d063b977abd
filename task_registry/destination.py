"""Where a bench is written to: a folder, or a URL of an object store; both are written in the same words."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from task_registry.objects.client import local_path
from task_registry.objects.writer import ObjectWriter
from task_registry.objects.writer import check_ours as check_ours_at
from task_registry.writer import BenchWriter, check_ours

Writer: TypeAlias = BenchWriter | ObjectWriter


def open_writer(out: str | Path) -> AbstractContextManager[Writer]:
    """Take a folder or the place at a URL for writing; see the writers' own `open`."""
    path = local_path(out)
    return ObjectWriter.open(str(out)) if path is None else BenchWriter.open(path)


def check_destination(out: str | Path) -> None:
    """Raise BenchFolderError where something else than a bench is, before any work is done."""
    path = local_path(out)
    if path is None:
        check_ours_at(str(out))
    else:
        check_ours(path)
