"""Leaks planted in native files, through real builds: nothing that is scored is trained on, and little else leaves."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from kit import EVALUATED, build_folder, folder_digests, superni_task, write_superni
from leaky_sources import (
    CLEAN,
    COPIES,
    ELSEWHERE,
    FEW,
    NEAR_MISSES,
    PASSAGES,
    REPEATS,
    asked,
    instances,
    passage,
    rows,
    words,
    write_leaky,
)
from planted_leaks import planted_leaks

from benchmark_builder.blueprint import BuildOptions, draw_up
from benchmark_builder.build import BuildReport
from benchmark_builder.evaluation_side import EvaluationSide
from benchmark_builder.ngrams import BREAK
from task_registry.bench import Bench
from task_registry.catalogue import load_catalogue
from task_registry.engines.local import Workers
from task_registry.errors import UsageError
from task_registry.leakage import COLUMNS, LeakagePolicy, Verdict, load_review
from task_registry.plans import load_plan
from task_registry.splits import assign, data_source_conflicts, level_faults
from task_registry.types import Leak, Level, Split

WORD = re.compile(r"[^\W_]+")
PAIR = (f"superni/{PASSAGES}", f"superni/{EVALUATED}")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    write_leaky(tmp_path / "in")
    return tmp_path / "in"


def trained(out: Path) -> dict[str, list[str]]:
    """The inputs of every train split, by task."""
    bench = Bench.open(out)
    return {
        task: [example.input for example in bench.examples(task, Split.TRAIN)]
        for task, built in bench.tasks.items()
        if built.assignment.trained
    }


def leaks(report: BuildReport) -> dict[tuple[str, str], Leak]:
    return {(one.task.id, leak.evaluation_task): leak for one in report.tasks for leak in one.leaks}


def folded(text: str) -> tuple[str, ...]:
    return tuple(WORD.findall(text.lower()))


def windows(texts: Iterable[str]) -> set[tuple[str, ...]]:
    found = (folded(text) for text in texts)
    return {text[at : at + 13] for text in found for at in range(len(text) - 12)}


def write_review(file: Path, *verdicts: tuple[str, str, str]) -> Path:
    lines = [",".join(COLUMNS), *(f"{','.join(verdict)},because,2024-05-31" for verdict in verdicts)]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_planted_leaks_leave_and_near_misses_stay(sources: Path, tmp_path: Path) -> None:
    report = build_folder(sources, tmp_path / "out")
    left = {one.task.id: (one.counts.get(Split.TRAIN, 0), dict(one.dropped)) for one in report.tasks}
    assert left[f"superni/{COPIES}"] == (20, {"input_is_scored": 1})
    assert left[f"superni/{PASSAGES}"] == (0, {"shares_passages": 22})
    assert left[f"superni/{NEAR_MISSES}"] == (39, {})
    assert left[f"superni/{REPEATS}"] == (23, {"repeated_in_train": 10})
    assert left[f"superni/{CLEAN}"] == (20, {})
    assert left[f"custom/{ELSEWHERE}"] == (0, {"shares_passages": 15})
    found = leaks(report)
    assert set(found) == {PAIR, (f"custom/{ELSEWHERE}", f"superni/{EVALUATED}")}
    leak = found[PAIR]
    assert (leak.rule, leak.outcome, leak.verdict) == ("shares_passages", "task_left", "")
    assert (leak.overlapping, leak.evaluated, leak.training_rows) == (2, 100, 2)
    assert leak.passages == (passage(4, 20), passage(3, 13))
    assert report.manifest.leakage == "drop-train"
    assert report.manifest.leaks == {"shares_passages: task_left (not reviewed)": 2}


def test_a_task_that_left_training_stays_in_the_bench_with_its_demonstrations(
    sources: Path, tmp_path: Path
) -> None:
    build_folder(sources, tmp_path / "out")
    built = Bench.open(tmp_path / "out").task(f"superni/{PASSAGES}")
    assert built.counts == {Split.DEMONSTRATIONS: 1}
    assert built.guard_digest
    assert not (tmp_path / "out" / "shards" / "superni" / PASSAGES / "train").exists()
    assert Bench.open(tmp_path / "out").task(f"custom/{ELSEWHERE}").counts == {}


@pytest.mark.parametrize("policy", list(LeakagePolicy))
def test_nothing_that_is_scored_is_trained_on(sources: Path, tmp_path: Path, policy: LeakagePolicy) -> None:
    """By sets of tuples of words, apart from all code of ours."""
    build_folder(sources, tmp_path / "out", leakage=policy)
    bench = Bench.open(tmp_path / "out")
    scored = {
        task: [example.input for example in bench.examples(task, Split.TEST)]
        for task, built in bench.tasks.items()
        if built.assignment.level
    }
    assert {task: len(texts) for task, texts in scored.items()} == {
        f"superni/{EVALUATED}": 100,
        f"superni/{FEW}": 6,
    }
    inputs = {folded(text) for texts in scored.values() for text in texts}
    shares = {}
    for task, texts in trained(tmp_path / "out").items():
        assert not inputs & {folded(text) for text in texts}
        known = windows(texts)
        for other, questions in scored.items():
            # What every row of the evaluated task has is its template's.
            own = [text.removeprefix("Look at this: ") for text in questions]
            hit = sum(bool(windows([text]) & known) for text in own)
            shares[task, other] = hit / len(own)
    over = {pair for pair, share in shares.items() if share > 0.01}
    expected = {PAIR, (f"custom/{ELSEWHERE}", f"superni/{EVALUATED}")}
    assert over == (set() if policy is LeakagePolicy.DROP_TRAIN else expected)


def test_each_rules_count_adds_up_to_what_is_missing(sources: Path, tmp_path: Path) -> None:
    sizes = write_leaky(sources)
    report = build_folder(sources, tmp_path / "out")
    for task, built in Bench.open(tmp_path / "out").tasks.items():
        if built.assignment.trained:
            assert built.counts.get(Split.TRAIN, 0) + sum(built.dropped.values()) == sizes[task], task
    assert report.manifest.dropped == {
        "input_is_scored": 1,
        "repeated_in_train": 10,
        "shares_passages": 22 + 15,
    }


def test_report_lists_and_off_does_not_look(sources: Path, tmp_path: Path) -> None:
    dropped = build_folder(sources, tmp_path / "drop")
    listed = build_folder(sources, tmp_path / "report", leakage=LeakagePolicy.REPORT)
    assert leaks(listed).keys() == leaks(dropped).keys()
    assert {leak.outcome for leak in leaks(listed).values()} == {"kept"}
    assert leaks(build_folder(sources, tmp_path / "off", leakage=LeakagePolicy.OFF)) == {}
    for out in ("report", "off"):
        assert len(trained(tmp_path / out)[f"superni/{PASSAGES}"]) == 22
        assert len(trained(tmp_path / out)[f"superni/{COPIES}"]) == 20, "a scored input leaves by any policy"


@pytest.mark.parametrize(
    ("verdict", "outcome", "rows_left"),
    [("keep", "kept", 22), ("drop_examples", "examples_left", 20), ("drop_train", "task_left", 0)],
)
def test_the_review_decides_for_a_pair(
    sources: Path, tmp_path: Path, verdict: str, outcome: str, rows_left: int
) -> None:
    review = write_review(tmp_path / "review.csv", (*PAIR, verdict))
    report = build_folder(sources, tmp_path / "out", review=review)
    leak = leaks(report)[PAIR]
    assert (leak.outcome, leak.verdict) == (outcome, verdict)
    assert len(trained(tmp_path / "out")[PAIR[0]]) == rows_left
    if rows_left == 20:
        assert not windows(trained(tmp_path / "out")[PAIR[0]]) & windows(asked(n)[14:] for n in range(100))


def test_a_review_can_withdraw_the_evaluated_task(sources: Path, tmp_path: Path) -> None:
    review = write_review(tmp_path / "review.csv", (*PAIR, "drop_eval"))
    report = build_folder(sources, tmp_path / "out", review=review)
    evaluated = Bench.open(tmp_path / "out").task(PAIR[1])
    assert evaluated.assignment.level is None
    assert evaluated.assignment.eval_set is None
    assert f"no longer evaluated because of {PAIR[0]}: because" in evaluated.assignment.reason
    assert evaluated.counts[Split.TEST] == 100
    assert leaks(report) == {}
    assert len(trained(tmp_path / "out")[PAIR[0]]) == 22
    assert (
        build_folder(
            sources, tmp_path / "other", review=review, leakage=LeakagePolicy.REPORT
        ).manifest.examples[Split.TEST]
        == 106
    )


def test_a_review_that_names_an_unknown_task_is_refused(sources: Path, tmp_path: Path) -> None:
    review = write_review(tmp_path / "review.csv", (PAIR[0][:-3], PAIR[1], "keep"))
    with pytest.raises(UsageError, match="did you mean superni/task002"):
        draw_up(BuildOptions(sources=sources, review=review))


def test_tasks_of_an_evaluated_tasks_data_source_leave_whether_that_is_at_hand_or_not(tmp_path: Path) -> None:
    name, other = "task1515_imppres_longtextgeneration", "superni/task1516_imppres_naturallanguageinference"
    thai = "task974_prachathai67k_sentiment_classification"
    for task in (name, thai):
        write_superni(tmp_path / "in", task, superni_task(Instances=instances(task, rows(task))))
    blueprint = draw_up(BuildOptions(sources=tmp_path / "in"))
    assert blueprint.leaving == 1
    report = build_folder(tmp_path / "in", tmp_path / "out")
    assert {one.task.id: dict(one.dropped) for one in report.tasks} == {
        f"superni/{name}": {"shares_data_source": 20},
        f"superni/{thai}": {},
    }
    leak = leaks(report)[f"superni/{name}", other]
    assert (leak.rule, leak.outcome, leak.verdict) == ("shares_data_source", "task_left", "drop_train")
    assert {leak.outcome for pair, leak in leaks(report).items() if pair[0].endswith(thai)} == {"kept"}
    kept = build_folder(tmp_path / "in", tmp_path / "kept", leakage=LeakagePolicy.REPORT)
    assert {leak.outcome for leak in leaks(kept).values()} == {"kept"}
    assert len(trained(tmp_path / "kept")[f"superni/{name}"]) == 20


def write_supervised(
    root: Path, name: str, data_source: str, texts: list[tuple[str, str]], level: str
) -> None:
    folder = root / "custom"
    folder.mkdir(parents=True, exist_ok=True)
    lines = (
        json.dumps({"split": s, "instruction": t, "output": f"{name} {n}"}) for n, (s, t) in enumerate(texts)
    )
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.yaml").write_text(f"level: {level}\ndata_source: {data_source}\n")


def test_within_a_fully_supervised_tasks_data_source_only_examples_leave(tmp_path: Path) -> None:
    """Questions on the same page: those on a scored page leave, of the task itself and of its sisters."""

    def question(page: int, number: int) -> str:
        return f"{words('page', page, count=30)} {words('question', page, number, count=4)}?"

    scored = [("test", question(page, 0)) for page in range(30)]
    taught = [("train", question(page, 1)) for page in range(20, 200)]
    write_supervised(tmp_path / "in", "pages", "book", [*scored, *taught], Level.FULLY_SUPERVISED)
    write_supervised(tmp_path / "in", "sister", "book", taught, "train")
    write_supervised(tmp_path / "in", "stranger", "another", taught, "train")
    report = build_folder(tmp_path / "in", tmp_path / "out")
    left = {one.task.id: (one.counts.get(Split.TRAIN, 0), dict(one.dropped)) for one in report.tasks}
    # Of its own 180 rows 64 are demonstrations, of those that overlap some.
    own = left["custom/pages"][1]["shares_passages"]
    assert 0 < own < 10
    assert left == {
        "custom/pages": (180 - 64 - own, {"shares_passages": own}),
        "custom/sister": (170, {"shares_passages": 10}),
        "custom/stranger": (0, {"shares_passages": 180}),
    }
    outcomes = {pair[0]: (leak.outcome, leak.training_rows) for pair, leak in leaks(report).items()}
    assert outcomes == {
        "custom/pages": ("examples_left", own),
        "custom/sister": ("examples_left", 10),
        "custom/stranger": ("task_left", 10),
    }
    tests = Bench.open(tmp_path / "out").examples("custom/pages", Split.TEST)
    scored_windows = windows(example.input for example in tests)
    assert not any(windows(texts) & scored_windows for texts in trained(tmp_path / "out").values())


def test_a_training_task_that_is_fully_supervised_itself_loses_examples_only(tmp_path: Path) -> None:
    own = [("test", text) for text in rows("own test", 20)]
    taught = [
        ("train", text) for text in [*rows("own train", 100), *(f"{passage(n, 30)} too" for n in range(50))]
    ]
    write_supervised(tmp_path / "in", "own", "own", [*own, *taught], Level.FULLY_SUPERVISED)
    questions = instances("e", [asked(n) for n in range(100)])
    write_superni(tmp_path / "in", EVALUATED, superni_task(Instances=questions))
    report = build_folder(tmp_path / "in", tmp_path / "out")
    leak = leaks(report)["custom/own", f"superni/{EVALUATED}"]
    assert leak.outcome == "examples_left"
    assert leak.training_rows > 10
    left = trained(tmp_path / "out")["custom/own"]
    assert len(left) == 150 - 64 - leak.training_rows
    assert not windows(left) & windows(asked(n)[14:] for n in range(100))


def test_pairs_of_synthetic_tasks_are_judged_as_planted(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "custom"
    folder.mkdir(parents=True)
    planted = planted_leaks(130)
    for number, pair in enumerate(planted):
        for side, level, texts in (("e", "fully_held_out", pair.evaluation), ("t", "train", pair.training)):
            fields = [text.split(BREAK) for text in texts]
            split = "test" if side == "e" else "train"
            found = [{"split": split, "instruction": f[0], "outputs": f[1:] or ["yes"]} for f in fields]
            # Without a row to show one of the scored rows would be shown, and scored no longer.
            shown = {"split": "demonstrations", "instruction": f"shown {number}", "output": "yes"}
            lines = [json.dumps(row) for row in (*found, shown)]
            (folder / f"{side}{number}.jsonl").write_text("\n".join(lines) + "\n")
            (folder / f"{side}{number}.yaml").write_text(f"level: {level}\n")
    report = build_folder(tmp_path / "in", tmp_path / "out")
    assert not report.manifest.failed
    by_kind: dict[str, set[bool]] = defaultdict(set)
    for number, pair in enumerate(planted):
        gone = not trained_count(report, f"custom/t{number}")
        by_kind[pair.kind].add(gone == pair.leak)
    assert {kind for kind, right in by_kind.items() if right != {True}} == set()
    assert {pair for pair in leaks(report) if pair[0][8:] != pair[1][8:]} == set()


def trained_count(report: BuildReport, task: str) -> int:
    [count] = [one.counts.get(Split.TRAIN, 0) for one in report.tasks if one.task.id == task]
    return count


def test_a_larger_cap_only_adds_among_repeated_examples(tmp_path: Path) -> None:
    texts = [f"word {n % 40}{'!' * (n // 40)}" for n in range(160)]
    content = [{"id": f"n{n}", "input": text, "output": ["yes"]} for n, text in enumerate(texts)]
    write_superni(tmp_path / "in", CLEAN, superni_task(Instances=content))
    chosen: list[set[str]] = []
    for cap in (5, 20, 60, 120, 1000):
        build_folder(tmp_path / "in", tmp_path / "out", cap=cap)
        bench = Bench.open(tmp_path / "out")
        chosen.append({example.id for example in bench.examples(f"superni/{CLEAN}", Split.TRAIN)})
        built = bench.task(f"superni/{CLEAN}")
        assert len(chosen[-1]) + sum(built.dropped.values()) == 160
    assert len(chosen[-1]) == 40
    for smaller, larger in pairwise(chosen):
        assert smaller <= larger
    assert len(chosen[0]) < len(chosen[1]) < len(chosen[2])


def test_workers_reruns_and_order_change_nothing(sources: Path, tmp_path: Path) -> None:
    build_folder(sources, tmp_path / "one")
    once = folder_digests(tmp_path / "one")
    build_folder(sources, tmp_path / "many", engine=Workers(2))
    assert folder_digests(tmp_path / "many") == once
    assert build_folder(sources, tmp_path / "one").fresh == 0
    assert folder_digests(tmp_path / "one") == once


def test_what_is_trained_on_is_guarded_again_when_what_is_scored_changes(
    sources: Path, tmp_path: Path
) -> None:
    first = build_folder(sources, tmp_path / "out")
    training = sum(one.assignment.trained for one in first.tasks)
    few = [*(f"few words {n}" for n in range(6)), "More, short: WORDS"]
    write_superni(sources, FEW, superni_task(Instances=instances("f", few)))
    second = build_folder(sources, tmp_path / "out")
    assert second.fresh == 1 + training, "the task itself, and all that are trained on"
    [repeats] = [one for one in second.tasks if one.task.name == REPEATS]
    assert repeats.dropped == {"input_is_scored": 1, "repeated_in_train": 10}
    build_folder(sources, tmp_path / "new")
    assert folder_digests(tmp_path / "new") == folder_digests(tmp_path / "out")


def test_what_came_to_nothing_is_tried_again_before_anything_is_gathered(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (sources / "superni" / "tasks" / f"{COPIES}.json").read_bytes()
    write_superni(sources, COPIES, whole[:100])
    hidden = [{"id": "0", "input": "x", "output": [""]}]
    write_superni(sources, CLEAN, superni_task(Instances=hidden, **{"Positive Examples": []}))
    first = build_folder(sources, tmp_path / "out").manifest
    with monkeypatch.context() as patch:
        patch.setattr(EvaluationSide, "gather", None)
        again = build_folder(sources, tmp_path / "out")
    assert again.fresh == 0
    assert again.manifest == first
    assert list(first.failed) == [f"superni/{COPIES}"]
    assert list(first.empty) == [f"superni/{CLEAN}"]
    write_superni(sources, COPIES, whole)
    assert build_folder(sources, tmp_path / "out").fresh == 1
    assert len(trained(tmp_path / "out")[f"superni/{COPIES}"]) == 20
    build_folder(sources, tmp_path / "new")
    assert folder_digests(tmp_path / "new") == folder_digests(tmp_path / "out")


def test_another_policy_builds_what_is_trained_on_again(sources: Path, tmp_path: Path) -> None:
    training = sum(one.assignment.trained for one in build_folder(sources, tmp_path / "out").tasks)
    assert build_folder(sources, tmp_path / "out", leakage=LeakagePolicy.REPORT).fresh == training
    assert len(trained(tmp_path / "out")[PAIR[0]]) == 22


def test_another_verdict_builds_only_its_own_training_task_again(sources: Path, tmp_path: Path) -> None:
    build_folder(sources, tmp_path / "out", review=write_review(tmp_path / "a.csv"))
    review = write_review(tmp_path / "b.csv", (*PAIR, "keep"))
    assert build_folder(sources, tmp_path / "out", review=review).fresh == 1
    assert len(trained(tmp_path / "out")[PAIR[0]]) == 22


def test_a_failed_evaluated_task_guards_nothing_until_it_is_mended(sources: Path, tmp_path: Path) -> None:
    whole = (sources / "superni" / "tasks" / f"{EVALUATED}.json").read_bytes()
    write_superni(sources, EVALUATED, whole[:100])
    report = build_folder(sources, tmp_path / "out")
    assert list(report.manifest.failed) == [f"superni/{EVALUATED}"]
    assert leaks(report) == {}
    write_superni(sources, EVALUATED, whole)
    build_folder(sources, tmp_path / "out")
    build_folder(sources, tmp_path / "new")
    assert folder_digests(tmp_path / "new") == folder_digests(tmp_path / "out")


def test_the_shipped_plan_keeps_its_levels_after_everything_that_is_known_to_leave() -> None:
    catalogue, review = load_catalogue(), load_review()
    tasks = list(catalogue.tasks.values())
    for name in ("optiml", "superni"):
        plan = load_plan(name)
        assignments = assign(plan, tasks)
        blueprint_conflicts = data_source_conflicts(tasks, assignments)
        left = {conflict.task for conflict in blueprint_conflicts if conflict.scored}
        left |= {pair[0] for pair, read in review.items() if read.verdict is Verdict.DROP_TRAIN}
        assert level_faults(plan, tasks, assignments, left) == ()


def test_the_sample_shows_what_leaves(tmp_path: Path) -> None:
    report = build_folder(None, tmp_path / "out")
    dropped = {one.task.id: one.dropped for one in report.tasks}
    assert dropped["superni/sample_thanks"]["repeated_in_train"] == 1
    assert dropped["superni/sample_review_mood"]["input_is_scored"] == 1
    assert {leak.verdict for leak in leaks(report).values()} == {"keep"}
    taught = {one.task.id for one in report.tasks if one.counts.get(Split.TRAIN)}
    supervised = {one.task.id for one in report.tasks if one.assignment.level is Level.FULLY_SUPERVISED}
    assert supervised
    assert supervised <= taught
