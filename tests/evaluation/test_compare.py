"""Two runs against each other, with planted differences: what changes, what cannot be compared, what is said of it."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import pytest
from evaluation_kit import ToyTask, make_bench, numbered
from report_kit import CHOICES, ZERO_FIVE, Right, make_run, number_of, toy_bench

from evaluation.bootstrap import Resampling
from evaluation.compare import Comparison, _judged, compare, gate
from evaluation.means import Difference, Key, Scope
from evaluation.requests import PromptOptions
from evaluation.run import RunRecord
from evaluation.scoring import Report, score_run
from task_registry.bench import Bench
from task_registry.errors import GateError, UsageError
from task_registry.types import Level, Metric


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return toy_bench(tmp_path / "data")


def report(
    folder: Path, bench: Bench, right: Right, options: PromptOptions = ZERO_FIVE, **more: Any
) -> Report:
    return score_run(make_run(folder, bench, right, options, **more))


def by_task(found: Comparison) -> dict[tuple[str, int | None], Any]:
    return {(one.key.task, one.key.shots): one for one in found.of(Scope.TASK)}


def test_a_run_against_itself_changes_nothing(tmp_path: Path, bench: Bench) -> None:
    one = report(tmp_path / "one", bench, lambda _, name, shots: number_of(name) % 2 == 0)
    found = compare(one, one)
    assert set(found.tasks) == set(bench.tasks) and not found.left_out
    assert all((c.value, c.low, c.high, c.clear, c.holds) == (0, 0, 0, False, False) for c in found.changes)
    assert not found.examples and not found.flips
    assert sum(tally.even for tally in found.tallies) == 2 * (16 + 10 + 1)
    gate(found, 0)
    with pytest.raises(GateError, match=r"expected at least \+0\.1"):
        gate(found, 0.1)


def test_a_planted_difference_is_found_with_its_sign(tmp_path: Path, bench: Bench) -> None:
    """B answers two more of eight examples, and loses one, under both templates, at five shots only."""
    before = report(tmp_path / "a", bench, lambda _, name, shots: number_of(name) < 4, name="a")
    after = report(
        tmp_path / "b",
        bench,
        lambda task, name, shots: (
            number_of(name) < 4 if task != "flan/choose" or shots == 0 else 0 < number_of(name) < 6
        ),
        name="b",
    )
    found = compare(before, after)
    change = by_task(found)["flan/choose", 5]
    assert (change.first, change.second, change.value) == (0.5, 0.625, 0.125)
    assert change.low < 0 < change.high and not change.clear
    assert by_task(found)["flan/choose", 0].value == 0
    tally = next(one for one in found.tallies if one.task == "flan/choose" and one.shots == 5)
    assert (tally.won, tally.lost, tally.even) == (4, 2, 10)
    assert {(one.example_id, one.first, one.second) for one in found.examples} == {
        ("e4", 0.0, 1.0),
        ("e5", 0.0, 1.0),
        ("e0", 1.0, 0.0),
    }
    back = by_task(compare(after, before))["flan/choose", 5]
    assert (back.value, back.low, back.high) == pytest.approx((-change.value, -change.high, -change.low))


def test_pairing_sees_what_single_intervals_hide(tmp_path: Path) -> None:
    """B is right wherever A is, and on a few examples more: the paired interval leaves out zero."""
    task = ToyTask("flan/a", numbered(200, options=CHOICES), metric=Metric.ACCURACY)
    bench = make_bench(tmp_path / "data", task)
    zero = PromptOptions(shots=(0,))
    before = report(tmp_path / "a", bench, lambda _, name, __: number_of(name) < 100, zero, name="a")
    after = report(tmp_path / "b", bench, lambda _, name, __: number_of(name) < 108, zero, name="b")
    change = by_task(compare(before, after))["flan/a", 0]
    own = [next(m for m in one.means if m.key.scope is Scope.TASK) for one in (before, after)]
    assert own[0].high > own[1].low, "the single intervals overlap"
    assert change.value == pytest.approx(0.04) and change.clear and change.holds


def test_many_differences_are_judged_together(tmp_path: Path) -> None:
    """Forty tasks of two models that are the same coin: some intervals leave out zero, Holm keeps hardly any."""
    tasks = [
        ToyTask(f"flan/t{n:02}", numbered(60, options=CHOICES), metric=Metric.ACCURACY) for n in range(40)
    ]
    bench = make_bench(tmp_path / "data", *tasks)
    zero = PromptOptions(shots=(0,))

    def coin(seed: int) -> Right:
        rng = random.Random(seed)
        return lambda *_: rng.random() < 0.5

    first, second = (
        report(tmp_path / name, bench, coin(seed), zero, name=name) for seed, name in ((1, "a"), (2, "b"))
    )
    found = compare(first, second)
    family = found.of(Scope.TASK)
    assert sum(one.clear for one in family) >= 1
    assert sum(one.holds for one in family) < sum(one.clear for one in family)
    assert any("Holm" in note for note in found.notes)


def test_nothing_holds_whose_own_interval_touches_zero() -> None:
    """A lopsided interval is narrow enough for a small p, and yet ends at zero."""
    key = Key(Scope.TASK, 0, task="t5/one")
    lopsided = Difference(key, 0.9, 0.0, 1.0, 0.9, 0.0, 1, 9, ())
    clear = dataclasses.replace(lopsided, low=0.1)
    for one, holds in ((lopsided, False), (clear, True)):
        (change,) = _judged([one], 0.95)
        assert change.p < 0.001 and change.holds is holds


def test_where_all_examples_agree_few_of_them_prove_little(tmp_path: Path) -> None:
    sizes = {"flan/one": 1, "flan/many": 40}
    tasks = [ToyTask(name, numbered(n, options=CHOICES), metric=Metric.ACCURACY) for name, n in sizes.items()]
    bench = make_bench(tmp_path / "data", *tasks)
    zero = PromptOptions(shots=(0,))
    first = report(tmp_path / "a", bench, lambda *_: False, zero, name="a")
    second = report(tmp_path / "b", bench, lambda *_: True, zero, name="b")
    found = by_task(compare(first, second))
    assert (found["flan/one", 0].p, found["flan/one", 0].holds) == (1.0, False)
    assert found["flan/many", 0].p < 1e-10 and found["flan/many", 0].holds


def test_a_task_that_goes_against_its_level_has_flipped(tmp_path: Path) -> None:
    names = ["flan/a", "flan/b", "flan/c"]
    tasks = [
        ToyTask(name, numbered(30, options=CHOICES), metric=Metric.ACCURACY, category=name) for name in names
    ]
    bench = make_bench(tmp_path / "data", *tasks)
    zero = PromptOptions(shots=(0,))
    before = report(
        tmp_path / "a", bench, lambda task, name, __: task == "flan/c" or number_of(name) < 10, zero, name="a"
    )
    after = report(
        tmp_path / "b", bench, lambda task, name, __: task != "flan/c" or number_of(name) < 15, zero, name="b"
    )
    (flip,) = compare(before, after).flips
    assert flip.change.key.task == "flan/c" and flip.change.value == -0.5
    assert flip.level.key.level is Level.FULLY_HELD_OUT and flip.level.value > 0
    (back,) = compare(after, before).flips
    assert (back.change.key.task, back.change.value) == ("flan/c", 0.5)


def altered(one: Report, task: str | None = None, **fields: Any) -> Report:
    """The report with other prompt settings, or with another record of one task."""
    record: RunRecord = one.record
    if task is None:
        return dataclasses.replace(
            one, record=dataclasses.replace(record, prompts=dataclasses.replace(record.prompts, **fields))
        )
    tasks = tuple(dataclasses.replace(t, **fields) if t.placement.task == task else t for t in record.tasks)
    return dataclasses.replace(one, record=dataclasses.replace(record, tasks=tasks))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"digest": "f" * 32}, "another content"),
        ({"metric": Metric.TOKEN_F1}, "another metric: rouge_l and token_f1"),
        ({"merged": True}, "another use of templates"),
    ],
)
def test_a_task_that_is_not_the_same_is_left_out_with_the_reason(
    tmp_path: Path, bench: Bench, fields: dict[str, Any], reason: str
) -> None:
    one = report(tmp_path / "one", bench, lambda *_: True)
    found = compare(one, altered(one, "superni/write", **fields))
    assert list(found.left_out) == ["superni/write"] and found.left_out["superni/write"].startswith(reason)
    assert "superni/write" not in {change.key.task for change in found.changes}
    assert any("1 tasks are left out" in note for note in found.notes)


def test_tasks_of_one_run_alone_are_listed(tmp_path: Path, bench: Bench) -> None:
    one = report(tmp_path / "one", bench, lambda *_: True)
    less = report(tmp_path / "less", bench, lambda *_: True, tasks=["flan/choose"])
    assert compare(one, less).left_out == dict.fromkeys(
        ["superni/hostile", "superni/write"], "only in the first run"
    )
    assert set(compare(less, one).left_out.values()) == {"only in the second run"}


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"max_new_tokens": 9}, {"superni/hostile", "superni/write"}),
        ({"stop": ("\n",)}, {"superni/hostile", "superni/write"}),
        ({"separator": "\n"}, {"flan/choose", "superni/hostile", "superni/write"}),
        ({"chat_template": True}, {"flan/choose", "superni/hostile", "superni/write"}),
        ({"unconditional": True}, set()),
    ],
)
def test_settings_count_where_they_decide_a_prediction(
    tmp_path: Path, bench: Bench, settings: dict[str, Any], left: set[str]
) -> None:
    one = report(tmp_path / "one", bench, lambda *_: True)
    other = altered(one, **settings)
    if len(left) == len(bench.tasks):
        with pytest.raises(UsageError, match=f"another {next(iter(settings)).replace('_', ' ')} .3 tasks."):
            compare(one, other)
    else:
        assert set(compare(one, other).left_out) == left


def test_settings_of_demonstrations_mean_nothing_without_shots(tmp_path: Path, bench: Bench) -> None:
    zero = report(tmp_path / "zero", bench, lambda *_: True, PromptOptions(shots=(0,)))
    both = report(tmp_path / "both", bench, lambda *_: True, PromptOptions(shots=(0, 5), separator="\n"))
    found = compare(zero, both)
    assert (found.shots, found.left_out) == ((0,), {})
    assert {change.key.shots for change in found.changes} == {0, None}
    five = report(tmp_path / "five", bench, lambda *_: True, PromptOptions(shots=(5,)))
    with pytest.raises(UsageError, match="other numbers of shots"):
        compare(zero, five)


def test_a_smaller_run_is_compared_on_the_examples_of_both(tmp_path: Path, bench: Bench) -> None:
    whole = report(tmp_path / "whole", bench, lambda _, name, __: number_of(name) % 2 == 0)
    part = report(
        tmp_path / "part",
        bench,
        lambda _, name, __: number_of(name) % 2 == 0,
        PromptOptions(shots=(0, 5), limit=3),
    )
    found = compare(whole, part)
    change = by_task(found)["superni/write", 0]
    assert (change.n_examples, change.value) == (3, 0.0)
    assert sum(one.even for one in found.tallies if one.task == "superni/write" and one.shots == 0) == 3


def test_runs_without_a_common_example_are_refused(tmp_path: Path, bench: Bench) -> None:
    one = report(tmp_path / "one", bench, lambda *_: True)
    none = dataclasses.replace(one, scores=())
    with pytest.raises(UsageError, match="no example was answered in both"):
        compare(one, none)


@pytest.mark.parametrize(("points", "passes"), [(-60, True), (-40, False), (5, False)])
def test_the_gate_asks_every_level(tmp_path: Path, bench: Bench, points: float, passes: bool) -> None:
    """One level loses half, the others nothing."""
    before = report(tmp_path / "a", bench, lambda *_: True, name="a")
    after = report(
        tmp_path / "b", bench, lambda t, name, _: t != "flan/choose" or number_of(name) < 4, name="b"
    )
    found = compare(before, after, Resampling(resamples=50))
    if passes:
        gate(found, points)
    else:
        with pytest.raises(GateError, match=r"fully_held_out at 0 shots changes by -50\.0 points"):
            gate(found, points)


def test_sample_data_is_named_first(tmp_path: Path) -> None:
    bench = toy_bench(tmp_path / "data", sample=True)
    one = report(tmp_path / "one", bench, lambda *_: True)
    found = compare(one, one)
    assert found.sample and found.notes[0].startswith("sample data")
    assert not any(math.isnan(change.value) for change in found.changes)


def test_metrics_that_judge_a_task_as_a_whole_are_named(tmp_path: Path, bench: Bench) -> None:
    """Their examples have no score of their own, only a rightness."""
    whole = make_bench(
        tmp_path / "whole", ToyTask("flan/f1", numbered(8, options=CHOICES), metric=Metric.MACRO_F1)
    )
    for data, named in ((bench, False), (whole, True)):
        one = report(tmp_path / data.path.name / "run", data, lambda *_: True)
        notes = [note for note in compare(one, one).notes if "won or lost by whether it is right" in note]
        assert [("macro_f1" in note) for note in notes] == [True] * named
