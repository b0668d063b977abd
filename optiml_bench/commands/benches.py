"""How commands open the bench that they are given: a folder, a published one, or one in an object store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from task_registry.bench import Bench
    from task_registry.types import Split

PLACES = "a folder, hf://ORG/NAME@TAG, or the URL of an object store"
"""Where a bench may be, for the help."""


def opened(data: str, splits: Sequence[Split] | None = None, sources: Iterable[str] | None = None) -> Bench:
    """Open a bench; from afar, these splits and sources (None: all) are brought first, and told of."""
    from task_registry.remote import open_bench
    from task_registry.types import Split

    wanted = tuple(Split) if splits is None else splits
    return open_bench(data, wanted, sources, watch=lambda file: click.echo(f"Fetching {file}", err=True))
