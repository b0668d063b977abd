"""Hostile files: a few cases for every target, those that failed once, and faults that the fuzzing must see itself.

The many cases are run by `benchmarks/fuzzing/run.py`, which uses the same targets and generators.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from fuzz_planted import TARGETS as PLANTED
from fuzz_targets import TARGETS
from fuzzing import Tally, fuzz, kept_cases, together, tries
from hostile_bytes import mutate
from hostile_templates import hostile_template
from hypothesis import given, settings
from hypothesis import strategies as st

from task_registry.errors import BenchError
from templates.template import Template, compile_template

CASES = 16
KEPT = Path(__file__).parent / "cases"
TEMPLATES = "promptsource/templates/sample_mood/templates.yaml"
ENDLESS = b"".join(
    b"%s: &%s [%s]\n" % (name, name, b", ".join([b"*" + before] * 9))
    for before, name in zip(b"abcdefghijk", b"bcdefghijkl", strict=True)
    for before, name in [(bytes([before]), bytes([name]))]
)
"""Nine of nine of nine: a kilobyte that prints as gigabytes."""


MERGES = b"a: &a {x: 1}\n" + ENDLESS.replace(b"[", b"{<<: [").replace(b"]", b"]}")
"""The same by merge keys: no text is long, but the loader's lists of keys are."""


BOMBS = {
    "promptsource": [(TEMPLATES, b"[" * 200_000), (TEMPLATES, MERGES), (TEMPLATES, b"a: &a x\n" + ENDLESS)],
    "plans": [("plan.yaml", b"[" * 200_000), ("plan.yaml", b"a: &a x\n" + ENDLESS)],
    "rows": [("rows.jsonl", b"[" * 200_000), ("rows.json", b'{"a":' * 200_000), ("rows.json", b"9" * 5_000)],
}
"""By target; nested lists end PyYAML's quick loader by a segmentation fault."""

FAILED_ONCE = kept_cases(KEPT)


@pytest.fixture(scope="module")
def tallies() -> dict[str, Tally]:
    """What came of a few cases of every target, of those that failed once and of the bombs; in two processes."""

    def some(targets: Sequence[str]) -> dict[str, Tally]:
        few = {name: {"target": name, "cases": CASES} for name in targets}
        kept = {
            f"kept {name}": {"target": name, "kept": FAILED_ONCE[name]} for name in FAILED_ONCE if name in few
        }
        bombs = {f"bombs {name}": {"target": name, "kept": BOMBS[name]} for name in BOMBS if name in few}
        return together(few | kept | bombs)

    names = list(TARGETS)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(some, (names[::2], names[1::2]))
    return one | other


@pytest.mark.parametrize("target", TARGETS)
def test_hostile_files_are_refused_by_errors_of_ours_or_accepted(
    tallies: dict[str, Tally], target: str
) -> None:
    tally = tallies[target]
    assert not tally.failures, tally.failures
    assert tally.cases == CASES
    assert TARGETS[target].lenient or tally.refused > CASES // 8, "the cases are too tame"


@pytest.mark.parametrize("target", FAILED_ONCE)
def test_cases_that_failed_once(tallies: dict[str, Tally], target: str) -> None:
    tally = tallies[f"kept {target}"]
    assert not tally.failures, tally.failures
    assert tally.cases == len(FAILED_ONCE[target])


@pytest.mark.parametrize("target", BOMBS)
def test_bombs(tallies: dict[str, Tally], target: str) -> None:
    tally = tallies[f"bombs {target}"]
    assert not tally.failures, tally.failures
    assert tally.refused == len(BOMBS[target])


def test_what_fails_among_others_is_tried_again_alone() -> None:
    orders = {name: {"target": name, "cases": 1} for name in ("accepts", "crashes", "refuses")}
    tallies = together(orders, module="fuzz_planted")
    assert [(t.accepted, t.crashed, t.refused) for t in tallies.values()] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert [failure.number for failure in tallies["crashes"].failures] == [0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_a_hostile_template_renders_or_is_refused(rng: Random) -> None:
    """The same generator, driven by Hypothesis: a case that fails comes out as small as it can be."""
    case = hostile_template(rng)
    try:
        compile_template(Template(**case["template"]), Path("t.yaml")).render(case["fields"], Path("rows"))
    except BenchError as error:
        assert len(str(error).splitlines()) == 1


def test_a_case_is_its_seed() -> None:
    content = b'{"a": [1, 2, {"b": "c"}]}\n' * 3
    made = [[mutate(Random(f"{n}"), "x.jsonl", content) for n in range(200)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) > 150


SEEN = {
    "raises": "KeyError: 'nothing'",
    "says two lines": "an error of 2 lines",
    "crashes": "Segmentation fault",
    "exits": "the worker ended with 3",
    "hangs": "Timeout",
    "swallows memory": "more than a gigabyte",
    "writes outside": "outside of its folder: open /",
    "removes outside": "outside of its folder: os.remove /",
    "reads outside": "outside of its folder: open /",
    "starts a process": "outside of its folder: subprocess.Popen",
}


@pytest.fixture(scope="module")
def planted() -> dict[str, Tally]:
    """What came of the planted faults."""

    def one(target: str) -> Tally:
        return fuzz(target, 2 if target == "crashes" else 1, module="fuzz_planted", seconds=0.5)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(PLANTED, pool.map(one, PLANTED), strict=True))


@pytest.mark.parametrize("target", SEEN)
def test_planted_faults_are_seen(planted: dict[str, Tally], target: str) -> None:
    assert all(SEEN[target] in failure.line for failure in planted[target].failures), planted[target]
    assert len(planted[target].failures) == planted[target].cases > 0
    assert bool(planted[target].crashed) == (target in ("crashes", "exits", "hangs"))


def test_what_keeps_the_contract_is_no_failure(planted: dict[str, Tally]) -> None:
    assert (planted["refuses"].refused, planted["accepts"].accepted) == (1, 1)
    assert not planted["refuses"].failures + planted["accepts"].failures


def test_a_crash_is_survived_and_its_case_kept(planted: dict[str, Tally], tmp_path: Path) -> None:
    assert [failure.number for failure in planted["crashes"].failures] == [0, 1]
    saved = planted["crashes"].failures[1].save(tmp_path)
    assert kept_cases(tmp_path) == {"crashes": [("in/file.txt", saved.read_bytes())]}
    again = tries("crashes", kept_cases(tmp_path)["crashes"], module="fuzz_planted")
    assert [SEEN["crashes"] in failure.line for failure in again.failures] == [True]
