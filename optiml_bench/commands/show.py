"""`optiml-bench show`: everything that is known of one task."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from optiml_bench.commands.benches import PLACES, opened
from optiml_bench.commands.prompting import prompt_options, record

if TYPE_CHECKING:
    from evaluation.fitting import Fitter
    from evaluation.models import Tokenizer
    from evaluation.requests import Question
    from task_registry.types import Assignment, Task


@click.command()
@click.argument("task")
@click.option("--data", help=f"A bench ({PLACES}): show the task as it was built, with examples.")
@click.option(
    "--examples", type=click.IntRange(min=0), default=2, show_default=True, help="Examples of each split."
)
@click.option("--plan", default="optiml", show_default=True, help="Split plan that gives the level.")
@click.option("--shots", type=click.IntRange(min=0), help="Show prompts with so many demonstrations instead.")
@prompt_options
@click.option("--model", help="Fit the prompts to this model's context; its weights are not loaded.")
@click.option("--revision", help="Branch, tag or commit of the model on the Hub.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that the model's repository brings.")
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Longest output."
)
@click.option("--tokens", is_flag=True, help="Show the token ids that the model is given.")
def show(
    task: str,
    data: str | None,
    examples: int,
    plan: str,
    shots: int | None,
    model: str | None,
    tokens: bool,
    **chosen: Any,
) -> None:
    """Show what is known of a task: where it comes from, its level and why, and what is assumed.

    With --shots, its prompts as `eval` asks them with the same options, to the letter.

    \b
    Examples:
      optiml-bench show superni/task1393_superglue_copa_text_completion
      optiml-bench show superni/sample_pairs --data data/
      optiml-bench show superni/sample_pairs --data data/ --shots 5 --model facebook/opt-1.3b --tokens
    """  # fmt: skip
    if shots is not None:
        _show_prompts(task, data, examples, model, tokens, chosen | {"shots": (shots,)})
        return
    if data is not None:
        _show_built(data, task, examples)
        return
    from task_registry.catalogue import load_catalogue
    from task_registry.plans import load_plan
    from task_registry.splits import assign

    found = load_catalogue().task(task)
    _say_facts(found, assign(load_plan(plan), [found])[found.id])


def _show_built(data: str, name: str, examples: int) -> None:
    from itertools import islice

    bench = opened(data, sources=[name.partition("/")[0]])
    built = bench.task(name)
    _say_facts(built.task, built.assignment)
    _say("templates", ", ".join(filter(None, built.templates)))
    _say("scored from", built.scored_from)
    _say("native files", built.origin.replace("|", ", "))
    _say("examples", ", ".join(f"{count:,} {split}" for split, count in built.counts.items()))
    _say("left out", ", ".join(f"{count:,} {rule}" for rule, count in built.dropped.items()))
    for split in built.counts:
        for example in islice(bench.examples(name, split), examples):
            click.echo(
                f"\n--- {split}: {example.id} {f'({example.template})' if example.template else ''}".rstrip()
            )
            for label in ("description", "input", "references", "options", "answer", "explanation"):
                value = getattr(example, label)
                _say(label, " | ".join(value) if isinstance(value, tuple) else value or "")


def _show_prompts(
    task: str, data: str | None, count: int, model: str | None, tokens: bool, chosen: dict[str, Any]
) -> None:
    """Print a task's first prompts as they are asked, each with what its answer is compared with."""
    from itertools import islice

    from evaluation.fitting import Fitter
    from evaluation.models import ModelOptions, load_tokenizer
    from evaluation.predictions import Kind
    from evaluation.requests import PromptOptions, questions, survey
    from task_registry.errors import UsageError

    if data is None:
        raise UsageError("--shots needs the bench with the examples: --data")
    if model is None and (tokens or chosen["chat_template"]):
        raise UsageError("--tokens and --chat-template need the model whose they are: --model")
    bench, options = opened(data, sources=[task.partition("/")[0]]), record(PromptOptions, chosen)
    surveyed = survey(bench, bench.task(task), options)
    asked = [q for kind in Kind for q in islice(questions(bench, surveyed, options, kind), count)][:count]
    if not asked:
        raise UsageError(
            f"{task}: no prompt at {options.shots[0]} shots: nothing to score, or nothing to show"
        )
    tokenizer, max_length = (
        (None, 0) if model is None else load_tokenizer(record(ModelOptions, chosen | {"name": model}))
    )
    fitting = Fitter(tokenizer, max_length, options) if tokenizer else None
    for question in asked:
        key, example = question.key, question.example
        click.echo(f"--- {key.example_id} {f'({key.template})' if key.template else ''}".rstrip())
        if tokenizer and fitting:
            _show_fitted(fitting, question, tokenizer, tokens)
        else:
            click.echo(question.prompt.text)
        label = "to score" if question.kind is Kind.OPTIONS else "expected"
        click.echo(f"--- {label}: {' | '.join(example.options or example.references)}\n")


def _show_fitted(fitting: Fitter, question: Question, tokenizer: Tokenizer, tokens: bool) -> None:
    from evaluation.fitting import Skipped

    (one,) = fitting.fit([question])
    if isinstance(one, Skipped):
        click.echo(f"(not asked: {one.reason})")
        return
    click.echo(fitting.text(one.prompt))
    if one.dropped_shots or one.cut_characters:
        click.echo(
            f"(without {one.dropped_shots} demonstrations and {one.cut_characters} characters in front)"
        )
    if tokens:
        for label, ids in one.tokens():
            click.echo(f"{label} {' '.join(map(str, ids))}")
            click.echo(f"  {tokenizer.decode(ids)!r}")


def _say_facts(task: Task, assignment: Assignment) -> None:
    from task_registry.types import EvalSet

    role = assignment.level or ("train" if assignment.trained else "not trained on, not evaluated")
    where = f" ({assignment.eval_set} set)" if isinstance(assignment.eval_set, EvalSet) else ""
    click.echo(task.id)
    _say("category", f"{task.category} [{task.category_origin}]")
    _say("level", f"{role}{where}")
    _say("decided", assignment.reason)
    _say("known of it", task.level_origin)
    _say("metric", f"{task.metric} [{task.metric_origin}]")
    _say("answers", task.answer_type)
    _say("averaged as", task.group)
    _say("in OPT-IML", " - ".join(filter(None, (task.in_optiml, task.in_optiml_reason))))
    _say("data source", task.data_source)
    for label in ("skills", "domains", "input_languages", "output_languages"):
        _say(label.replace("_", " "), ", ".join(getattr(task, label)))
    _say("licence", task.licence or "unknown")
    _say("url", task.url)
    _say(
        "hub",
        " ".join(
            filter(None, (task.hub_id, task.hub_mirror and f"(mirror {task.hub_mirror})", task.hub_note))
        ),
    )
    _say("upstream size", f"{task.n_examples:,} examples" if task.n_examples else "")
    _say("notes", task.notes)


def _say(label: str, text: str) -> None:
    if text:
        head = f"  {label:<17} "
        for line in text.splitlines() or [""]:
            click.echo(
                textwrap.fill(
                    line, 108, initial_indent=head, subsequent_indent=" " * 20, break_on_hyphens=False
                )
            )
            head = " " * 20
