"""Coverage: how much of the catalogue can be built from upstream's files; a claim needs a test that exercises it.

Where each claim is exercised: `sources/test_superni.py` (one layout for all), `test_promptsource.py` (every used
template against the documented columns), `test_flan.py` (a row for each task), `test_unifiedskg.py` (flattened files
of each task), `test_crossfit.py`, `test_exmix.py`, `test_t5.py` and `test_reasoning.py` (a fixture for each task).
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmark_builder.sources import SOURCES
from benchmark_builder.sources.promptsource import PARTS
from task_registry.catalogue import load_catalogue

COVERED = {
    "superni": 1613,
    "promptsource": 278,
    "flan": 70,
    "crossfit": 160,
    "unifiedskg": 21,
    "exmix": 17,
    "t5": 37,
    "reasoning": 14,
}


@pytest.mark.parametrize("source", COVERED)
def test_what_the_adapters_claim(source: str) -> None:
    names = {task.name for task in load_catalogue().select(source=source)}
    covered = SOURCES[source].covers(names)
    assert covered <= names
    assert len(covered) == COVERED[source]
    assert SOURCES[source].covers([]) == frozenset()


def test_every_task_of_optiml_is_covered_but_three() -> None:
    missing = {
        task.id
        for task in load_catalogue().tasks.values()
        if task.in_optiml in ("yes", "likely") and not SOURCES[task.source].covers([task.name])
    }
    assert missing == {
        "promptsource/Zaid/coqa_expanded",
        "promptsource/Zaid/quac_expanded",
        "promptsource/craffel/openai_lambada",
    }


def test_promptsource_claims_only_what_has_documented_columns() -> None:
    with (Path(__file__).parent / "sources" / "promptsource_columns.csv").open(encoding="utf-8") as file:
        documented = {row[0] for row in csv.reader(file)}
    names = {task.name for task in load_catalogue().select(source="promptsource")}
    assert SOURCES["promptsource"].covers(names) <= documented | PARTS.keys()
    assert set(PARTS.values()) <= documented
