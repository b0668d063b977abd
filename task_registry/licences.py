"""What a licence, as upstream words it, says about passing a task's examples on.

A bench holds examples that were changed: rendered by templates, cut to splits. A licence that forbids changed
copies therefore forbids to publish them. What is not recognised here counts as unknown, which is not free: a
person has to read it. `data/licences.csv` is the table; the Creative Commons family is read by rule.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from task_registry.catalogue import DATA


class Terms(StrEnum):
    """What a licence says about publishing, the best first."""

    FREE = "free"
    """Changed copies may be published, some licences ask for attribution or the same licence."""
    NON_COMMERCIAL = "non_commercial"
    """The same, but not for commercial use."""
    UNKNOWN = "unknown"
    """No licence is stated, or one with terms of its own that nobody has read for this table."""
    FORBIDDEN = "forbidden"
    """No changed copies, or no copies at all, may be published."""

    @property
    def cleared(self) -> bool:
        """Whether changed copies may be published, as far as is known."""
        return self in (Terms.FREE, Terms.NON_COMMERCIAL)


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence and what it says."""

    text: str
    """As upstream words it; empty where none is stated."""
    hub: str
    """Its identifier on the Hugging Face Hub: `other` for one that the Hub does not list, or `unknown`."""
    terms: Terms


UNSTATED = Licence("", "unknown", Terms.UNKNOWN)

_HUB_CREATIVE_COMMONS = frozenset(
    f"cc-{kind}-{version}"
    for kind, versions in {
        "by": "2.0 2.5 3.0 4.0",
        "by-sa": "3.0 4.0",
        "by-nc": "2.0 3.0 4.0",
        "by-nd": "4.0",
        "by-nc-sa": "2.0 3.0 4.0",
        "by-nc-nd": "3.0 4.0",
    }.items()
    for version in versions.split()
)
_LONG_WORDS = (
    ("creative commons", "cc"),
    ("non commercial", "nc"),
    ("noncommercial", "nc"),
    ("share alike", "sa"),
    ("sharealike", "sa"),
    ("no derivatives", "nd"),
    ("noderivatives", "nd"),
    ("noderivs", "nd"),
    ("attribution", "by"),
)
_SAYS_NOTHING = frozenset(
    [
        "license",
        "licence",
        "licensed",
        "under",
        "the",
        "version",
        "international",
        "unported",
        "generic",
        "universal",
    ]
)
_LINK = re.compile(r"\(?https?://[^\s)]*\)?")


def read_licences(text: str) -> tuple[Licence, ...]:
    """Read a task's licences, joined by `|` where it has several; one that says `UNSTATED` where it has none."""
    parts = [part.strip() for part in text.split("|") if part.strip()]
    return tuple(_read(part) for part in parts) or (UNSTATED,)


def terms_of(text: str) -> Terms:
    """What a task's licences say together: the strictest counts, since any example may be under any of them."""
    order = list(Terms)
    return max((licence.terms for licence in read_licences(text)), key=order.index)


def _read(text: str) -> Licence:
    normal = _normal_form(text)
    listed = _table().get(normal)
    if listed is not None:
        return Licence(text, *listed)
    return _creative_commons(text, normal.split()) or Licence(
        text, "unknown" if normal == "unknown" else "other", Terms.UNKNOWN
    )


def _normal_form(text: str) -> str:
    """Lower case, without links, punctuation and words that do not tell licences apart: `v2.0` is `2.0`."""
    folded = re.sub(r"[^a-z0-9.]+", " ", _LINK.sub(" ", text.casefold())).strip(" .")
    for long, short in _LONG_WORDS:
        folded = folded.replace(long, short)
    folded = re.sub(r"\bv(?=\d)", "", folded)
    return " ".join(word for word in folded.split() if word not in _SAYS_NOTHING)


def _creative_commons(text: str, words: list[str]) -> Licence | None:
    """Read `cc by nc 4.0` and its kin; None where a word is none of the family's."""
    if words[:1] == ["cc0"] or words[:2] == ["cc", "zero"]:
        rest = set(words) - {"cc0", "cc", "zero", "1.0", "public", "domain", "dedication"}
        return None if rest else Licence(text, "cc0-1.0", Terms.FREE)
    if words[:2] != ["cc", "by"]:
        return None
    kinds = [word for word in words[2:] if word in ("nc", "sa", "nd")]
    versions = [word for word in words[2:] if re.fullmatch(r"\d\.\d", word)]
    if len(kinds) + len(versions) != len(words) - 2 or len(versions) > 1:
        return None
    named = "-".join(["cc", "by", *(kind for kind in ("nc", "sa", "nd") if kind in kinds), *versions])
    terms = Terms.NON_COMMERCIAL if "nc" in kinds else Terms.FREE
    if "nd" in kinds:
        terms = Terms.FORBIDDEN
    return Licence(text, named if named in _HUB_CREATIVE_COMMONS else "cc", terms)


@cache
def _table() -> Mapping[str, tuple[str, Terms]]:
    with (DATA / "licences.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: (row["hub"], Terms(row["terms"])) for row in csv.DictReader(file)}
    return MappingProxyType(rows)
