"""What there is to bring, and for which tasks: out of the catalogue, the adapters' own tables and `places`.

The rows of a Hub data set are one item, stored in `promptsource/<data set>[/<config>]/` whichever source asks
for them. Its id on the Hub is the catalogue's; what that does not tell is in `hub_sets.csv`.
"""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from benchmark_builder.datasets_at_hand import SHARED
from benchmark_builder.fetch.items import Errand, HubSet, Item, Origin
from benchmark_builder.fetch.places import load_places
from benchmark_builder.recipes import load_recipes
from benchmark_builder.sources import SOURCES
from benchmark_builder.sources.custom import Custom
from benchmark_builder.sources.flan.tasks import TASKS as FLAN_TASKS
from benchmark_builder.sources.promptsource import dataset_of
from benchmark_builder.sources.reasoning.files import DATA_SETS, HUB
from task_registry.catalogue import load_catalogue
from task_registry.errors import UsageError
from task_registry.types import Task

EXCEPTIONS = Path(__file__).parent / "hub_sets.csv"
USE_MIRROR = "use the mirror"
"""In the catalogue's `hub_note`, where only the mirror can be loaded."""
BY_HAND = {
    "manual": "its owners hand it out themselves",
    "retired by its owner": "withdrawn by its owner",
}
"""Words in `hub_note` of data sets that no program brings, and what they mean."""
FETCHABLE = tuple(name for name in SOURCES if name != Custom.name)


def wanted_items(sources: Iterable[str] = (), tasks: Iterable[str] = ()) -> tuple[Item, ...]:
    """The items that tasks of these sources and like these globs need, by name; without any, all of them.

    Each is told which of these tasks need it. Raises UsageError for a source or a task that does not exist.
    """
    chosen = set(FETCHABLE)
    for name in sources:
        if name not in FETCHABLE:
            raise UsageError(f"no source {name!r} to fetch: expected {', '.join(FETCHABLE)}")
    chosen = set(sources) or chosen
    catalogue = load_catalogue()
    globs = tuple(tasks) or ("*",)
    ids = {task.id for glob in globs for task in catalogue.select(glob) if task.source in chosen}
    if not ids:
        raise UsageError(f"no task of {', '.join(sorted(chosen))} is like {' or '.join(globs)}")
    narrowed = (dataclasses.replace(item, tasks=item.tasks & ids) for item in all_items())
    return tuple(item for item in narrowed if item.tasks)


@cache
def all_items() -> tuple[Item, ...]:
    """Everything there is to bring, by name."""
    users: defaultdict[str, list[Task]] = defaultdict(list)
    for task in load_catalogue().tasks.values():
        for name in _hub_items(task, {item.name for item in load_places()}):
            users[name].append(task)
    exceptions = _exceptions()
    sets = [_hub_item(name, own, exceptions.get(name)) for name, own in users.items()]
    served = {task.id for own in users.values() for task in own}
    places = (_less(item, served) if isinstance(item.origin, Errand) else item for item in load_places())
    repos = Counter(item.origin.repo for item in sets if isinstance(item.origin, HubSet))
    return tuple(sorted((*places, *(_with_sole(item, repos) for item in sets)), key=lambda item: item.name))


def _hub_items(task: Task, places: set[str]) -> Iterator[str]:
    """The Hub data sets that a task's adapter reads, by the item's name; the best one where there are several."""
    match task.source:
        case "promptsource":
            yield f"{SHARED}/{dataset_of(task.name)}"
        case "flan":
            yield f"{SHARED}/{FLAN_TASKS[task.name].datasets[0]}"
        case "t5" | "crossfit" | "exmix":
            recipe = load_recipes(task.source).get(task.name)
            if recipe and recipe.data and task.id not in places:
                yield f"{SHARED}/{recipe.data[0]}"
        case "reasoning":
            if task.id in _exceptions():
                yield task.id
            elif task.id not in places:
                hub = (place for place in DATA_SETS[task.name] if place.startswith(HUB))
                yield from (f"{SHARED}/{place.removeprefix(HUB)}" for place in (*hub,)[:1])


def _hub_item(name: str, users: list[Task], exception: Mapping[str, str] | None) -> Item:
    """The item of a Hub data set, or the errand where no program can bring it."""
    folder = name.partition("/")[2]
    task = next((task for task in users if task.id == name), users[0])
    tasks = frozenset(user.id for user in users)
    if exception is not None:
        origin: Origin = HubSet(exception["repo"], exception["config"], exception["revision"])
        return Item(name, origin, tasks, task.licence, exception["note"])
    reason = next((meaning for word, meaning in BY_HAND.items() if word in task.hub_note), "")
    if not task.hub_id:
        reason = "no id on the Hub is known"
    if reason:
        copy = f"; {task.hub_mirror} is a copy by others" if task.hub_mirror else ""
        place = f"{name}/{{train,validation,test}}.{{parquet,jsonl}}"
        return Item(name, Errand(task.url, reason + copy, place), tasks, task.licence)
    config = _config(folder, task.hub_id)
    if USE_MIRROR in task.hub_note:
        return Item(name, HubSet(task.hub_mirror, config, original=task.hub_id), tasks, task.licence)
    return Item(name, HubSet(task.hub_id, config), tasks, task.licence, task.hub_note)


def _config(folder: str, repo: str) -> str:
    """The config that a folder `<data set>[/<config>]` is named after; the data set may have its namespace."""
    if folder.lower().startswith(repo.lower()):
        return folder[len(repo) + 1 :]
    return folder.partition("/")[2]


def _less(item: Item, served: set[str]) -> Item:
    """An errand without the tasks whose rows a program brings."""
    return dataclasses.replace(item, tasks=item.tasks - served)


def _with_sole(item: Item, repos: Mapping[str, int]) -> Item:
    if not isinstance(item.origin, HubSet):
        return item
    sole = repos[item.origin.repo] == 1
    return dataclasses.replace(item, origin=dataclasses.replace(item.origin, sole=sole))


@cache
def _exceptions() -> Mapping[str, Mapping[str, str]]:
    with EXCEPTIONS.open(encoding="utf-8", newline="") as file:
        return {row["item"]: row for row in csv.DictReader(file)}
