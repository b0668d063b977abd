"""The nearest known names to an unknown one, for the "did you mean" of every error about a name.

The same data set is written with hyphens, underscores, dots and slashes in different places, so names are
compared without them. Bigrams choose the few candidates that difflib then ranks, which keeps it quick.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from heapq import nlargest

CANDIDATES = 40
"""How many names difflib compares in full."""
CUTOFF = 0.6
"""Below this similarity a name is no help; difflib's own default."""
LONGEST = 200
"""Characters of a name that are compared; a longer one is no name."""
MARGIN = 0.12
"""How much less similar than the closest a name may be and still be worth a mention."""


def normal_name(name: str) -> str:
    """A name without case and without the separators, which differ between upstream's places."""
    return re.sub(r"[\s\-_./]+", "", name).casefold()


def suggest(name: str, names: Iterable[str], limit: int = 5) -> tuple[str, ...]:
    """Return up to `limit` of `names` that are close to `name`, the closest first; none is an empty tuple.

    A name that contains the unknown one counts as close, so that `squad` finds `flan/squad_v1`.
    """
    wanted = normal_name(name[:LONGEST])
    bigrams = _bigrams(wanted)
    likely = nlargest(CANDIDATES, ((_overlap(wanted, bigrams, other), other) for other in names))
    ranked = sorted((-_similarity(wanted, other), other) for _, other in likely)
    if not wanted or not ranked:
        return ()
    best = -ranked[0][0]
    floor = 1 if best > 1 else max(CUTOFF, best - MARGIN)
    return tuple(other for score, other in ranked if -score >= floor)[:limit]


def did_you_mean(name: str, names: Iterable[str], limit: int = 3) -> str:
    """The tail of an error about an unknown name: `; did you mean a, b or c?`, empty if nothing is close."""
    close = suggest(name, names, limit)
    if not close:
        return ""
    *rest, last = close
    listed = f"{', '.join(rest)} or {last}" if rest else last
    return f"; did you mean {listed}?"


def _bigrams(text: str) -> set[str]:
    return {text[i : i + 2] for i in range(len(text) - 1)}


def _overlap(wanted: str, bigrams: set[str], other: str) -> float:
    plain = normal_name(other)
    if wanted in plain:
        return 1 + len(wanted) / len(plain)
    theirs = _bigrams(plain)
    return 2 * len(bigrams & theirs) / (len(bigrams) + len(theirs) or 1)


def _similarity(wanted: str, other: str) -> float:
    """Above 1 where the name holds the unknown one, else its likeness or that of its beginning."""
    plain = normal_name(other)
    if wanted in (plain, normal_name(other.partition("/")[2])):
        return 2
    if len(wanted) > 2 and wanted in plain:
        return 1 + len(wanted) / len(plain)
    return max(
        SequenceMatcher(None, wanted, known, autojunk=False).ratio()
        for known in (plain, plain[: len(wanted)])
    )
