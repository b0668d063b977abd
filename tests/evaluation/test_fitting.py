"""Prompts within the context: what is given up first, what never is, and that it costs little."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evaluation_kit import BOS, ToyTokenizer
from hypothesis import given
from hypothesis import strategies as st

from evaluation.fitting import Fitter, Ready, Skipped
from evaluation.models import GenerateRequest, OptionsRequest
from evaluation.predictions import Key, Kind
from evaluation.requests import Overlength, PromptOptions, Question
from task_registry.errors import InputError, ModelError, UsageError
from task_registry.types import Example
from templates.prompt import compose, draw_wording

TASK = "superni/x"
LIMIT = 200


def question(
    length: int, shots: int = 0, kind: Kind = Kind.TEXT, description: str = "Say it.", shown: int = 20
) -> Question:
    """A question of `length` characters that ends in `END`, with demonstrations of `shown` characters."""
    example = Example(
        "e", "q" * length + "END", ("r",), description=description, options=("yes", "~not at all")
    )
    pool = [Example(f"d{n}", str(n) * shown, ("r",), description=description) for n in range(shots)]
    prompt = compose(example, draw_wording(0, TASK, ""), pool)
    return Question(Key(TASK, "e", "", shots), kind, example, prompt)


def fitter(tokenizer: ToyTokenizer | None = None, limit: int = LIMIT, **options: object) -> Fitter:
    chosen = replace(PromptOptions(max_new_tokens=10), **options)  # type: ignore[arg-type]
    return Fitter(tokenizer or ToyTokenizer(), limit, chosen)


def size(request: OptionsRequest | GenerateRequest) -> int:
    if isinstance(request, OptionsRequest):
        return request.longest
    return len(request.prompt) + request.max_new_tokens


@given(st.integers(0, 400), st.integers(0, 6), st.sampled_from([Kind.TEXT, Kind.OPTIONS]))
def test_whatever_its_length_a_prompt_fits_and_keeps_what_it_must(
    length: int, shots: int, kind: Kind
) -> None:
    asked = question(length, shots, kind)
    (one,) = fitter().fit([asked])
    assert isinstance(one, Ready)
    assert size(one.request) <= LIMIT
    first = one.request.context if isinstance(one.request, OptionsRequest) else one.request.prompt
    assert list(first).count(BOS) == 1
    assert first[0] == BOS
    text = ToyTokenizer().decode(first)
    assert text == one.prompt.text.rstrip(" ")
    assert text.startswith(asked.prompt.description)
    assert "END" in text
    if one.cut_characters:
        assert one.dropped_shots == shots, "the question is cut only once no demonstration is left"
    if one.dropped_shots:
        kept = one.prompt.demonstrations
        assert kept == asked.prompt.demonstrations[one.dropped_shots :], "the furthest go first"
        roomier, more = fitter(limit=size(one.request) + 60), question(length, shots, kind)
        (other,) = roomier.fit([more])
        assert isinstance(other, Ready)
        assert other.dropped_shots < one.dropped_shots or other.cut_characters < one.cut_characters


def test_the_budget_reserves_the_longest_option_or_the_output() -> None:
    (text,) = fitter(max_new_tokens=50).fit([question(500)])
    (options,) = fitter().fit([question(500, kind=Kind.OPTIONS)])
    assert isinstance(text, Ready)
    assert isinstance(options, Ready)
    assert text.prompt_tokens == LIMIT - 50
    assert options.prompt_tokens == LIMIT - len(" ~not at all")


def test_a_prompt_that_fits_exactly_is_left_alone() -> None:
    (fits,) = fitter().fit([question(100)])
    assert isinstance(fits, Ready)
    exactly = size(fits.request)
    (again,) = fitter(limit=exactly).fit([question(100)])
    (cut,) = fitter(limit=exactly - 1).fit([question(100)])
    assert isinstance(again, Ready)
    assert isinstance(cut, Ready)
    assert again.cut_characters == 0
    assert cut.cut_characters == 1


def test_what_does_not_fit_is_skipped_or_an_error_if_wanted() -> None:
    short, long = question(10), question(500)
    found = fitter(overlength=Overlength.SKIP).fit([short, long])
    assert [type(one) for one in found] == [Ready, Skipped]
    with pytest.raises(
        InputError, match=r"superni/x, example e, 0 shots: found a prompt \d+ tokens too long"
    ):
        fitter(overlength=Overlength.ERROR).fit([short, long])


def test_instructions_that_fill_the_context_are_skipped_not_cut() -> None:
    (one,) = fitter().fit([question(5, description="long " * 60)])
    assert isinstance(one, Skipped)
    assert "no room" in one.reason


def test_an_output_that_fills_the_context_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"--max-new-tokens 199 leaves no room .* 200 tokens"):
        fitter(max_new_tokens=199)


def test_a_chat_template_counts_and_is_asked_for_at_once() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        fitter(chat_template=True)
    chatting = fitter(ToyTokenizer(chat=True), chat_template=True)
    for shots in (0, 3):
        (one,) = chatting.fit([question(300, shots)])
        assert isinstance(one, Ready)
        assert LIMIT - 15 < size(one.request) <= LIMIT
        text = ToyTokenizer().decode(one.request.prompt)  # type: ignore[union-attr]
        assert text.startswith("<user>")
        assert text.endswith("<assistant>")
        assert text == chatting.text(one.prompt)


def test_a_prompt_of_a_hundred_thousand_tokens_costs_little_more_than_reading_it() -> None:
    tokenizer = ToyTokenizer()
    (one,) = fitter(tokenizer).fit([question(100_000, shots=5)])
    assert isinstance(one, Ready)
    assert one.dropped_shots == 5
    assert size(one.request) == LIMIT
    assert tokenizer.characters < 2 * 100_000
