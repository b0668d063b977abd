"""The options of where work runs, shared by the commands that have much of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from task_registry.engines import Engine

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def engine_options(workers: str, default: int = 1) -> Decorator:
    """`--engine`, `--workers` and `--address`; `workers` says what one of them is, `default` how many are local."""
    decorators: tuple[Decorator, ...] = (
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="This machine, or a Ray cluster.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help=f"{workers} Default: {default}; on a Ray cluster as many as it holds.",
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="Of the Ray cluster; auto: the one that this machine is in. Default: $RAY_ADDRESS, else auto, "
            "else a new one on this machine.",
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def engine_of(engine: str, workers: int | None, address: str | None, gpus: float = 0) -> Engine:
    """The engine that the options name; each of its workers takes `gpus`, where they can be assigned."""
    if engine == "ray":
        from task_registry.engines.ray import Ray

        return Ray(workers, address=address, gpus=gpus)
    from task_registry.engines.local import Serial, Workers
    from task_registry.errors import UsageError

    if address is not None:
        raise UsageError("--address is of a Ray cluster; add --engine ray")
    return Workers(workers) if workers and workers > 1 else Serial()
