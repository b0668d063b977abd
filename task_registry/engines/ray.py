"""The engine of many machines: long-lived Ray actors that pull units, on whatever the cluster has just now.

Ray starts, places and watches the actors; here units are handed out, a dead actor's unit is begun again, and
actors are added as machines join. A call costs under a millisecond. Every machine needs the package, and sees
the folders that the units name.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Self

from task_registry.engines.protocol import TRIES, Crash, Engine, R, S, Trial, guarded
from task_registry.errors import MachineError

_LOOK = 1.0
"""Seconds between two looks at what the cluster has."""


class Ray(Engine):
    """Runs units in actors of a Ray cluster; of one on this machine where there is none.

    `count` actors at most, by default as many as the cluster holds; each takes `cpus` and `gpus`. `address` is
    Ray's own ("host:6379", "auto", "local"; None: $RAY_ADDRESS, else the cluster that this machine is in, else
    a new one). Without any actor for `patience` seconds it gives up with MachineError.
    """

    def __init__(
        self,
        count: int | None = None,
        *,
        address: str | None = None,
        cpus: float = 1,
        gpus: float = 0,
        patience: float = 300,
    ) -> None:
        self.count, self.address, self.cpus, self.gpus, self.patience = count, address, cpus, gpus, patience
        self._idle: list[Any] = []

    def __enter__(self) -> Self:
        # Before the import: Ray reads them then. It reports no use, and leaves a CPU actor's view of GPUs alone.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise MachineError(
                "ray is not installed; install it with: pip install 'optiml-bench[ray]'"
            ) from None
        place = self.address or os.environ.get("RAY_ADDRESS") or "auto"
        sigterm = signal.getsignal(signal.SIGTERM)
        try:
            _check_that_it_answers(place)
            ray.init(
                address=self.address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise MachineError(
                f"no Ray cluster answers at {place} ({_first_line(error)}); see `ray status`"
            ) from error
        except SystemExit:  # what Ray's own handler makes of a SIGTERM that comes now
            raise KeyboardInterrupt from None
        finally:
            # Ray leaves a handler behind that knows nothing of our exit codes.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, sigterm)
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        self._idle.clear()
        sigterm = signal.getsignal(signal.SIGTERM)
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, sigterm)  # which Ray takes down

    def map(self, function: Callable[[S], R], specs: Sequence[S]) -> Iterator[tuple[S, R | Crash]]:
        """Yield each spec with its result, in order of completion."""
        from ray.exceptions import RayError

        run = _Map(self, function, specs)
        try:
            yield from run.outcomes()
        except RayError as error:
            raise MachineError(
                f"the Ray cluster is gone ({_first_line(error)}); run it again: it goes on"
            ) from error
        finally:
            run.stop()

    def capacity(self) -> int:
        """How many actors the cluster's machines hold together at present.

        Raises MachineError where there is no machine left: one that has started on this machine and died, say.
        """
        import ray

        nodes: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
        there = [node["Resources"] for node in nodes if node["Alive"]]
        if not there:
            raise MachineError("the Ray cluster has no machine left; run it again: it goes on")
        needs = {"CPU": self.cpus, "GPU": self.gpus}
        return sum(
            min(int(node.get(kind, 0) // need) for kind, need in needs.items() if need) for node in there
        )


class _Actor:
    """What runs on the cluster: does the units that it is sent."""

    def ping(self) -> None:
        """Tell that it is there."""

    def work(self, function: Callable[[Any], Any], spec: object) -> object:
        """Do one unit; a MachineError is an outcome too, and leaves the actor alive."""
        try:
            return guarded(function, spec)
        except MachineError as error:
            return error


class _Map:
    """One `map` under way: actors that join, idle ones, and those at work, each by what it owes."""

    def __init__(self, engine: Ray, function: Callable[[Any], Any], specs: Sequence[Any]) -> None:
        import ray

        self.engine, self.function = engine, function
        self.actor: Any = ray.remote(num_cpus=engine.cpus, num_gpus=engine.gpus, max_restarts=0)(_Actor)
        self.waiting = deque(Trial(spec) for spec in specs)
        self.joining: dict[Any, Any] = {}
        self.busy: dict[Any, tuple[Any, Trial]] = {}
        self.seen = self.looked = monotonic()
        self.wanted = 0

    def outcomes(self) -> Iterator[tuple[Any, Any]]:
        """Yield each spec with its outcome."""
        import ray

        while self.waiting or self.busy:
            self._recruit()
            self._hand_out()
            ready, _ = ray.wait([*self.busy, *self.joining], num_returns=1, timeout=_LOOK)
            for reference in ready:
                if reference in self.joining:
                    self._welcome(reference)
                else:
                    yield from self._settle(reference)

    def stop(self) -> None:
        """End the actors that are in the middle of something, or have not come yet."""
        import ray

        for actor in (*self.joining.values(), *(actor for actor, _ in self.busy.values())):
            with contextlib.suppress(Exception):  # the cluster may be what has failed
                ray.kill(actor)

    def _recruit(self) -> None:
        """Ask for actors up to what is wanted; give up where none has come for too long."""
        now = monotonic()
        if not self.wanted or now - self.looked > _LOOK:
            capacity = self.engine.capacity()
            self.looked, self.wanted = now, self.engine.count or max(1, capacity)
        there = len(self.engine._idle) + len(self.busy)
        units = len(self.waiting) + len(self.busy)
        for _ in range(min(self.wanted, units) - there - len(self.joining)):
            actor = self.actor.remote()
            self.joining[actor.ping.remote()] = actor
        if there:
            self.seen = now
        elif now - self.seen > self.engine.patience:
            engine = self.engine
            raise MachineError(
                f"no machine of the Ray cluster had {engine.cpus:g} CPU and {engine.gpus:g} GPU to spare for "
                f"{engine.patience:,.0f} s; see `ray status`, then run it again: it goes on"
            )

    def _hand_out(self) -> None:
        while self.waiting and self.engine._idle:
            actor, trial = self.engine._idle.pop(), self.waiting.popleft()
            self.busy[actor.work.remote(self.function, trial.spec)] = actor, trial

    def _welcome(self, reference: Any) -> None:
        import ray
        from ray.exceptions import RayActorError

        actor = self.joining.pop(reference)
        with contextlib.suppress(RayActorError):  # gone before it was there; another will be asked for
            ray.get(reference)
            self.engine._idle.append(actor)

    def _settle(self, reference: Any) -> Iterator[tuple[Any, Any]]:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        actor, trial = self.busy.pop(reference)
        try:
            outcome = ray.get(reference)
        except RayTaskError as error:  # what `guarded` cannot catch: a result that cannot be sent, say
            outcome = Crash(_first_line(error.cause))
            self.engine._idle.append(actor)
        except RayActorError as error:
            if again := trial.again():
                self.waiting.append(again)
                return
            outcome = Crash(f"its Ray actor died {TRIES} times ({_first_line(error)})")
        else:
            self.engine._idle.append(actor)
        if isinstance(outcome, MachineError):
            raise outcome
        yield trial.spec, outcome


def _check_that_it_answers(address: str) -> None:
    """Raise OSError where nobody listens at `host:port`: Ray itself goes on trying for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
