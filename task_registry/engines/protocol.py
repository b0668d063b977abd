"""What an engine promises: every unit comes to an outcome, whatever happens to those who work on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from task_registry.errors import MachineError

S = TypeVar("S")
R = TypeVar("R")

TRIES = 3
"""How often a unit is begun whose worker dies: machines go away, but a unit may also be what kills them."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A unit that came to no result: the function raised, or its workers died again and again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A unit, and how many workers have died over it."""

    spec: Any
    deaths: int = 0

    def again(self) -> Trial | None:
        """The next trial after a death; None when it has had its tries."""
        return Trial(self.spec, self.deaths + 1) if self.deaths + 1 < TRIES else None


class Engine(AbstractContextManager["Engine"], Protocol):
    """Runs units of work; a context manager that keeps its workers, and what they have loaded, until the end."""

    def map(self, function: Callable[[S], R], specs: Sequence[S]) -> Iterator[tuple[S, R | Crash]]:
        """Yield each spec with its result, in order of completion; a result may come from another machine.

        `function` is found by its module and name wherever it runs. A unit whose worker died is begun again,
        so it must come to the same when it is done twice, or half and then whole. Raises MachineError as soon
        as a unit raises it: a full disk does not get better by going on.
        """


def guarded(function: Callable[[S], R], spec: S) -> R | Crash:
    """Do one unit; a fault of ours, whatever it is, must not end the others."""
    try:
        return function(spec)
    except MachineError:
        raise
    except Exception as error:  # noqa: BLE001  (see above)
        origin = error.__traceback__
        while origin is not None and origin.tb_next is not None:
            origin = origin.tb_next
        where = f" at {Path(origin.tb_frame.f_code.co_filename).name}:{origin.tb_lineno}" if origin else ""
        return Crash(f"{type(error).__name__}: {error}{where} (a fault of optiml-bench: please report it)")
