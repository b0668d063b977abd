"""The review of leaking pairs: what is read, what is refused, and what ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from task_registry.catalogue import load_catalogue
from task_registry.errors import InputError, UsageError
from task_registry.leakage import (
    COLUMNS,
    LeakagePolicy,
    PairVerdict,
    Review,
    Verdict,
    load_review,
    read_review,
    review_digest,
    verdicts_of,
    without_withdrawn,
)
from task_registry.plans import load_plan
from task_registry.splits import assign
from task_registry.types import Assignment, EvalSet, Level

HEAD = ",".join(COLUMNS)


def read(tmp_path: Path, *lines: str, head: str = HEAD) -> Review:
    file = tmp_path / "review.csv"
    file.write_text("\n".join((head, *lines)) + "\n", encoding="utf-8")
    return read_review(file)


def test_reads_verdicts_and_leaves_open_pairs_aside(tmp_path: Path) -> None:
    review = read(tmp_path, "s/t,s/e,keep,no answers,2024-05-31,x", "s/t,s/f,,,,y", head=f"{HEAD},passages")
    assert review == {("s/t", "s/e"): PairVerdict("s/t", "s/e", Verdict.KEEP, "no answers", "2024-05-31")}
    assert verdicts_of(review, "s/t") == {"s/e": Verdict.KEEP}
    assert verdicts_of(review, "s/e") == {}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "s/t,s/e,kept,because,2024-05-31",
            "line 2: found the verdict 'kept', expected one of default, keep, drop_ex",
        ),
        ("s/t,s/e,keep,,2024-05-31", "line 2: found no reason"),
        ("s/t,s/e,keep,because,", "line 2: found no date"),
        ("s/t,s/e,keep", "line 2: found no reason"),
        ("s/t,s/e,keep,because,31.5.2024", "line 2: found the date '31.5.2024', expected a day such as 2024"),
        (",s/e,keep,because,2024-05-31", "line 2: found no training_task"),
    ],
)
def test_refuses_a_bad_line_by_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read(tmp_path, line)


def test_refuses_what_is_no_review(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no verdict, date"):
        read(tmp_path, head="training_task,evaluation_task,reason")
    with pytest.raises(InputError, match="a second time"):
        read(tmp_path, "s/t,s/e,keep,a,2024-05-31", "s/t,s/e,drop_train,b,2024-05-31")
    with pytest.raises(UsageError, match="no readable review"):
        read_review(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"\n\xe9,b,keep,c,2024-05-31\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_review(tmp_path / "latin.csv")


def test_the_digest_is_of_the_verdicts_alone(tmp_path: Path) -> None:
    lines = ["s/t,s/e,keep,a,2024-05-31", "s/u,s/e,drop_train,b,2024-05-31"]
    digest = review_digest(read(tmp_path, *lines))
    assert digest == review_digest(read(tmp_path, lines[1], lines[0].replace(",a,", ",another reason,")))
    assert digest != review_digest(read(tmp_path, lines[0], lines[1].replace("drop_train", "keep")))


def test_only_drop_eval_on_a_task_in_training_withdraws_an_evaluated_task() -> None:
    held_out = Assignment(Level.FULLY_HELD_OUT, EvalSet.DEV, False, "paper")
    taught, kept_out = Assignment(None, None, True, ""), Assignment(None, None, False, "")
    assignments = {"s/e": held_out, "s/t": taught, "s/u": kept_out}

    def level(
        training: str, verdict: Verdict, policy: LeakagePolicy = LeakagePolicy.DROP_TRAIN
    ) -> Level | None:
        review = {(training, "s/e"): PairVerdict(training, "s/e", verdict, "same pages", "2024-05-31")}
        decided = without_withdrawn(assignments, review, policy)
        assert decided["s/t"] is taught
        return decided["s/e"].level

    assert level("s/t", Verdict.DROP_EVAL) is None
    assert level("s/t", Verdict.DROP_EVAL, LeakagePolicy.REPORT) is Level.FULLY_HELD_OUT
    assert level("s/t", Verdict.DROP_TRAIN) is Level.FULLY_HELD_OUT
    assert level("s/u", Verdict.DROP_EVAL) is Level.FULLY_HELD_OUT
    assert level("s/absent", Verdict.DROP_EVAL) is Level.FULLY_HELD_OUT


def test_the_shipped_review_is_of_tasks_that_can_leak() -> None:
    catalogue = load_catalogue()
    plans = [assign(load_plan(name), catalogue.tasks.values()) for name in ("optiml", "superni")]
    review = load_review()
    assert len(review) >= 64
    assert list(review) == sorted(review)
    for training, evaluation in review:
        assert training in catalogue.tasks
        assert evaluation in catalogue.tasks
        assert any(plan[training].trained and plan[evaluation].level for plan in plans), (
            training,
            evaluation,
        )


def test_plans_say_their_policy() -> None:
    assert load_plan("optiml").leakage is LeakagePolicy.DROP_TRAIN
    assert load_plan("superni").leakage is LeakagePolicy.REPORT
