"""Units of work: whatever the job, every prompt is in exactly one, and is the prompt that one process would ask."""

from __future__ import annotations

from collections import Counter

import pytest
from evaluation_kit import ToyTask, make_bench, numbered
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.predictions import Kind
from evaluation.requests import Demonstrations, PromptOptions, Question, survey
from evaluation.runner import Job
from evaluation.units import LARGEST, SMALLEST, Unit, cut, restricted
from task_registry.bench import Bench
from task_registry.types import Metric

YES_NO = ("yes", "no")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A large task, a mixed one, one of many templates, one without demonstrations."""
    both = [*numbered(20, options=YES_NO), *numbered(9, prefix="free")]
    shown = numbered(3, prefix="d")
    return make_bench(
        tmp_path_factory.mktemp("toy") / "data",
        ToyTask("flan/large", numbered(300, options=YES_NO), shown, Metric.ACCURACY),
        ToyTask("flan/templates", numbered(7, templates="abcdef"), numbered(3, prefix="d", templates="abc")),
        ToyTask("promptsource/both", both, shown, Metric.MACRO_F1),
        ToyTask("superni/none", numbered(40, description="Say it.")),
    )


def job_of(bench: Bench, options: PromptOptions, done: frozenset[int] = frozenset()) -> Job:
    return Job(
        bench, [survey(bench, bench.tasks[name], options) for name in sorted(bench.tasks)], options, done
    )


def questions(job: Job) -> list[Question]:
    return [question for kind in (Kind.OPTIONS, Kind.TEXT) for question in job.questions(kind)]


options = st.builds(
    PromptOptions,
    shots=st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True).map(tuple),
    demonstrations=st.sampled_from(Demonstrations),
    demonstration_seeds=st.lists(st.integers(0, 9), max_size=2, unique=True).map(tuple),
    limit=st.none() | st.integers(1, 50),
    seed=st.integers(0, 3),
)


@settings(max_examples=25, deadline=None)
@given(options, st.integers(1, 40), st.data())
def test_the_units_are_the_job(
    bench: Bench, options: PromptOptions, workers: int, data: st.DataObject
) -> None:
    every = questions(job_of(bench, options))
    every_so_many = data.draw(st.sampled_from([1, 2, 3, 1000]))
    done = frozenset(question.key.digest for question in every[::every_so_many])
    expected = {question.key: question for question in every if question.key.digest not in done}
    found: Counter[object] = Counter()
    for unit in cut(job_of(bench, options, done), workers):
        asked = questions(restricted(bench, unit))
        assert len(asked) == unit.prompts <= LARGEST
        assert len({(q.kind, q.key.shots, q.key.demonstration_seed) for q in asked}) == 1
        for question in asked:
            assert question == expected[question.key]
            found[question.key] += 1
    assert found == Counter(expected.keys())


def sizes(units: list[Unit]) -> list[list[int]]:
    return [[len(chunk.ids) for chunk in unit.chunks] for unit in units]


def test_what_shares_a_prefix_stays_together_as_far_as_a_unit_reaches(bench: Bench) -> None:
    units = cut(job_of(bench, PromptOptions(shots=(2,))), 1)
    assert [chunk.template for chunk in units[0].chunks] == ["a", "b", "c", ""]
    # 350 prompts in four shares: the writing first, then the choices.
    assert sizes(units) == [[7, 7, 7, 9], [87], [87], [87], [39, 20]]


def test_a_small_job_has_a_share_for_many_workers_and_no_crumbs(bench: Bench) -> None:
    few = cut(job_of(bench, PromptOptions(shots=(0,), limit=40)), 1)
    many = cut(job_of(bench, PromptOptions(shots=(0,), limit=40)), 8)
    assert len(few) < len(many)
    assert max(sum(size) for size in sizes(many)) == SMALLEST
    assert cut(job_of(bench, PromptOptions(shots=(0,))), 1)[0].chunks[0].task != "flan/large", (
        "text comes first"
    )


def test_a_job_that_is_done_has_no_units(bench: Bench) -> None:
    done = frozenset(q.key.digest for q in questions(job_of(bench, PromptOptions())))
    assert cut(job_of(bench, PromptOptions(), done), 2) == []
