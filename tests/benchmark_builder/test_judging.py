"""What comes of a leak, in every case."""

from __future__ import annotations

import pytest

from benchmark_builder.evaluation_side import Evaluated
from benchmark_builder.judging import judged_conflict, judged_pair
from benchmark_builder.overlap import PairOverlap, Passage
from task_registry.leakage import LeakagePolicy, PairVerdict, Verdict
from task_registry.splits import SourceConflict
from task_registry.types import Level, Metric, Task

FHO, PS, FS = Level.FULLY_HELD_OUT, Level.PARTIALLY_SUPERVISED, Level.FULLY_SUPERVISED
DROP, REPORT, OFF = LeakagePolicy
PAIR = PairOverlap("s/t", "s/e", 50, ("1", "2"), (4, 5, 6), (Passage("a b c", 13),))


def judged(
    level: Level | None,
    other: Level,
    *,
    same: bool = False,
    in_a_set: bool = True,
    verdict: Verdict | None = None,
    policy: LeakagePolicy = DROP,
) -> str:
    task = Task("s/t", "c", Metric.ROUGE_L, data_source="data" if same else "")
    evaluated = Evaluated("s/e", other, in_a_set, "data" if same else "", "digest")
    return judged_pair(PAIR, task, level, evaluated, verdict, policy).outcome


@pytest.mark.parametrize("other", [FHO, PS, FS])
def test_a_training_task_leaves_for_an_evaluated_task_of_another_data_source(other: Level) -> None:
    assert judged(None, other) == "task_left"
    assert judged(None, other, in_a_set=False) == "kept"
    assert judged(None, other, policy=REPORT) == "kept"
    assert judged(None, other, policy=OFF) == "kept"


def test_examples_leave_where_a_fully_supervised_task_takes_part() -> None:
    assert judged(None, FS, same=True) == "examples_left"
    assert judged(None, PS, same=True) == "task_left"
    assert judged(FS, FS, same=True) == "examples_left"
    assert judged(FS, FHO) == "examples_left"
    assert judged(FS, FS) == "examples_left"


def test_a_task_without_a_data_source_shares_none_but_is_its_own() -> None:
    task = Task("s/e", "c", Metric.ROUGE_L)
    own = Evaluated("s/e", FS, True, "", "digest")
    stranger = Evaluated("s/x", FS, True, "", "digest")
    assert judged_pair(PAIR, task, None, own, None, DROP).outcome == "examples_left"
    assert judged_pair(PAIR, task, None, stranger, None, DROP).outcome == "task_left"


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Verdict.KEEP, "kept"),
        (Verdict.DROP_EXAMPLES, "examples_left"),
        (Verdict.DROP_TRAIN, "task_left"),
        (Verdict.DROP_EVAL, "kept"),
    ],
)
def test_the_review_has_the_last_word_under_drop_train(verdict: Verdict, outcome: str) -> None:
    for other in (FHO, PS, FS):
        assert judged(None, other, verdict=verdict) == outcome
        assert judged(FS, other, same=True, in_a_set=False, verdict=verdict) == outcome
        assert judged(None, other, verdict=verdict, policy=REPORT) == "kept"


@pytest.mark.parametrize("other", [FHO, PS, FS])
@pytest.mark.parametrize("in_a_set", [True, False])
def test_the_review_may_say_that_the_rule_is_right(other: Level, in_a_set: bool) -> None:
    for same in (True, False):
        by_rule = judged(None, other, same=same, in_a_set=in_a_set)
        assert judged(None, other, same=same, in_a_set=in_a_set, verdict=Verdict.DEFAULT) == by_rule


def test_a_leak_has_the_figures_of_its_pair() -> None:
    task = Task("s/t", "c", Metric.ROUGE_L)
    leak = judged_pair(PAIR, task, None, Evaluated("s/e", FHO, True, "", ""), Verdict.KEEP, DROP)
    assert (leak.evaluation_task, leak.verdict, leak.overlapping, leak.evaluated) == ("s/e", "keep", 2, 50)
    assert (leak.training_rows, leak.passages) == (3, ("a b c",))


def conflicting(scored: bool, policy: LeakagePolicy, *verdicts: Verdict) -> list[str]:
    held_out = ("s/a", "s/b")
    review = {
        ("s/t", other): PairVerdict("s/t", other, verdict, "because", "2024-05-31")
        for other, verdict in zip(held_out, verdicts, strict=False)
    }
    conflict = SourceConflict("s/t", "data", held_out, scored)
    return [leak.outcome for leak in judged_conflict(conflict, review, policy)]


def test_conflicts_of_data_sources() -> None:
    assert conflicting(True, DROP) == ["task_left", "task_left"]
    assert conflicting(False, DROP) == ["kept", "kept"]
    assert conflicting(True, REPORT) == ["kept", "kept"]
    assert conflicting(True, OFF) == []
    assert conflicting(True, DROP, Verdict.KEEP) == ["kept", "task_left"]
    assert conflicting(True, DROP, Verdict.KEEP, Verdict.KEEP) == ["kept", "kept"]
    assert conflicting(False, DROP, Verdict.DROP_TRAIN) == ["task_left", "kept"]
    assert conflicting(True, DROP, Verdict.DEFAULT) == ["task_left", "task_left"]
    assert conflicting(False, DROP, Verdict.DEFAULT, Verdict.DEFAULT) == ["kept", "kept"]
