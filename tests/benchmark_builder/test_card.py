"""The data set card: its head is what the Hub's clients accept, its numbers are the bench's, its commands work."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard
from huggingface_hub.repocard_data import DatasetCardData
from kit import build_folder

from benchmark_builder.publish.card import build_command, publish_command, write_card
from benchmark_builder.publish.metadata import language_codes, metadata, size_category
from benchmark_builder.publish.rows import plan_parts
from benchmark_builder.publish.selection import Publication, PublishOptions, select
from optiml_bench.cli import cli
from task_registry.bench import Bench
from task_registry.catalogue import load_catalogue
from task_registry.leakage import load_review, review_digest
from task_registry.plans import load_plan
from task_registry.types import Split


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench") / "data"
    build_folder(None, folder)
    return Bench.open(folder)


def publication(bench: Bench, **options: Any) -> Publication:
    allowed = {"repo_id": "org/bench", "allow_sample": True, "private": True} | options
    return select(bench, PublishOptions(**allowed))


def card(bench: Bench, **options: Any) -> str:
    chosen = publication(bench, **options)
    return write_card(chosen, plan_parts(chosen))


def changed(bench: Bench, task: str = "", manifest: dict[str, Any] | None = None, **facts: Any) -> Bench:
    """The bench with other facts of a task, and another manifest."""
    tasks = dict(bench.tasks)
    if task:
        tasks[task] = dataclasses.replace(tasks[task], task=dataclasses.replace(tasks[task].task, **facts))
    return Bench(bench.path, dataclasses.replace(bench.manifest, **(manifest or {})), tasks)


def table(text: str, first: str) -> dict[str, list[str]]:
    """A table of the card, by the cells of its first column."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    return {row[0]: row[1:] for row in rows}


def test_the_clients_accept_the_head(bench: Bench) -> None:
    read = DatasetCard(card(bench))
    assert isinstance(read.data, DatasetCardData)
    head = read.data.to_dict()
    assert head["pretty_name"] == "OPT-IML Bench (sample)"
    assert head["license"] == ["apache-2.0", "cc-by-4.0", "cc0-1.0", "unknown"]
    assert head["language"] == ["de", "en", "es"]
    assert head["size_categories"] == ["n<1K"]
    configs = MetadataConfigs.from_dataset_card_data(read.data)
    splits = {name: [entry["split"] for entry in config["data_files"]] for name, config in configs.items()}
    assert splits.pop("tasks") == ["tasks"]
    for source, named in splits.items():
        own = [built for built in bench.tasks.values() if built.task.source == source]
        assert named == [split for split in Split if any(split in built.counts for built in own)], source
    assert set(splits) == {built.task.source for built in bench.tasks.values()}


def test_a_licence_that_the_hub_does_not_list_is_explained(bench: Bench) -> None:
    own = changed(bench, "superni/sample_sums", licence="OANC")
    head = metadata(publication(own), plan_parts(publication(own)))
    assert head["license"] == ["apache-2.0", "cc-by-4.0", "cc0-1.0", "other", "unknown"]
    assert (head["license_name"], head["license_link"]) == ("see-tasks", "tasks.parquet")


@pytest.mark.parametrize(
    ("rows", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (1_500_000, "1M<n<10M"),
     (17_900_000, "10M<n<100M"), (900_000_000, "100M<n<1B")],
)  # fmt: skip
def test_sizes_have_the_hubs_names(rows: int, category: str) -> None:
    assert size_category(rows) == category


def test_every_language_of_the_catalogue_has_a_code(bench: Bench) -> None:
    built = next(iter(bench.tasks.values()))
    for task in load_catalogue().tasks.values():
        for name in (*task.input_languages, *task.output_languages):
            one = dataclasses.replace(
                built, task=dataclasses.replace(task, input_languages=(name,), output_languages=())
            )
            (code,) = language_codes([one])
            assert re.fullmatch(r"[a-z]{2,3}", code), name


def test_counts_are_the_benchs(bench: Bench) -> None:
    text, tasks = card(bench), bench.tasks.values()
    assert f"It holds {len(tasks)} tasks of {len({b.task.source for b in tasks})} sources" in text
    sources = table(text, "source")
    for name, cells in sources.items():
        own = [built for built in tasks if f"`{built.task.source}`" == name]
        counts = [sum(built.counts.get(split, 0) for built in own) for split in Split]
        assert cells == [str(len(own)), *(f"{count:,}" for count in counts)], name
    levels = table(text, "level")
    assert sum(int(cells[0]) for cells in levels.values()) == len(tasks)
    held_out = next(cells for told, cells in levels.items() if told.startswith("fully held out"))
    own = [built for built in tasks if built.assignment.level == "fully_held_out"]
    assert held_out == [str(len(own)), "0", str(sum(built.counts.get(Split.TEST, 0) for built in own))]
    rules = table(text, "rule")
    assert {rule.strip("`"): int(cells[0]) for rule, cells in rules.items()} == dict(bench.manifest.dropped)


def test_a_part_is_counted_as_a_part(bench: Bench) -> None:
    text = card(bench, include=("superni/*",))
    count = sum(built.task.source == "superni" for built in bench.tasks.values())
    assert f"It holds {count} tasks of 1 source in" in text
    assert list(table(text, "source")) == ["`superni`"]
    assert "data/flan" not in text
    assert bench.manifest.digest not in text


def test_unknown_licences_are_named_as_unknown(bench: Bench) -> None:
    text = card(bench)
    assert f"The licence of 1 of {len(bench.tasks)} tasks is unknown, which is not free." in text
    licences = table(text, "licence, as upstream words it")
    assert licences["none stated"][0] == "1"
    assert "**unknown**" in licences["none stated"][1]
    assert "unknown" not in licences["Apache-2.0"][1]
    sources = text[text.index("## Sources") :]
    assert table(sources, "source")["`crossfit`"][2] == "**unknown**", "no licence file at that commit"
    assert "Super-NaturalInstructions: Generalization" in table(sources, "source")["`superni`"][1]


def test_what_a_licence_forbids_is_owned_up_to(bench: Bench) -> None:
    forbidding = changed(bench, "superni/sample_pairs", licence="CC BY-ND 4.0")
    text = card(forbidding, allow_forbidding_licence=True)
    assert "**The licence of 1 task does not allow it**" in text
    assert "--allow-forbidding-licence" in text.partition("## Build it again")[2]
    assert "does not allow it" not in card(bench)


def test_what_was_left_out_for_its_licence_is_listed(bench: Bench) -> None:
    text = card(bench, only_licensed=True)
    assert "Left out for their licences: 1 task<" in text
    assert "- `custom/sample_odd_one_out`: unknown" in text
    assert "which is not free" not in text


def test_leaks_and_lacks_are_told(bench: Bench) -> None:
    manifest = {
        "leaks": {"shares_passages: kept (keep)": 1200},
        "missing": {"flan": 67},
        "failed": {"t5/cola": "x"},
    }
    text = card(changed(bench, manifest=manifest))
    assert "| shares_passages: kept (keep) | 1,200 |" in text
    assert f"Leakage policy of the build: `{bench.manifest.leakage}`" in text
    assert "67 of `flan`" in text
    assert "Could not be built: `t5/cola`" in text
    assert "was found to leak" in card(changed(bench, manifest={"leaks": {}}))


def test_text_of_a_task_cannot_break_the_card(bench: Bench) -> None:
    text = card(changed(bench, "custom/sample_odd_one_out", licence="mine <script>\n|x|\n---"))
    assert "<script>" not in text
    assert table(text, "licence, as upstream words it")["mine &lt;script>"][0] == "1"
    assert DatasetCard(text).data.to_dict()["license"]


def test_the_commands_build_and_publish_it_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very words of the card, run."""
    chosen = publication(bench, include=("superni/*", "flan/*"), only_licensed=True)
    written = write_card(chosen, plan_parts(chosen))
    build, publish = build_command(chosen), publish_command(chosen)
    assert f"{build}\n{publish}" in written
    monkeypatch.chdir(tmp_path)
    for command in (build, f"{publish} --dry-run"):
        program, *arguments = shlex.split(command)
        result = CliRunner().invoke(cli, arguments)
        assert program == "optiml-bench"
        assert result.exit_code == 0, result.output
    assert f"digest {chosen.manifest.digest}." in result.output


def test_the_build_command_says_all_that_decides(bench: Bench) -> None:
    """Every option of the build that changes the bench stands in the command, as the build itself reads it."""
    manifest = {
        "sample": False, "plan": "superni", "plan_digest": load_plan("superni").digest, "seed": 7, "cap": 50,
        "leakage": "report", "review_digest": "own",
        "selection": {"source": ("superni",), "tasks": ("superni/task1*",)},
    }  # fmt: skip
    words = shlex.split(build_command(publication(changed(bench, manifest=manifest))))
    context = cli.commands["build"].make_context("build", words[2:])
    expected = {
        "sample": False, "plan": "superni", "seed": 7, "cap": 50, "leakage": "report",
        "source": ("superni",), "tasks": ("superni/task1*",), "review": Path("review.csv"),
    }  # fmt: skip
    assert {name: context.params[name] for name in expected} == expected
    decides_nothing = {"out", "sources", "workers", "engine", "address", "replace", "dry_run"}
    assert set(context.params) - decides_nothing == set(expected), (
        "a new option of the build: does it decide?"
    )


@pytest.mark.parametrize("plan", ["mine", "optiml"])
def test_a_plan_of_ones_own_is_said_to_be_needed(bench: Bench, plan: str) -> None:
    """Also one that bears the name of a plan that ships; with another version nobody can tell."""
    own = {"sample": False, "plan": plan, "plan_digest": "5eed", "review_digest": "5eed"}
    text = card(changed(bench, manifest=own))
    assert f"--plan {plan}.yaml" in text
    assert "It is the publisher's own" in text
    assert "The review of leaking pairs is the publisher's own" in text
    older = card(changed(bench, manifest=own | {"version": "0.0.1"}))
    assert ("--plan mine.yaml" in older) == (plan == "mine")
    assert "--review" not in older
    shipped = {"plan": "optiml", "plan_digest": load_plan("optiml").digest}
    told = card(changed(bench, manifest=own | shipped | {"review_digest": review_digest(load_review())}))
    assert "--plan optiml " in told
    assert "publisher's own" not in told.partition("## Build it again")[2]
