"""What comes of a leak: the policy, the review's verdict and the two tasks' levels decide. Pure throughout."""

from __future__ import annotations

from benchmark_builder.evaluation_side import Evaluated
from benchmark_builder.overlap import PairOverlap
from task_registry.leakage import LeakagePolicy, Review, Verdict
from task_registry.splits import SourceConflict
from task_registry.types import Leak, Level, Task

SHARES_DATA_SOURCE = "shares_data_source"
SHARES_PASSAGES = "shares_passages"

TASK_LEFT, EXAMPLES_LEFT, KEPT = "task_left", "examples_left", "kept"

_BY_RULE = (None, Verdict.DEFAULT)
_REVIEWED = {
    Verdict.KEEP: KEPT,
    Verdict.DROP_EXAMPLES: EXAMPLES_LEFT,
    Verdict.DROP_TRAIN: TASK_LEFT,
    Verdict.DROP_EVAL: KEPT,  # for then it is not evaluated
}


def judged_conflict(conflict: SourceConflict, review: Review, policy: LeakagePolicy) -> tuple[Leak, ...]:
    """Judge the evaluated tasks of one data source with a training task, one by one.

    Held-out tasks that are in neither dev nor test are listed, and the training task is kept.
    """
    if policy is LeakagePolicy.OFF:
        return ()
    leaks = []
    for other in conflict.held_out:
        read = review.get((conflict.task, other))
        verdict = read.verdict if read else None
        leaves = conflict.scored if verdict in _BY_RULE else verdict is Verdict.DROP_TRAIN
        outcome = TASK_LEFT if leaves and policy is LeakagePolicy.DROP_TRAIN else KEPT
        leaks.append(Leak(other, SHARES_DATA_SOURCE, outcome, verdict or ""))
    return tuple(leaks)


def judged_pair(
    pair: PairOverlap,
    task: Task,
    level: Level | None,
    other: Evaluated,
    verdict: Verdict | None,
    policy: LeakagePolicy,
) -> Leak:
    """Judge a pair of tasks with too many passages in common."""
    return Leak(
        evaluation_task=other.task,
        rule=SHARES_PASSAGES,
        outcome=_outcome(task, level, other, verdict, policy),
        verdict=verdict or "",
        overlapping=len(pair.examples),
        evaluated=pair.evaluation_examples,
        training_rows=len(pair.rows),
        passages=tuple(passage.text for passage in pair.passages),
    )


def _outcome(
    task: Task, level: Level | None, other: Evaluated, verdict: Verdict | None, policy: LeakagePolicy
) -> str:
    """The review decides; without its word, or by it, the levels do."""
    if policy is not LeakagePolicy.DROP_TRAIN:
        return KEPT
    if verdict in _REVIEWED:
        return _REVIEWED[verdict]
    if not other.in_a_set:
        return KEPT
    own = other.task == task.id or bool(task.data_source and task.data_source == other.data_source)
    # A fully supervised task is scored on instances that are new, of a task and a data source that are not.
    if level is Level.FULLY_SUPERVISED or (own and other.level is Level.FULLY_SUPERVISED):
        return EXAMPLES_LEFT
    return TASK_LEFT
