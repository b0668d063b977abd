"""Runs hostile cases in worker processes, survives what kills them, and says what came of each target.

A case is a target, a seed and a number. One that fails is kept as a file, `<folder>/<target>/<number>/<place>`,
which `tries` runs again: that makes it a regression test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOP = HERE.parent.parent
MAX_SECONDS = 10.0
"""How long a case may take."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that did not keep the contract."""

    target: str
    number: int
    line: str
    place: str = ""
    content: bytes = b""

    def save(self, folder: Path) -> Path:
        """Keep the hostile file."""
        file = folder / self.target.replace(" ", "_") / f"{self.number}" / self.place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.content)
        return file


@dataclass(slots=True)
class Tally:
    """What came of a target's cases."""

    target: str
    refused: int = 0
    accepted: int = 0
    foreign: int = 0
    crashed: int = 0
    slowest: float = 0.0
    """Seconds."""
    slowest_case: int = 0
    memory: int = 0
    """Bytes beyond what a worker has before its first case, at most."""
    failures: list[Failure] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many were run."""
        return self.refused + self.accepted + self.foreign + self.crashed


def fuzz(
    target: str,
    cases: int,
    seed: int = 0,
    *,
    module: str = "fuzz_targets",
    failures: int = 20,
    seconds: float = MAX_SECONDS,
) -> Tally:
    """Run so many cases of a target; it is given up after so many failures."""
    tally, first = Tally(target), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        order = {"module": module, "target": target, "seed": seed, "last": cases, "scratch": scratch}
        order["seconds"] = seconds
        while first < cases and len(tally.failures) < failures:
            for number, line in _cases(order | {"first": first}, tally, first):
                tally.failures.append(_kept(order, target, number, line))
                if len(tally.failures) >= failures:
                    break
            first = tally.cases
    return tally


def tries(
    target: str,
    cases: Sequence[tuple[str, bytes]],
    *,
    module: str = "fuzz_targets",
    seconds: float = MAX_SECONDS,
) -> Tally:
    """Run kept cases of a target, each a place and its content; the first that ends the worker is the last."""
    tally = Tally(target)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        order = {"module": module, "target": target, "scratch": scratch, "seconds": seconds}
        order["kept"] = _told(cases)
        for number, line in _cases(order | {"first": 0, "last": len(cases)}, tally, 0):
            tally.failures.append(Failure(target, number, line, *cases[number]))
    return tally


def together(orders: Mapping[str, Mapping[str, Any]], *, module: str = "fuzz_targets") -> dict[str, Tally]:
    """Carry out orders by name in one process, which is quick where nothing fails.

    An order is a `target` and either `cases`, how many, or `kept`, as `tries` has them. Whatever fails or is left
    undone after a crash is run again by itself.
    """
    done: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        told = [_order(order, module) | {"scratch": scratch} for order in orders.values()]
        command = _command({"orders": told, "scratch": scratch})
        worker = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=scratch, check=False
        )
        tally, base, names = Tally(""), 0, iter(orders)
        for text in worker.stdout.splitlines():
            said = json.loads(text)
            if "outcome" in said:
                _count(tally, said, base, tally.cases)
            else:
                name, base = next(names), said["resident"]
                tally = done[name] = Tally(orders[name]["target"])
    for name, order in orders.items():
        wanted = order["cases"] if "cases" in order else len(order["kept"])
        if name not in done or done[name].foreign or done[name].cases < wanted:
            alone = partial(fuzz, cases=wanted) if "cases" in order else partial(tries, cases=order["kept"])
            done[name] = alone(order["target"], module=module)
    return done


def _order(order: Mapping[str, Any], module: str) -> dict[str, Any]:
    common = {"module": module, "target": order["target"], "seconds": MAX_SECONDS}
    if "kept" in order:
        return common | {"kept": _told(order["kept"])}
    return common | {"seed": 0, "first": 0, "last": order["cases"]}


def _told(cases: Sequence[tuple[str, bytes]]) -> list[dict[str, str]]:
    return [{"place": place, "content": content.hex()} for place, content in cases]


def _cases(order: dict[str, Any], tally: Tally, first: int) -> Iterator[tuple[int, str]]:
    """Let one worker run cases until it has done all or died; yields those that failed."""
    with tempfile.TemporaryFile() as told:
        worker = subprocess.Popen(_command(order), stdout=subprocess.PIPE, stderr=told, cwd=order["scratch"])
        assert worker.stdout is not None
        number, base = first - 1, 0
        try:
            for text in worker.stdout:
                said = json.loads(text)
                if not base:
                    base = said["resident"]
                    continue
                number += 1
                _count(tally, said, base, number)
                if said["outcome"] == "foreign":
                    yield number, said["line"]
        finally:
            worker.kill()
            status = worker.wait()
            worker.stdout.close()
        if number + 1 < order["last"]:
            told.seek(0)
            reason = told.read().decode("utf-8", "replace").partition("Extension modules")[0].strip()
            if not base:
                raise RuntimeError(f"{order['target']}: the worker did not begin: {reason}")
            tally.crashed += 1
            yield number + 1, f"the worker ended with {status}: {' '.join(reason.split())[:1500]}"


def _count(tally: Tally, said: dict[str, Any], base: int, number: int) -> None:
    setattr(tally, said["outcome"], getattr(tally, said["outcome"]) + 1)
    if said["seconds"] > tally.slowest:
        tally.slowest, tally.slowest_case = said["seconds"], number
    tally.memory = max(tally.memory, said["resident"] - base)


def _kept(order: dict[str, Any], target: str, number: int, line: str) -> Failure:
    """The failed case with its file, made once more."""
    told = subprocess.run(_command(order | {"first": number, "keep": True}), capture_output=True, check=True)
    case = json.loads(told.stdout)
    return Failure(target, number, line, case["place"], bytes.fromhex(case["content"]))


def _command(order: dict[str, Any]) -> list[str]:
    file = Path(order["scratch"]) / "order.json"
    file.write_text(json.dumps(order | {"paths": [str(HERE), str(TOP)]}), encoding="utf-8")
    return [sys.executable, str(HERE / "fuzz_worker.py"), str(file)]


def kept_cases(folder: Path) -> dict[str, list[tuple[str, bytes]]]:
    """The cases that were kept in a folder, by target: place and content."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for file in sorted(path for path in folder.glob("*/*/**/*") if path.is_file()):
        target, _, *place = file.relative_to(folder).parts
        found.setdefault(target.replace("_", " "), []).append(("/".join(place), file.read_bytes()))
    return found
