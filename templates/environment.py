"""The one Jinja environment: strict, sandboxed, and unable to run away.

Templates are third-party input. What they may use stands here: the filters, and the methods of strings and
containers. What they may cost is in `templates.budget`; Jinja's own operations get their price by a change of
the template's tree before it is compiled.

Upstream's environment (PromptSource, promptsource/templates.py) is Jinja's default one with the global `zip`
and the filters `choice` and `most_frequent`. Ours renders the same text, but for three things: a field that
the row lacks is an error and not empty text (an element that a list of the row lacks stays empty text), an
answer is never picked by a -1 or null, and a choice is drawn by hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from jinja2 import StrictUndefined, nodes, pass_context, pass_environment
from jinja2.environment import Template as JinjaTemplate
from jinja2.filters import FILTERS
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from templates.budget import (
    MAX_BITS,
    MAX_DIGITS,
    MAX_TEXT,
    STEP,
    Budget,
    OverBudgetError,
    add,
    multiply,
    percent,
    power,
    too_long,
    weigh,
)


class NotApplicableError(Exception):
    """A template that does not apply to the row: it picks by a -1 or null, or draws from nothing."""


class RenderContext(Context):
    """Jinja's context with the rendering's budget."""

    budget: Budget


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


PLAIN_FILTERS = _names(
    "abs count d default float items length map max min reject rejectattr select selectattr"
)
"""Jinja's filters that cost little; those that are in no list could make much of little."""
TEXT_FILTERS = _names("capitalize lower string title trim upper wordcount")

METHODS: Mapping[type, frozenset[str]] = {
    str: _names(
        "capitalize casefold count endswith find index isalnum isalpha isdigit islower isnumeric isspace"
        " istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex"
        " rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"
    ),
    list: _names("append clear copy count extend index insert pop remove reverse sort"),
    dict: _names("clear copy get items keys pop popitem setdefault update values"),
    tuple: _names("count index"),
}
"""The methods of a row's values that a template may call; others, such as `str.format`, are refused."""

OPERATORS = {"+": add, "*": multiply, "**": power, "%": percent}
"""The operators that could make much of little, paid for."""


def most_frequent(items: Sequence[Any]) -> list[Any] | None:
    """Upstream's filter: the items that occur most often, in order of first appearance."""
    if not items:
        return None
    counts = Counter(items)
    highest = max(counts.values())
    return [item for item, count in counts.items() if count == highest]


@pass_context
def choice(context: RenderContext, items: Iterable[Any]) -> Any:
    """Upstream's filter, which draws from Python's global random state; here by hash of the row."""
    items = list(items)
    if not items:
        raise NotApplicableError("a choice from nothing")
    return items[context.budget.draw(len(items))]


def first(items: Iterable[Any]) -> Any:
    """Jinja's filter, but the first of nothing is empty text, as it is upstream."""
    return next(iter(items), Undefined("no first item of nothing"))


def last(items: Sequence[Any]) -> Any:
    """Jinja's filter, but the last of nothing is empty text, as it is upstream."""
    return next(reversed(items), Undefined("no last item of nothing"))


def rounded(value: float, precision: int = 0, method: Any = "common") -> float:
    """Jinja's filter `round`, to a sensible precision."""
    if abs(precision) > MAX_DIGITS:
        raise OverBudgetError(f"the precision {precision} (at most {MAX_DIGITS})")
    result: float = FILTERS["round"](value, precision, method)
    return result


def whole(value: Any, default: int = 0, base: int = 10) -> int:
    """Jinja's filter `int`, of a text of sensible length."""
    if isinstance(value, str) and len(value) > MAX_BITS // 4:
        raise OverBudgetError(f"a number of {len(value):,} digits (at most {MAX_BITS // 4:,})")
    result: int = FILTERS["int"](value, default, base)
    return result


@pass_context
def weighed(context: RenderContext, value: Any) -> Any:
    """Pay for a container that is made or compared."""
    if isinstance(value, (list, tuple, dict)):
        weigh(context.budget, value)
    return value


@pass_context
def steps(context: RenderContext, items: Iterable[Any]) -> Iterator[Any]:
    """Pay for each step of a loop."""
    budget = context.budget
    for item in items:
        budget.spend(STEP)
        yield item


@pass_environment
def pick(environment: GuardedEnvironment, items: Any, index: Any) -> Any:
    """Look up an index that the row gives: -1 and null stand for a hidden label, not for the last item."""
    if isinstance(index, StrictUndefined):
        str(index)  # raises: the row lacks the field
    if index is None or type(index) is Undefined or (type(index) is int and index < 0):
        raise NotApplicableError(f"an item picked by {index!r}")
    return environment.getitem(items, index)


@pass_context
def sliced(context: RenderContext, value: Any) -> Any:
    """Pay for a slice, which is a copy."""
    context.budget.spend(len(value) if type(value) is str else STEP * len(value))
    return value


@pass_context
def joined(context: RenderContext, items: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    """Jinja's filter `join`, paid for in advance."""
    if attribute is not None:
        items = context.environment.call_filter("map", items, None, {"attribute": attribute}, context)
    texts = [item if type(item) is str else text_of(context, item) for item in items]
    context.budget.ask(sum(map(len, texts)) + len(d) * len(texts))
    return d.join(texts)


@pass_context
def replaced(context: RenderContext, text: Any, old: Any, new: Any, count: int | None = None) -> str:
    """Jinja's filter `replace`, paid for in advance."""
    whole, before, after = text_of(context, text), text_of(context, old), text_of(context, new)
    if len(whole) * len(after) > MAX_TEXT:
        context.budget.ask(len(whole) + whole.count(before) * len(after))
    return whole.replace(before, after, -1 if count is None else count)


@pass_context
def formatted(context: RenderContext, pattern: Any, *args: Any, **kwargs: Any) -> str:
    """Jinja's filter `format`, paid for."""
    return str(percent(context.budget, text_of(context, pattern), kwargs or args))


def text_of(context: RenderContext, value: Any) -> str:
    """A value's text, paid for."""
    if type(value) is str:
        context.budget.spend(len(value))
        return value
    if isinstance(value, (list, tuple, dict)):
        weigh(context.budget, value)
    text = str(value)
    context.budget.ask(len(text))
    return text


@pass_context
def put_out(context: RenderContext, value: Any) -> Any:
    """Pay for a value that a template puts out; the whole text's length is checked when it is joined."""
    if type(value) is str:
        context.budget.spend(len(value))
        return value
    return text_of(context, value) if isinstance(value, (list, tuple, dict)) else value


def _text_filter(name: str) -> Callable[..., Any]:
    """Jinja's filter of that name, paid for by its text."""
    function = FILTERS[name]

    @pass_context
    def filter_(context: RenderContext, value: Any, *args: Any, **kwargs: Any) -> Any:
        return function(text_of(context, value), *args, **kwargs)

    return filter_


def _list_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that makes a list, paid for by its elements."""

    @pass_context
    def filter_(context: RenderContext, value: Any, *args: Any, **kwargs: Any) -> Any:
        made = function(value, *args, **kwargs)
        items = made if isinstance(made, (list, str)) else list(made)
        context.budget.spend(STEP * len(items))
        return items

    return filter_


@pass_context
def paid_range(context: RenderContext, *bounds: int) -> range:
    """Python's range, paid for by its length: a filter may run through it without a loop."""
    numbers = range(*bounds)
    context.budget.spend(STEP * len(numbers))
    return numbers


class GuardedEnvironment(SandboxedEnvironment):
    """The environment; `ENVIRONMENT` is its only instance."""

    context_class = RenderContext
    intercepted_binops = frozenset(OPERATORS)

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, finalize=put_out, cache_size=0)
        self.filters = {name: FILTERS[name] for name in PLAIN_FILTERS}
        lists = {"list": list, "dictsort": FILTERS["dictsort"], "reverse": FILTERS["reverse"]}
        lists |= {name: partial(FILTERS[name], self) for name in ("sort", "unique")}
        self.filters |= {name: _list_filter(function) for name, function in lists.items()}
        self.filters |= {name: _text_filter(name) for name in TEXT_FILTERS}
        self.filters |= {"join": joined, "replace": replaced, "format": formatted, "round": rounded}
        self.filters |= {"int": whole, "_weighed": weighed}
        self.filters |= {"choice": choice, "random": choice, "most_frequent": most_frequent}
        self.filters |= {"first": first, "last": last, "_steps": steps, "_pick": pick, "_sliced": sliced}
        self.globals = {"range": paid_range, "dict": dict, "namespace": Namespace, "zip": zip}

    def compile_tree(self, tree: nodes.Template, name: str, fields: frozenset[str]) -> JinjaTemplate:
        """Compile a template's tree, which is changed; `fields` are the row's that it uses.

        Raises jinja2.TemplateError where it makes no sense.
        """
        tree = _Pricing(fields).visit(tree)
        return JinjaTemplate.from_code(self, self.compile(tree, name, f"<template {name}>"), self.globals)

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join what a template, block or macro puts out."""
        parts = list(parts)
        length = sum(map(len, parts))
        if length > MAX_TEXT:
            raise too_long(length)
        return "".join(parts)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look an element up; one that a list or a null field lacks is empty text, as it is upstream."""
        try:
            return obj[argument]
        except IndexError:
            return Undefined(obj=obj, name=str(argument))
        except (LookupError, TypeError):
            if obj is None:
                return Undefined(obj=obj, name=str(argument))
        if type(argument) is str:
            return self.getattr(obj, argument)
        # The text of an index that is undefined itself raises, and says what it lacks.
        return self.undefined(obj=obj, name=str(argument))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look a method or field up; a part of a null field is empty text, as it is upstream.

        Of a row's values, methods that are not listed are refused, as are private names of anything.
        """
        methods = METHODS.get(type(obj))
        if methods is None:
            return Undefined(obj=obj, name=attribute) if obj is None else super().getattr(obj, attribute)
        if attribute in methods:
            return getattr(obj, attribute)
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        if hasattr(obj, attribute):
            return self.unsafe_undefined(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse private names, and all of classes and numbers."""
        return not isinstance(obj, (int, float, type)) and super().is_safe_attribute(obj, attr, value)

    def call(self, context: RenderContext, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Call something from a template, paid for."""
        budget = context.budget
        owner: Any = getattr(obj, "__self__", None)
        if type(owner) not in METHODS:
            budget.spend(10 * STEP)
            result = super().call(context, obj, *args, **kwargs)
            if type(result) is str:
                budget.ask(len(result))
            return result
        # A method that `getattr` has let pass. Jinja means these two keywords for functions of its own.
        budget.spend(STEP)
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        name = obj.__name__
        if name == "index" and args[0] in ("", None) and (type(owner) is str or args[0] not in owner):
            raise NotApplicableError(f"the place of {args[0]!r}")
        if type(owner) is str:
            if name == "replace":
                return replaced(context, owner, *args)
            if name == "join":
                return joined(context, args[0], owner)
            budget.spend(len(owner))
        elif name == "extend":
            args = tuple([list(items) for items in args])
        if type(owner) is not str:
            for value in (*args, *kwargs.values()):
                weighed(context, value)
        result = obj(*args, **kwargs)
        if type(result) is list:
            budget.spend(STEP * len(result))
        return result

    def call_binop(self, context: RenderContext, operator: str, left: Any, right: Any) -> Any:  # type: ignore[override]
        """Add, multiply, raise or format, paid for in advance."""
        context.budget.spend(STEP)
        return OPERATORS[operator](context.budget, left, right)


class _Pricing(NodeTransformer):
    """Put prices into a template's tree where Jinja's own operations would be free."""

    def __init__(self, fields: frozenset[str]) -> None:
        self.fields = fields

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _filter("_steps", node.iter)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        sides: list[Any] = [node, *node.ops]
        for side in sides:
            if not isinstance(side.expr, nodes.Const):
                side.expr = _filter("_weighed", side.expr)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return (
            node if all(isinstance(item, nodes.Const) for item in node.items) else _filter("_weighed", node)
        )

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        constant = all(isinstance(item, nodes.Const) for item in node.items)
        return node if constant or node.ctx != "load" else _filter("_weighed", node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter("_weighed", node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter("join", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            return _filter("_sliced", node)
        return _filter("_pick", node.node, node.arg) if self._of_the_row(node.arg) else node

    def _of_the_row(self, index: nodes.Node) -> bool:
        """Whether an index is a field of the row or a part of one, rather than computed."""
        while isinstance(index, (nodes.Getattr, nodes.Getitem, nodes.Filter)) and index.node is not None:
            index = index.node
        return isinstance(index, nodes.Name) and index.name in self.fields


def _filter(name: str, value: Any, *args: Any) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)


ENVIRONMENT = GuardedEnvironment()
