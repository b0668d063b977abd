"""The shape of the project: layers, light imports, no heavy module at the command line's start."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent

LAYERS = {
    "task_registry": set(),
    "templates": {"task_registry"},
    "benchmark_builder": {"task_registry", "templates"},
    "evaluation": {"task_registry", "templates"},
    "optiml_bench": {"task_registry", "templates", "benchmark_builder", "evaluation"},
}
"""Each package with the packages of ours that it may import."""

TORCH = {"torch", "transformers", "accelerate", "peft"}
HEAVY = {"torch", "transformers", "datasets", "pandas", "sklearn", "pyarrow", "ray", "rich", "numpy", "vllm"}


def modules() -> list[Path]:
    return sorted(file for package in LAYERS for file in (TOP / package).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """Top-level names of every module that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(TOP)))
def test_a_module_imports_only_layers_below_its_own(file: Path) -> None:
    package = file.relative_to(TOP).parts[0]
    assert imports(file) & set(LAYERS) <= LAYERS[package] | {package}


def test_only_one_room_imports_torch() -> None:
    found = {file.relative_to(TOP).as_posix() for file in modules() if imports(file) & TORCH}
    assert all(name.startswith("evaluation/huggingface") for name in found), found


def test_no_module_imports_in_a_circle() -> None:
    """Module-level imports form no circle; imports inside functions may look back."""
    graph = {}
    for file in modules():
        name = ".".join(file.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        graph[name] = {
            (node.module, alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module is not None
            for alias in node.names
        }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name in done or name not in graph:
            return
        for module, imported in graph[name]:
            submodule = f"{module}.{imported}"
            visit(submodule if submodule in graph else module, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("arguments", [["--help"], ["tasks", "superni/task1*"], ["build", "--help"]])
def test_the_command_line_starts_light(arguments: list[str]) -> None:
    code = (
        "import sys, contextlib, io\n"
        f"sys.argv = ['optiml-bench', *{arguments!r}]\n"
        "from optiml_bench.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "print(' '.join(sorted(name for name in sys.modules if '.' not in name)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True
    ).stdout
    assert not HEAVY & set(out.split())


def test_a_file_has_one_room() -> None:
    """No god file: past 500 lines something is hiding in it."""
    long = {str(f.relative_to(TOP)): n for f in modules() if (n := len(f.read_text().splitlines())) > 500}
    assert not long


def test_an_installed_package_is_whole() -> None:
    """Every folder of modules is a package, and every data file is named in setup.cfg's package data."""
    import configparser

    config = configparser.ConfigParser()
    config.read(TOP / "setup.cfg")
    patterns = {package: text.split() for package, text in config["options.package_data"].items()}
    tracked = subprocess.run(
        ["git", "ls-files", *LAYERS], cwd=TOP, capture_output=True, text=True, check=True
    ).stdout
    for name in tracked.splitlines():
        file = Path(name)
        package = file.parts[0]
        if file.suffix == ".py" and "sample" not in file.parts:
            assert (TOP / file.parent / "__init__.py").is_file(), f"{file.parent} is no package"
        elif file.name != "py.typed":
            named = [path for pattern in patterns[package] for path in (TOP / package).glob(pattern)]
            assert TOP / file in named, f"{name} would be missing from an installation"
