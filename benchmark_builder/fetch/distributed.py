"""Fetching by the workers of an engine, on as many machines as there are: an item is a unit.

All machines see the folder. The driver holds its lock and hands out the items; a worker brings one and puts it
into place. A worker may die at any moment: whoever begins the item again first finishes what had been all but
finished, then goes on with what was begun.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmark_builder.fetch.archives import MACHINE
from benchmark_builder.fetch.fetching import Fetcher, Finding, Told
from benchmark_builder.fetch.items import Item
from benchmark_builder.fetch.remote import Patience, Remote, Watch
from benchmark_builder.fetch.store import State, Store
from task_registry.engines import Crash, Engine
from task_registry.errors import BenchError, MachineError


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is asked to do with an item, in which folder."""

    root: Path
    like: Path | None
    patience: Patience
    item: Item
    thoroughly: bool = False
    finding: Finding | None = None
    """How it stands with the item, where it is to be brought."""


class DistributedFetcher(Fetcher):
    """One run of `fetch` whose items are looked up and brought by an engine's workers."""

    def __init__(
        self, store: Store, engine: Engine, patience: Patience | None = None, *, like: Store | None = None
    ) -> None:
        super().__init__(store, Remote(patience), like=like)
        self.engine = engine

    def look(
        self, items: Iterable[Item], told: Told = lambda _: None, *, thoroughly: bool = False
    ) -> tuple[Finding, ...]:
        """Find out how it stands with each item, as `Fetcher.look`."""
        orders = [dataclasses.replace(self._order(item), thoroughly=thoroughly) for item in items]
        return self._through(look_at, orders, told)

    def _bring_each(self, missing: Sequence[Finding], told: Told, watch: Watch) -> tuple[Finding, ...]:
        def told_and_watched(finding: Finding) -> None:
            watch(finding.item.name, finding.size or 0)
            told(finding)

        orders = [dataclasses.replace(self._order(one.item), finding=one) for one in missing]
        return self._through(bring, orders, told_and_watched)

    def _order(self, item: Item) -> Order:
        like = self.like.root.absolute() if self.like else None
        return Order(self.store.root.absolute(), like, self.remote.patience, item)

    def _through(
        self, work: Callable[[Order], Finding], orders: Sequence[Order], told: Told
    ) -> tuple[Finding, ...]:
        findings = []
        for order, outcome in self.engine.map(work, orders):
            if isinstance(outcome, Crash):
                failed = order.finding or Finding(order.item, State.FAILED)
                outcome = dataclasses.replace(
                    failed, state=State.FAILED, error=f"{order.item.name}: {outcome.reason}"
                )
            findings.append(outcome)
            told(outcome)
        return tuple(sorted(findings, key=lambda finding: finding.item.name))


def look_at(order: Order) -> Finding:
    """Find out how it stands with an item; in a worker."""
    return _fetcher(order.root, order.like, order.patience).look_at(order.item, order.thoroughly)


def bring(order: Order) -> Finding:
    """Bring an item, unless a worker that died has done it; in a worker.

    Raises MachineError where the disk is full or refuses.
    """
    fetcher = _fetcher(order.root, order.like, order.patience)
    wanted = order.finding or Finding(order.item, State.MISSING)
    try:
        fetcher.store.finish(order.item.name)
        if (there := fetcher.there(order.item)) is not None:
            if there.state is not State.THERE:  # the user's own, come meanwhile
                return there
            fetcher.store.discard(order.item.name)
            return dataclasses.replace(there, state=State.FETCHED)
        return fetcher.bring_one(wanted)
    except BenchError as error:
        if isinstance(error, MachineError):
            raise
        return dataclasses.replace(wanted, state=State.FAILED, error=str(error))
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        place = error.filename or order.root
        raise MachineError(f"{place}: {error.strerror}; mend that and fetch again") from error


@lru_cache(maxsize=1)
def _fetcher(root: Path, like: Path | None, patience: Patience) -> Fetcher:
    """A worker's own, which asks the Hub once for each repository."""
    return Fetcher(Store(root), Remote(patience), like=Store(like) if like else None)
