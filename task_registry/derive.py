"""How `data/tasks.csv` and `data/categories.csv` are made from the facts tables; run it to make them again.

    python -m task_registry.derive FACTS_DIR [OUT_DIR]

FACTS_DIR holds `tasks.csv` and `categories.csv`, the tables of names, counts and mappings that were collected
from the papers and from upstream's repositories. This module keeps the columns that fill a `Task`, words them
alike, and applies the decisions below, each with its reason. `sources.csv`, `table1.csv` and the plans are
written by hand and not touched.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from task_registry.errors import InputError, Place, UsageError, quote
from task_registry.types import Metric, Task

Row = Mapping[str, str]

COLUMNS = tuple(field.name for field in fields(Task))
CATEGORY_COLUMNS = ("name", "slug", "origin")

METRICS = {metric.value: metric for metric in Metric} | {
    "qa_f1": Metric.TOKEN_F1,  # CrossFit's name for SQuAD's F1
    "matthews_corrcoef": Metric.MATTHEWS,
}

LANGUAGES = {"en": "English"}
"""Codes that stand among the names."""

GROUPS: Mapping[str, str] = {
    # Table 15 (dev): tasks of one row are sub-tasks, or the same task in several benchmarks.
    "promptsource/wino_bias/type1_anti": "Winobias",
    "promptsource/wino_bias/type1_pro": "Winobias",
    "promptsource/wino_bias/type2_anti": "Winobias",
    "promptsource/wino_bias/type2_pro": "Winobias",
    "superni/task1664_winobias_text_generation": "Winobias",
    "superni/task391_causal_relationship": "Cause-Effect",
    "superni/task392_inverse_causal_relationship": "Cause-Effect",
    "superni/task393_plausible_result_generation": "Cause-Effect",
    "superni/task1393_superglue_copa_text_completion": "COPA",
    "promptsource/super_glue/copa": "COPA",
    "flan/copa": "COPA",
    "superni/task827_copa_commonsense_reasoning": "COPA CommonSense",
    "superni/task828_copa_commonsense_cause_effect": "COPA CommonSense",
    "superni/task614_glucose_cause_event_detection": "Glucose",
    "superni/task1557_jfleg_answer_generation": "Jfleg",
    "superni/task1720_civil_comments_toxicity_classification": "Civil Comments",
    "promptsource/jigsaw_unintended_bias": "Jigsaw",
    "flan/newsroom": "Newsroom",
    "promptsource/race/high": "Race",
    "promptsource/race/middle": "Race",
    "superni/task309_race_answer_generation": "Race",
    "reasoning/strategyqa": "StrategyQA",
    "reasoning/gsm8k": "GSM8K",
    "flan/squad_v1": "SQuAD v1",
    "promptsource/squad": "SQuAD v1",
    "promptsource/blended_skill_talk": "Blended Skill Talk",
    "promptsource/cnn_dailymail/3.0.0": "CNNDM",
    # Tables 10 and 11 (test).
    "promptsource/anli/r1": "ANLI1",
    "promptsource/anli/r2": "ANLI2",
    "promptsource/anli/r3": "ANLI3",
    "flan/anli_r1": "ANLI1",
    "flan/anli_r2": "ANLI2",
    "flan/anli_r3": "ANLI3",
    "promptsource/super_glue/cb": "CB",
    "flan/cb": "CB",
    "flan/mnli_matched": "MNLI-m",
    "flan/mnli_mismatched": "MNLI-mm",
    "promptsource/super_glue/rte": "RTE",
    "flan/rte": "RTE",
    "flan/snli": "SNLI",
    "flan/wnli": "WNLI",
    "flan/bool_q": "BoolQ",
    "flan/openbookqa": "OBQA",
    "flan/arc_easy": "ARC-e",
    "flan/arc_challenge": "ARC-c",
    "promptsource/winogrande/winogrande_xl": "Winogrande",
    "flan/winogrande": "Winogrande",
    "promptsource/super_glue/wsc.fixed": "WSC",
    "flan/wsc": "WSC",
    "promptsource/story_cloze/2016": "StoryCloze",
    "promptsource/super_glue/wic": "WiC",
    "promptsource/super_glue/axg": "WinoGender",
    "promptsource/crows_pairs": "Crows",
    # Table 13 (test). Table 12 has rows for categories only, so its 44 SuperNI tasks have no group.
    "unifiedskg/dart": "DART",
    "unifiedskg/spider": "Spider",
    "unifiedskg/multiwoz": "MultiWoZ",
}
"""Task to the paper's row name; the analogy and MMLU tasks follow by name, see `group_of`."""

PARTS = {"promptsource/anli": {"r1": "16946", "r2": "45460", "r3": "100459"}}
"""Rows of the facts that the paper counts as several tasks, with the training examples of each part: ANLI's
rounds are three rows of Table 10; upstream keeps them as splits of one data set."""

OVERRIDES: dict[str, dict[str, str]] = {
    "superni/task1664_winobias_text_generation": {
        "category": "Stereotype Detection",
        "category_origin": "paper T15 lists SuperNI's Winobias there; upstream: Coreference Resolution",
    },
    "crossfit/codah": {"answer_type": "classification"},
    "flan/ag_news_subset": {
        "category": "Text Categorization",
        "category_origin": "its kept patterns ask for the topic; the facts table says Summarization",
        "metric": "accuracy",
        "metric_origin": "OPT-IML rule: accuracy where options exist; upstream names accuracy",
        "answer_type": "classification",
    },
    "promptsource/race/all": {"level_origin": "derived: the union of race/high and race/middle, T15's Race"},
    "superni/task310_race_classification": {
        "level_origin": "assumption: sibling of task309, which stands for T15's Race (Question Answering)"
    },
} | {
    f"superni/task{number}_civil_comments_{label}_classification": {
        "level_origin": "assumption: sibling of task1720, which stands for T15's Civil Comments"
    }
    for number, label in (
        (1721, "obscenity"),
        (1722, "threat"),
        (1723, "sexuallyexplicit"),
        (1724, "insult"),
        (1725, "severtoxicity"),
    )
}
"""Decisions on single tasks where the facts table repeats upstream or leaves a choice."""

REWORDED = {
    "upstream (76 SuperNI categories, list in microsoft/mttl 444e79b0)": "upstream",
    "own: paper evaluates MMLU as its own category": "paper T15 (MMLU is a category of its own)",
    "assumption: remainder, but shares its data source with an evaluation task: drop from training or move "
    "(paper 2.3)": "assumption: remainder; shares its data source with an evaluated task",
    "category held out: paper 5.5 (MultiWOZ is 'a held-out dialogue state tracking task'; whether the whole "
    "category is held out is assumption)": "paper 5.5 (MultiWOZ held out); the whole category: assumption",
    "paper 5.5 ('a held-out data-to-text task')": "paper 5.5 (a held-out task)",
    "paper 5.2 (evaluated; 'not from held-out clusters')": "paper 5.2 (its cluster is not held out)",
    "paper 5.2 (WinoGender, evaluated; 'not from held-out clusters')": (
        "paper 5.2 (WinoGender; its cluster is not held out)"
    ),
}
"""Origins that are worded more briefly in the catalogue."""


def derive_tasks(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Turn rows of the facts table into rows of `data/tasks.csv`, sorted by id.

    Raises `InputError` for a metric that the project does not have and for a decision about an unknown task.
    """
    derived = sorted(
        (derive_task(part) for row in rows for part in parts_of(row)), key=lambda task: task["id"]
    )
    unknown = (GROUPS.keys() | OVERRIDES.keys()) - {task["id"] for task in derived}
    if unknown:
        raise InputError("GROUPS or OVERRIDES in derive.py", quote(min(unknown)), "a task of the facts table")
    return derived


def derive_task(row: Row) -> dict[str, str]:
    """Turn one row of the facts table into the columns of a `Task`, all as text."""
    verdict, reason = split_verdict(row["in_optiml"])
    metric, metric_origin = metric_of(row)
    task = {
        "id": row["task_id"],
        "category": row["category"],
        "metric": metric.value,
        "category_origin": reworded(row["category_origin"]),
        "metric_origin": metric_origin,
        "answer_type": "classification" if is_mmlu(row) else row["answer_type"],
        "data_source": row["source_key"] or row["dataset"],
        "group": group_of(row),
        "in_optiml": verdict,
        "in_optiml_reason": reason,
        "level_origin": reworded(row["level_origin"]),
        "skills": row["reasoning"],
        "domains": row["domains"],
        "input_languages": languages(row["input_language"]),
        "output_languages": languages(row["output_language"]),
        "instruction_languages": "",  # the facts have none; native files say it
        "licence": row["license"],
        "url": row["url"],
        "hub_id": row["hub_id"],
        "hub_mirror": row["hub_mirror"],
        "hub_note": hub_note(row),
        "n_examples": n_examples(row),
        "n_templates": n_templates(row),
        "notes": notes_of(row),
    }
    return task | OVERRIDES.get(task["id"], {})


def parts_of(row: Row) -> list[Row]:
    """The tasks that a row of the facts stands for: itself, nearly always."""
    parts = PARTS.get(row["task_id"])
    if parts is None:
        return [row]
    return [dict(row) | {"task_id": f"{row['task_id']}/{part}", "n_examples": n} for part, n in parts.items()]


def is_mmlu(row: Row) -> bool:
    """Whether the row is one of SuperNI's 57 MMLU tasks; to the paper MMLU is a benchmark of its own."""
    return row["category"] == "MMLU"


def metric_of(row: Row) -> tuple[Metric, str]:
    """The task's metric and its origin; MMLU is scored by its options (paper T15), not by ROUGE-L."""
    if is_mmlu(row):
        return Metric.ACCURACY, "paper T15 (MMLU: accuracy over the options)"
    if row["metric"] not in METRICS:
        place = Place(Path("tasks.csv"), row["task_id"])
        raise InputError(place, quote(row["metric"]), f"one of {', '.join(METRICS)}")
    return METRICS[row["metric"]], row["metric_origin"]


def group_of(row: Row) -> str:
    """The paper's row name of the task, empty where no table has one."""
    if is_mmlu(row):
        return "MMLU"
    if row["category"] == "Word Analogy":
        return "Bard Analogical Reasoning"
    return GROUPS.get(row["task_id"], "")


def split_verdict(text: str) -> tuple[str, str]:
    """Split `verdict (reason)` or `verdict: reason`; the verdict is `yes`, `likely`, `unclear` or `no`."""
    found = re.fullmatch(r"(yes|likely|unclear|no)(?: \((.*)\)|: (.*))?", text)
    if found is None:
        raise InputError(
            "tasks.csv, column in_optiml", quote(text), "yes, likely, unclear or no, and a reason"
        )
    reason = found[2] or found[3] or ""
    reason = re.sub(r",(?! )", ", ", reason.replace("supernatinst", "superni"))
    return found[1], reason.replace(" (derived)", ", derived")


def languages(text: str) -> str:
    """Languages as names, joined by `|`; empty where unknown."""
    return "|".join(LANGUAGES.get(language, language) for language in text.split("|"))


def hub_note(row: Row) -> str:
    """Upstream's obstacles to loading the data set, and whether its id was seen anywhere."""
    parts = [row["hub_note"]]
    if row["hub_origin"] == "memory, to verify":
        parts.append("id from memory, unverified")
    return "; ".join(filter(None, parts))


def n_examples(row: Row) -> str:
    """Upstream's count, of the train split where there are splits; empty where unknown or none."""
    train = row["n_examples"].partition("/")[0]
    return "" if train == "0" else train


def n_templates(row: Row) -> str:
    """Templates that pose the original task; all of them where upstream flags none or has no such flag."""
    original = row["n_templates_original"]
    return original if original not in ("", "0") else row["n_templates"]


def notes_of(row: Row) -> str:
    """The facts that have no column of their own, briefly."""
    note = row["notes"].removeprefix("; ").replace("upstream cap 30000 training examples", "")
    note = note.replace("split_default is CrossFit's random partition; ", "")
    note = re.sub(r"legacy id (in the template file: )?", "upstream id ", note).strip("; ")
    parts = ["" if note in (f"upstream id {row['task_name']}", "upstream id") else note]
    if is_mmlu(row):
        parts = ["upstream category: Question Answering (from memory)"]
    if "direction unknown" in row["language_origin"]:
        parts.append("output language unknown")
    if "memory" in row["n_examples_origin"]:
        parts.append("n_examples: train split, from memory")
    return "; ".join(filter(None, parts))


def reworded(origin: str) -> str:
    """An origin in the catalogue's words."""
    return REWORDED.get(origin, origin)


def derive_categories(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Turn the facts' categories into rows of `data/categories.csv`, sorted by name.

    The levels stand in the plans and the counts follow from the tasks, so neither is repeated here.
    """
    kept = [{"name": row["category"], "slug": row["slug"], "origin": row["origin"]} for row in rows]
    return sorted(kept, key=lambda category: category["name"])


def read_facts(path: Path) -> list[dict[str, str]]:
    """Read one facts table whole."""
    if not path.is_file():
        raise UsageError(
            f"{path}: no such file; name the folder with the facts tables tasks.csv and categories.csv"
        )
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Row]) -> None:
    """Write rows as CSV with Unix line ends, so that the file is the same on every machine."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def derive(facts: Path, out: Path) -> None:
    """Make `tasks.csv` and `categories.csv` in `out` from the tables in `facts`."""
    tasks = derive_tasks(read_facts(facts / "tasks.csv"))
    categories = derive_categories(read_facts(facts / "categories.csv"))
    write_table(out / "tasks.csv", COLUMNS, tasks)
    write_table(out / "categories.csv", CATEGORY_COLUMNS, categories)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python -m task_registry.derive FACTS_DIR [OUT_DIR]")
    default = Path(__file__).parent / "data"
    derive(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else default)
