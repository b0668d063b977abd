"""Feeds hostile files to everything that reads files, and counts what comes of it.

    python benchmarks/fuzzing/run.py --cases 100000
    python benchmarks/fuzzing/run.py --cases 2000 --target templates --seed 7

Each target's cases run in a process of its own, with a gigabyte of memory and ten seconds for each. A case that raises
anything but the project's own errors, crashes, takes too much, or touches what is not its own, is kept as a file below
`--keep`; put it into `tests/fuzzing/cases/`, and it is tried with the tests. `tests/support/fuzz_targets.py` says what
is fuzzed. Ends with 1 if a case failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).parent.parent.parent
sys.path[:0] = [str(TOP), str(TOP / "tests" / "support")]

from fuzz_targets import TARGETS  # noqa: E402
from fuzzing import Tally, fuzz  # noqa: E402

COLUMNS = ("target", "cases", "refused", "accepted", "foreign", "crashes", "slowest s", "peak MB")


def shares(cases: int, only: str | None) -> dict[str, int]:
    """How many cases each target gets."""
    if only is not None:
        return {only: cases}
    total = sum(target.share for target in TARGETS.values())
    return {name: max(1, round(cases * target.share / total)) for name, target in TARGETS.items()}


def line(tally: Tally) -> tuple[object, ...]:
    """A target's line of the table."""
    counts = (tally.cases, tally.refused, tally.accepted, tally.foreign, tally.crashed)
    return tally.target, *counts, f"{tally.slowest:.2f}", f"{tally.memory / 1e6:.0f}"


def main() -> int:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--target", choices=sorted(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzzing-failures"))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started = time.perf_counter()
    wanted = shares(options.cases, options.target)
    print("".join(f"{name:>11}" if i else f"{name:<15}" for i, name in enumerate(COLUMNS)), flush=True)
    tallies = []
    with ThreadPoolExecutor(options.workers) as pool:
        for tally in pool.map(lambda item: fuzz(*item, seed=options.seed), wanted.items()):
            print(
                "".join(f"{cell:>11}" if i else f"{cell:<15}" for i, cell in enumerate(line(tally))),
                flush=True,
            )
            for failure in tally.failures:
                print(f"  {failure.save(options.keep)}: {failure.line}")
            tallies.append(tally)
    spent = sum(os.times()[:4])
    total = sum(tally.cases for tally in tallies)
    print(
        f"{total:,} cases in {time.perf_counter() - started:.0f} s, {spent:.0f} s of CPU, seed {options.seed}"
    )
    return int(any(tally.failures for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
