"""Where a task's folder goes, as those see it who build the task: with the unit it is sent to whatever machine.

A task is always written into a folder of the machine that works on it. What becomes of that folder is the
place's matter: below a folder that all machines see, the build renames it into the bench
(`task_registry.writer`); into an object store the worker sends it up (`task_registry.objects`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from task_registry.types import BuiltTask


class Place(Protocol):
    """A task's place in a bench. A worker may die in each of these, and another begin the unit again."""

    @property
    def building(self) -> Path:
        """The folder, on this machine, to write the task into; its parents need not be there."""

    def published(self) -> BuiltTask | None:
        """The record of what is published of the task; None where nothing is, or not all that it names."""

    def keep(self) -> None:
        """Let `building` wait, unpublished, for whoever completes the task."""

    def resume(self) -> None:
        """Have in `building` what was kept, if anything was."""

    def publish(self) -> None:
        """Let `building` become what is published of the task, once the build takes its outcome."""

    def evaluation(self) -> Path:
        """The folder, on this machine, of what is scored, which the build has gathered."""
