"""Text to requests with the tokenizers of seven families: the join rule, BOS once, exact boundaries."""

from __future__ import annotations

from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import CORPUS, FAMILIES, CharacterTokenizer, make_tokenizer, merging_tokenizer
from tokenizers import AddedToken

from evaluation.huggingface.pieces import PieceEncoder
from evaluation.huggingface.tokenizer import HuggingFaceTokenizer
from evaluation.models import OptionsRequest, Turn
from task_registry.errors import ModelError

NAMES = ("opt", "gpt2", "gpt_neox", "llama", "qwen2", "gemma")

fragments = st.sampled_from(
    [
        *CORPUS[0].split(" "),
        "  ",
        "\n",
        "\n\n\n",
        "\t",
        " ",
        "é",
        "東京",
        "1,234.5",
        "—",
        "🙂",
        "<b>",
        "it's",
        ":",
        ": ",
        "Ünï",
    ]
)
texts = st.lists(st.one_of(fragments, st.text(max_size=4)), max_size=12).map(" ".join)
options = st.lists(
    st.one_of(texts, st.sampled_from(["", " ", "yes", " no", "\nno", "e\u0301"])), min_size=1, max_size=4
)


@cache
def tokenizer(name: str) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(make_tokenizer(name))


def whole(request: OptionsRequest, option: int) -> list[int]:
    return [*request.context.tolist(), *request.branches[option].tolist()]


def own_encoding(name: str, text: str) -> list[int]:
    """What the tokenizer itself makes of a text; EOS stands for the BOS that it lacks where that is needed."""
    made = make_tokenizer(name)
    return list(made(text)["input_ids"])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(texts, options)
def test_each_option_is_the_tokenizers_own_encoding_of_the_joined_text(
    name: str, prompt: str, choices: list[str]
) -> None:
    """One encoding, cut into a prompt and an option where the characters of the option begin."""
    (request,) = tokenizer(name).options([(prompt, choices)])
    stripped = prompt.rstrip(" ")
    alone = own_encoding(name, stripped)
    merged = 0
    for option, choice in enumerate(choices):
        expected = own_encoding(name, f"{stripped} {choice}")
        found = whole(request, option)
        start = len(found) - len(expected)  # a tokenizer without BOS needs a token before an empty prompt
        assert found[start:] == expected
        assert start == 0 or (
            start == 1
            and not make_tokenizer(name)("")["input_ids"]
            and request.scored[option] == len(expected)
        )
        if expected[: len(alone)] == alone:
            assert request.scored[option] == len(expected) - len(alone)
        else:
            merged += 1
    assert request.merged == merged
    assert request.longest == max(len(whole(request, option)) for option in range(len(choices)))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_pieces_are_tokenised_as_the_whole(name: str, data: st.DataObject) -> None:
    """Texts that begin alike are encoded by pieces, and nothing shows it, whatever came before."""
    encoder = PieceEncoder(make_tokenizer(name))
    assert encoder.last_cut("ab cd", 4) == 2, "the tokenizer counts as one that can be cut"
    shared = [data.draw(texts) + " " + CORPUS[number] for number in range(2)]
    made = [data.draw(st.sampled_from(shared)) + data.draw(texts) for _ in range(8)]
    for expected, found in zip(encoder.whole(made), encoder.beginnings(made), strict=True):
        assert found.tolist() == expected.tolist()


def test_what_prompts_share_is_tokenised_once() -> None:
    """Of 40 prompts with the same demonstrations, the tokenizer is given the ends only."""
    seen: list[str] = []
    real = make_tokenizer("opt")

    class Spy:
        is_fast = True

        def __call__(self, made: list[str], **kwargs: Any) -> Any:
            seen.extend(made)
            return real(made, **kwargs)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    spied = HuggingFaceTokenizer(Spy())
    seen.clear()
    demonstrations = "\n\n\n".join(CORPUS * 5)
    prompts = [f"{demonstrations}\n\n\nQuestion: number {number}? Answer:" for number in range(40)]
    spied.options([(prompt, ["yes", "no", "maybe"]) for prompt in prompts])
    assert sum(map(len, seen)) < 40 * 60 + 4 * len(demonstrations)
    seen.clear()
    spied.options([(prompt, ["yes", "no", "maybe"]) for prompt in prompts])
    assert sum(map(len, seen)) < 40 * 60


@pytest.mark.parametrize(("name", "bos"), [("opt", 2), ("llama", 1), ("gemma", 1)])
def test_bos_stands_before_a_prompt_exactly_once(name: str, bos: int) -> None:
    made = tokenizer(name)
    text = make_tokenizer(name).bos_token
    for prompt in ("Is it?", "", "   ", f"{text}Is it?", f"{text}"):
        (request,) = made.options([(prompt, ["yes"])])
        assert request.context.tolist().count(bos) == 1 and request.context[0] == bos
        (generate,) = made.prompts([prompt])
        assert generate.prompt.tolist().count(bos) == 1 and generate.prompt[0] == bos


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "qwen2"])
def test_a_tokenizer_without_bos_gets_none_but_before_an_empty_prompt(name: str) -> None:
    made = tokenizer(name)
    (request,) = made.options([("Is it?", ["yes"])])
    assert request.context.tolist() == own_encoding(name, "Is it?")
    (request,) = made.options([("", ["yes"])])
    assert request.context.tolist() == [make_tokenizer(name).eos_token_id]
    assert whole(request, 0)[1:] == own_encoding(name, " yes")


def test_a_tokenizer_that_doubles_its_bos_is_refused() -> None:
    from tokenizers import processors

    made = merging_tokenizer()
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> <s> $A", special_tokens=[("<s>", 1)]
    )
    with pytest.raises(ModelError, match="twice"):
        HuggingFaceTokenizer(made)


def test_tokens_that_reach_across_the_boundary_are_counted_and_scored() -> None:
    made = merging_tokenizer()
    assert made.convert_ids_to_tokens(made("A: yes")["input_ids"]) == ["<s>", "A", ": y", "e", "s"]
    (request,) = HuggingFaceTokenizer(made).options([("A:", ["yes", "no", "", "you"])])
    assert request.merged == 4, "`: y` and `: ` both hold the colon"
    assert made.convert_ids_to_tokens(request.context.tolist()) == ["<s>", "A"]
    spelled = [made.convert_ids_to_tokens(branch.tolist()) for branch in request.branches]
    assert spelled == [[": y", "e", "s"], [": ", "n", "o"], [": "], [": y", "o", "u"]]
    assert request.scored == (3, 3, 1, 3)


def test_an_option_may_merge_where_another_does_not() -> None:
    made = merging_tokenizer()
    encoder = HuggingFaceTokenizer(made)
    (request,) = encoder.options([("A:", ["yes"])])
    (other,) = encoder.options([("A?", ["yes", ""])])
    assert (request.merged, other.merged) == (1, 0)
    assert made.convert_ids_to_tokens(other.context.tolist()) == ["<s>", "A", "?"]
    assert other.prompt_tokens == 3 and request.prompt_tokens == 2


def test_a_slow_tokenizer_without_offsets_gives_the_same_boundaries() -> None:
    made = CharacterTokenizer()
    encoder = HuggingFaceTokenizer(made)
    assert encoder.bos == (0,)
    plain, merged = encoder.options([("Is it?", ["yes", ""]), ("A: ", ["yes"])])
    assert made.convert_ids_to_tokens(plain.context.tolist()) == ["<s>", *"Is it?"]
    assert [made.convert_ids_to_tokens(branch.tolist()) for branch in plain.branches] == [list(" yes"), [" "]]
    assert (plain.merged, plain.scored) == (0, (4, 1))
    assert made.convert_ids_to_tokens(merged.context.tolist()) == ["<s>", "A"]
    assert made.convert_ids_to_tokens(merged.branches[0].tolist()) == [": ", "y", "e", "s"]
    assert merged.merged == 1
    assert encoder.last("abc", 2) == "bc"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(texts, st.integers(0, 30))
def test_the_last_tokens_of_a_text_are_an_ending_that_fits(name: str, text: str, limit: int) -> None:
    made = tokenizer(name)
    ending = made.last(text, limit)
    assert text.endswith(ending)
    (count,) = made.count([ending])
    assert count <= limit
    if made.count([text])[0] <= limit:
        assert ending == text


def test_counting_leaves_bos_out() -> None:
    assert tokenizer("opt").count(["", "Is it?"]) == [0, len(own_encoding("opt", "Is it?")) - 1]


def test_an_empty_option_has_the_token_of_the_space_before_it() -> None:
    for name in NAMES:
        (request,) = tokenizer(name).options([("Is it?", ["", "yes"])])
        assert request.scored[0] == 1 and request.merged == 0


@pytest.mark.parametrize("prompt", ["Is it?", "Is it:\n", "", "Is it: \n\n yes"])
def test_a_prompt_without_options_is_still_the_whole_prompt(prompt: str) -> None:
    (request,) = tokenizer("opt").options([(prompt, [])])
    assert request.context.tolist() == own_encoding("opt", prompt) and request.branches == ()
    assert request.longest == request.prompt_tokens == len(request.context)


def test_chat_turns_become_the_models_prompt() -> None:
    made = tokenizer("qwen2")
    prompt = made.chat([Turn("user", "Is it?"), Turn("assistant", "yes"), Turn("user", "Sure?")])
    assert prompt.startswith("<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>")
    assert prompt.endswith("<|im_start|>assistant\n")
    (request,) = made.options([(prompt, ["yes"])], chat=True)
    assert made.decode(request.context) == prompt
    with pytest.raises(ModelError, match="no chat template"):
        tokenizer("opt").chat([Turn("user", "Is it?")])


def chatting(template: str) -> Any:
    """Qwen's tokenizer with a chat template for a user's and an assistant's turns."""
    made = make_tokenizer.__wrapped__("qwen2")
    made.chat_template = (
        "{% for message in messages %}{% if message.role == 'user' %}" + template + "{% endfor %}"
    )
    return made


CHATS = {
    "line": (
        "<|im_start|>user\n{{ message.content }}<|im_end|>\n{% else %}"
        "<|im_start|>assistant\n{{ message.content }}<|im_end|>\n{% endif %}"
        "{% if add_generation_prompt and loop.last %}<|im_start|>assistant\n{% endif %}"
    ),
    "bracket": "[INST] {{ message.content }} [/INST]{% else %} {{ message.content }}<|im_end|>{% endif %}",
    "lines": "User: {{ message.content }}\n\n{% else %}\n{{ message.content }}\n\n{% endif %}"
    "{% if add_generation_prompt and loop.last %}Assistant:{% endif %}",
    "space": (
        "USER: {{ message.content }} {% else %}ASSISTANT: {{ message.content }}<|im_end|>{% endif %}"
        "{% if add_generation_prompt and loop.last %}ASSISTANT: {% endif %}"
    ),
}
"""Templates that have nothing, a space, or their own space before an answer; `lines` shows no such place."""


@pytest.mark.parametrize("kind", ["line", "bracket", "space"])
@given(question=texts, option=texts.filter(lambda text: text.strip() == text != ""))
@settings(max_examples=40, deadline=None)
def test_an_option_stands_where_the_chat_template_writes_an_answer(
    kind: str, question: str, option: str
) -> None:
    """The tokens of prompt and option are those of the conversation with that answer, up to its end."""
    made = chatting(CHATS[kind])
    view = HuggingFaceTokenizer(made)
    turns = [Turn("user", question), Turn("assistant", "yes"), Turn("user", "Sure?")]
    messages = [{"role": turn.role, "content": turn.text} for turn in [*turns, Turn("assistant", option)]]
    answered = made.apply_chat_template(messages, tokenize=False)
    expected = answered[: answered.rindex(option) + len(option)]
    (request,) = view.options([(view.chat(turns), [option, "yes"])], chat=True)
    assert whole(request, 0) == list(made(expected)["input_ids"])
    assert made.decode(whole(request, 0)[-request.scored[0] :]).strip(" ") == option or request.merged
    (generate,) = view.prompts([view.chat(turns)], chat=True)
    assert generate.prompt.tolist() == list(made(view.chat(turns))["input_ids"]), (
        "spaces of the template stay"
    )


def test_no_space_is_put_where_a_template_has_none() -> None:
    for kind, expected in {"line": "yes", "bracket": " yes", "space": " yes", "lines": "yes"}.items():
        view = HuggingFaceTokenizer(chatting(CHATS[kind]))
        (request,) = view.options([(view.chat([Turn("user", "Is it?")]), ["yes", "no"])], chat=True)
        assert view.decode(request.branches[0][-request.scored[0] :]) == expected, kind
        assert request.merged == 0
        (alone,) = view.options([("", ["yes"])], chat=True)
        assert view.decode(alone.branches[0]) == expected, "without its prompt it is the same tokens"


def test_a_token_that_swallows_the_space_behind_it_forbids_cuts() -> None:
    """Some chat models' tokens do; the space is then no part of the word that follows."""
    made = make_tokenizer.__wrapped__("qwen2")
    made.add_tokens([AddedToken("<|user|>", special=True, rstrip=True)])
    texts = [f"{' '.join(CORPUS)} <|user|> yes, it is number {number}" for number in range(3)]
    encoder = PieceEncoder(made)
    assert [ids.tolist() for ids in encoder.beginnings(texts)] == [
        ids.tolist() for ids in encoder.whole(texts)
    ]
    assert encoder.last_cut("a <|user|> b", 10) == 0


def test_a_template_that_refuses_is_a_model_error() -> None:
    made = make_tokenizer.__wrapped__("qwen2")
    made.chat_template = "{{ raise_exception('no system turn') }}"
    with pytest.raises(ModelError, match="no system turn"):
        HuggingFaceTokenizer(made).chat([Turn("system", "Be brief.")])


def test_two_threads_do_not_disturb_each_other() -> None:
    """Requests are read ahead in a thread while another may count tokens."""
    made = HuggingFaceTokenizer(make_tokenizer("opt"))
    prompts = [f"{CORPUS[number % 4]} {CORPUS[(number + 1) % 4]} number {number}" for number in range(300)]
    expected = [own_encoding("opt", prompt) for prompt in prompts]
    wrong: list[int] = []

    def read(order: np.ndarray[Any, Any]) -> None:
        for index in order.tolist():
            (request,) = made.prompts([prompts[index]])
            if request.prompt.tolist() != expected[index]:
                wrong.append(index)

    rng = np.random.default_rng(0)
    threads = [Thread(target=read, args=(rng.permutation(len(prompts)),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_every_family_has_a_tokenizer_that_can_be_cut() -> None:
    assert {name for name in FAMILIES if PieceEncoder(make_tokenizer(name)).last_cut("a b", 1) == 1} == set(
        FAMILIES
    )
    assert PieceEncoder(merging_tokenizer()).last_cut("a b", 1) == 0
