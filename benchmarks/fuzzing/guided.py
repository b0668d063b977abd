"""Fuzzes one target by coverage, with atheris, in an environment of its own that has it and this package's needs.

    pip install atheris
    python benchmarks/fuzzing/guided.py --target rows --seconds 120

Atheris runs within one process and ends at the first failure: a case that crashes is written where it is run, as
`crash-...`, its first byte the number of the place. The targets are those of `run.py`; the sound files are the seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

import atheris

TOP = Path(__file__).parent.parent.parent
sys.path[:0] = [str(TOP), str(TOP / "tests" / "support")]
OURS = ["benchmark_builder", "evaluation", "task_registry", "templates"]

with atheris.instrument_imports(include=OURS):
    from fuzz_targets import TARGETS

    from task_registry.errors import BenchError


def main() -> None:
    """Let atheris run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=sorted(TARGETS), required=True)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    target = TARGETS[options.target]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-")).resolve()
    (folder / "target").mkdir()
    files = dict(target.prepare(folder / "target"))
    places = sorted(files)
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, place in enumerate(places):
        (seeds / str(number)).write_bytes(bytes([number]) + files[place])

    def one(data: bytes) -> None:
        if not data:
            return
        place = places[data[0] % len(places)]
        file = folder / "target" / place
        file.write_bytes(data[1:])
        try:
            with contextlib.redirect_stdout(nothing), contextlib.suppress(BenchError):
                target.run(folder / "target", place)
        finally:
            file.write_bytes(files[place])

    limits = [f"-max_total_time={options.seconds}", "-timeout=10", "-rss_limit_mb=3000", "-max_len=100000"]
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        atheris.Setup([sys.argv[0], *limits, str(seeds)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
