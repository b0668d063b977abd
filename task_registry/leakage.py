"""What is done about leakage: the policies, and the reviewed verdicts on pairs of tasks (paper §2.3).

The paper's authors looked at every pair of a training and an evaluated task with passages in common and removed
one of the two, or neither. Here that review is a file, `data/leakage_review.csv`, that a build reads:

    training_task,evaluation_task,verdict,reason,date

Further columns are allowed, so that a table of pairs that `optiml-bench audit --pairs` wrote can be filled in.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path

from task_registry.catalogue import DATA
from task_registry.errors import InputError, Place, UsageError, quote
from task_registry.hashing import text_digest
from task_registry.types import Assignment

COLUMNS = ("training_task", "evaluation_task", "verdict", "reason", "date")


class LeakagePolicy(StrEnum):
    """What becomes of a training task that may tell what an evaluated one asks."""

    DROP_TRAIN = "drop-train"
    """Its train split is not written, unless the review says otherwise."""
    REPORT = "report"
    """It is listed and kept."""
    OFF = "off"
    """Nobody looks."""


class Verdict(StrEnum):
    """What the review says of a pair."""

    DEFAULT = "default"
    """The rule is right: the training task leaves wherever dev or test asks the other, and stays elsewhere."""

    KEEP = "keep"
    """What they have in common tells no answer: both stay."""
    DROP_EXAMPLES = "drop_examples"
    """The training examples that overlap leave, the rest of their task stays."""
    DROP_TRAIN = "drop_train"
    """The training task leaves."""
    DROP_EVAL = "drop_eval"
    """The evaluated task is evaluated no longer."""


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """The review of one pair of tasks."""

    training_task: str
    evaluation_task: str
    verdict: Verdict
    reason: str
    date: str
    """Day of the review, as 2024-05-31."""


Review = Mapping[tuple[str, str], PairVerdict]
"""Verdicts by training task and evaluated task."""


@cache
def load_review() -> Review:
    """Return the review that ships with the package, read once a process."""
    return read_review(DATA / "leakage_review.csv")


def read_review(path: Path) -> Review:
    """Read a review; rows without a verdict count as not reviewed.

    Raises UsageError where there is no such file, and InputError with the line for missing columns, an
    unknown verdict, a verdict without a reason or a date, and a pair that stands twice.
    """
    review: dict[tuple[str, str], PairVerdict] = {}
    try:
        file = path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{path}: no readable review ({error.strerror})") from None
    with file:
        reader = csv.DictReader(file, strict=True)
        try:
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(Place(path, "line 1"), f"no {', '.join(missing)}", ", ".join(COLUMNS))
            for row in reader:
                place = Place(path, f"line {reader.line_num}")
                if not row["verdict"]:
                    continue
                read = _pair_verdict(row, place)
                pair = read.training_task, read.evaluation_task
                if pair in review:
                    raise InputError(place, f"{' and '.join(pair)} a second time", "one verdict for a pair")
                review[pair] = read
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(path, quote(str(error)), "a CSV table in UTF-8") from None
    return review


def _pair_verdict(row: Mapping[str, str | None], place: Place) -> PairVerdict:
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    for name, cell in cells.items():
        if not cell:
            raise InputError(place, f"no {name}", "all five columns filled", "say why, and on which day")
    try:
        verdict = Verdict(cells["verdict"])
    except ValueError:
        found = f"the verdict {cells['verdict']!r}"
        raise InputError(place, found, f"one of {', '.join(Verdict)}") from None
    try:
        date.fromisoformat(cells["date"])
    except ValueError:
        raise InputError(place, f"the date {cells['date']!r}", "a day such as 2024-05-31") from None
    return PairVerdict(cells["training_task"], cells["evaluation_task"], verdict, *list(cells.values())[3:])


def review_digest(review: Review) -> str:
    """Digest of the verdicts, whatever their reasons and their order."""
    return text_digest(*(f"{' '.join(pair)} {read.verdict}" for pair, read in sorted(review.items())))


def verdicts_of(review: Review, training_task: str) -> dict[str, Verdict]:
    """The verdicts on one training task, by evaluated task."""
    return {pair[1]: read.verdict for pair, read in review.items() if pair[0] == training_task}


def without_withdrawn(
    assignments: Mapping[str, Assignment], review: Review, policy: LeakagePolicy
) -> dict[str, Assignment]:
    """Take the level from every evaluated task that the review withdraws because of a task in training."""
    decided = dict(assignments)
    for read in review.values():
        if policy is not LeakagePolicy.DROP_TRAIN or read.verdict is not Verdict.DROP_EVAL:
            continue
        evaluated, training = assignments.get(read.evaluation_task), assignments.get(read.training_task)
        if evaluated and evaluated.level and training and training.trained:
            words = f"{evaluated.reason}; no longer evaluated because of {read.training_task}: {read.reason}"
            decided[read.evaluation_task] = dataclasses.replace(
                evaluated, level=None, eval_set=None, reason=words
            )
    return decided
