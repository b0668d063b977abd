"""The records that every other module speaks: what a task is, what an example is, where both belong.

The words are the paper's (OPT-IML, arXiv 2212.12017, §2): a task is one data set under one instruction of
one source; a category gathers tasks; a level says how far an evaluated task is from the training tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """The three generalization levels (paper §2.3)."""

    FULLY_HELD_OUT = "fully_held_out"
    """No task of its category is trained on."""
    PARTIALLY_SUPERVISED = "partially_supervised"
    """Other tasks of its category are trained on."""
    FULLY_SUPERVISED = "fully_supervised"
    """The task itself is trained on; what is scored are unseen instances."""


class EvalSet(StrEnum):
    """Which of the paper's evaluation sets a task belongs to (Table 1)."""

    DEV = "dev"
    TEST = "test"


class Split(StrEnum):
    """The splits of a bench, in the order in which they are written."""

    TRAIN = "train"
    DEMONSTRATIONS = "demonstrations"
    VALIDATION = "validation"
    TEST = "test"


class Metric(StrEnum):
    """The metrics that a task may name; the headline number of its report."""

    ACCURACY = "accuracy"
    EXACT_MATCH = "exact_match"
    ROUGE_L = "rouge_l"
    TOKEN_F1 = "token_f1"
    MACRO_F1 = "macro_f1"
    MATTHEWS = "matthews"
    PEARSON = "pearson"


@dataclass(frozen=True, slots=True)
class Task:
    """The facts of one task, as the catalogue or the task's own native file states them."""

    id: str
    """`source/name`; the name may hold further slashes."""
    category: str
    metric: Metric
    category_origin: str = ""
    metric_origin: str = ""
    answer_type: str = ""
    """`generation`, `classification` or `extractive`."""
    data_source: str = ""
    """Key of the data set that it was made from; tasks that share one must not lie on both sides."""
    group: str = ""
    """The paper's own row name (Tables 10 to 13 and 15): tasks of one group are averaged as one."""
    in_optiml: str = ""
    """`yes`, `likely`, `unclear` or `no`: whether OPT-IML used it, as far as the paper lets one know."""
    in_optiml_reason: str = ""
    level_origin: str = ""
    """What the paper states of its level, and what is assumed."""
    skills: tuple[str, ...] = ()
    """Super-NaturalInstructions' `Reasoning` field."""
    domains: tuple[str, ...] = ()
    input_languages: tuple[str, ...] = ()
    output_languages: tuple[str, ...] = ()
    instruction_languages: tuple[str, ...] = ()
    licence: str = ""
    """As upstream words it; empty means unknown, not free."""
    url: str = ""
    hub_id: str = ""
    hub_mirror: str = ""
    hub_note: str = ""
    n_examples: int | None = None
    n_templates: int | None = None
    notes: str = ""

    @property
    def source(self) -> str:
        """The benchmark that it comes from: the part of the id before the first slash."""
        return self.id.partition("/")[0]

    @property
    def name(self) -> str:
        """Its name within the source: the part of the id after the first slash."""
        return self.id.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a split plan decides about one task."""

    level: Level | None
    """None: a training task that is not evaluated."""
    eval_set: EvalSet | None
    """None with a level: held out, built, not trained on, and scored with `--eval-set all`."""
    trained: bool
    """Whether a train split is written."""
    reason: str
    """The plan's own words for it."""


class Example(NamedTuple):
    """One question with its answers: a row of a shard (paper §2.2, the bipartite instruction schema).

    A named tuple, not a dataclass: millions are made, and one is made three times as fast.
    """

    id: str
    """Points at the native record; unique within a task's split and template."""
    input: str
    """The example's own text, rendered, without delimiter or answer."""
    references: tuple[str, ...]
    """One or more accepted outputs; the first is the target that is trained on."""
    description: str = ""
    """The task-level instructions; empty where the templates are instance-level."""
    options: tuple[str, ...] = ()
    """The candidates where the answer is a choice; empty for free text."""
    answer: str | None = None
    """The bare answer where the references hold more (a rationale, say)."""
    explanation: str | None = None
    template: str = ""
    """Name of the template that rendered it; empty where the source has but one."""


@dataclass(frozen=True, slots=True)
class Leak:
    """What one training task has in common with one evaluated task, and what came of it."""

    evaluation_task: str
    rule: str
    """`shares_data_source` or `shares_passages`."""
    outcome: str
    """`task_left`: the train split was not written; `examples_left`: it lacks what overlaps; or `kept`."""
    verdict: str = ""
    """The review's: `keep`, `drop_examples`, `drop_train` or `drop_eval`; empty: nobody has looked at the pair."""
    overlapping: int = 0
    """Evaluated examples that share a passage with the training task."""
    evaluated: int = 0
    """Examples of the evaluated task in all."""
    training_rows: int = 0
    """Training examples that share a passage with the evaluated task."""
    passages: tuple[str, ...] = ()
    """The longest shared passages, folded to words."""

    @property
    def kind(self) -> str:
        """Under which name a manifest counts it."""
        return f"{self.rule}: {self.outcome} ({self.verdict or 'not reviewed'})"


@dataclass(frozen=True, slots=True)
class BuiltTask:
    """One task of a bench on disk: its facts, what the plan decided, and what came out."""

    task: Task
    assignment: Assignment
    counts: Mapping[Split, int]
    """Examples by split; a split without examples is absent."""
    digests: Mapping[Split, str]
    """Digest of each split's logical content."""
    templates: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Examples that a named rule left out, by rule."""
    scored_from: str = ""
    """Where the test split comes from: the native split, or a rule such as `instances[:100]`."""
    origin: str = ""
    """The native files, relative to the source's folder."""
    native_digest: str = ""
    """Digest of those files' bytes."""
    inputs_digest: str = ""
    """Digest of everything that the shards were made from; a rerun skips the task while it is unchanged."""
    guard_digest: str = ""
    """Digest of what the train split was guarded against: the evaluated examples, the policy, the review."""
    leaks: tuple[Leak, ...] = ()
    """What a training task has in common with evaluated tasks, by rule and evaluated task."""

    @property
    def digest(self) -> str:
        """One digest of the content and the metric: results of two runs are comparable while it is equal."""
        from task_registry.hashing import text_digest

        splits = [f"{split}={self.digests[split]}" for split in Split if split in self.digests]
        return text_digest(self.task.id, self.task.metric, *splits)
