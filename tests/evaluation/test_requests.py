"""A task's prompts: demonstrations, wording and limit depend on what they should, and on nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_kit import ToyTask, make_bench, numbered
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.models import Turn
from evaluation.predictions import Kind
from evaluation.requests import (
    Demonstrations,
    PromptOptions,
    Question,
    kind_of,
    questions,
    shortened,
    survey,
    turns,
)
from task_registry.bench import Bench
from task_registry.errors import BenchFolderError
from task_registry.types import EvalSet, Example, Metric, Split
from templates.prompt import DELIMITERS, SEPARATOR, compose, draw_wording, fit

TEMPLATES = ("A. ", "B. ")
MANY = "superni/many"
FEW = "flan/few"
NONE = "flan/none"
MIXED = "flan/mixed"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    says = "Name the next one."
    mixed = [*numbered(4, options=("yes", "no")), *numbered(3, prefix="free")]
    return make_bench(
        tmp_path_factory.mktemp("toy") / "data",
        ToyTask(MANY, numbered(40, description=says), numbered(12, prefix="d", description=says)),
        ToyTask(FEW, numbered(6, templates=TEMPLATES), numbered(3, prefix="d", templates=TEMPLATES)),
        ToyTask(NONE, numbered(3)),
        ToyTask(MIXED, mixed, numbered(2, prefix="d"), Metric.ACCURACY, eval_set=EvalSet.DEV),
    )


def ask(bench: Bench, task: str, options: PromptOptions, kind: Kind = Kind.TEXT) -> list[Question]:
    return list(questions(bench, survey(bench, bench.task(task), options), options, kind))


def shown(question: Question) -> list[str]:
    """The outputs of the demonstrations, the nearest to the question first."""
    return [output for _, output in reversed(question.prompt.demonstrations)]


@pytest.mark.parametrize(
    ("metric", "has_options", "expected"),
    [
        (Metric.ACCURACY, True, Kind.OPTIONS),
        (Metric.MACRO_F1, True, Kind.OPTIONS),
        (Metric.MATTHEWS, True, Kind.OPTIONS),
        (Metric.ACCURACY, False, Kind.TEXT),
        (Metric.ROUGE_L, True, Kind.TEXT),
        (Metric.EXACT_MATCH, True, Kind.TEXT),
        (Metric.TOKEN_F1, True, Kind.TEXT),
        (Metric.PEARSON, True, Kind.TEXT),
    ],
)
def test_the_metric_decides_whether_options_are_scored(
    metric: Metric, has_options: bool, expected: Kind
) -> None:
    assert kind_of(metric, has_options) is expected


def test_demonstrations_are_the_first_of_the_pool_the_nearest_first(bench: Bench) -> None:
    for question in ask(bench, MANY, PromptOptions(shots=(3,))):
        assert shown(question) == ["d1", "d2", "d3"]
        assert question.key.shots == 3


def test_demonstrations_are_rendered_by_the_questions_own_template(bench: Bench) -> None:
    asked = ask(bench, FEW, PromptOptions(shots=(2,)))
    assert {question.key.template for question in asked} == set(TEMPLATES)
    for question in asked:
        for text, _ in question.prompt.demonstrations:
            assert text.startswith(question.key.template)


def test_a_task_and_template_have_one_few_shot_prefix(bench: Bench) -> None:
    """What the model computes once: the same text before every question, also of a limited run."""
    prefixes: dict[str, set[str]] = {template: set() for template in TEMPLATES}
    for limit in (None, 2):
        for question in ask(bench, FEW, PromptOptions(shots=(2,), limit=limit)):
            prefixes[question.key.template].add(question.prompt.prefix)
    assert [len(found) for found in prefixes.values()] == [1, 1]
    assert prefixes["A. "] != prefixes["B. "]


def test_prompts_with_a_common_prefix_follow_one_another(bench: Bench) -> None:
    keys = [(q.key.shots, q.key.template) for q in ask(bench, FEW, PromptOptions(shots=(0, 2)))]
    assert keys == sorted(keys)


def test_a_prompt_is_what_the_composer_makes_of_it(bench: Bench) -> None:
    """Without shots the wording is drawn by example, with shots by template."""
    options = PromptOptions(shots=(0, 2), seed=3, separator="\n\n", explanations=True)
    pool = list(bench.examples(MANY, Split.DEMONSTRATIONS))
    for question in ask(bench, MANY, options):
        shots, example = question.key.shots, question.example
        wording = draw_wording(3, MANY, example.id if shots == 0 else "")
        expected = compose(example, wording, pool[:shots], separator="\n\n", explanations=True)
        assert question.prompt == expected
    zero = [q.prompt.text for q in ask(bench, MANY, PromptOptions(shots=(0,)))]
    assert len({delimiter for delimiter in DELIMITERS for text in zero if text.endswith(delimiter)}) > 4


@settings(max_examples=25, deadline=None)
@given(small=st.integers(1, 45), more=st.integers(0, 20), seed=st.integers(0, 5))
def test_a_larger_limit_contains_the_smaller(bench: Bench, small: int, more: int, seed: int) -> None:
    options = PromptOptions(shots=(0,), limit=small, seed=seed)
    few = {q.key: q.prompt for q in ask(bench, MANY, options)}
    many = {q.key: q.prompt for q in ask(bench, MANY, replace(options, limit=small + more))}
    assert len(few) == min(small, 40)
    assert few.items() <= many.items()


def test_a_limit_takes_examples_with_all_their_templates(bench: Bench) -> None:
    found = ask(bench, FEW, PromptOptions(shots=(0,), limit=2))
    taken = {question.key.example_id for question in found}
    assert len(taken) == 2
    assert {(q.key.example_id, q.key.template) for q in found} == {(i, t) for i in taken for t in TEMPLATES}


def test_a_seed_reorders_the_pool_for_all_examples_alike(bench: Bench) -> None:
    orders = {}
    for seed in range(6):
        options = PromptOptions(shots=(12,), demonstration_seeds=(seed,), limit=5)
        found = {tuple(shown(question)) for question in ask(bench, MANY, options)}
        assert len(found) == 1
        (orders[seed],) = found
        assert sorted(orders[seed]) == sorted(f"d{n}" for n in range(1, 13))
    assert len(set(orders.values())) == 6


def test_fewer_shots_of_a_seed_are_the_nearest_of_more(bench: Bench) -> None:
    options = PromptOptions(shots=(2, 5), demonstration_seeds=(7,), limit=1)
    two, five = (shown(question) for question in ask(bench, MANY, options))
    assert five[:2] == two


def test_several_seeds_ask_few_shot_prompts_once_each_and_zero_shot_ones_once(bench: Bench) -> None:
    options = PromptOptions(shots=(0, 2), demonstration_seeds=(1, 2, 3), limit=4)
    keys = [question.key for question in ask(bench, MANY, options)]
    assert len(keys) == len(set(keys)) == 4 + 3 * 4
    assert {key.demonstration_seed for key in keys if key.shots == 0} == {None}
    assert {key.demonstration_seed for key in keys if key.shots == 2} == {1, 2, 3}


def test_demonstrations_for_each_example_depend_on_it_alone(bench: Bench) -> None:
    options = PromptOptions(shots=(3,), demonstrations=Demonstrations.PER_EXAMPLE)
    everyone = {q.key.example_id: shown(q) for q in ask(bench, MANY, options)}
    limited = {q.key.example_id: shown(q) for q in ask(bench, MANY, replace(options, limit=7))}
    assert len({tuple(found) for found in everyone.values()}) > 30
    assert limited.items() <= everyone.items()
    assert all(len(set(found)) == 3 for found in everyone.values())
    seeded = replace(options, demonstration_seeds=(1,))
    assert {q.key.example_id: shown(q) for q in ask(bench, MANY, seeded)} != everyone


def test_a_small_pool_is_shown_whole_and_an_empty_one_asks_nothing(bench: Bench) -> None:
    assert {len(shown(question)) for question in ask(bench, FEW, PromptOptions(shots=(5,)))} == {3}
    options = PromptOptions(shots=(0, 5))
    assert {question.key.shots for question in ask(bench, NONE, options)} == {0}
    counts = survey(bench, bench.task(NONE), options).templates[""]
    assert (counts.asked(0), counts.asked(5), counts.shown) == (3, 0, 0)


def test_examples_without_options_are_answered_freely(bench: Bench) -> None:
    scored = ask(bench, MIXED, PromptOptions(shots=(0,)), Kind.OPTIONS)
    free = ask(bench, MIXED, PromptOptions(shots=(0,)), Kind.TEXT)
    assert (len(scored), len(free)) == (4, 3)
    assert all(question.example.options for question in scored)
    assert not any(question.example.options for question in free)


@settings(max_examples=30, deadline=None)
@given(
    task=st.sampled_from([MANY, FEW, NONE, MIXED]),
    shots=st.lists(st.integers(0, 14), min_size=1, max_size=3, unique=True),
    seeds=st.lists(st.integers(0, 9), max_size=2, unique=True),
    limit=st.none() | st.integers(1, 50),
)
def test_the_survey_counts_what_is_asked(
    bench: Bench, task: str, shots: list[int], seeds: list[int], limit: int | None
) -> None:
    options = PromptOptions(shots=tuple(shots), demonstration_seeds=tuple(seeds), limit=limit)
    surveyed = survey(bench, bench.task(task), options)
    for kind in (Kind.OPTIONS, Kind.TEXT):
        found = list(questions(bench, surveyed, options, kind))
        assert surveyed.count(options, kind) == len(found)
        assert len({question.key.digest for question in found}) == len(found)
    asked = {q.key.example_id for kind in Kind for q in questions(bench, surveyed, options, kind)}
    if 0 in shots:
        assert surveyed.examples == len(asked)


def test_what_is_done_is_not_asked_again(bench: Bench) -> None:
    options = PromptOptions(shots=(0,))
    surveyed = survey(bench, bench.task(MANY), options)
    done = {f"e{n}" for n in range(0, 40, 3)}
    found = questions(bench, surveyed, options, Kind.TEXT, lambda key: key.example_id not in done)
    assert {question.key.example_id for question in found} == {f"e{n}" for n in range(40)} - done


def test_a_conversation_holds_the_instructions_once_and_ends_with_the_question() -> None:
    example = Example("e", "hot", ("cold",), description="Name the opposite.")
    pool = [Example("d", "up", ("down",), description="Name the opposite.")]
    wording = draw_wording(0, "flan/x", "")
    prompt = compose(example, wording, pool)
    delimiter = wording.delimiter
    assert turns(prompt) == [
        Turn("user", f"Name the opposite.\nup{delimiter}"),
        Turn("assistant", "down"),
        Turn("user", f"hot{delimiter}"),
    ]
    assert turns(compose(example, wording)) == [Turn("user", f"Name the opposite.\nhot{delimiter}")]


@given(budget=st.integers(30, 260))
def test_a_shortened_prompt_is_found_again_from_its_prediction(budget: int) -> None:
    example = Example("e", "a b c d e f g " * 4, ("z",), description="Go on.")
    pool = [Example(f"d{n}", "x y " * n, ("z",), description="Go on.") for n in range(1, 5)]
    prompt = compose(example, draw_wording(0, "superni/x", ""), pool, separator=SEPARATOR)
    fitted = fit(prompt, budget, len)
    assert shortened(prompt, fitted.dropped, fitted.cut) == fitted.prompt


def test_a_shard_that_is_cut_off_is_found_before_anything_is_asked(tmp_path: Path) -> None:
    import pyarrow as pa

    bench = make_bench(tmp_path / "data", ToyTask("flan/a", numbered(5), numbered(2, prefix="d")))
    file = next(bench.split_folder("flan/a", Split.TEST).glob("*.arrow"))
    with pa.memory_map(str(file)) as source:
        schema = pa.ipc.open_stream(source).schema
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema):
        pass
    with pytest.raises(BenchFolderError, match="damaged: 0 examples of digest"):
        survey(bench, bench.task("flan/a"), PromptOptions())
