"""Jobs that faults strike: the command line in a process of its own, and what its outcome has to be equal to."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from kit import TOP, folder_digests, superni_task, write_superni
from leaky_sources import words, write_leaky
from local_hub import LocalHub
from local_hub_writes import running_hub
from publish_kit import REPO, environment

from evaluation.run import find_runs
from task_registry.catalogue import load_catalogue

LOCAL_WORKER, RAY_WORKER = "spawn_main", "ray::_Actor"
"""In the command line of a worker process."""
ENGINES = {
    "": ((), ""),
    " with workers": (("--workers", "2"), LOCAL_WORKER),
    " on ray": (("--engine", "ray", "--workers", "2", "--address", "local"), RAY_WORKER),
}
"""Options and the mark of workers, by what is added to a job's name."""
JOBS = ("fetch", "publish", *(f"{job}{engine}" for job in ("build", "evaluate") for engine in ENGINES))
SPREAD = tuple(name for name in JOBS if name.endswith(("workers", "ray")))
"""Those that have workers."""
SLOW = "evaluate on ray"
"""Two programs of seconds to start: struck less often where time is short."""

ROUNDS = int(os.environ.get("OPTIML_BENCH_FAULT_ROUNDS", "0"))
"""How often each job is struck in each way; 0: once, in one of the ways."""

KILLED, INTERRUPTED = -signal.SIGKILL, 130
STARTUP_ENDS = 60.0
"""Seconds after which a job that shows no sign of work is a fault of the test."""


@dataclass
class Job:
    """A command that writes to a folder, any number of times over."""

    name: str
    arguments: Callable[[Path], list[str]]
    begun: Callable[[Path], bool]
    """Whether the work on an outcome is under way: interrupts before that meet with Python, not with us."""
    outcome: Callable[[Path], Any]
    """What is compared with an undisturbed run; asserts that nothing stray is left."""
    environment: Callable[[Path], Mapping[str, str]] = lambda out: {}
    mark: str = ""
    """In the command lines of its workers; empty where it has none."""
    seconds: float = field(default=1.0, init=False)
    """How long the undisturbed run worked."""
    expected: Any = field(default=None, init=False)

    def start(self, out: Path, **more: str) -> subprocess.Popen[bytes]:
        """Start it in a session of its own; what it says goes to a file beside its outcome."""
        with out.with_name(f"{out.name}.said").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "optiml_bench", *self.arguments(out)],
                cwd=TOP,
                env=os.environ | dict(self.environment(out)) | more,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def said(self, out: Path) -> str:
        """What it has said so far."""
        return out.with_name(f"{out.name}.said").read_text(encoding="utf-8", errors="replace")

    def wait_until_begun(self, process: subprocess.Popen[bytes], out: Path) -> None:
        deadline = time.monotonic() + STARTUP_ENDS
        while process.poll() is None and not self.begun(out):
            assert time.monotonic() < deadline, self.said(out)
            time.sleep(0.002)

    def learn(self, out: Path) -> None:
        """Run it undisturbed, and note how long it takes and what comes of it."""
        process = self.start(out)
        self.wait_until_begun(process, out)
        started = time.monotonic()
        assert process.wait(timeout=300) == 0, self.said(out)
        self.seconds = time.monotonic() - started
        self.expected = self.outcome(out)

    def finish(self, out: Path) -> None:
        """Run it again to its end, and compare."""
        process = self.start(out)
        assert process.wait(timeout=300) == 0, self.said(out)
        assert self.outcome(out) == self.expected, self.said(out)
        assert "Traceback" not in self.said(out), self.said(out)

    def workers(self, process: subprocess.Popen[bytes]) -> list[int]:
        """The processes that work for it, wherever they hang in the tree."""
        return (
            [pid for pid in descendants(process.pid) if self.mark in command_line(pid)] if self.mark else []
        )


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, below) for one in (child, *descendants(child))]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


# Building


def write_sources(root: Path) -> Path:
    """Native files that take a second or two: leaks, a fully supervised task, and a number of larger tasks."""
    for number, task in enumerate(load_catalogue().select("superni/task12*")[:8]):
        rows = [{"id": f"{n}", "input": f"{number} {n}" * 9, "output": [f"o {n}"]} for n in range(3000)]
        write_superni(root, task.name, superni_task(Instances=rows))
    write_leaky(root)
    lines = [
        json.dumps({"split": split, "instruction": f"{words(page, count=20)} {split}?", "output": f"{page}"})
        for split, pages in (("test", range(30)), ("train", range(20, 200)))
        for page in pages
    ]
    (root / "custom" / "pages.jsonl").write_text("\n".join(lines) + "\n")
    (root / "custom" / "pages.yaml").write_text("level: fully_supervised\n")
    return root


def build_job(sources: Path, name: str, *engine: str, mark: str = "") -> Job:
    return Job(
        name,
        lambda out: ["build", "--sources", str(sources), "--out", str(out), *engine],
        lambda out: out.exists(),
        folder_digests,
        impatient,
        mark=mark,
    )


def impatient(out: Path) -> Mapping[str, str]:
    """Let Ray wait for a head that has gone no longer than a test can."""
    return {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}


# Evaluating


def evaluate_job(bench: Path, name: str, *engine: str, mark: str = "") -> Job:
    def arguments(out: Path) -> list[str]:
        model = ["--model", "builtin:tiny-opt", "--device", "cpu"]
        asked = ["--eval-set", "all", "--limit", "4", "--shots", "0,2", "--max-new-tokens", "12"]
        return ["eval", "--data", str(bench), "--out", str(out), *model, *asked, *engine]

    return Job(name, arguments, lambda out: bool([*out.glob("*/*/run.json")]), scores, impatient, mark=mark)


def scores(out: Path) -> Any:
    """The scores of a run, its files, and its likelihoods as far as they may not depend on batches."""
    (run,) = find_runs(out)
    files = sorted(path.relative_to(run).as_posix() for path in run.rglob("*"))
    table = pq.read_table(run / "scores.parquet").to_pandas()
    rows = table.drop(columns="margin").to_csv(index=False)
    return files, rows, (run / "summary.json").read_text()


# Fetching

CONFIGS = ("boolq", "cb", "copa", "rte", "wic")


def fetch_job(stack: ExitStack) -> Job:
    """Five data sets of one repository, from a Hub on this machine."""
    hub = stack.enter_context(LocalHub())
    random, files, entries = Random(1), {}, []
    for config in CONFIGS:
        for split in ("train", "validation"):
            rows = [{"text": random.randbytes(300).hex(), "label": n % 2} for n in range(4000)]
            content = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows), content)
            files[f"{config}/{split}-00000-of-00001.parquet"] = content.getvalue()
        paths = ", ".join(f"{{split: {s}, path: {config}/{s}-*}}" for s in ("train", "validation"))
        entries.append(f"- {{config_name: {config}, data_files: [{paths}]}}\n")
    files["README.md"] = f"---\nconfigs:\n{''.join(entries)}---\n".encode()
    hub.add_dataset("aps/super_glue", files)

    def arguments(out: Path) -> list[str]:
        tasks = [word for config in CONFIGS for word in ("--tasks", f"t5/super_glue_{config}_v102")]
        return ["fetch", "--to", str(out), *tasks]

    def variables(out: Path) -> Mapping[str, str]:
        return hub.environment | {"HF_HOME": str(out.with_name("home"))}

    return Job("fetch", arguments, lambda out: out.exists(), folder_digests, variables)


# Publishing


def publish_job(bench: Path, stack: ExitStack) -> Job:
    """A bench to a Hub on this machine, one for each outcome."""
    hubs: dict[Path, Any] = {}

    def hub(out: Path) -> Any:
        if out not in hubs:
            hubs[out] = stack.enter_context(running_hub(out))
        return hubs[out]

    def arguments(out: Path) -> list[str]:
        return ["publish", str(bench), "--repo-id", REPO, "--allow-sample", "--allow-unknown-licence"]

    def main(out: Path) -> Mapping[str, str]:
        """The files of the main branch, which has one commit beside its first, and the tags that point at it."""
        repository = hub(out).repositories[REPO]
        assert len(repository.commits) == 2
        assert {repository.refs[tag] for tag in repository.tags} == {repository.refs["main"]}
        stored = {
            digest: (out / digest).read_bytes()
            for digest in repository.commits[repository.refs["main"]].values()
        }
        return {
            path: blake2b(stored[digest]).hexdigest()
            for path, digest in repository.commits[repository.refs["main"]].items()
        }

    return Job(
        "publish",
        arguments,
        lambda out: bool(hub(out).requests),
        main,
        lambda out: environment(hub(out), out.with_name("home")),
    )
