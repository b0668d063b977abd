"""README's figures and transcripts are computed: this fails when they drift, `python tests/test_readme.py` mends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
README = TOP / "README.md"


def counts() -> str:
    """The catalogue's size, by source."""
    from task_registry.catalogue import load_catalogue

    catalogue = load_catalogue()
    all_, in_optiml, table1 = Counter[str](), Counter[str](), catalogue.table1
    for task in catalogue.tasks.values():
        all_[task.source] += 1
        in_optiml[task.source] += task.in_optiml in ("yes", "likely")
    lines = [
        f"{len(catalogue.tasks):,} tasks of {len(all_)} sources in {len(catalogue.categories)} categories, "
        f"{sum(in_optiml.values()):,} of them in OPT-IML as far as the paper lets one know:",
        "",
        "| source | tasks | in OPT-IML | paper's Table 1 |",
        "|---|---|---|---|",
    ]
    for name, facts in catalogue.sources.items():
        lines.append(
            f"| {facts.title} (`{name}`) | {all_[name]:,} | {in_optiml[name]:,} | {table1[name].tasks:,} |"
        )
    return "\n".join(lines)


def sample() -> str:
    """What building the embedded sample prints, without its time."""
    with tempfile.TemporaryDirectory() as folder:
        out = subprocess.run(
            [sys.executable, "-m", "optiml_bench", "build", "--sample", "--out", f"{folder}/data/"],
            cwd=TOP, capture_output=True, text=True, check=True,
        ).stdout.replace(f"{folder}/", "")  # fmt: skip
    out = "\n".join(line.rstrip() for line in out.splitlines())
    return f"```\n{re.sub(r'in [0-9.]+ s', 'in 1 s', out)}\n```"


def evaluation() -> str:
    """What evaluating the built-in model on the sample prints, as `make bench` does, without its times."""
    steps = re.findall(
        r"^\t\$\(BIN\)/optiml-bench (build|eval) (.*)$", (TOP / "Makefile").read_text(), re.MULTILINE
    )
    assert [command for command, _ in steps] == ["build", "eval"]
    with tempfile.TemporaryDirectory() as folder:
        for command, arguments in steps:
            out = subprocess.run(
                [sys.executable, "-m", "optiml_bench", command, *arguments.split()],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(TOP)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
    lines = [line.rstrip() for line in out.splitlines()]
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("level")) :]
    return "\n".join(["```", *table, "```"])


BLOCKS = {"counts": counts, "sample": sample, "eval": evaluation}


def block(text: str, name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    assert found, f"README.md has no block {name}"
    return found[1]


@pytest.mark.parametrize("name", BLOCKS)
def test_readme_says_what_is_so(name: str) -> None:
    said, found = block(README.read_text(encoding="utf-8"), name), BLOCKS[name]()
    if name == "eval":
        # Another processor rounds otherwise, and a model of random weights then writes other words.
        said, found = (re.sub(r"[\d.,\s\[\]%]+", "#", text) for text in (said, found))
    assert said == found, "run: python tests/test_readme.py"


def test_readme_names_only_commands_and_files_that_exist() -> None:
    from optiml_bench.cli import cli

    text = README.read_text(encoding="utf-8")
    for command in set(re.findall(r"^optiml-bench ([a-z-]+)", text, re.MULTILINE)):
        assert command in cli.commands, command
    for file in set(
        re.findall(r"`((?:task_registry|templates|benchmark_builder|evaluation|docs)/[\w./]+\.\w+)`", text)
    ):
        assert (TOP / file).is_file(), file


if __name__ == "__main__":
    content = README.read_text(encoding="utf-8")
    for key, make in BLOCKS.items():
        begin, end = f"<!-- {key} -->\n", f"\n<!-- /{key} -->"
        content = content.replace(f"{begin}{block(content, key)}{end}", f"{begin}{make()}{end}")
    README.write_text(content, encoding="utf-8")
