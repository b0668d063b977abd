"""The shipped plans say what the paper says, and a plan's mistakes are told by file and line."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from task_registry.catalogue import Catalogue, load_catalogue
from task_registry.derive import parts_of
from task_registry.errors import InputError, UsageError
from task_registry.plans import PLANS, load_plan, plan_names
from task_registry.splits import assign, contradictions, data_source_conflicts, level_faults
from task_registry.types import Assignment, EvalSet, Level

FACTS = Path(__file__).parents[3] / "shared" / "registry" / "tasks.csv"
facts = pytest.mark.skipif(not FACTS.is_file(), reason=f"no facts tables at {FACTS.parent}")

FLAN_CLUSTERS = {  # flan/task_splits.py, google-research/FLAN at 3770e83; its coreference lacks wsc273
    "summarization": 11,
    "structure_to_text": 4,
    "reading_comprehension": 6,
    "open_domain_qa": 4,
    "paraphrase": 4,
    "sentiment": 4,
    "text_formatting": 3,
    "common_sense": 4,
    "translation": 8,
    "coreference": 3 + 1,
    "entailment": 10,
    "math": 1,
    "conversational_qa": 2,
    "word_disambiguation": 1,
    "linguistic_acceptability": 1,
    "question_classification": 1,
    "read_comp_and_common_sense": 2,
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="module")
def optiml(catalogue: Catalogue) -> dict[str, Assignment]:
    return assign(load_plan("optiml"), catalogue.tasks.values())


# Every plan that ships


def test_the_plans_that_ship() -> None:
    names = plan_names()
    assert names[0] == "optiml"
    assert set(names) == {"optiml", "superni"} | {f"flan-{cluster}" for cluster in FLAN_CLUSTERS}


@pytest.mark.parametrize("name", plan_names())
def test_levels_hold_before_and_after_the_drops(name: str, catalogue: Catalogue) -> None:
    """Partially supervised categories keep a training task, fully supervised tasks are trained on.

    On the catalogue and the plan, whatever is at hand when somebody builds; exceptions stand in the plan.
    """
    plan = load_plan(name)
    tasks = list(catalogue.tasks.values())
    assignments = assign(plan, tasks)
    conflicts = data_source_conflicts(tasks, assignments)
    assert plan.name == name
    assert list(contradictions(plan, tasks)) == []
    assert level_faults(plan, tasks, assignments) == ()
    assert level_faults(plan, tasks, assignments, [c.task for c in conflicts if c.scored]) == ()
    assert level_faults(plan, tasks, assignments, [c.task for c in conflicts]) == ()


@pytest.mark.parametrize("name", plan_names())
def test_each_pattern_of_a_list_is_needed(name: str, catalogue: Catalogue) -> None:
    """No task stands twice in one list: a second reason would never be read."""
    from task_registry.splits import compile_pattern

    plan = load_plan(name)
    for rules in (plan.partially_held_out, plan.fully_supervised, plan.dev, plan.test, plan.not_trained):
        patterns = [compile_pattern(pattern) for rule in rules for pattern in rule.patterns]
        for task in catalogue.tasks:
            assert sum(bool(pattern.match(task)) for pattern in patterns) <= 1, task


def test_the_exceptions_are_those_of_the_paper_and_are_needed(catalogue: Catalogue) -> None:
    plan = load_plan("optiml")
    assert {rule.category for rule in plan.exceptions} == {"MMLU", "Bias and Fairness"}
    tasks = list(catalogue.tasks.values())
    assignments = assign(plan, tasks)
    trained = {task.category for task in tasks if assignments[task.id].trained}
    assert trained.isdisjoint({"MMLU", "Bias and Fairness"})


# The default plan


def test_dev_is_table_15(catalogue: Catalogue, optiml: dict[str, Assignment]) -> None:
    dev = [task for task in catalogue.tasks.values() if optiml[task.id].eval_set is EvalSet.DEV]
    rows = Counter((task.group, task.category, task.source, optiml[task.id].level) for task in dev)
    held_out, partial, supervised = Level
    assert rows == {
        ("Winobias", "Stereotype Detection", "promptsource", held_out): 4,
        ("Winobias", "Stereotype Detection", "superni", held_out): 1,
        ("Bard Analogical Reasoning", "Word Analogy", "superni", held_out): 8,
        ("Cause-Effect", "Cause Effect Classification", "superni", held_out): 3,
        ("COPA", "Cause Effect Classification", "promptsource", held_out): 1,
        ("COPA", "Cause Effect Classification", "superni", held_out): 1,
        ("COPA", "Cause Effect Classification", "flan", held_out): 1,
        ("COPA CommonSense", "Cause Effect Classification", "superni", held_out): 2,
        ("Glucose", "Cause Effect Classification", "superni", held_out): 1,
        ("Jfleg", "Grammar Error Correction", "superni", held_out): 1,
        ("MMLU", "MMLU", "superni", partial): 57,
        ("Civil Comments", "Toxic Language Detection", "superni", partial): 1,
        ("Jigsaw", "Toxic Language Detection", "promptsource", partial): 1,
        ("Newsroom", "Summarization", "flan", partial): 1,
        ("Race", "Question Answering", "promptsource", partial): 2,
        ("Race", "Question Answering", "superni", partial): 1,
        ("StrategyQA", "Reasoning", "reasoning", partial): 1,
        ("GSM8K", "Reasoning", "reasoning", partial): 1,
        ("SQuAD v1", "Question Answering", "flan", supervised): 1,
        ("SQuAD v1", "Question Answering", "promptsource", supervised): 1,
        ("Blended Skill Talk", "Dialogue Generation", "promptsource", supervised): 1,
        ("CNNDM", "Summarization", "promptsource", supervised): 1,
    }
    assert len([task for task in dev if task.group != "MMLU"]) == 35


def test_test_is_tables_10_to_13(catalogue: Catalogue, optiml: dict[str, Assignment]) -> None:
    test = [task for task in catalogue.tasks.values() if optiml[task.id].eval_set is EvalSet.TEST]
    assert Counter(task.source for task in test) == {
        "promptsource": 11,  # 12 rows: Blended Skill Talk is in dev
        "flan": 15,
        "superni": 44,
        "unifiedskg": 3,
    }
    superni = Counter(task.category for task in test if task.source == "superni")
    assert superni == {
        "Textual Entailment": 24,
        "Coreference Resolution": 13,
        "Dialogue Act Recognition": 7,
    }
    groups = {task.group for task in test if task.source != "superni"}
    assert len(test) == 73 and "" not in groups
    levels = {task.group: optiml[task.id].level for task in test if task.group}
    assert {group for group, level in levels.items() if level is Level.FULLY_SUPERVISED} == {"Spider"}
    assert {group for group, level in levels.items() if level is Level.PARTIALLY_SUPERVISED} == {
        *("BoolQ", "OBQA", "ARC-e", "ARC-c", "DART", "WinoGender", "Crows")
    }


def test_tasks_that_are_averaged_as_one_belong_together(
    catalogue: Catalogue, optiml: dict[str, Assignment]
) -> None:
    places: dict[str, set[tuple[object, ...]]] = {}
    for task in catalogue.tasks.values():
        if task.group:
            place = (task.category, optiml[task.id].level, optiml[task.id].eval_set)
            places.setdefault(task.group, set()).add(place)
    assert {group: place for group, place in places.items() if len(place) > 1} == {}


def test_decisions_on_single_tasks(optiml: dict[str, Assignment]) -> None:
    for sibling in ("promptsource/race/all", "superni/task310_race_classification"):
        assert optiml[sibling].level is Level.PARTIALLY_SUPERVISED and optiml[sibling].eval_set is None
    bst = optiml["promptsource/blended_skill_talk"]
    assert bst.level is Level.FULLY_SUPERVISED and bst.trained and "held out" in bst.reason
    overlap = optiml["crossfit/boolq"]
    assert (overlap.level, overlap.trained) == (None, False) and "no other source" in overlap.reason
    assert optiml["promptsource/cbt/raw"].trained is False
    assert optiml["crossfit/lama-squad"].trained is True, "likely in OPT-IML"
    unscored = optiml["promptsource/hellaswag"]
    assert (unscored.level, unscored.eval_set, unscored.trained) == (Level.FULLY_HELD_OUT, None, False)


def test_how_many_train(catalogue: Catalogue, optiml: dict[str, Assignment]) -> None:
    """Figures of the split, so that a change of the plan shows."""
    tasks = list(catalogue.tasks.values())
    conflicts = data_source_conflicts(tasks, optiml)
    assert sum(assignment.trained for assignment in optiml.values()) == 1776
    assert (len(conflicts), sum(conflict.scored for conflict in conflicts)) == (165, 102)
    assert {"reasoning/esnli", "reasoning/winowhy", "flan/dart"} <= {c.task for c in conflicts if c.scored}


@pytest.mark.real
@facts
def test_the_default_plan_against_the_facts(catalogue: Catalogue, optiml: dict[str, Assignment]) -> None:
    """Levels are the facts' own; eval sets too, but for what the plan decides with a reason."""
    with FACTS.open(encoding="utf-8", newline="") as file:
        rows = {part["task_id"]: part for row in csv.DictReader(file) for part in parts_of(row)}
    assert rows.keys() == catalogue.tasks.keys()
    for id, row in rows.items():
        assert (optiml[id].level or "train") == row["level"], id
    stated = {id: row["paper_eval"].split()[0] for id, row in rows.items() if row["paper_eval"]}
    chosen = {id: str(a.eval_set) for id, a in optiml.items() if a.eval_set}
    assert {id for id in stated.keys() | chosen.keys() if stated.get(id) != chosen.get(id)} == {
        "promptsource/race/all",
        "superni/task310_race_classification",
        *(id for id in stated if "civil_comments" in id and "task1720" not in id),
    }
    shared = {id for id, row in rows.items() if row["shares_source_with_eval"] == "yes"}
    conflicts = {c.task for c in data_source_conflicts(list(catalogue.tasks.values()), optiml)}
    outside = {id for id in shared if catalogue.tasks[id].in_optiml == "no"}
    assert conflicts == shared - outside and len(outside) == 11


# The other plans


def test_the_superni_plan(catalogue: Catalogue) -> None:
    plan = load_plan("superni")
    assignments = assign(plan, catalogue.tasks.values())
    superni = {id: a for id, a in assignments.items() if id.startswith("superni/")}
    assert sum(a.trained for a in superni.values()) == 756
    assert sum(a.eval_set is EvalSet.TEST for a in superni.values()) == 119
    assert sum(not a.trained and a.eval_set is None for a in superni.values()) == 738
    assert len(plan.held_out_categories) == 12
    assert not any(a.trained or a.eval_set for id, a in assignments.items() if id not in superni)


@pytest.mark.real
@facts
def test_the_superni_plan_against_the_facts(catalogue: Catalogue) -> None:
    assignments = assign(load_plan("superni"), catalogue.tasks.values())
    with FACTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == "superni":
                got = assignments[row["task_id"]]
                split = "train" if got.trained else "test" if got.eval_set else "excluded"
                assert split == row["split_default"], row["task_id"]


@pytest.mark.parametrize(("cluster", "size"), FLAN_CLUSTERS.items())
def test_the_flan_plans(cluster: str, size: int, catalogue: Catalogue) -> None:
    plan = load_plan(f"flan-{cluster}")
    assignments = assign(plan, catalogue.tasks.values())
    scored = [id for id, a in assignments.items() if a.eval_set is EvalSet.TEST]
    assert len(scored) == size and all(id.startswith("flan/") for id in scored)
    assert cluster in plan.summary
    left_out = {
        id for id, a in assignments.items() if id.startswith("flan/") and not a.trained and a.eval_set is None
    }
    partners = {
        "reading_comprehension": 2,
        "common_sense": 2,
        "read_comp_and_common_sense": 6 + 4,
        "paraphrase": 10,
        "entailment": 4,
    }
    assert len(left_out) == partners.get(cluster, 0)
    assert sum(a.trained for a in assignments.values()) == 70 - size - len(left_out)


def test_flans_clusters_cover_its_tasks_once(catalogue: Catalogue) -> None:
    scored: Counter[str] = Counter()
    for cluster in FLAN_CLUSTERS:
        assignments = assign(load_plan(f"flan-{cluster}"), catalogue.tasks.values())
        scored.update(id for id, a in assignments.items() if a.eval_set)
    assert scored == dict.fromkeys((task.id for task in catalogue.select(source="flan")), 1)


# A user's own plan


MINE = """\
name: mine
summary: One category and one task.
caps: {train: 500, dev_prompts: 20}
held_out_categories:
  - category: Word Analogy
    reason: to see whether it transfers
partially_held_out:
  - tasks: [flan/copa, "superni/task{309-310}_*"]
    reason: to be compared
  - tasks: custom/mine_*
    reason: not in the catalogue
dev:
  - tasks: superni/task1152_*
    reason: enough
not_trained:
  - in_optiml: "no"
    reason: as the paper
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_of_ones_own(tmp_path: Path, catalogue: Catalogue) -> None:
    plan = load_plan(write(tmp_path, MINE))
    assert load_plan(str(tmp_path / "mine.yaml")) == plan, "a path as text is a path too"
    assert (plan.caps.train, plan.caps.dev_prompts, plan.caps.demonstrations) == (500, 20, 64)
    assignments = assign(plan, catalogue.tasks.values())
    levels = Counter(a.level for a in assignments.values())
    assert levels[Level.FULLY_HELD_OUT] == 8 and levels[Level.PARTIALLY_SUPERVISED] == 3
    (scored,) = (id for id, a in assignments.items() if a.eval_set)
    assert assignments[scored].reason == "to see whether it transfers; dev: enough"


def test_the_digest_is_of_the_content_not_of_the_layout(tmp_path: Path) -> None:
    digest = load_plan(write(tmp_path, MINE)).digest
    relaid = "# a comment\n" + MINE.replace(
        "category: Word Analogy\n    reason: to see whether it transfers",
        'reason: "to see whether\n      it transfers"\n    categories:\n      - Word Analogy',
    )
    assert load_plan(write(tmp_path, relaid)).digest == digest
    assert load_plan(write(tmp_path, MINE.replace("train: 500", "train: 501"))).digest != digest
    assert load_plan(write(tmp_path, MINE.replace("enough", "plenty"))).digest != digest


def test_a_plan_for_another_catalogue(tmp_path: Path, catalogue: Catalogue) -> None:
    """A sample's tasks are a catalogue of their own; a plan is checked against the one it is for."""
    small = Catalogue({}, catalogue.categories, catalogue.sources, catalogue.table1)
    with pytest.raises(InputError, match=r"line 8: found task 'flan/copa'"):
        load_plan(write(tmp_path, MINE), small)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("dev:", "devs:", r"line 12: found key 'devs', expected one of name, .*did you mean dev\?"),
        ("name: mine\n", "", r"line 1: found no name, expected a text as name"),
        ("name: mine", "name: 2024", r"line 1: found name 2024, .*; put it in quotes"),
        ("    reason: to be compared\n", "", r"line 8: found no reason"),
        ("reason: enough", "reason: ''", r"line 14: found reason ''"),
        (
            "Word Analogy",
            "Word Analogies",
            r"line 5: found category 'Word Analogies', .* did you mean Word Ana",
        ),
        ("category: Word Analogy", "task: flan/copa", r"line 5: found key 'task'"),
        ("category: Word Analogy", "categories: [Misc., Misc.]", r"line 5: found category 'Misc.' twice"),
        ("category: Word Analogy", "categories: []", r"line 5: found neither category nor categories"),
        ("flan/copa", "flan/coppa", r"line 8: found task 'flan/coppa', .*did you mean flan/copa"),
        ("task1152_*", "task1152-*", r"line 13: found 'superni/task1152-\*', which no task meets"),
        ("{309-310}", "{310-309}", r"line 8: .*'310-309' is neither a number nor a rising range"),
        ("custom/mine_*", "mine_*", r"line 10: found 'mine_\*', which no task meets"),
        ("tasks: superni/task1152_*", "tasks: {a: b}", r"line 13: found tasks .*expected a text or a list"),
        (
            "tasks: superni/task1152_*",
            "tasks: [1]",
            r"line 13: found tasks 1, expected a text; put it in quotes",
        ),
        ("train: 500", "train: 0", r"line 3: found train 0, expected a whole number from 1"),
        ("train: 500", "train: true", r"line 3: found train True, expected a whole number"),
        ("train: 500", "train_by_source: {flann: 3}", r"line 3: found source 'flann', .*did you mean flan\?"),
        ("train: 500", "train_by_source: 3", r"line 3: found train_by_source 3, expected a mapping"),
        ("caps: {", "caps: [", r"line 3: found .*, expected a YAML mapping"),
        ('"no"', "no", r"line 16: found in_optiml False, .*; put it in quotes"),
        ('"no"', "never", r"line 16: found in_optiml 'never', expected one of yes, likely, unclear, no"),
        ("not_trained:", "dev:", r"line 15: found the key 'dev' a second time"),
        ("summary: One", "2: One", r"line 2: found the key 2, which is no text"),
        ("dev:\n  - tasks", "dev:\n    tasks", r"line 12: found dev .*expected a list of mappings"),
        ("tasks: superni/task1152_*", "tasks: flan/cb", r"line 13: found flan/cb is in dev without a level"),
        (
            "[flan/copa,",
            "[superni/task1153_bard_analogical_reasoning_affordance,",
            r"line 8: found superni/task1153\w+ is in partially_held_out, its category Word Analogy",
        ),
        (
            "not_trained:",
            "sources: [superni]\nnot_trained:",
            r"line 8: found flan/copa is no task of superni",
        ),
        ("name: mine", "variants: {a: {}}\nname: mine", r"line 1: found key 'variants'"),
    ],
)
def test_mistakes_in_a_plan(tmp_path: Path, old: str, new: str, found: str) -> None:
    assert old in MINE
    with pytest.raises(InputError, match=r"mine\.yaml, " + found):
        load_plan(write(tmp_path, MINE.replace(old, new)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found None"),
        (b"- a\n", "found .'a'."),
        (b"name: \xff\n", "YAML mapping"),
        (b"a: !!python/object/apply:os.getcwd []\n", "python/object"),
    ],
)
def test_a_file_that_is_no_plan(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=found):
        load_plan(path)


def test_a_plan_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no plan 'optim1'; did you mean optiml\?"):
        load_plan("optim1")
    with pytest.raises(UsageError, match="no plan 'flan-entailments'; did you mean flan-entailment"):
        load_plan("flan-entailments")
    with pytest.raises(UsageError, match="expected one of optiml, flan-"):
        load_plan("qqq")
    with pytest.raises(UsageError, match="no such plan file; the plans that ship are optiml"):
        load_plan(tmp_path / "absent.yaml")
    assert (PLANS / "optiml.yaml").is_file()
