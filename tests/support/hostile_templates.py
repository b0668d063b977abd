# ruff: noqa: E501 (a hostile template is one line)
"""Templates and rows made hostile: escapes from the sandbox, endless work, endless text, broken syntax."""

from __future__ import annotations

from random import Random
from typing import Any

from hostile_bytes import NUMBERS, TEXTS, hostile_value

ESCAPES = (
    "x.__class__", "''.__class__.__mro__[1].__subclasses__()", "x|attr('__class__')", "x['__class__']", "self.__init__",
    "self._TemplateReference__context", "cycler.__init__.__globals__", "range.__self__", "zip.mro()", "dict.fromkeys",
    "namespace.__init__.__globals__", "x.items.__self__.__class__", "'{0.__class__}'.format(x)", "x.format_map(y)",
    "x|map(attribute='__class__')|list", "y|map('attr', '__class__')|list", "y|groupby('__class__')", "x.encode()",
    "(x|string).__add__", "caller()", "loop.__class__", "varargs", "kwargs", "m.__call__.__globals__", "_steps",
    "x|_steps", "x|_pick(-1)", "x|_sliced", "context", "environment", "x|xmlattr", "x|tojson", "x|pprint", "lipsum()",
    "joiner()", "().__class__", "(1).__class__", "(1).real", "1.0.hex()", "x.translate({})", "dict(a=1).__class__",
    "x|map('string')", "self", "self|string", "zip", "range", "m", "ns", "loop", "(x for x in y)",
)  # fmt: skip
"""Expressions that reach for what is none of theirs."""

BOMBS = (
    "range(10**9)|list", "range(10**18)|sum", "'a' * 10**9", "[0] * 10**8", "9**9**9", "10**10**8", "1 << 9",
    "'%1000000000d' % 1", "'%*d' % (10**9, 1)", "'{:>1000000000}'.format(1)", "x|center(10**9)", "x.ljust(10**9)",
    "x|indent(10**8)", "('a' * 10**6).replace('a', 'b' * 10**6)", "('a' * 10**6)|replace('a', 'b' * 10**6)",
    "('a,' * 10**6).split(',')|join('b' * 1000)", "(['a' * 10**6] * 1000)|join", "x|batch(1)|list", "'a'.zfill(10**9)",
    "1.5|round(400000)", "'é' * 10**7", "(y * 1000)|sort|list", "range(10**7)|map('string')|join", "y|sum(start=[])",
    "'a' * 10**7 ~ 'b' * 10**7", "'%s' * 10**6 % x", "'a'.expandtabs(10**9)", "'\\t'.expandtabs(10**9)",
    "'ß' * 10**7|upper", "('a' * 10**7)|title|title|title", "range(10**9, 0, -1)[5:]", "('a' * 10**6)[::-1] * 99",
    "(10**4000)|string", "10**5000", "'a' in 'a' * 10**8", "range(3*10**5)|unique|list", "-(9**99999)", "9.9**999",
    "(9**9999) * (9**9999)", "('ab' * 10**6)|wordcount", "('x ' * 10**6).splitlines()", "y|unique|max",
    "[[[[]]]] * 10**6", "(y,) * 10**6", "2 ** -10**9", "0 ** -1", "(9**99999) // 7", "(9**99999) % 7", "9**99999 > 1",
    "x.count('a' * 10**6)", "('a' * 10**6).find('a' * 10**5 ~ 'b')", "('a' * 10**5 ~ 'b') in ('a' * 10**7)",
)  # fmt: skip
"""Expressions that make much of little."""

STATEMENTS = (
    "{% for i in range(10**9) %}{% endfor %}", "{% for i in range(9999) %}{% for j in range(9999) %}a{% endfor %}{% endfor %}",
    "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}", "{% macro m(a, b=1) %}{{ caller() }}{% endmacro %}",
    "{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% call m(1) %}a{% endcall %}", "{% set ns = namespace(a=[]) %}{% for i in y %}{% set ns.a = ns.a + ns.a + [i] %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace(a='ab') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a|length }}",
    "{% set ns = namespace(a=9) %}{% for i in range(60) %}{% set ns.a = ns.a * ns.a %}{% endfor %}{{ ns.a }}",
    "{% set l = [] %}{% for i in range(40) %}{% do l.append(l) %}{% endfor %}{{ l }}", "{% for i in y recursive %}{{ loop(y) }}{% endfor %}",
    "{% set l = [1] %}{% set _ = l.append(l) %}{{ l }}", "{% set l = [1] %}{% for i in l %}{% set _ = l.append(i) %}{% endfor %}",
    "{% set d = {} %}{% for i in range(99) %}{% set _ = d.update({i: d}) %}{% endfor %}{{ d }}{{ d|length }}",
    "{% include 'x' %}", "{% import 'os' as os %}", "{% extends x %}", "{% from 'a' import b %}", "{% block a %}{{ self.a() }}{% endblock %}",
    "{% block b %}{% for i in range(10**5) %}{{ self.b }}{% endfor %}{% endblock %}", "{% raw %}", "{% endraw %}", "{% if x %}",
    "{% filter replace('a', x) %}a{% endfilter %}", "{% set x %}{{ x }}{% endset %}{{ x }}", "{% autoescape true %}{{ x }}{% endautoescape %}",
    "{% with a = x %}{{ a }}{% endwith %}", "{% for i in x|list|reverse %}{{ loop.index0 }}{{ loop.changed(i) }}{{ loop.cycle(1, 2) }}{% endfor %}",
    "{% for a, b in zip(y, y) %}{{ a }}{% else %}none{% endfor %}", "{# comment", "{{", "}}", "{%", "{%- -%}", "{{ }}", "{% trans %}",
    "{% set l = [1] %}{% set m = [l, l] %}{% for i in range(50) %}{% set _ = l.extend([m.copy()]) %}{% endfor %}{{ l|string|length }}",
    "{% set l = [[]] %}{% for i in range(30) %}{% set _ = l.append([l[-1], l[-1]]) %}{% endfor %}{{ l[-1] == l[-1] }}{{ l|unique|list }}",
    "{% set l = [[]] %}{% for i in range(40) %}{% set _ = l.append([l[-1], l[-1]]) %}{% endfor %}{{ l[-1] == l[-1].copy() + [] }}",
    "{% set l = [[]] %}{% for i in range(40) %}{% set _ = l.append([l[-1], l[-1]]) %}{% endfor %}{{ '%s' % l }}{{ l|sort }}",
    "{% set l = [[]] %}{% for i in range(40) %}{% set _ = l.append([l[-1], l[-1]]) %}{% endfor %}{{ l[-1]|choice }}{{ l|dictsort }}",
)  # fmt: skip
"""Whole statements."""

PLAIN = (
    "x", "y[0]", "y[label]", "y|length", "x|lower", "x.split()", "answer_choices[label]", "z.a.b", "y|join(', ')", "x[1:3]", "y|choice",
    "x ~ y", "x + y", "x * 3", "y|first", "z|dictsort", "x|default('a')", "y|most_frequent", "x if y else z", "x is defined", "label == 1",
    "y.index(x)", "x|replace('a', x)", "z.items()", "x % y", "y|map('upper')|list", "'%s' % x", "y|sort|unique|list", "-label", "x|float",
    "x|int", "label|round(2)", "missing", "y[missing]", "y[9]", "z['a']", "x == y", "x < y", "x in y", "y|max", "y|select('odd')|list",
)  # fmt: skip

SHAPES = (
    "{{{{ {} }}}}", "{{% set v = {} %}}{{{{ v }}}}", "{{% for i in {} %}}{{{{ i }}}}{{% endfor %}}", "{{% if {} %}}a{{% endif %}}",
    "{{{{ ({})|string }}}}", "{{{{ ({})|length }}}}", "{{{{ [{}]|join }}}}", "{{{{ ({}) ~ x }}}}", "{{{{ y[{}] }}}}", "{{{{ {} if x }}}}",
    "{{{{ ({})|replace('a', x) }}}}", "{{{{ ({})|choice }}}}", "{{{{ ({})|first }}}}", "{{{{ ({}) == ({}) }}}}", "{{{{ ({}) + ({}) }}}}",
    "{{{{ ({}) * ({}) }}}}", "{{{{ ({}) % ({}) }}}}", "{{{{ '%s' % ({}) }}}}", "{{{{ ({}).a }}}}", "{{{{ ({})() }}}}",
)  # fmt: skip
"""Where an expression may stand."""

FILTERS = [
    "abs",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
    "wordwrap",
    "xmlattr",
    "choice",
    "most_frequent",
]


def expression(rng: Random) -> str:
    """An expression, now and then through filters."""
    text = rng.choice(rng.choice((ESCAPES, BOMBS, PLAIN, PLAIN)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        argument = rng.choice(("", "", "(1)", "(x)", "(10**6)", "('a', y)", "(attribute='a')"))
        text = f"({text})|{rng.choice(FILTERS)}{argument}"
    return text


def hostile_source(rng: Random) -> str:
    """A template's source: statements and expressions, sometimes nested deeply, sometimes broken."""
    parts = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.random()
        if kind < 0.25:
            parts.append(rng.choice(STATEMENTS))
        elif kind < 0.9:
            shape = rng.choice(SHAPES)
            parts.append(shape.format(*(expression(rng) for _ in range(shape.count("{}")))))
        elif kind < 0.94:
            depth, (before, after) = rng.choice((5, 60, 1_000)), rng.choice(PAIRS)
            parts.append("{{ " + before * depth + "x" + after * depth + " }}")
        else:
            parts.append(rng.choice(TEXTS))
    source = rng.choice((" ", "", "|||")).join(parts)
    if rng.random() < 0.1:
        at = rng.randrange(len(source) + 1)
        source = source[:at] + rng.choice(TEXTS) + source[at + rng.randrange(3) :]
    return source if rng.random() < 0.3 else f"{source} ||| {rng.choice(('a', '{{ x }}', source))}"


PAIRS = (
    ("(", ")"),
    ("[", "]"),
    ("-", ""),
    ("not ", ""),
    ("x + ", ""),
    ("{'a': ", "}"),
    ("x if x else ", ""),
    ("x|upper|", "lower"),
)
"""What can be nested deeply."""


def hostile_fields(rng: Random) -> dict[str, Any]:
    """A row's fields."""
    fields: dict[str, Any] = {
        "x": rng.choice(TEXTS) if rng.random() < 0.5 else "a plain text",
        "y": ["a", "b", "c"] if rng.random() < 0.5 else hostile_value(rng),
        "z": {"a": {"b": "c"}} if rng.random() < 0.5 else hostile_value(rng),
        "label": rng.choice(NUMBERS) if rng.random() < 0.5 else 1,
    }
    if rng.random() < 0.2:
        del fields[rng.choice(list(fields))]
    if rng.random() < 0.1:
        fields[rng.choice((*TEXTS, "self", "range", "answer_choices", "loop", "varargs"))] = hostile_value(
            rng
        )
    return fields


def hostile_template(rng: Random) -> dict[str, Any]:
    """A template's texts and the row that it meets, as JSON has it."""
    template = {"name": rng.choice(("t", *TEXTS[:20])), "input": hostile_source(rng)}
    for part in ("output", "options", "description", "answer", "explanation"):
        if rng.random() < 0.15:
            template[part] = hostile_source(rng)
    return {"template": template, "fields": hostile_fields(rng)}
