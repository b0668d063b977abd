"""Runs cases in a process of its own, which may be killed by them, of one target or of several: `fuzzing` starts it.

    python fuzz_worker.py order.json

Writes a line of JSON for every case that it survives to what was its standard output. Memory is limited to a
gigabyte more than the process has when it begins, a case to what the order says; a case that opens a file outside
of the target's folder for writing, reads one of the folder `outside`, or starts a process or a connection, has failed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, TextIO

MAX_MEMORY = 1 << 30
SLACK = 256 << 20
"""Address space beyond the limit, so that what is over the limit is told from what the allocator keeps."""
LONGEST = 2_100
"""Characters of an error's line."""

CHANGES = frozenset(
    (
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.mkdir",
        "os.symlink",
        "os.link",
        "os.chmod",
        "os.chown",
        "os.utime",
    )
)
"""Events of `sys.addaudithook` whose last argument may be an open folder that the path is relative to."""
NEVER = (
    "subprocess.", "socket.connect", "socket.bind", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn",
    "ctypes.dlopen", "os.kill", "pickle.find_class", "webbrowser.",
)  # fmt: skip
"""Events of `sys.addaudithook` that no input may cause."""


class Watch:
    """Notes what a case does outside of its folder."""

    def __init__(self) -> None:
        self.folder = self.outside = ""
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self.hook)

    def keep_to(self, folder: Path) -> None:
        """Name the folder that cases have to keep to."""
        self.folder, self.outside = str(folder), str(folder.parent / "outside")

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See `sys.addaudithook`."""
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            self.look("open", path, writes)
        elif event in CHANGES or event == "os.truncate":
            folder = arguments[-1] if isinstance(arguments[-1], int) and event in CHANGES else -1
            for path in arguments[:2]:
                self.look(event, path, True, folder)
        elif event == "sqlite3.connect":
            self.look(event, str(arguments[0]).removeprefix("file:").partition("?")[0], True)
        elif event.startswith(NEVER):
            self.seen.append(f"{event} {str(arguments)[:200]}")

    def look(self, event: str, path: object, writes: bool, folder: int = -1) -> None:
        """Note the path, which may be relative to an open folder, if it lies outside."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        here = str(Path.cwd()) if folder < 0 else str(Path(f"/proc/self/fd/{folder}").readlink())
        path = os.fsdecode(path)
        whole = os.path.normpath(path if path.startswith("/") else f"{here}/{path}")
        inside = whole == self.folder or whole.startswith(self.folder + os.sep)
        if (writes and not inside and whole != os.devnull) or whole.startswith(self.outside + os.sep):
            self.seen.append(f"{event} {whole}")

    @contextlib.contextmanager
    def during(self) -> Iterator[list[str]]:
        """Watch what is done within."""
        self.seen, self.on = [], True
        try:
            yield self.seen
        finally:
            self.on = False


def memory() -> tuple[int, int]:
    """Bytes of address space, and the most that ever was resident."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def judged(error: BaseException) -> tuple[str, str]:
    """What an exception means: `refused` by an error of ours, or `foreign`."""
    from task_registry.errors import BenchError

    line = str(error)
    chain: BaseException | None = error
    while chain is not None:
        if type(chain) is MemoryError:
            return "foreign", f"more than a gigabyte: {line[:300]}"
        chain = chain.__cause__ or chain.__context__
    if not isinstance(error, BenchError):
        return "foreign", f"{type(error).__name__}: {line[:300]} {_where(error)}"
    if len(line.splitlines()) > 1 or len(line) > LONGEST:
        return (
            "foreign",
            f"an error of {len(line.splitlines())} lines, {len(line)} characters: {line[:300]!r}",
        )
    return "refused", line[:300]


def _where(error: BaseException) -> str:
    """The last place in our own code."""
    import traceback

    top = str(Path(__file__).parents[2])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(top)]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames[-3:]))


def hostile(target: Any, files: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """The case of that number: the place, and the hostile content."""
    rng = Random(f"{seed} {target.name} {number}")
    place = rng.choice(sorted(files))
    return place, target.make(rng, place, files[place])


def main(order: dict[str, Any]) -> None:
    """Carry an order out, or several one after the other."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    sys.path[:0] = order["paths"]
    watch = Watch()
    for one in order.get("orders", (order,)):
        carry_out(one, channel, watch)


def carry_out(order: dict[str, Any], channel: TextIO, watch: Watch) -> None:
    """Run the cases of one target, each told in a line."""
    target = importlib.import_module(order["module"]).TARGETS[order["target"]]
    with tempfile.TemporaryDirectory(dir=order["scratch"]) as scratch:
        folder = Path(scratch).resolve() / "target"
        folder.mkdir()
        os.environ["HOME"] = os.environ["MPLCONFIGDIR"] = str(folder)
        (folder.parent / "outside").mkdir()
        (folder.parent / "outside" / "secret.jsonl").write_text(
            '{"secret": "none of yours"}\n', encoding="utf-8"
        )
        files = dict(target.prepare(folder))
        if order.get("keep"):
            place, content = hostile(target, files, order["seed"], order["first"])
            channel.write(json.dumps({"place": place, "content": content.hex()}) + "\n")
            return
        for place in sorted(files):
            with contextlib.suppress(Exception):
                target.run(folder, place)  # imports and caches are no case's own
        watch.keep_to(folder)
        taken, resident = memory()
        limit = taken + MAX_MEMORY + SLACK
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        channel.write(json.dumps({"resident": resident}) + "\n")
        if "kept" in order:
            cases = iter([(case["place"], bytes.fromhex(case["content"])) for case in order["kept"]])
        else:
            cases = (hostile(target, files, order["seed"], n) for n in range(order["first"], order["last"]))
        for place, content in cases:
            channel.write(
                json.dumps(attempt(target, folder, place, content, files, watch, order["seconds"])) + "\n"
            )


def attempt(
    target: Any,
    folder: Path,
    place: str,
    content: bytes,
    files: dict[str, bytes],
    watch: Watch,
    seconds: float,
) -> dict[str, Any]:
    """Run one case and put everything back."""
    (folder / place).write_bytes(content)
    faulthandler.dump_traceback_later(seconds, exit=True)
    started = time.perf_counter()
    outcome, line = "accepted", ""
    with watch.during() as seen:
        try:
            target.run(folder, place)
        except BaseException as error:  # noqa: BLE001
            outcome, line = judged(error)
    taken = time.perf_counter() - started
    faulthandler.cancel_dump_traceback_later()
    if seen:
        outcome, line = "foreign", f"outside of its folder: {seen[0]}"
    for name, sound in files.items():
        if name == place or not (folder / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(sound)
    return {"outcome": outcome, "line": line, "seconds": taken, "resident": memory()[1]}


if __name__ == "__main__":
    faulthandler.enable()
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
