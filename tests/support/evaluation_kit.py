"""What tests of the runner need: a small bench of made-up examples, and a toy model that reads characters.

The toy is a real implementation of the protocol, without torch: a token is a character, so that budgets can be
counted by eye; results come late and in an odd order, as they may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from evaluation.models import (
    Finish,
    GenerateRequest,
    Generation,
    ModelOptions,
    ModelRecord,
    OptionsRequest,
    OptionsScore,
    Tokens,
    Turn,
    Work,
)
from task_registry.bench import Bench, Manifest
from task_registry.hashing import hash64
from task_registry.schema import FORMAT_VERSION
from task_registry.shards import write_split
from task_registry.types import Assignment, BuiltTask, EvalSet, Example, Level, Metric, Split, Task
from task_registry.writer import BenchWriter, write_task_record

Item = TypeVar("Item")

BOS = 2


@dataclass(frozen=True)
class ToyTask:
    """A task to put into a bench."""

    id: str
    test: Sequence[Example]
    demonstrations: Sequence[Example] = ()
    metric: Metric = Metric.ROUGE_L
    level: Level | None = Level.FULLY_HELD_OUT
    eval_set: EvalSet | None = EvalSet.TEST
    category: str = "Word Analogy"
    group: str = ""


def make_bench(folder: Path, *tasks: ToyTask, plan: str = "toy", sample: bool = False) -> Bench:
    """Write a bench of made-up tasks, through the real writer, and open it."""
    built = []
    with BenchWriter.open(folder) as writer:
        for task in tasks:
            built.append(_write(writer, task))
        totals = {split: sum(one.counts.get(split, 0) for one in built) for split in Split}
        manifest = Manifest(
            format=FORMAT_VERSION,
            version="0",
            sample=sample,
            seed=0,
            cap=None,
            plan=plan,
            plan_digest="",
            leakage="off",
            review_digest="",
            selection={},
            sources={},
            tasks=len(built),
            examples=totals,
        )
        writer.finish(built, manifest)
    return Bench.open(folder)


def _write(writer: BenchWriter, task: ToyTask) -> BuiltTask:
    counts, digests = {}, {}
    parts = {Split.DEMONSTRATIONS: task.demonstrations, Split.TEST: task.test}
    for split, examples in parts.items():
        summary = write_split(writer.building_folder(task.id) / split, task.id, split, examples)
        if summary is not None:
            counts[split], digests[split] = summary.count, summary.digest
    templates = tuple(dict.fromkeys(example.template for example in task.test))
    built = BuiltTask(
        task=Task(task.id, task.category, task.metric, group=task.group),
        assignment=Assignment(task.level, task.eval_set, task.level is None, "a toy"),
        counts=counts,
        digests=digests,
        templates=templates,
    )
    writer.building_folder(task.id).mkdir(parents=True, exist_ok=True)
    write_task_record(writer.building_folder(task.id), built)
    writer.publish(task.id)
    return built


def numbered(
    count: int,
    *,
    prefix: str = "e",
    templates: Sequence[str] = ("",),
    options: Sequence[str] = (),
    description: str = "",
) -> list[Example]:
    """So many examples, each under every template; with options the first of them is right."""
    return [
        Example(
            id=f"{prefix}{number}",
            input=f"{template}What follows {prefix}{number}?",
            references=(options[0] if options else f"{prefix}{number + 1}",),
            description=description,
            options=tuple(options),
            explanation=f"One more than {number}.",
            template=template,
        )
        for number in range(count)
        for template in templates
    ]


class ToyTokenizer:
    """One token a character."""

    bos = (BOS,)

    def __init__(self, chat: bool = False) -> None:
        self.characters = 0
        """How many have been counted or encoded."""
        self._chat = chat

    def encode(self, text: str) -> list[int]:
        """The characters' code points."""
        self.characters += len(text)
        return [ord(character) for character in text]

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self.encode(text)) for text in texts]

    def last(self, text: str, tokens: int) -> str:
        return text[-tokens:]

    def chat(self, turns: Sequence[Turn]) -> str:
        from task_registry.errors import ModelError

        if not self._chat:
            raise ModelError("the tokenizer has no chat template")
        return "".join(f"<{turn.role}>{turn.text}" for turn in turns) + "<assistant>"

    def options(
        self, prompts: Sequence[tuple[str, Sequence[str]]], *, chat: bool = False
    ) -> list[OptionsRequest]:
        join = "" if chat else " "
        return [
            OptionsRequest(
                self._ids(prompt.rstrip(" ")),
                tuple(np.asarray(self.encode(join + option), np.int32) for option in options),
                tuple(len(join + option) for option in options),
                merged=sum(option.startswith("~") for option in options),
            )
            for prompt, options in prompts
        ]

    def prompts(
        self,
        prompts: Sequence[str],
        max_new_tokens: int = 256,
        stop: Sequence[str] = (),
        *,
        chat: bool = False,
    ) -> list[GenerateRequest]:
        return [GenerateRequest(self._ids(p.rstrip(" ")), max_new_tokens, tuple(stop)) for p in prompts]

    def decode(self, tokens: Tokens) -> str:
        return "".join(chr(token) for token in tokens if token != BOS)

    def _ids(self, text: str) -> Tokens:
        return np.asarray([BOS, *self.encode(text)], np.int32)


Likelihood = Callable[[str, str], float]
"""From a prompt and an option to the sum of log-likelihoods."""


def by_hash(prompt: str, option: str) -> float:
    """A likelihood that looks random and depends on nothing but the texts."""
    return -1.0 - hash64(prompt, option) % 1000 / 100


@dataclass
class ToyModel:
    """Answers as it is told, in windows, each window backwards."""

    likelihood: Likelihood = by_hash
    answer: Callable[[str], str] = lambda prompt: prompt[-20:]
    max_length: int = 2_000
    window: int = 5
    noise: float = 1e-6
    tokenizer: ToyTokenizer = field(default_factory=ToyTokenizer)
    asked: list[str] = field(default_factory=list)
    """Every prompt, in the order in which it was read."""

    @property
    def work(self) -> Work:
        return Work(passes=len(self.asked))

    def describe(self) -> ModelRecord:
        return ModelRecord(
            name="toy",
            revision="",
            architecture="Toy",
            parameters=1,
            weights_bytes=4,
            weights_digest="d1",
            dtype="float32",
            device="cpu",
            max_length=self.max_length,
            vocabulary=0x110000,
            bos=(BOS,),
            eos=(3,),
            path="shared",
            path_reason="",
            row_tokens=256,
            noise=self.noise,
            cache_bytes=1,
            attention="none",
            torch="0",
            transformers="0",
        )

    def score_options(self, requests: Iterable[OptionsRequest]) -> Iterator[tuple[int, OptionsScore]]:
        for number, request in self._backwards(requests):
            assert request.longest <= self.max_length
            prompt = self.tokenizer.decode(request.context)
            self.asked.append(prompt)
            options = [self.tokenizer.decode(branch).removeprefix(" ") for branch in request.branches]
            sums = tuple(self.likelihood(prompt, option) for option in options)
            yield number, OptionsScore(sums, request.scored)

    def generate(self, requests: Iterable[GenerateRequest]) -> Iterator[tuple[int, Generation]]:
        for number, request in self._backwards(requests):
            assert len(request.prompt) + request.max_new_tokens <= self.max_length
            prompt = self.tokenizer.decode(request.prompt)
            self.asked.append(prompt)
            text = self.answer(prompt)
            cut = len(text) > request.max_new_tokens
            text = text[: request.max_new_tokens]
            yield number, Generation(text, Finish.LENGTH if cut else Finish.EOS, len(text))

    def _backwards(self, requests: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        iterator = enumerate(requests)
        while window := list(islice(iterator, self.window)):
            yield from reversed(window)


OPTIONS = ModelOptions("toy")
