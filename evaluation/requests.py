"""A task's prompts: which examples are asked, how, and with which demonstrations.

Nothing here depends on the model, on the order of the work or on how many take part in it. `templates.prompt`
composes; here it is decided what it composes from:

- The task's metric decides whether options are scored or text is generated (PAPER.md §4), see `kind_of`.
- Demonstrations are the first of the task's pool in stored order, rendered by the question's own template;
  the pool may be put into another order by a seed, or into one for each example. A pool smaller than the number
  of shots is shown whole, and counted; without any demonstration there is no few-shot prompt, counted too.
- Wording is drawn for each example without shots, for each task and template with shots.
- `limit` takes the examples of smallest hash, with all their templates: a larger limit holds the smaller one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from heapq import nsmallest
from typing import Any

from evaluation.models import Turn
from evaluation.predictions import Key, Kind
from task_registry.bench import Bench
from task_registry.hashing import choice_hash
from task_registry.types import BuiltTask, EvalSet, Example, Metric, Split
from templates.prompt import SEPARATOR, Prompt, Wording, compose, draw_wording


class Overlength(StrEnum):
    """What becomes of a prompt that does not fit the model's context."""

    DROP_SHOTS = "drop-shots"
    """Demonstrations go, the furthest first, then the beginning of the question."""
    SKIP = "skip"
    """It is not asked, and counted."""
    ERROR = "error"
    """The run ends."""


class Demonstrations(StrEnum):
    """Which demonstrations an example is shown."""

    FIXED = "fixed"
    """The same for all examples of a task and template: their prefix is computed once."""
    PER_EXAMPLE = "per-example"
    """Drawn from the pool by the example's id."""


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """Everything that decides prompts and outputs, apart from the tasks."""

    shots: tuple[int, ...] = (0, 5)
    demonstrations: Demonstrations = Demonstrations.FIXED
    demonstration_seeds: tuple[int, ...] = ()
    """Each re-orders the pool, and few-shot prompts are asked once for each; empty: the stored order."""
    separator: str = SEPARATOR
    explanations: bool = False
    """Whether a demonstration's explanation precedes its answer."""
    chat_template: bool = False
    """Whether prompts pass through the tokenizer's chat template, demonstrations as turns.

    Options then stand where the template writes an answer, usually without a space before them.
    """
    limit: int | None = None
    """Examples of each task, each with all its templates."""
    seed: int = 0
    """Of every choice that looks random."""
    overlength: Overlength = Overlength.DROP_SHOTS
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()
    unconditional: bool = False
    """Whether options are scored without their prompt too."""

    @property
    def rounds(self) -> tuple[tuple[int, int | None], ...]:
        """Number of shots and demonstration seed of each time that an example is asked."""
        found: list[tuple[int, int | None]] = []
        for shots in self.shots:
            seeds = self.demonstration_seeds if shots and self.demonstration_seeds else (None,)
            found += [(shots, seed) for seed in seeds]
        return tuple(found)


_BY_OPTIONS = frozenset({Metric.ACCURACY, Metric.MACRO_F1, Metric.MATTHEWS})
"""Metrics of a choice. ROUGE-L, exact match, token F1 and Pearson are of text that the model has to write."""


def kind_of(metric: Metric, has_options: bool) -> Kind:
    """How an example is asked: by its options where the metric is one of choices, and there are some.

    An example without options under such a metric is answered freely: accuracy is then its exact match, and a
    label counts where it is written out.
    """
    return Kind.OPTIONS if has_options and metric in _BY_OPTIONS else Kind.TEXT


@dataclass(frozen=True, slots=True)
class TemplateCounts:
    """What a task has under one of its templates."""

    options: int = 0
    """Prompts whose options are scored."""
    text: int = 0
    """Prompts that are answered freely."""
    shown: int = 0
    """Demonstrations in the pool."""
    explained: int = 0
    """Those of them that come with an explanation."""

    @property
    def prompts(self) -> int:
        """Prompts at one number of shots."""
        return self.options + self.text

    def asked(self, shots: int) -> int:
        """Prompts at `shots` shots: none where there is nothing to show."""
        return self.prompts if not shots or self.shown else 0


@dataclass(frozen=True, slots=True)
class TaskPrompts:
    """One task to evaluate: its record, what it has by template, and which of its examples are taken."""

    built: BuiltTask
    templates: Mapping[str, TemplateCounts]
    examples: int
    """Examples that are taken, each counted once however many templates it has."""
    taken: frozenset[str] | None = None
    """Ids within the limit; None: all."""

    @property
    def merged(self) -> bool:
        """Whether its prompts are a sample over all templates, as the dev set's are (paper §4.1)."""
        return self.built.assignment.eval_set is EvalSet.DEV

    def count(self, options: PromptOptions, kind: Kind | None = None) -> int:
        """Prompts over all rounds, of one kind or of both."""
        return sum(
            {None: counts.prompts, Kind.OPTIONS: counts.options, Kind.TEXT: counts.text}[kind]
            for shots, _ in options.rounds
            for counts in self.templates.values()
            if counts.asked(shots)
        )


def survey(bench: Bench, built: BuiltTask, options: PromptOptions) -> TaskPrompts:
    """Count what a task has, and decide which examples are taken; reads ids, templates and options only.

    Raises BenchFolderError where a shard is damaged or cut off: before any model is loaded.
    """
    task, limit = built.task, options.limit
    taken: frozenset[str] | None = None
    if limit is not None:
        ids = {i for batch in bench.batches(task.id, Split.TEST) for i in batch["example_id"].to_pylist()}
        if limit < len(ids):
            taken = frozenset(
                nsmallest(limit, ids, lambda i: (choice_hash(options.seed, task.id, i, "limit"), i))
            )
    prompts: Counter[tuple[str, Kind]] = Counter()
    asked: set[str] = set()
    for batch in bench.batches(task.id, Split.TEST):
        n_options = batch["options"].value_lengths()
        for example_id, template, count in _rows(batch["example_id"], batch["template"], n_options):
            if taken is None or example_id in taken:
                asked.add(example_id)
                prompts[template, kind_of(task.metric, count > 0)] += 1
    pool: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    for batch in bench.batches(task.id, Split.DEMONSTRATIONS):
        for template, has_explanation in _rows(batch["template"], batch["explanation"].is_valid()):
            pool[template] += 1
            explained[template] += has_explanation
    found = {
        template: TemplateCounts(
            prompts[template, Kind.OPTIONS], prompts[template, Kind.TEXT], pool[template], explained[template]
        )
        for template in sorted({template for template, _ in prompts})
    }
    return TaskPrompts(built, found, len(asked), taken)


def _rows(*columns: Any) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in columns), strict=True)


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt to be asked, before it is fitted to a model's context."""

    key: Key
    kind: Kind
    example: Example
    prompt: Prompt


def questions(
    bench: Bench,
    prompts: TaskPrompts,
    options: PromptOptions,
    kind: Kind,
    wanted: Callable[[Key], bool] = lambda key: True,
) -> Iterator[Question]:
    """Yield a task's prompts of one kind, those with a common prefix after one another.

    `wanted` says which are still to be asked.
    """
    task = prompts.built.task.id
    pool = _Pool(bench, task, options)
    for shots, seed in options.rounds:
        for template, counts in prompts.templates.items():
            if not counts.asked(shots):
                continue
            for example in _examples(bench, prompts, template, kind):
                key = Key(task, example.id, template, shots, seed)
                if wanted(key):
                    yield Question(key, kind, example, pool.compose(example, shots, seed))


def shortened(prompt: Prompt, dropped_shots: int, cut_characters: int) -> Prompt:
    """The prompt that was asked, from the one that was composed and what a prediction says of it."""
    return replace(
        prompt,
        demonstrations=prompt.demonstrations[dropped_shots:],
        question=prompt.question[cut_characters:],
    )


def turns(prompt: Prompt) -> list[Turn]:
    """A prompt as a conversation: each demonstration a question and its answer, the instructions before the first.

    There is no system turn, since many chat templates refuse one.
    """
    asked = [*prompt.demonstrations, (prompt.question, "")]
    conversation: list[Turn] = []
    before = f"{prompt.description}{prompt.after_description}" if prompt.description else ""
    for question, answer in asked:
        conversation.append(Turn("user", before + question))
        conversation.append(Turn("assistant", answer))
        before = ""
    return conversation[:-1]


class _Pool:
    """A task's demonstrations by template, in the order that a seed or an example wants, and the wording."""

    def __init__(self, bench: Bench, task: str, options: PromptOptions) -> None:
        self._bench, self._task, self._options = bench, task, options
        self._stored: dict[str, list[Example]] | None = None
        self._chosen: dict[tuple[str, int, int | None], Sequence[Example]] = {}
        self._wordings: dict[str, Wording] = {}

    def compose(self, example: Example, shots: int, seed: int | None) -> Prompt:
        """The prompt of one example."""
        options = self._options
        return compose(
            example,
            self._wording(example, shots),
            self._shown(example, shots, seed) if shots else (),
            separator=options.separator,
            explanations=options.explanations,
        )

    def _wording(self, example: Example, shots: int) -> Wording:
        if not shots:
            return draw_wording(self._options.seed, self._task, example.id)
        if example.template not in self._wordings:
            self._wordings[example.template] = draw_wording(self._options.seed, self._task, example.template)
        return self._wordings[example.template]

    def _shown(self, example: Example, shots: int, seed: int | None) -> Sequence[Example]:
        """The nearest to the question first."""
        pool = self._pool(example.template)
        if self._options.demonstrations is Demonstrations.PER_EXAMPLE:
            return self._by_hash(pool, shots, seed or 0, f"{example.id} ")
        which = (example.template, shots, seed)
        if which not in self._chosen:
            self._chosen[which] = pool[:shots] if seed is None else self._by_hash(pool, shots, seed, "")
        return self._chosen[which]

    def _by_hash(self, pool: Sequence[Example], shots: int, seed: int, purpose: str) -> Sequence[Example]:
        def rank(shown: Example) -> tuple[int, str]:
            return choice_hash(seed, self._task, shown.id, f"{purpose}demonstration"), shown.id

        return nsmallest(shots, pool, rank)

    def _pool(self, template: str) -> list[Example]:
        if self._stored is None:
            self._stored = {}
            for shown in self._bench.examples(self._task, Split.DEMONSTRATIONS):
                self._stored.setdefault(shown.template, []).append(shown)
        return self._stored.get(template, [])


def _examples(bench: Bench, prompts: TaskPrompts, template: str, kind: Kind) -> Iterator[Example]:
    """The taken examples of one template and kind, in stored order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from task_registry.schema import to_examples

    metric, taken = prompts.built.task.metric, prompts.taken
    counts = prompts.templates[template]
    if not (counts.options if kind is Kind.OPTIONS else counts.text):
        return
    ids = None if taken is None else pa.array(sorted(taken), pa.string())
    for batch in bench.batches(prompts.built.task.id, Split.TEST):
        mask: Any = pc.equal(batch["template"].cast(pa.string()), template)
        if ids is not None:
            mask = pc.and_(mask, pc.is_in(batch["example_id"], value_set=ids))
        for example in to_examples(batch.filter(mask)):
            if kind_of(metric, bool(example.options)) is kind:
                yield example
