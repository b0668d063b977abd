"""The data set card, written from what is published: every number in it is computed."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from benchmark_builder.publish.metadata import PAPER, metadata, pretty_name
from benchmark_builder.publish.rows import Part
from benchmark_builder.publish.selection import Publication
from task_registry.bench import Manifest
from task_registry.catalogue import load_catalogue
from task_registry.leakage import load_review, review_digest
from task_registry.licences import Terms, read_licences, terms_of
from task_registry.plans import load_plan, plan_names
from task_registry.published import tag_of
from task_registry.types import BuiltTask, Level, Split
from task_registry.version import VERSION

_TERMS = {
    Terms.FREE: "may be passed on, some with attribution or under the same licence",
    Terms.NON_COMMERCIAL: "may be passed on, not for commercial use",
    Terms.UNKNOWN: "**unknown**: none stated, or terms of its own that you have to read",
    Terms.FORBIDDEN: "**does not allow changed copies to be published**",
}
_LEVELS = {
    Level.FULLY_HELD_OUT: "fully held out: no task of its category is trained on",
    Level.PARTIALLY_SUPERVISED: "partially supervised: an unseen task of a seen category",
    Level.FULLY_SUPERVISED: "fully supervised: unseen instances of a training task",
}
_COLUMNS = (
    ("`task`", "`source/name`; every fact of it stands in the config `tasks`"),
    (
        "`category`, `level`, `eval_set`, `metric`",
        "of the task; level and eval set are null where it is not evaluated",
    ),
    (
        "`example_id`",
        "points at the row of the source's own files; unique within a task's split and template",
    ),
    ("`description`", "the task's instructions; empty where they are part of each input"),
    ("`input`", "the example's text, without delimiter or answer"),
    ("`references`", "one or more accepted outputs; the first is the target to train on"),
    ("`options`", "the candidates where the answer is a choice, else empty"),
    ("`answer`", "the bare answer where the references hold more"),
    ("`explanation`", "why the answer is right, or null"),
    ("`template`", "name of the template that worded it; empty where the source has but one"),
)
_SPLITS = (
    (Split.TRAIN, "upstream's training rows alone"),
    (Split.DEMONSTRATIONS, "to be shown in few-shot prompts, never scored"),
    (Split.VALIDATION, "upstream's, where it is not what is scored"),
    (Split.TEST, "what is scored"),
)


def write_card(publication: Publication, parts: Sequence[Part]) -> str:
    """Write the card: the YAML head, and the text."""
    import yaml

    head = yaml.safe_dump(metadata(publication, parts), sort_keys=False, allow_unicode=True, width=120)
    sections = (
        _opening,
        _contents,
        _loading,
        _form,
        _sources,
        _licences,
        _leakage,
        _making,
        _citing,
    )
    return f"---\n{head}---\n\n" + "\n\n".join(section(publication) for section in sections) + "\n"


def _opening(publication: Publication) -> str:
    manifest = publication.manifest
    sample = (
        "\n\n> **This is the embedded sample.** It shows how things work; scores on it mean nothing."
        if manifest.sample
        else ""
    )
    categories = len({built.task.category for built in publication.tasks})
    rows = sum(manifest.examples.values())
    return f"""# {pretty_name(publication)}{sample}

OPT-IML ([arXiv {PAPER}](https://arxiv.org/abs/{PAPER})) consolidated eight instruction-tuning benchmarks into one and
measured at three levels how instruction tuning generalises. Its benchmark was never released. This one was rebuilt
from the upstream sources by `optiml-bench` {manifest.version}; it is not the authors' own.

It holds {len(publication.tasks):,} tasks of {_several(len(publication.sources), "source")} in {categories:,}
categories, with {rows:,} examples. Digest `{manifest.digest}`, tag `{tag_of(manifest.digest)}`."""


def _contents(publication: Publication) -> str:
    tasks = publication.tasks
    places = [(level, _LEVELS[level]) for level in Level] + [(None, "not evaluated: trained on, or kept out")]
    levels = [
        (told, len(own), _count(own, Split.TRAIN), _count(own, Split.TEST))
        for level, told in places
        if (own := [built for built in tasks if built.assignment.level == level])
    ]
    sources = [
        (f"`{name}`", len(own), *(_count(own, split) for split in Split))
        for name in publication.sources
        if (own := [built for built in tasks if built.task.source == name])
    ]
    return "\n\n".join(
        (
            "## What is in it",
            _table(("level", "tasks", Split.TRAIN, Split.TEST), levels),
            _table(("source", "tasks", *Split), sources),
        )
    )


def _loading(publication: Publication) -> str:
    repo, tag = publication.options.repo_id, tag_of(publication.manifest.digest)
    shown = max(publication.tasks, key=lambda built: built.counts.get(Split.TEST, 0))
    split = next(split for split in (Split.TEST, *Split) if split in shown.counts)
    source, task = shown.task.source, shown.task.id
    return f"""## Load it

```python
from datasets import load_dataset

data = load_dataset("{repo}", "{source}", split="{split}", revision="{tag}")
tasks = load_dataset("{repo}", "tasks", split="tasks")  # one row a task: licence, level, counts, ...

# One task, without downloading the others:
filters = [("task", "==", "{task}")]
stream = load_dataset("{repo}", "{source}", split="{split}", streaming=True, filters=filters)
```

Evaluate a model on it, or write finished prompts and targets to train on:

```
optiml-bench eval --model facebook/opt-1.3b --data hf://{repo}@{tag}
optiml-bench export hf://{repo}@{tag} --split train --format src-tgt --out train.jsonl
```"""


def _form(publication: Publication) -> str:
    return "\n\n".join(
        (
            "## Columns and splits",
            _table(("column", "what it holds"), _COLUMNS),
            _table(("split", "what it holds"), [(f"`{split}`", told) for split, told in _SPLITS]),
        )
    )


def _sources(publication: Publication) -> str:
    known = load_catalogue().sources
    rows = []
    for name in publication.sources:
        facts = known.get(name)
        if facts is None:
            rows.append((f"`{name}`", "tasks of the publisher's own", "", "see the tasks"))
            continue
        origin = f"[{facts.title}]({facts.url})" if facts.url else facts.title
        rows.append((f"`{name}`", origin, facts.citation, facts.licence or "**unknown**"))
    return "\n\n".join(
        (
            "## Sources",
            "The licence is the collection's own; the data sets in it have others. Cite the sources that you use.",
            _table(("source", "origin", "citation", "licence"), rows),
        )
    )


def _licences(publication: Publication) -> str:
    counts = Counter(licence for built in publication.tasks for licence in read_licences(built.task.licence))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0].text))
    rows = [(licence.text or "none stated", count, _TERMS[licence.terms]) for licence, count in ordered]
    unknown = sum(terms_of(built.task.licence) is Terms.UNKNOWN for built in publication.tasks)
    told = (
        f"The licence of {unknown:,} of {len(publication.tasks):,} tasks is unknown, which is not free. "
        if unknown
        else ""
    )
    if forbidden := sum(terms_of(built.task.licence) is Terms.FORBIDDEN for built in publication.tasks):
        told += f"**The licence of {_several(forbidden, 'task')} does not allow it**: the publisher answers for that. "
    sections = [
        "## Licences of the tasks",
        f"{told}A task can have several; `licence` in the config `tasks` names them, `url` says where to look.",
        _table(("licence, as upstream words it", "tasks", "what it says"), rows),
    ]
    if publication.left_out:
        names = "\n".join(f"- `{task}`: {terms}" for task, terms in sorted(publication.left_out.items()))
        sections.append(
            f"<details><summary>Left out for their licences: {_several(len(publication.left_out), 'task')}"
            f"</summary>\n\n{names}\n\n</details>"
        )
    return "\n\n".join(sections)


def _leakage(publication: Publication) -> str:
    manifest = publication.manifest
    policy = f"Leakage policy of the build: `{manifest.leakage}`."
    if manifest.leaks:
        found = _table(
            ("what was found, what came of it and what the review says", "pairs"), manifest.leaks.items()
        )
    else:
        found = "No pair of a training and an evaluated task in it was found to leak."
    dropped = [(f"`{rule}`", count) for rule, count in manifest.dropped.items()]
    return "\n\n".join(
        (
            "## Leakage, duplicates and what was left out",
            f"{policy} Pairs of a training and an evaluated task stand, with what they share, in `leaks` of the "
            "config `tasks`.",
            found,
            "Examples left out, by rule:" if dropped else "No example was left out.",
            *([_table(("rule", "examples"), dropped)] if dropped else []),
        )
    )


def _making(publication: Publication) -> str:
    manifest = publication.manifest
    missing = sum(manifest.missing.values())
    lacks = []
    if missing:
        by_source = ", ".join(
            f"{count:,} of `{name}`" for name, count in sorted(manifest.missing.items()) if count
        )
        lacks.append(f"Not at hand when it was built, of the catalogue: {by_source}.")
    if manifest.failed:
        lacks.append(f"Could not be built: {', '.join(f'`{task}`' for task in sorted(manifest.failed))}.")
    plan = f"Split plan `{manifest.plan}`, digest `{manifest.plan_digest}`."
    if _has_own_plan(manifest):
        plan += " It is the publisher's own: its file is needed to build this bench again."
    if _has_own_review(manifest):
        plan += f" The review of leaking pairs is the publisher's own, digest `{manifest.review_digest}`."
    return "\n\n".join(
        (
            "## Build it again",
            f"```\n{build_command(publication)}\n{publish_command(publication)}\n```",
            f"With version {manifest.version} and the same upstream files, the bench has the same digest. {plan}",
            *lacks,
        )
    )


def build_command(publication: Publication) -> str:
    """The command that builds the bench of which this is published."""
    manifest = publication.manifest
    words = ["optiml-bench", "build", "--out", "data/"]
    if manifest.sample:
        words += ["--sample"]
    else:
        words += ["--sources", "sources/"]
        words += ["--plan", f"{manifest.plan}.yaml" if _has_own_plan(manifest) else manifest.plan]
        words += ["--leakage", manifest.leakage]
        if _has_own_review(manifest):
            words += ["--review", "review.csv"]
    words += ["--seed", str(manifest.seed)]
    if manifest.cap is not None:
        words += ["--cap", str(manifest.cap)]
    for option in ("source", "tasks"):
        for value in manifest.selection.get(option, ()):
            words += [f"--{option}", value]
    return shlex.join(words)


def _has_own_plan(manifest: Manifest) -> bool:
    """Whether the plan is none that ships; what ships with another version is not known here."""
    if manifest.sample or manifest.plan not in plan_names():
        return not manifest.sample
    return manifest.version == VERSION and load_plan(manifest.plan).digest != manifest.plan_digest


def _has_own_review(manifest: Manifest) -> bool:
    shipped = manifest.sample or manifest.version != VERSION
    return not shipped and manifest.review_digest != review_digest(load_review())


def publish_command(publication: Publication) -> str:
    """The command that publishes it."""
    options = publication.options
    words = ["optiml-bench", "publish", "data/", "--repo-id", options.repo_id]
    for glob in options.include:
        words += ["--include", glob]
    for name in (
        "private",
        "allow_sample",
        "allow_unknown_licence",
        "allow_forbidding_licence",
        "only_licensed",
    ):
        if getattr(options, name):
            words.append("--" + name.replace("_", "-"))
    return shlex.join(words)


def _citing(publication: Publication) -> str:
    return f"""## Cite it

Cite the paper whose benchmark this rebuilds, and the sources above that you use:

```bibtex
@article{{iyer2022optiml,
  title  = {{OPT-IML: Scaling Language Model Instruction Meta Learning through the Lens of Generalization}},
  author = {{Iyer, Srinivasan and Lin, Xi Victoria and Pasunuru, Ramakanth and others}},
  year   = {{2022}},
  eprint = {{{PAPER}}},
  archivePrefix = {{arXiv}}
}}
```"""


def _count(tasks: Iterable[BuiltTask], split: Split) -> int:
    return sum(built.counts.get(split, 0) for built in tasks)


def _several(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' if count != 1 else ''}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    """A number with thousands separators, or a text in one line without what Markdown or HTML would read in it."""
    if isinstance(value, int):
        return f"{value:,}"
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
