"""What several tests need: writing native files, building them, comparing folders, running the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

from benchmark_builder.blueprint import BuildOptions, draw_up
from benchmark_builder.build import BuildReport, build
from task_registry.engines import Engine
from task_registry.engines.local import Serial

TOP = Path(__file__).parent.parent.parent


def superni_task(**changes: Any) -> dict[str, Any]:
    """A small valid task file of Super-NaturalInstructions; a change of None removes the key."""
    content: dict[str, Any] = {
        "Categories": ["Word Analogy"],
        "Definition": ["Name the opposite."],
        "Positive Examples": [{"input": "up", "output": "down", "explanation": "They are opposites."}],
        "Negative Examples": [],
        "Instances": [{"id": f"n-{n}", "input": f"word {n}", "output": [f"opposite {n}"]} for n in range(5)],
    }
    content |= changes
    return {key: value for key, value in content.items() if value is not None}


# Catalogue tasks to stand in for: one that is trained on, one that is evaluated.
TRAINED = "task003_mctaco_question_generation_event_duration"
EVALUATED = "task1152_bard_analogical_reasoning_causation"


def write_superni(root: Path, name: str, content: Any) -> Path:
    """Write a task file; text and bytes as they are, anything else as JSON."""
    file = root / "superni" / "tasks" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def build_folder(
    root: Path | None, out: Path | str, *, engine: Engine | None = None, **options: Any
) -> BuildReport:
    """Build the native files in `root`, or the sample, into `out`."""
    chosen = BuildOptions(sources=root, sample=root is None, **options)
    return build(draw_up(chosen), out, engine or Serial())


def folder_digests(folder: Path) -> dict[str, str]:
    """Digest of every file of a folder, and of every empty folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): blake2b(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `optiml-bench` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "optiml_bench", *map(str, arguments)],
        cwd=TOP,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
