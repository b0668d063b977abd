"""From predictions to numbers, checked by hand: the headline, the other scores, and what stands beside them."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from evaluation_kit import OPTIONS, ToyModel, ToyTask, make_bench, numbered

from evaluation.introduction import introduce
from evaluation.marks import Marks, by_mean
from evaluation.means import Placement, Scope
from evaluation.options import Normalisation
from evaluation.predictions import PREDICTIONS, Kind, Prediction
from evaluation.requests import Overlength, PromptOptions, survey
from evaluation.run import Run, draw_up
from evaluation.runner import Job, evaluate
from evaluation.scoring import Report, score_run
from evaluation.selection import Selection
from evaluation.summary import SCORES, SUMMARY, remarks, save, summary
from task_registry.bench import Bench
from task_registry.errors import InputError
from task_registry.types import EvalSet, Example, Level, Metric

Answer = Callable[[str], str]


def start(
    out: Path,
    bench: Bench,
    options: PromptOptions,
    model: ToyModel | None = None,
    absent: tuple[Placement, ...] = (),
    planted: Iterable[Prediction] | None = None,
) -> Path:
    """A run of all tasks by the toy model, or with predictions made up by the test."""
    model = model or ToyModel()
    tasks = tuple(survey(bench, bench.tasks[name], options) for name in sorted(bench.tasks))
    record = draw_up(bench, Selection("all"), options, tasks, absent, introduce(model), OPTIONS)
    with Run.open(out, record) as run:
        if planted is None:
            evaluate(model, Job(bench, tasks, options), run.write)
        else:
            for prediction in planted:
                run.write(prediction)
    return run.path


def value(report: Report, scope: Scope, shots: int | None = 0, **parts: Any) -> float:
    mean = report.mean(scope, shots, **parts)
    assert mean is not None
    return mean.value


def of_task(report: Report, task: str, shots: int = 0) -> Any:
    (mean,) = [
        m for m in report.means if m.key.scope is Scope.TASK and (m.key.task, m.key.shots) == (task, shots)
    ]
    return mean


ZERO = PromptOptions(shots=(0,))


def test_accuracy_under_each_normalisation(tmp_path: Path) -> None:
    """Each of four options is the best by one of the four rules; the third is right."""
    options = ("aa", "bbbb", "cccccccc", "d")
    bench = make_bench(
        tmp_path / "data", ToyTask("flan/a", numbered(1, options=options), metric=Metric.ACCURACY)
    )
    planted = Prediction(
        "flan/a",
        "e0",
        "",
        0,
        Kind.OPTIONS,
        ("cccccccc",),
        options=options,
        option_logprobs=(-2.0, -6.0, -4.0, -3.0),
        option_tokens=(1, 6, 3, 1),
        option_bytes=(2, 4, 8, 1),
        option_unconditional=(-2.0, -7.0, -5.0, -9.0),
        choice=0,
    )
    path = start(tmp_path / "out", bench, ZERO, planted=[planted])
    report = score_run(path)
    (beside,) = report.beside.values()
    # Highest: sum -2 (a); by token -1 (b); by byte -0.5 (c); against the unconditional +6 (d).
    assert beside.accuracy == {"sum": 0.0, "token": 0.0, "byte": 1.0, "unconditional": 0.0}
    assert value(report, Scope.ALL) == 0.0
    byte = score_run(path, Normalisation.BYTE)
    assert value(byte, Scope.ALL) == 1.0
    assert "ranked by byte" in "\n".join(remarks(byte))
    assert (byte.rows["accuracy_byte"].to_pylist(), byte.rows["score"].to_pylist()) == ([1.0], [1.0])
    plain = dataclasses.replace(planted, option_unconditional=())
    other = start(tmp_path / "other", bench, ZERO, planted=[plain])
    assert Normalisation.UNCONDITIONAL not in next(iter(score_run(other).beside.values())).accuracy
    with pytest.raises(InputError, match="--unconditional"):
        score_run(other, Normalisation.UNCONDITIONAL)


def chosen(task: str, number: int, right: str, said: int | None, options: tuple[str, ...]) -> Prediction:
    """A prediction that prefers option `said`, or none of them."""
    sums = tuple(-1.0 if index == said or said is None else -5.0 for index in range(len(options)))
    ones = (1,) * len(options)
    return Prediction(
        task,
        f"e{number}",
        "",
        0,
        Kind.OPTIONS,
        (right,),
        options=options,
        option_logprobs=sums,
        option_tokens=ones,
        option_bytes=ones,
        choice=said,
    )


def test_macro_f1_takes_the_preferred_option_for_the_label(tmp_path: Path) -> None:
    labels = ("a", "b", "c")
    bench = make_bench(
        tmp_path / "data", ToyTask("crossfit/a", numbered(4, options=labels), metric=Metric.MACRO_F1)
    )
    said = [("a", 0), ("a", 1), ("b", 1), ("c", None)]
    planted = [chosen("crossfit/a", n, right, index, labels) for n, (right, index) in enumerate(said)]
    report = score_run(start(tmp_path / "out", bench, ZERO, planted=planted))
    # F1 of a: 2*1/(1+2); of b: 2*1/(2+1); of c: 0.
    assert value(report, Scope.ALL) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert report.rows["score"].to_pylist() == [None] * 4, "no mean over examples"
    assert report.rows["accuracy_sum"].to_pylist() == [1.0, 0.0, 1.0, 0.0]
    assert of_task(report, "crossfit/a").basis.n_tied == 1


def test_an_option_may_be_the_bare_answer_of_a_longer_reference(tmp_path: Path) -> None:
    examples = [Example("e0", "?", ("It rains. The answer is yes",), options=("no", "yes"), answer="yes")]
    bench = make_bench(tmp_path / "data", ToyTask("reasoning/a", examples, metric=Metric.ACCURACY))
    planted = chosen("reasoning/a", 0, "It rains. The answer is yes", 1, ("no", "yes"))
    planted = dataclasses.replace(planted, answer="yes")
    report = score_run(start(tmp_path / "out", bench, ZERO, planted=[planted]))
    assert value(report, Scope.ALL) == 1.0
    assert of_task(report, "reasoning/a").basis.n_undefined == 0


def text(task: str, example: str, said: str, right: str, template: str = "", **more: Any) -> Prediction:
    return Prediction(
        task, example, template, **({"shots": 0} | more), kind=Kind.TEXT, references=(right,), text=said
    )


def test_templates_are_averaged_one_by_one_and_merged_in_the_dev_set(tmp_path: Path) -> None:
    """Template x is right in 1 of 1, template y in 1 of 3: mean of two means, or 2 of 4."""
    examples = [
        Example("e0", "?", ("r",), template="x"),
        *(Example(f"e{n}", "?", ("r",), template="y") for n in range(3)),
    ]
    bench = make_bench(
        tmp_path / "data",
        ToyTask("flan/dev", examples, metric=Metric.EXACT_MATCH, eval_set=EvalSet.DEV),
        ToyTask("flan/test", examples, metric=Metric.EXACT_MATCH),
    )
    planted = [
        text(task, example.id, "r" if example.id == "e0" else "no", "r", example.template)
        for task in bench.tasks
        for example in examples
    ]
    report = score_run(start(tmp_path / "out", bench, ZERO, planted=planted))
    assert of_task(report, "flan/test").value == pytest.approx((1 + 1 / 3) / 2)
    assert of_task(report, "flan/dev").value == pytest.approx(2 / 4)
    assert report.complete
    for task in bench.tasks:
        assert report.beside[task, 0, "x"].value == 1.0
        assert report.beside[task, 0, "y"].value == pytest.approx(1 / 3)
        assert of_task(report, task).basis.partial == ()


def test_both_text_scores_stand_beside_every_headline(tmp_path: Path) -> None:
    task = ToyTask("flan/a", numbered(2), metric=Metric.TOKEN_F1)
    bench = make_bench(tmp_path / "data", task)
    planted = [
        text("flan/a", "e0", "The cat sat.", "the cat sat"),
        text("flan/a", "e1", "cats here", "a cat"),
    ]
    report = score_run(start(tmp_path / "out", bench, ZERO, planted=planted))
    (beside,) = report.beside.values()
    assert beside.exact_match == 0.5
    assert beside.rouge_l == pytest.approx((1 + 0.5) / 2), "stemmed: cat, here against a, cat"
    assert beside.accuracy == {}
    assert report.rows["exact_match"].to_pylist() == [1.0, 0.0]
    assert report.rows["rouge_l"].to_pylist() == pytest.approx([1.0, 0.5])
    assert of_task(report, "flan/a").value == sum(report.rows["score"].to_pylist()) / 2


def toys(folder: Path) -> Bench:
    return make_bench(
        folder,
        ToyTask(
            "flan/choice",
            numbered(8, options=("yes", "no"), templates=("x", "y")),
            numbered(2, templates=("x", "y")),
            Metric.ACCURACY,
            group="G",
        ),
        ToyTask(
            "superni/write", numbered(10), numbered(3, prefix="d"), Metric.EXACT_MATCH, Level.FULLY_SUPERVISED
        ),
        ToyTask("superni/bare", numbered(4), (), Metric.EXACT_MATCH, category="QA"),
    )


ABSENT = (Placement("promptsource/gone", "promptsource", "Word Analogy", Level.FULLY_HELD_OUT, "G"),)


def test_what_is_missing_is_said_beside_the_numbers(tmp_path: Path) -> None:
    path = start(tmp_path / "out", toys(tmp_path / "data"), PromptOptions(shots=(0, 2)), absent=ABSENT)
    report = score_run(path)
    assert report.complete
    zero = report.mean(Scope.LEVEL, 0, level=Level.FULLY_HELD_OUT)
    two = report.mean(Scope.LEVEL, 2, level=Level.FULLY_HELD_OUT)
    assert zero is not None
    assert two is not None
    assert zero.basis.missing == ("promptsource/gone",)
    assert two.basis.missing == ("promptsource/gone", "superni/bare")
    assert report.marks["superni/bare", 2] == Marks(no_demonstrations=4)
    words = "\n".join(remarks(report))
    assert "1 tasks of the plan are not in the bench: promptsource/gone" in words
    assert "2 shots: 4 prompts not asked for want of a demonstration: superni/bare" in words


def test_a_run_that_was_stopped_says_how_much_is_missing(tmp_path: Path) -> None:
    bench = toys(tmp_path / "data")
    planted = [text("superni/write", f"e{n}", "x", "x") for n in range(7)]
    report = score_run(start(tmp_path / "out", bench, PromptOptions(shots=(0, 2)), planted=planted))
    assert not report.complete
    total = 2 * (2 * 8 + 10) + 4
    assert f"unfinished: {total - 7} of {total} prompts are not answered" in "\n".join(remarks(report))
    assert of_task(report, "superni/write").basis.partial == ("superni/write: 7 of 10 examples",)
    overall = report.mean(Scope.ALL, 0)
    assert overall is not None
    assert overall.basis.missing == ("flan/choice", "superni/bare")
    nothing = score_run(start(tmp_path / "none", bench, ZERO, planted=[]))
    save(nothing, tmp_path)
    assert not nothing.complete


def test_prompts_that_were_skipped_or_shortened_are_counted(tmp_path: Path) -> None:
    examples = [*numbered(3), Example("long", "x" * 200, ("y",))]
    bench = make_bench(tmp_path / "data", ToyTask("flan/a", examples, numbered(4, prefix="d")))
    model = ToyModel(max_length=120)
    options = PromptOptions(shots=(0, 4), max_new_tokens=10)
    cut = score_run(start(tmp_path / "out", bench, options, model))
    assert cut.marks["flan/a", 0] == Marks(expected=4, answered=4, cut=1, output_limit=4)
    assert cut.marks["flan/a", 4].shortened == 4
    assert cut.marks["flan/a", 4].cut == 1
    skipping = dataclasses.replace(options, overlength=Overlength.SKIP)
    skipped = score_run(start(tmp_path / "out", bench, skipping, model))
    assert skipped.complete
    assert skipped.marks["flan/a", 0] == Marks(expected=4, answered=3, skipped=1, output_limit=3)
    assert of_task(skipped, "flan/a").basis.partial == ("flan/a: 3 of 4 examples",)
    assert skipped.marks["flan/a", 4] == Marks(expected=4, skipped=4)
    words = "\n".join(remarks(skipped))
    assert "0 shots: 1 prompts skipped, too long for the context" in words
    assert "0 shots: 100% of 3 generations ended at the limit of 10 tokens" in words


def test_doubtful_choices_are_counted(tmp_path: Path) -> None:
    """A lead below the noise of both sums, merged boundaries, options without a token, free text."""
    options = ("yes", "no")
    examples = [*numbered(4, options=options), Example("free", "?", ("r",))]
    bench = make_bench(tmp_path / "data", ToyTask("flan/a", examples, metric=Metric.ACCURACY))
    sure, near = chosen("flan/a", 0, "yes", 0, options), chosen("flan/a", 1, "yes", 0, options)
    planted = [
        dataclasses.replace(sure, merged=2),
        dataclasses.replace(near, option_logprobs=(-1.0, -1.0 - 1e-4), option_tokens=(3, 4)),
        dataclasses.replace(chosen("flan/a", 2, "yes", 0, options), option_tokens=(0, 1)),
        chosen("flan/a", 3, "yes", None, options),
        text("flan/a", "free", "R.", "r"),
    ]
    path = start(tmp_path / "out", bench, ZERO, ToyModel(noise=1e-4 / 7), planted=planted)
    report = score_run(path)
    expected = Marks(expected=5, answered=5, free_text=1, tied=1, low_margin=1, merged=1, empty_option=1)
    assert report.marks["flan/a", 0] == expected
    assert report.rows["low_margin"].to_pylist() == [False, True, False, False, None]
    assert of_task(report, "flan/a").value == 4 / 5
    words = "\n".join(remarks(report))
    for said in (
        "ties between options",
        "within the dtype's noise",
        "merged",
        "without a token",
        "no options",
    ):
        assert f"0 shots: 1 {'' if said != 'merged' else 'prompts whose end '}" in words
        assert said in words


def test_small_pools_and_missing_explanations_are_counted(tmp_path: Path) -> None:
    silent = [example._replace(explanation=None) for example in numbered(2, prefix="d")]
    bench = make_bench(
        tmp_path / "data",
        ToyTask("flan/a", numbered(3), silent),
        ToyTask("flan/b", numbered(3), numbered(9, prefix="d")),
    )
    report = score_run(start(tmp_path / "out", bench, PromptOptions(shots=(0, 5), explanations=True)))
    a, b = report.marks["flan/a", 5], report.marks["flan/b", 5]
    assert (a.fewer_shots, a.unexplained) == (3, 3)
    assert (b.fewer_shots, b.unexplained) == (0, 0)
    assert report.marks["flan/a", 0].unexplained == 0
    assert "5 shots: 1 tasks have fewer demonstrations and show all they have: flan/a" in list(
        remarks(report)
    )


def test_several_demonstration_seeds_are_averaged_and_their_spread_reported(tmp_path: Path) -> None:
    bench = make_bench(
        tmp_path / "data", ToyTask("flan/a", numbered(2), numbered(3, prefix="d"), Metric.EXACT_MATCH)
    )
    options = PromptOptions(shots=(0, 1), demonstration_seeds=(3, 4))
    right = {(None, 0): "r", (None, 1): "no", (3, 0): "r", (3, 1): "r", (4, 0): "r", (4, 1): "no"}
    planted = [
        text("flan/a", f"e{n}", said, "r", shots=0 if seed is None else 1, demonstration_seed=seed)
        for (seed, n), said in right.items()
    ]
    report = score_run(start(tmp_path / "out", bench, options, planted=planted))
    assert report.complete
    assert value(report, Scope.ALL, 0) == 0.5
    assert value(report, Scope.ALL, 1) == 0.75
    spreads = {(spread.key.scope, spread.key.shots): spread.values for spread in report.spreads}
    assert spreads[Scope.ALL, 1] == {3: 1.0, 4: 0.5}
    assert spreads[Scope.LEVEL, 1] == {3: 1.0, 4: 0.5}
    assert (Scope.ALL, 0) not in spreads
    (told,) = [s for s in summary(report)["spreads"] if s["scope"] == "all"]
    assert told["mean"] == 0.75
    assert told["deviation"] == pytest.approx(0.25 * 2**0.5)
    assert "1 shots: 100.0, 50.0 percent under the demonstration seeds 3, 4" in list(remarks(report))


def test_references_that_rouge_cannot_see_are_warned_of(tmp_path: Path) -> None:
    bench = make_bench(tmp_path / "data", ToyTask("flan/a", [Example("e0", "?", ("東京",))]))
    report = score_run(start(tmp_path / "out", bench, ZERO, ToyModel(answer=lambda prompt: "東京")))
    assert value(report, Scope.ALL) == 0.0
    (beside,) = report.beside.values()
    assert beside.exact_match == 1.0
    assert "0 shots: 1 references hold nothing that ROUGE-L sees, and score 0: flan/a" in list(
        remarks(report)
    )


def test_the_marks_of_every_mean_are_those_of_what_it_is_over(tmp_path: Path) -> None:
    path = start(tmp_path / "out", toys(tmp_path / "data"), PromptOptions(shots=(0, 2)), absent=ABSENT)
    report = score_run(path)
    found = by_mean(report.places, report.marks)
    keys = {mean.key for mean in report.means}
    silent = {key for key in keys - found.keys() if key.task != "promptsource/gone"}
    assert {key.source for key in silent} == {"promptsource"}, "nothing is known of what is absent"
    assert found.keys() <= keys
    for key, marks in found.items():
        over = [
            some
            for (task, shots), some in report.marks.items()
            for place in report.places
            if place.task == task
            and key.shots in (None, shots)
            and key.level in (None, place.level)
            and key.category in ("", place.category)
            and key.group in ("", place.group or task)
            and key.source in ("", place.source)
            and key.task in ("", task)
        ]
        assert marks == sum(over, Marks()), key


def test_the_files_hold_everything_and_are_the_same_for_the_same_predictions(tmp_path: Path) -> None:
    path = start(
        tmp_path / "out", toys(tmp_path / "data"), PromptOptions(shots=(0, 2), limit=5), absent=ABSENT
    )
    save(score_run(path), path)
    first = {name: (path / name).read_bytes() for name in (SCORES, SUMMARY)}
    for file in (path / PREDICTIONS).glob("*.jsonl"):
        lines = file.read_text().splitlines(keepends=True)
        random.Random(0).shuffle(lines)
        file.write_text("".join(lines))
    save(score_run(path), path)
    assert {name: (path / name).read_bytes() for name in (SCORES, SUMMARY)} == first
    content = json.loads(first[SUMMARY], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    scopes = {mean["scope"] for mean in content["means"]}
    assert scopes == {"task", "member", "group", "category", "level", "source", "all"}
    gone = [mean for mean in content["means"] if mean["task"] == "promptsource/gone"]
    assert all(mean["value"] is None for mean in gone)
    assert {row["template"] for row in content["templates"] if row["task"] == "flan/choice"} == {"x", "y"}
    table = pq.read_table(path / SCORES)
    assert table.num_rows == sum(len(f.read_text().splitlines()) for f in (path / PREDICTIONS).iterdir())
    leftover = {file.name for file in path.iterdir()}
    assert leftover == {"run.json", "predictions", SCORES, SUMMARY}


def test_rows_average_to_the_headline(tmp_path: Path) -> None:
    report = score_run(start(tmp_path / "out", toys(tmp_path / "data"), PromptOptions(shots=(0, 2))))
    frame = report.rows.to_pandas()
    by_template = frame.groupby(["task", "shots", "template"]).score.mean()
    by_task = by_template.groupby(["task", "shots"]).mean()
    assert len(by_task) == 5
    for (task, shots), mean in by_task.items():
        assert of_task(report, task, shots).value == pytest.approx(mean)
