"""Templates: the separator, options by row, what is dropped, hidden labels, and errors that say where."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_registry.errors import InputError, Place
from templates.template import MARK, Rendered, Template, compile_template

FILE = Path("templates/boats/templates.yaml")
ROW = Place(Path("boats/train.jsonl"), "line 4")


def render(template: Template, **fields: Any) -> Rendered | None:
    return compile_template(template, FILE).render(fields, ROW)


def test_a_row_becomes_input_output_and_options() -> None:
    template = Template(
        "plain", " {{ text }}: \n ||| {{ answer_choices[label] }} ", options="{{ low }}||| high |||{{ none }}"
    )
    assert render(template, text="six o'clock", label=0, low=" low ") == Rendered(
        "six o'clock:", "low", ("low", "high", "None")
    )


def test_a_template_of_two_sources_is_one_with_a_separator() -> None:
    fields = {"text": "a", "words": ["b", "c"]}
    body = "{% set w = words[1] %}{{ text }}"
    assert render(Template("x", body, "{{ w }}"), **fields) == render(
        Template("x", body + "|||{{ w }}"), **fields
    )


def test_the_other_texts_are_rendered_too() -> None:
    template = Template(
        "steps",
        "{{ q }}",
        "{{ why }} It is {{ a }}.",
        description=" Answer with {{ answer_choices | length }} words. ",
        options="a ||| b",
        answer="{{ a }}",
        explanation="{{ why }}",
    )
    assert render(template, q="?", why="So.", a="a") == Rendered(
        "?", "So. It is a.", ("a", "b"), "Answer with 2 words.", "a", "So."
    )
    assert render(template, q="?", why="", a="a") == Rendered(
        "?", "It is a.", ("a", "b"), "Answer with 2 words.", "a", None
    )


TEXT = st.text(st.characters(exclude_characters=MARK, exclude_categories=["Cs"]), max_size=6)
TEXTS_WITH_BARS = st.lists(st.one_of(TEXT, st.sampled_from(["|||", "||", "a ||| b", "|"])), max_size=3)


@given(TEXTS_WITH_BARS, TEXT, st.lists(TEXTS_WITH_BARS.map("".join), min_size=2, max_size=3))
def test_bars_of_a_row_mean_nothing_at_any_depth(bars: list[str], text: str, words: list[str]) -> None:
    template = Template(
        "x",
        "{{ bars[0] }}{{ top }}{{ deep.words | join(' + ') }} in ||| out {{ bars | join }}",
        options="{{ deep.words | join('|||') }}",
    )
    rendered = render(template, bars=[*bars, ""], top=text + "|||", deep={"words": words})
    assert rendered == Rendered(
        f"{[*bars, ''][0]}{text}|||{' + '.join(words)} in".strip(),
        f"out {''.join(bars)}".strip(),
        tuple(word.strip() for word in words),
    )


@pytest.mark.parametrize(
    "source",
    [
        "no separator",
        "{% if false %}in ||| out{% endif %}",
        "in ||| {{ '' }} ",
        " {{ '' }} ||| out",
        "in ||| out ||| more",
        "|||",
    ],
)
def test_without_one_input_and_one_output_a_template_does_not_apply(source: str) -> None:
    assert render(Template("x", source), text="a") is None


def test_instructions_alone_are_enough() -> None:
    assert render(Template("x", "{{ '' }}", "out", description="Say out.")) == Rendered(
        "", "out", (), "Say out."
    )
    assert render(Template("x", "in", "{{ '' }}", description="Say out.")) is None


def test_bars_in_branches_split_in_each() -> None:
    source = "{% if label %}yes? ||| yes{% else %}no? ||| no{% endif %}"
    assert render(Template("x", source), label=1) == Rendered("yes?", "yes")
    assert render(Template("x", source), label=0) == Rendered("no?", "no")


def test_answer_choices_is_null_without_options_and_the_rows_own_field_gives_way() -> None:
    template = Template("x", "{{ answer_choices is none }}", "out")
    assert render(template, answer_choices=["mine"]) == Rendered("True", "out")


CHANGING = [
    "{{ words.append('x') or '' }}",
    "{{ words.pop() }}",
    "{{ parts.update({'a': 1}) or '' }}",
    "{% for list in parts.lists %}{{ list.append('x') or '' }}{% endfor %}",
    "{% set mine = words %}{{ mine.insert(0, 'x') or '' }}",
    "{% set mine = [words] %}{{ mine[0].clear() or '' }}",
    "{% set mine = [] %}{% set mine = words %}{{ mine.sort() or '' }}",
    "{% set list = [] %}{% for list in parts.lists %}{{ list.append('x') or '' }}{% endfor %}",
    "{% macro change(list) %}{{ list.append('x') or '' }}{% endmacro %}{{ change(words) }}",
]


@pytest.mark.parametrize("source", CHANGING)
def test_no_template_changes_a_row(source: str) -> None:
    fields: dict[str, Any] = {"words": ["b", "a"], "parts": {"lists": [["a"]]}}
    before = copy.deepcopy(fields)
    template = compile_template(Template("x", "in", source + "out"), FILE)
    first = template.render(fields, ROW)
    assert fields == before
    assert template.render(fields, ROW) == first is not None


def test_a_list_of_its_own_costs_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "deepcopy", None)
    source = "{% set mine = [] %}{% for w in words %}{{ mine.append(w) or '' }}{% endfor %}{{ mine | join }}"
    assert render(Template("x", "in", source), words=["a", "b"]) == Rendered("in", "ab")


class TestHiddenAnswers:
    LABEL = Template("x", "{{ text }} ||| {{ answer_choices[label] }}", options="no ||| yes")
    BRANCH = Template("x", "{{ text }} ||| {% if label == 1 %}yes{% else %}no{% endif %}")
    TWO = Template("x", "{{ text }} ||| {{ first }} {{ second }}")
    KEY = Template("x", "{{ text }} ||| {{ choices[letters.index(answerKey)] }}")

    @pytest.mark.parametrize("template", [LABEL, BRANCH])
    @pytest.mark.parametrize("label", [-1, -1.0, None, ""])
    def test_a_label_is_hidden(self, template: Template, label: object) -> None:
        assert compile_template(template, FILE).hides_answer({"text": "", "label": label})

    @pytest.mark.parametrize("label", [0, 1, 0.0, "0", "-", False, True, [], {}])
    def test_a_label_is_there(self, label: object) -> None:
        assert not compile_template(self.LABEL, FILE).hides_answer({"text": -1, "label": label})

    def test_empty_text_may_be_a_part_of_an_answer(self) -> None:
        two = compile_template(self.TWO, FILE)
        assert not two.hides_answer({"first": "a", "second": "", "text": ""})
        assert two.hides_answer({"first": "a", "second": None, "text": ""})
        key = compile_template(self.KEY, FILE)
        assert key.hides_answer({"answerKey": "", "choices": ["a"], "letters": ["A"], "text": ""})

    def test_a_missing_label_is_an_error_not_a_hidden_one(self) -> None:
        template = compile_template(self.LABEL, FILE)
        assert not template.hides_answer({"text": "a"})
        with pytest.raises(InputError, match="'label' is undefined"):
            template.render({"text": "a"}, ROW)


def test_an_error_says_row_template_fault_and_fields() -> None:
    with pytest.raises(InputError) as caught:
        render(Template("at the pier", "{{ tide }}", "{{ hour }}"), tide="low", label=1)
    assert str(caught.value) == (
        "boats/train.jsonl, line 4, template 'at the pier': found 'hour' is undefined, expected a template for"
        " a row with the fields tide, label; mend the row or the template"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ tide", r"unexpected end of template.* in line 1 of '\{\{ tide'"),
        ("\n\n{% if %}", "in line 3 of"),
        ("{% for x in y %}", "in line 1"),
        ("{{ tide | nonsense }}", "No filter named 'nonsense'"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "recursion|nested"),
        ("{{ 9 ** (9 ** (9 ** 9)) }}", "a number of"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_a_template_that_is_none_fails_when_it_is_compiled(source: str, found: str) -> None:
    for template in (Template("at the pier", source), Template("at the pier", "in", "out", options=source)):
        with pytest.raises(InputError, match=found) as caught:
            compile_template(template, FILE)
        assert str(caught.value).startswith("templates/boats/templates.yaml, template 'at the pier': found ")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_a_place_may_be_a_file() -> None:
    with pytest.raises(InputError, match=r"^boats, template 'x': found"):
        compile_template(Template("x", "{{ a }}", "out"), FILE).render({}, "boats")


def test_a_constant_is_rendered_once() -> None:
    template = compile_template(
        Template("x", "in", "{{ answer_choices[0] }}", options="{{ 'a' }} ||| b"), FILE
    )
    first, second = (template.render({"n": n}, ROW) for n in range(2))
    assert first is not None
    assert second is not None
    assert first.options is second.options
    drawn = compile_template(Template("x", "in", "{{ ['a', 'b', 'c', 'd'] | choice }}"), FILE)
    assert len({(drawn.render({"n": n}, ROW) or first).output for n in range(20)}) == 4
