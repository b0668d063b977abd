"""Every command that README and `docs/` show has the options that they give it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

TOP = Path(__file__).parent.parent
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


def commands(page: Path, program: str) -> list[list[str]]:
    """The words behind a program's name, wherever a line of a code block or a code span begins with it."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [
        shlex.split(line, comments=True)[1:]
        for line in (*lines, *spans)
        if line.startswith(f"{program} ") and "…" not in line
    ]


def check(cli: click.Command, words: list[str]) -> None:
    """Every option in a command's words is one of that command's, and takes the value that follows it."""
    assert isinstance(cli, click.Group)
    assert words[0] in cli.commands, f"no command {words[0]}"
    known = {name: option for option in cli.commands[words[0]].params for name in option.opts}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if not name.startswith("-"):
            continue
        assert name in {*known, "--help"}, f"{words[0]} has no option {name}"
        option = known.get(name)
        if isinstance(option, click.Option) and isinstance(option.type, click.Choice) and not option.is_flag:
            assert (value or following) in option.type.choices


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    from optiml_bench.cli import cli

    found = commands(page, "optiml-bench")
    assert found
    for words in found:
        check(cli, words)


def test_the_commands_of_ray_exist() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts", reason="ray is not installed")
    found = commands(TOP / "docs" / "cluster.md", "ray")
    assert len(found) >= 3
    for words in found:
        check(scripts.cli, words)


def test_an_option_that_does_not_exist_is_noticed(tmp_path: Path) -> None:
    from optiml_bench.cli import cli

    page = tmp_path / "page.md"
    spans = "`optiml-bench eval --engine rai` or `optiml-bench evil`"
    page.write_text(f"```\noptiml-bench eval --engin ray\n```\nor {spans}")
    for words, wrong in zip(commands(page, "optiml-bench"), ("--engin", "rai", "evil"), strict=True):
        with pytest.raises(AssertionError, match=wrong):
            check(cli, words)
