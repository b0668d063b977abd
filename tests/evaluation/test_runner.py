"""The loop: every prompt answered once and by its own answer, whatever the order, the limit or an interruption."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluation_kit import ToyModel, ToyTask, ToyTokenizer, by_hash, make_bench, numbered
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import build_folder

from evaluation.estimate import estimate
from evaluation.models import GenerateRequest, LanguageModel, ModelOptions, OptionsRequest, load_model
from evaluation.predictions import Kind, Prediction
from evaluation.requests import Overlength, PromptOptions, TaskPrompts, survey
from evaluation.runner import Job, evaluate
from task_registry.bench import Bench
from task_registry.errors import InputError, ModelError
from task_registry.types import Example, Metric

CHOICE = "flan/choice"
WRITE = "superni/write"
BOTH = "promptsource/both"
YES_NO = ("yes", "no")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    both = [*numbered(3, options=("~a", "b", "c")), *numbered(2, prefix="free")]
    return make_bench(
        tmp_path_factory.mktemp("toy") / "data",
        ToyTask(CHOICE, numbered(9, options=YES_NO), numbered(3, prefix="d"), Metric.ACCURACY),
        ToyTask(WRITE, numbered(8, description="Say it."), numbered(3, prefix="d")),
        ToyTask(BOTH, both, numbered(3, prefix="d"), Metric.MACRO_F1),
    )


def surveyed(bench: Bench, options: PromptOptions, only: Iterable[str] = ()) -> list[TaskPrompts]:
    return [survey(bench, bench.tasks[name], options) for name in only or sorted(bench.tasks)]


def run(
    bench: Bench, options: PromptOptions, model: LanguageModel | None = None, done: Iterable[Prediction] = ()
) -> dict[int, Prediction]:
    """All predictions by their key, as a run from the start or after `done` gives them."""
    found: dict[int, Prediction] = {}

    def write(prediction: Prediction) -> None:
        assert prediction.key.digest not in found
        found[prediction.key.digest] = prediction

    finished = frozenset(prediction.key.digest for prediction in done)
    evaluate(model or ToyModel(), Job(bench, surveyed(bench, options), options, finished), write)
    return found


def test_every_prompt_is_answered_once_and_with_its_own_answer(bench: Bench) -> None:
    """The toy answers late, window by window, backwards; answers depend on the text of the prompt."""
    options = PromptOptions(shots=(0, 2), max_new_tokens=20)
    found = run(bench, options)
    assert len(found) == sum(task.count(options) for task in surveyed(bench, options)) == 2 * (9 + 8 + 5)
    for prediction in found.values():
        if prediction.kind is Kind.TEXT:
            assert prediction.text is not None
            assert prediction.example_id in prediction.text, "the toy says the end of the prompt"
            continue
        assert prediction.option_bytes == tuple(len(option) for option in prediction.options)
        assert prediction.option_tokens == tuple(len(option) + 1 for option in prediction.options)
        best = max(range(len(prediction.options)), key=lambda i, p=prediction: p.option_logprobs[i])
        assert prediction.choice == best
    merged = {p.merged for p in found.values() if p.task == BOTH and p.kind is Kind.OPTIONS}
    assert merged == {1}


def test_the_kinds_of_a_mixed_task(bench: Bench) -> None:
    found = run(bench, PromptOptions(shots=(0,))).values()
    kinds = {(p.task, p.kind) for p in found}
    expected = {
        (CHOICE, Kind.OPTIONS),
        (WRITE, Kind.TEXT),
        (BOTH, Kind.OPTIONS),
        (BOTH, Kind.TEXT),
    }
    assert kinds == expected


def test_the_finish_and_length_of_an_output_are_kept(bench: Bench) -> None:
    options = PromptOptions(shots=(0,), max_new_tokens=3)
    texts = [p for p in run(bench, options).values() if p.kind is Kind.TEXT]
    assert {(p.finish, p.new_tokens) for p in texts} == {("length", 3)}
    assert all(p.prompt_tokens > 10 for p in texts)


def test_likelihoods_without_the_prompt_come_from_the_empty_prompt(bench: Bench) -> None:
    model = ToyModel()
    found = run(bench, PromptOptions(shots=(0, 2), unconditional=True), model)
    scored = [p for p in found.values() if p.kind is Kind.OPTIONS]
    for prediction in scored:
        assert prediction.option_unconditional == tuple(by_hash("", o) for o in prediction.options)
    assert model.asked.count("") == 1, "five distinct options, asked once together"
    assert {p.option_unconditional for p in run(bench, PromptOptions(shots=(0,))).values()} == {()}


def test_a_tie_is_no_choice(bench: Bench) -> None:
    model = ToyModel(likelihood=lambda prompt, option: -1.0)
    scored = [p for p in run(bench, PromptOptions(shots=(0,)), model).values() if p.kind is Kind.OPTIONS]
    assert {p.choice for p in scored} == {None}


def test_what_does_not_fit_is_recorded_and_not_asked_again(tmp_path: Path) -> None:
    long = Example("long", "x" * 300, ("y",))
    bench = make_bench(tmp_path / "data", ToyTask(WRITE, [*numbered(4), long], numbered(2, prefix="d")))
    options = PromptOptions(shots=(0,), overlength=Overlength.SKIP, max_new_tokens=10)
    found = run(bench, options, ToyModel(max_length=100))
    skipped = [p for p in found.values() if p.kind is Kind.SKIPPED]
    assert [(p.example_id, p.finish, p.text) for p in skipped] == [("long", "overlength", None)]
    assert len(found) == 5
    assert run(bench, options, ToyModel(max_length=100), found.values()) == {}
    shortened = run(bench, replace(options, overlength=Overlength.DROP_SHOTS), ToyModel(max_length=100))
    assert {p.example_id for p in shortened.values() if p.cut_characters} == {"long"}
    with pytest.raises(InputError, match="example long"):
        run(bench, replace(options, overlength=Overlength.ERROR), ToyModel(max_length=100))


def test_prompts_of_which_none_fits_are_all_recorded(tmp_path: Path) -> None:
    long = [Example(f"long{n}", "x" * 300, ("y",)) for n in range(3)]
    bench = make_bench(tmp_path / "data", ToyTask(WRITE, long))
    options = PromptOptions(shots=(0,), overlength=Overlength.SKIP, max_new_tokens=10)
    found = run(bench, options, ToyModel(max_length=100))
    assert [p.kind for p in found.values()] == [Kind.SKIPPED] * 3


def test_demonstrations_that_do_not_fit_are_counted(bench: Bench) -> None:
    options = PromptOptions(shots=(3,), max_new_tokens=5)
    found = run(bench, options, ToyModel(max_length=90)).values()
    assert all(p.dropped_shots > 0 for p in found)


@settings(max_examples=20, deadline=None)
@given(stop=st.integers(0, 43), window=st.integers(1, 9))
def test_a_run_that_dies_anywhere_goes_on_to_the_same_predictions(
    bench: Bench, stop: int, window: int
) -> None:
    options = PromptOptions(shots=(0, 2), max_new_tokens=20)
    whole = run(bench, options)
    first: dict[int, Prediction] = {}

    class Killed(Exception):  # noqa: N818
        pass

    def write(prediction: Prediction) -> None:
        if len(first) == stop:
            raise Killed
        first[prediction.key.digest] = prediction

    with pytest.raises(Killed):
        evaluate(ToyModel(window=window), Job(bench, surveyed(bench, options), options), write)
    second = run(bench, options, ToyModel(window=7), first.values())
    assert not first.keys() & second.keys()
    assert first | second == whole


def test_a_chat_template_is_what_the_model_reads(bench: Bench) -> None:
    model = ToyModel(tokenizer=ToyTokenizer(chat=True))
    run(bench, PromptOptions(shots=(2,), chat_template=True, limit=1), model)
    assert all(p.startswith("<user>") and p.count("<assistant>") == 3 for p in model.asked)
    seen: list[tuple[str, bool]] = []

    class Spy(ToyTokenizer):
        def options(self, *asked: Any, chat: bool = False) -> list[OptionsRequest]:
            seen.append(("options", chat))
            return super().options(*asked, chat=chat)

        def prompts(self, *asked: Any, chat: bool = False) -> list[GenerateRequest]:
            seen.append(("text", chat))
            return super().prompts(*asked, chat=chat)

    options = PromptOptions(shots=(0,), chat_template=True, limit=1, unconditional=True)
    found = run(bench, options, ToyModel(tokenizer=Spy(chat=True)))
    assert set(seen) == {("options", True), ("text", True)}, "also where options are scored without a prompt"
    scored = [p for p in found.values() if p.kind is Kind.OPTIONS]
    assert all(p.option_tokens == tuple(map(len, p.options)) for p in scored), "no space before an answer"
    with pytest.raises(ModelError, match="no chat template"):
        run(bench, PromptOptions(chat_template=True))


def test_an_estimate_counts_all_and_asks_few(bench: Bench) -> None:
    options = PromptOptions(shots=(0, 2), max_new_tokens=20)
    model = ToyModel()
    found = estimate(model, Job(bench, surveyed(bench, options), options))
    assert (found.scored, found.generated) == (2 * (9 + 3), 2 * (8 + 2))
    assert found.new_tokens == 20 * 2 * (8 + 2)
    assert found.measured == len(model.asked) <= 2 * (9 + 8 + 5)
    asked = sum(p.prompt_tokens for p in run(bench, options).values())
    assert found.tokens == pytest.approx(asked, rel=0.1)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("sample") / "data"
    build_folder(None, folder, source=("flan", "superni"))
    return Bench.open(folder)


@pytest.fixture(scope="module")
def tiny() -> LanguageModel:
    return load_model(ModelOptions("builtin:tiny-opt", dtype="float32", device="cpu"))


def same(one: Prediction, other: Prediction) -> bool:
    """Equal but for rounding, which may differ where batches do."""
    close = one.option_logprobs == pytest.approx(other.option_logprobs, abs=1e-4 * 64)
    return close and replace(one, option_logprobs=()) == replace(other, option_logprobs=())


def test_a_real_model_answers_alike_in_part_after_a_break_and_in_small_batches(
    sample: Bench, tiny: LanguageModel
) -> None:
    options = PromptOptions(shots=(0, 2), max_new_tokens=6, limit=6)
    whole = run(sample, options, tiny)
    assert {p.kind for p in whole.values()} == {Kind.OPTIONS, Kind.TEXT}
    half = [p for number, p in enumerate(whole.values()) if number % 2]
    rest = run(sample, options, tiny, half)
    assert len(rest) + len(half) == len(whole)
    few = run(sample, replace(options, limit=2), tiny)
    small = load_model(ModelOptions("builtin:tiny-opt", dtype="float32", device="cpu", batch_tokens=64))
    for found in (rest, few, run(sample, options, small)):
        assert found
        assert all(same(prediction, whole[key]) for key, prediction in found.items())
