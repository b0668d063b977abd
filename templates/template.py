"""A template: named Jinja sources that turn a row's fields into an example's texts.

Compiled once and kept; a row then costs some microseconds. The separator `|||` is upstream PromptSource's:
what stands before it is the input, what stands after it the output. It is the template's own `|||` that
counts, in its text and in its string constants, never a row's, however deep in a list it may stand. (Upstream
protects only a row's top-level strings, and splits in the midst of a nested one.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import TemplateError, TemplateSyntaxError, meta, nodes

from task_registry.errors import InputError, Place, quote
from templates.budget import Budget, OverBudgetError
from templates.dependence import answer_fields, changes_rows
from templates.environment import ENVIRONMENT, NotApplicableError, RenderContext

SEPARATOR = "|||"
MARK = "\ufdd0|\ufdd1"
"""Stands for the template's own separator; Unicode keeps both characters for such use: they are never text."""

LABEL_NAMES = frozenset(("label", "answer", "answerKey", "gold_label"))
"""Fields of these names are labels, and hidden where they are empty, even if the answer has other parts too."""

FAULTS = (
    TemplateError, OverBudgetError, ArithmeticError, AttributeError, LookupError, MemoryError, NameError,
    RecursionError, SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""What a template or a row can raise in a rendering; anything else is a fault of ours."""


@dataclass(frozen=True, slots=True)
class Template:
    """One way to word a task. Every field but the name is Jinja2 source."""

    name: str
    input: str
    """The example's own text; where `output` is empty it holds the output too, after `|||`."""
    output: str = ""
    options: str = ""
    """Renders to the candidates, joined by ` ||| `; the other sources see them as the list `answer_choices`."""
    description: str = ""
    answer: str = ""
    explanation: str = ""


class Rendered(NamedTuple):
    """What a row becomes; every text is stripped."""

    input: str
    output: str
    options: tuple[str, ...] = ()
    description: str = ""
    answer: str | None = None
    explanation: str | None = None


class CompiledTemplate:
    """A template, ready to render rows; made by `compile_template`."""

    def __init__(self, template: Template, place: Place | Path | str) -> None:
        self.name = template.name
        body = f"{template.input}{SEPARATOR}{template.output}" if template.output else template.input
        budget = Budget(str)
        self._body = _Part(body, template.name, place, budget)
        self._options, *self._extras = (
            _Part(source, template.name, place, budget) if source else None
            for source in (template.options, template.description, template.answer, template.explanation)
        )
        parts = [part for part in (self._body, self._options, *self._extras) if part]
        self._changes_rows = any(part.changes_rows for part in parts)
        self._has_extras = any(self._extras)
        self.answer_fields = self._body.answer_fields
        """The row's fields on which the output depends."""

    def render(self, fields: Mapping[str, Any], place: Place | Path | str) -> Rendered | None:
        """Render a row; None where the template does not apply to it: no output, or nothing to choose from.

        `place` is the row's, for errors. Raises InputError, which names the row and the template, where a
        field is missing, an operation fails or is not allowed, or the rendering does not come to an end.
        The draws of `choice` depend on the template's name and on the row's content alone.
        """
        values = copy.deepcopy(dict(fields)) if self._changes_rows else dict(fields)
        budget = Budget(lambda: f"{self.name}\0{sorted(fields.items())!r}")
        options: tuple[str, ...] = ()
        try:
            if self._options:
                options = self._options.render(values, budget)
                values["answer_choices"] = list(options)
            else:
                values["answer_choices"] = None
            parts = self._body.render(values, budget)
            if len(parts) != 2 or not parts[1]:
                return None
            if not self._has_extras:
                return Rendered(*parts, options) if parts[0] else None
            extras = [SEPARATOR.join(part.render(values, budget)) if part else "" for part in self._extras]
        except NotApplicableError:
            return None
        except FAULTS as error:
            raise _not_rendered(error, template_place(place, self.name), fields) from error
        if not (parts[0] or extras[0]):
            return None
        return Rendered(*parts, options, extras[0], extras[1] or None, extras[2] or None)

    def hides_answer(self, fields: Mapping[str, Any]) -> bool:
        """Whether a field behind the output is hidden, as in files without labels: -1, null or empty text.

        Empty text counts only where the output depends on nothing else, or the field's name says label.
        """
        for name in self.answer_fields:
            value = fields.get(name, ...)
            if value is None or (type(value) in (int, float) and value == -1):
                return True
            if value == "" and (name in LABEL_NAMES or len(self.answer_fields) == 1):
                return True
        return False


def compile_template(template: Template, place: Place | Path | str) -> CompiledTemplate:
    """Compile a template; raises InputError at `place`, its file, where its syntax is wrong."""
    return CompiledTemplate(template, place)


def template_place(place: Place | Path | str, name: str) -> Place:
    """The place of a template in its file, or of a row that it meets."""
    if not isinstance(place, Place):
        place = Place(Path(place))
    return Place(place.path, f"{place.record}, template {name!r}" if place.record else f"template {name!r}")


class _Part:
    """One compiled source; one that uses no field is rendered only once."""

    __slots__ = ("_blocks", "_constant", "_root", "answer_fields", "changes_rows")

    def __init__(self, source: str, name: str, place: Place | Path | str, budget: Budget) -> None:
        marked = source.replace(SEPARATOR, MARK)
        try:
            tree = ENVIRONMENT.parse(marked, name)
            fields = frozenset(meta.find_undeclared_variables(tree))
            self.answer_fields = answer_fields(tree, MARK, fields) - {"answer_choices"}
            self.changes_rows = changes_rows(tree)
            varies = bool(fields) or any(
                filter_.name in ("choice", "random") for filter_ in tree.find_all(nodes.Filter)
            )
            compiled = ENVIRONMENT.compile_tree(tree, name, fields)
            self._root, self._blocks = compiled.root_render_func, compiled.blocks
            self._constant: tuple[str, ...] | None = None
            if not varies:
                self._constant = self.render({}, budget)
        except FAULTS as error:
            line = f" in line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
            found = f"{_one_line(error)}{line} of {quote(source)}"
            raise InputError(template_place(place, name), found, "a Jinja template", "mend it") from error

    def render(self, values: dict[str, Any], budget: Budget) -> tuple[str, ...]:
        """The stripped texts between the separators."""
        if self._constant is not None:
            return self._constant
        context = RenderContext(ENVIRONMENT, {**ENVIRONMENT.globals, **values}, None, self._blocks)
        context.budget = budget
        text = ENVIRONMENT.concat(self._root(context))
        return tuple([part.strip() for part in text.split(MARK)])


def _not_rendered(error: Exception, place: Place, fields: Mapping[str, Any]) -> InputError:
    kind = "" if isinstance(error, (TemplateError, OverBudgetError)) else f"{type(error).__name__}: "
    expected = f"a template for a row with the fields {', '.join(fields)}"
    return InputError(place, f"{kind}{_one_line(error)}", expected, "mend the row or the template")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
