"""Engines of one machine: this process, or worker processes that may die without harm.

`multiprocessing.Pool` hangs when a worker is killed and `ProcessPoolExecutor` gives up all pending units: hence
one pipe for each worker here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_context, parent_process
from pickle import PicklingError
from typing import TYPE_CHECKING, Any, Self

from task_registry.engines.protocol import TRIES, Crash, Engine, R, S, Trial, guarded
from task_registry.errors import MachineError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess


class Serial(Engine):
    """Runs units one after the other in this process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Callable[[S], R], specs: Sequence[S]) -> Iterator[tuple[S, R | Crash]]:
        """Yield each spec with its result, in the order of the specs."""
        for spec in specs:
            yield spec, guarded(function, spec)


class Workers(Engine):
    """Runs units in `count` local processes; a worker that dies is replaced, and its unit begun again."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().stop()

    def map(self, function: Callable[[S], R], specs: Sequence[S]) -> Iterator[tuple[S, R | Crash]]:
        """Yield each spec with its result, in order of completion."""
        waiting = deque(Trial(spec) for spec in specs)
        busy: dict[Connection, tuple[_Worker, Trial]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self.count:
                    worker, trial = self._idle.pop() if self._idle else _Worker(), waiting.popleft()
                    busy[worker.pipe] = worker, trial
                    # To a worker that died while idle nothing can be sent; the wait below then reports it.
                    with contextlib.suppress(OSError):
                        worker.pipe.send((function, trial.spec))
                ready = connection.wait(list(busy))
                for pipe in [pipe for pipe in busy if pipe in ready]:
                    worker, trial = busy.pop(pipe)
                    try:
                        outcome = worker.pipe.recv()
                    except (EOFError, OSError):
                        how = worker.stop()
                        if again := trial.again():
                            waiting.append(again)
                            continue
                        outcome = Crash(f"its worker process died {TRIES} times ({how})")
                    else:
                        self._idle.append(worker)
                    if isinstance(outcome, MachineError):
                        raise outcome
                    yield trial.spec, outcome
        finally:
            for worker, _ in busy.values():
                worker.stop()


class _Worker:
    """A child process and this side's end of the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self) -> str:
        """End the process and say how it ended."""
        self.pipe.close()
        self.process.join(timeout=0.2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _serve(pipe: Connection) -> None:
    """A worker's life: do units until the pipe closes."""
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, spec = pipe.recv()
            outcome: Any
            try:
                outcome = guarded(function, spec)
            except MachineError as error:
                outcome = error
            try:
                pipe.send(outcome)
            except (TypeError, AttributeError, PicklingError) as error:
                pipe.send(Crash(f"its result cannot be sent ({error})"))


def _die_with_parent() -> None:
    """End at once when the parent is gone, even in the middle of a unit: nobody would publish its result."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
