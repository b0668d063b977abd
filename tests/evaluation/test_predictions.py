"""Predictions on disk: what is written is read again, whatever moment the writer died at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.predictions import (
    PREDICTIONS,
    Key,
    Kind,
    Prediction,
    Predictions,
    PredictionWriter,
    from_line,
    to_line,
)
from task_registry.errors import InputError, Place


def scored(number: int, task: str = "flan/a", shots: int = 0, template: str = "") -> Prediction:
    return Prediction(
        task,
        f"e{number}",
        template,
        shots,
        Kind.OPTIONS,
        ("yes",),
        options=("yes", "no"),
        option_logprobs=(-1.25, -0.1 - number),
        option_tokens=(1, 1),
        option_bytes=(3, 2),
        choice=0,
        prompt_tokens=17,
    )


def write(run: Path, *predictions: Prediction) -> Path:
    with PredictionWriter(run) as writer:
        for prediction in predictions:
            writer.write(prediction)
    return run / PREDICTIONS / "flan.jsonl"


texts = st.text(max_size=30)
LOGPROBS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    """Any prediction whose parts agree: a scored one has values of each option."""
    kind = draw(st.sampled_from(Kind))
    options = draw(st.lists(texts, min_size=1, max_size=4)) if kind is Kind.OPTIONS else []
    ones = (1,) * len(options)
    return Prediction(
        task=draw(texts),
        example_id=draw(texts),
        template=draw(texts),
        shots=draw(st.integers(0, 32)),
        kind=kind,
        references=tuple(draw(st.lists(texts, min_size=1, max_size=3))),
        answer=draw(st.none() | texts),
        demonstration_seed=draw(st.none() | st.integers(0, 9)),
        options=tuple(options),
        option_logprobs=tuple(draw(LOGPROBS) for _ in options),
        option_tokens=ones,
        option_bytes=ones,
        choice=draw(st.none() | st.integers(0, len(options) - 1)) if options else None,
        text=draw(st.none() | texts),
        finish=draw(st.none() | st.sampled_from(["eos", "stop", "length"])),
    )


@given(predictions())
def test_a_line_is_one_line_and_reads_back_equal(prediction: Prediction) -> None:
    line = to_line(prediction)
    assert "\n" not in line
    assert "\r" not in line
    assert from_line(line.encode(), Place(Path("x"))) == prediction


def test_every_line_has_every_field_so_that_a_table_reader_finds_columns(tmp_path: Path) -> None:
    file = write(tmp_path, scored(1), Prediction("flan/a", "e2", "", 0, Kind.SKIPPED, ("x",)))
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert first.keys() == second.keys()
    wanted = (
        "task example_id template shots kind option_logprobs option_tokens option_bytes choice text finish"
    )
    assert set(wanted.split()) | {"prompt_tokens", "references"} <= first.keys()


def test_keys_differ_in_every_part() -> None:
    base = Key("a/b", "e", "t", 5, 1)
    others = [
        Key("a/c", "e", "t", 5, 1),
        Key("a/b", "f", "t", 5, 1),
        Key("a/b", "e", "u", 5, 1),
        Key("a/b", "e", "t", 0, 1),
        Key("a/b", "e", "t", 5, None),
        Key("a/b", "et", "", 5, 1),
    ]
    assert len({key.digest for key in [base, *others]}) == 7


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path: Path) -> None:
    file = write(tmp_path, scored(1), scored(2))
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for end in (*range(first, len(whole), 9), len(whole) - 1):
        file.write_bytes(whole[:end])
        assert Predictions(tmp_path).keys == {scored(1).key.digest}
        write(tmp_path, scored(3))
        assert file.read_bytes().startswith(whole[:first] + b'{"task"')
        found = Predictions(tmp_path).of("flan/a")
        assert found == [scored(1), scored(3)]


def test_a_long_torn_line_is_dropped_whole(tmp_path: Path) -> None:
    file = write(tmp_path, scored(1))
    before = file.read_bytes()
    file.write_bytes(before + b"x" * 300_000)
    write(tmp_path)
    assert file.read_bytes() == before
    file.write_bytes(b"x" * 300_000)
    write(tmp_path)
    assert file.read_bytes() == b""


def test_predictions_are_sorted_whatever_order_and_file_they_came_in(tmp_path: Path) -> None:
    came = [scored(2, shots=5), scored(1, template="b"), scored(3), scored(1, shots=5), scored(1)]
    write(tmp_path, *came)
    extra = tmp_path / PREDICTIONS / "another-worker.jsonl"
    extra.write_text(to_line(scored(0)) + "\n")
    found = Predictions(tmp_path).of("flan/a")
    assert [(p.shots, p.template, p.example_id) for p in found] == [
        (0, "", "e0"),
        (0, "", "e1"),
        (0, "", "e3"),
        (0, "b", "e1"),
        (5, "", "e1"),
        (5, "", "e2"),
    ]


def test_a_prompt_that_was_answered_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, scored(1), scored(1), scored(2))
    found = Predictions(tmp_path)
    assert found.tasks == {"flan/a": 2}
    assert len(found.of("flan/a")) == 2


@pytest.mark.parametrize(
    "damage",
    [
        b"not json",
        b"[1, 2]",
        b"{}",
        b'{"task": 1}',
        to_line(scored(1)).replace('"options"', '"else"').encode(),
        to_line(scored(1)).replace('"kind": "options"', '"kind": "guess"').encode(),
    ],
)
def test_a_damaged_line_is_named_and_never_passed_over(tmp_path: Path, damage: bytes) -> None:
    file = write(tmp_path, scored(1), scored(2), scored(3))
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([lines[0], damage, lines[2], b""]))
    with pytest.raises(InputError, match=r"flan\.jsonl, line 2: found .* remove that line"):
        Predictions(tmp_path)


def test_a_full_disk_is_told_with_the_file_and_loses_nothing(tmp_path: Path) -> None:
    """Written to the device that is always full."""
    writer = PredictionWriter(tmp_path)
    writer.write(scored(1))
    (tmp_path / PREDICTIONS / "t5.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        writer.write(scored(2, task="t5/a"))
    assert error.value.filename.endswith("t5.jsonl")
    (tmp_path / PREDICTIONS / "t5.jsonl").unlink()
    assert Predictions(tmp_path).of("flan/a") == [scored(1)]


def test_no_folder_means_no_predictions(tmp_path: Path) -> None:
    assert Predictions(tmp_path / "nothing").keys == set()


@pytest.mark.parametrize(
    "change",
    [
        {"task": ["flan/a"]},
        {"example_id": 7},
        {"template": "\ud800"},
        {"shots": "5"},
        {"shots": 1 << 70},
        {"shots": True},
        {"demonstration_seed": 0.5},
        {"references": []},
        {"references": "yes"},
        {"options": ["yes", None]},
        {"options": []},
        {"option_logprobs": [-1.0]},
        {"option_tokens": [1, 1, 1]},
        {"choice": 2},
        {"choice": -1},
        {"kind": "guess"},
        {"finish": {}},
        {"unheard": 1},
    ],
)
def test_a_line_whose_parts_are_of_other_types_is_refused(change: dict[str, object]) -> None:
    fields = json.loads(to_line(scored(1))) | change
    with pytest.raises(InputError, match="expected a prediction"):
        from_line(json.dumps(fields).encode(), Place(Path("x")))


def test_a_line_nested_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="expected a prediction"):
        from_line(b"[" * 100_000, Place(Path("x")))
