"""The shipped catalogue is complete and coherent, loads light, and helps with names that do not exist."""

import csv
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from task_registry.catalogue import DATA, Catalogue, load_catalogue, read_catalogue
from task_registry.errors import InputError, UsageError
from task_registry.suggest import did_you_mean, normal_name, suggest
from task_registry.types import Metric, Task

IDS = sorted(load_catalogue().tasks)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


# What ships


def test_counts_by_source(catalogue: Catalogue) -> None:
    assert Counter(task.source for task in catalogue.tasks.values()) == {
        "superni": 1613,
        "promptsource": 281,
        "crossfit": 160,
        "flan": 70,
        "t5": 37,
        "unifiedskg": 21,
        "exmix": 17,
        "reasoning": 14,
    }
    assert (len(catalogue.tasks), len(catalogue.categories), len(catalogue.sources)) == (2213, 112, 8)


def test_in_optiml_is_what_the_paper_allows(catalogue: Catalogue) -> None:
    verdicts = Counter((task.source, task.in_optiml) for task in catalogue.tasks.values())
    assert {verdict for _, verdict in verdicts} == {"yes", "likely", "unclear", "no"}
    assert verdicts["promptsource", "yes"] == 265 and verdicts["promptsource", "unclear"] == 16
    assert verdicts["crossfit", "yes"] == 15 and verdicts["crossfit", "likely"] == 12
    assert verdicts["exmix", "yes"] == 10 and verdicts["exmix", "likely"] == 7
    assert verdicts["t5", "yes"] == 7
    for task in catalogue.tasks.values():
        assert task.in_optiml == "yes" or task.in_optiml_reason, task.id


def test_no_two_ids_collide_as_paths(catalogue: Catalogue) -> None:
    """Shards lie under the id: ids differ even where case does not count, none is another's folder."""
    folded = Counter(id.casefold() for id in catalogue.tasks)
    assert [id for id, count in folded.items() if count > 1] == []
    for id in catalogue.tasks:
        parts = id.split("/")
        assert all(parts) and not {".", ".."} & set(parts)
        assert not any("/".join(parts[:length]) in catalogue.tasks for length in range(1, len(parts))), id


def test_no_two_ids_are_equal_without_separators(catalogue: Catalogue) -> None:
    """Adapters join native names with the catalogue's by `normal_name`, which must not merge two tasks."""
    names = Counter((task.source, normal_name(task.name)) for task in catalogue.tasks.values())
    assert [name for name, count in names.items() if count > 1] == []


def test_every_task_refers_to_what_is_there(catalogue: Catalogue) -> None:
    for id, task in catalogue.tasks.items():
        assert id == task.id
        assert task.source in catalogue.sources
        assert task.category in catalogue.categories, task.id
        assert task.data_source, task.id
        assert task.answer_type in ("generation", "classification", "extractive"), task.id
        assert task.n_examples is None or task.n_examples > 0, task.id
        assert task.n_templates, task.id
    assert {task.category for task in catalogue.tasks.values()} == set(catalogue.categories)
    slugs = [category.slug for category in catalogue.categories.values()]
    assert len(set(slugs)) == 112 and all(
        slug.replace("_", "a").replace("-", "a").isalnum() for slug in slugs
    )


def test_a_hub_id_has_a_namespace(catalogue: Catalogue) -> None:
    for task in catalogue.tasks.values():
        for hub_id in (task.hub_id, task.hub_mirror):
            assert hub_id == "" or hub_id.count("/") == 1, task.id


def test_the_tables_hold_facts_not_texts() -> None:
    """A sentence of a third party would be a long cell; names, counts, links and our own notes are short."""
    for path in DATA.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                assert max(map(len, row.values())) < 200, row


def test_the_tables_are_sorted_and_have_the_fields_of_a_task() -> None:
    with (DATA / "tasks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [field.name for field in fields(Task)]
    ids = [row[0] for row in rows[1:]]
    assert ids == sorted(ids)


def test_the_papers_decisions_on_single_tasks(catalogue: Catalogue) -> None:
    winobias = catalogue.task("superni/task1664_winobias_text_generation")
    assert winobias.category == "Stereotype Detection" and "Coreference" in winobias.category_origin
    mmlu = catalogue.select(category="mmlu")
    assert len(mmlu) == 57
    assert {(task.metric, task.answer_type, task.group) for task in mmlu} == {
        (Metric.ACCURACY, "classification", "MMLU")
    }
    assert catalogue.task("crossfit/glue-cola").metric is Metric.MATTHEWS
    assert catalogue.task("crossfit/hotpot_qa").metric is Metric.TOKEN_F1
    assert {task.source for task in catalogue.select(group="COPA")} == {"superni", "promptsource", "flan"}
    assert len(catalogue.select(group="Bard Analogical Reasoning")) == 8


def test_table_1_is_the_papers(catalogue: Catalogue) -> None:
    rows = catalogue.table1
    assert list(rows) == [
        "superni",
        "promptsource",
        "crossfit",
        "flan",
        "exmix",
        "t5",
        "unifiedskg",
        "reasoning",
        "train",
        "dev",
        "test",
    ]
    assert sum(rows[source].tasks for source in catalogue.sources) == 2207
    assert sum(rows[part].tasks for part in ("train", "dev", "test")) == 1667
    assert rows["dev"].prompt_length_mean is None and rows["unifiedskg"].prompt_length_mean == 444


# Loading and choosing


def test_loading_imports_nothing_heavy() -> None:
    """`optiml-bench tasks` starts at once only if the catalogue needs the standard library alone."""
    code = (
        "import sys\n"
        "from task_registry.catalogue import load_catalogue\n"
        "load_catalogue().task('flan/copa')\n"
        "heavy = {'pandas', 'datasets', 'pyarrow', 'numpy', 'yaml', 'torch', 'jinja2'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_catalogue_is_read_once_and_cannot_be_changed(catalogue: Catalogue) -> None:
    assert load_catalogue() is catalogue
    with pytest.raises(TypeError):
        catalogue.tasks["flan/new"] = catalogue.task("flan/copa")  # type: ignore[index]


def test_select(catalogue: Catalogue) -> None:
    def ids(*args: str, **conditions: str) -> list[str]:
        return [task.id for task in catalogue.select(*args, **conditions)]

    assert ids("flan/anli_r?") == ["flan/anli_r1", "flan/anli_r2", "flan/anli_r3"]
    assert ids("anli*", source="flan") == ids("flan/anli_r?"), "the name is enough"
    assert ids("super_glue/c?") == ["promptsource/super_glue/cb"], "and may hold slashes"
    assert ids("squad") == ["promptsource/squad"], "a bare name"
    assert ids("flan/c*", category="Cause Effect Classification") == ["flan/copa"]
    assert ids(category="cause_effect_classification") == ids(category="cause effect classification")
    assert ids("nothing*") == []
    assert len(ids(in_optiml="no", source="t5")) == 30
    assert ids() == IDS
    assert ids("flan/*") == [id for id in IDS if id.startswith("flan/")]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"glob": "flan/copaa"}, "did you mean flan/copa"),
        ({"source": "flann"}, "expected one of superni"),
        ({"category": "Sumarization"}, "did you mean Summarization"),
    ],
)
def test_select_refuses_unknown_names(catalogue: Catalogue, conditions: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        catalogue.select(**conditions)


# Names that do not exist


def test_an_unknown_task_lists_close_ones_and_how_many_there_are(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"'flan/anlir2' among the 2,213 .*did you mean flan/anli_r2\?$"):
        catalogue.task("flan/anlir2")
    with pytest.raises(UsageError, match=r"2,213 of the catalogue$"):
        catalogue.task("qqqqq")


@given(st.sampled_from(IDS), st.sampled_from("-_. /"))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_other_separators_and_another_case_find_the_task(id: str, separator: str) -> None:
    """The trap of the sources: hyphens, underscores and dots differ for one task in different places."""
    source, _, name = id.partition("/")
    for character in "-_.":
        name = name.replace(character, separator)
    assert suggest(f"{source}/{name.upper()}", IDS)[0] == id


@given(st.sampled_from(IDS), st.integers(min_value=0), st.booleans())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_a_slip_of_the_finger_is_found_again(id: str, place: int, swap: bool) -> None:
    """Two letters swapped or one left out; a family of equally close names may stand before the one meant."""
    at = place % (len(id) - 1)
    slip = id[:at] + (id[at + 1] + id[at] if swap else id[at + 1]) + id[at + 2 :]
    assert slip in IDS or id in suggest(slip, IDS, limit=25)


def test_parts_of_names_find_whole_ones() -> None:
    assert suggest("squad", IDS)[0] == "promptsource/squad"
    assert suggest("superni/task309", IDS) == ("superni/task309_race_answer_generation",)
    winobias = suggest("winobias", IDS)
    assert len(winobias) == 5 and winobias[-1] == "superni/task1664_winobias_text_generation"
    assert suggest("", IDS) == () == suggest("flan/copa", [])
    assert suggest("zzzzqq", IDS) == ()
    assert did_you_mean("b", ["bc"]) == "; did you mean bc?"
    assert did_you_mean("anli_r", ["anli_r1", "anli_r2"]) == "; did you mean anli_r1 or anli_r2?"


# Tables that are not as expected


HEADERS = {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in DATA.glob("*.csv")}
TASK = {field.name: "" for field in fields(Task)} | {"id": "flan/a", "category": "X", "metric": "rouge_l"}


def write_tables(folder: Path, *tasks: dict[str, str], header: str = HEADERS["tasks.csv"]) -> Path:
    for name, line in HEADERS.items():
        (folder / name).write_text(line + "\n", encoding="utf-8")
    with (folder / "tasks.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header.split(","), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(tasks)
    return folder


def test_lists_and_numbers_are_parsed(tmp_path: Path) -> None:
    row = TASK | {"domains": "News|Law", "n_examples": "12", "output_languages": ""}
    task = read_catalogue(write_tables(tmp_path, row)).task("flan/a")
    assert (task.domains, task.n_examples, task.n_templates) == (("News", "Law"), 12, None)
    assert task.output_languages == ()


@pytest.mark.parametrize(
    ("rows", "header", "found"),
    [
        ([TASK, TASK], HEADERS["tasks.csv"], r"line 3: found 'flan/a' a second time"),
        ([TASK | {"metric": "bleu"}], HEADERS["tasks.csv"], r"line 2: found ValueError: 'bleu'"),
        ([TASK | {"n_examples": "many"}], HEADERS["tasks.csv"], r"line 2: found ValueError: .*'many'"),
        ([TASK], "id,category,metric", r"line 2: found KeyError: 'category_origin'"),
    ],
)
def test_a_faulty_table_is_told_by_its_line(
    tmp_path: Path, rows: list[dict[str, str]], header: str, found: str
) -> None:
    with pytest.raises(InputError, match=r"tasks\.csv, " + found):
        read_catalogue(write_tables(tmp_path, *rows, header=header))
