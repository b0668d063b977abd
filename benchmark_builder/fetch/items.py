"""What `fetch` brings, as records: an item is what is brought in one piece, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TypeAlias

ALL_CONFIGS = "*"

GITHUB = "https://github.com"

LONGEST_NAME, LONGEST_PATH = 200, 2_000
"""Bytes of a file's name, with room for a suffix of ours, and of its path."""

BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class HubSet:
    """A data set of the Hub."""

    repo: str
    """With its namespace: `nyu-mll/glue`."""
    config: str = ""
    """Empty for the only one or the default one, `ALL_CONFIGS` for all, each in a folder of its name."""
    revision: str = ""
    """The commit; empty where none is pinned: then the newest is taken, recorded, and kept."""
    converted: bool = False
    """Whether that commit is one of the Hub's own conversion to Parquet."""
    original: str = ""
    """The data set that this one is the mirror of."""
    sole: bool = True
    """Whether no other item is made of this repository, so that its only config must be what is meant."""

    @property
    def address(self) -> str:
        """Where a person finds it."""
        return f"https://huggingface.co/datasets/{self.repo}"


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar or zip file of which some members are kept."""

    url: str
    parts: Mapping[str, tuple[str, ...]]
    """Patterns of members by place, in the order in which they appear there; a folder's ends in a slash."""
    commit: str = ""
    """The commit that the archive must be of, where it is a repository's."""
    repository: bool = False
    """Whether it is a repository's: then all its members lie in one folder, which is left out."""
    sha256: str = ""
    """Of the archive itself, where it is known; a repository's archive is compressed anew each time."""
    blob: str = ""
    """Git's id of the archive itself, where it lies in a repository."""
    content: str = ""
    """`content_digest` of the members that are kept, where known."""

    @property
    def address(self) -> str:
        """Where a person finds it."""
        return self.url.partition("/archive/")[0] if self.repository else self.url


@dataclass(frozen=True, slots=True)
class FileList:
    """Single files, kept as they are."""

    urls: tuple[str, ...]
    folder: str

    @property
    def address(self) -> str:
        """Where a person finds them."""
        return self.urls[0].rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Errand:
    """What only a person can bring."""

    address: str
    reason: str
    """Why: behind a request form, withdrawn by its owner, no address known."""
    place: str
    """Where to put it."""


Origin: TypeAlias = HubSet | Archive | FileList | Errand


@dataclass(frozen=True, slots=True)
class Item:
    """Something to bring."""

    name: str
    origin: Origin
    tasks: frozenset[str] = field(default_factory=frozenset)
    """Ids of the tasks that need it."""
    licence: str = ""
    """As upstream or the catalogue words it; empty means unknown, not free."""
    note: str = ""

    @property
    def places(self) -> tuple[str, ...]:
        """What it fills of the folder of all sources; a folder's place ends in a slash."""
        match self.origin:
            case Archive():
                return tuple(self.origin.parts)
            case FileList():
                return (self.origin.folder,)
            case Errand():
                return (self.origin.place,)
        return (f"{self.name}/",)

    @property
    def pin(self) -> str:
        """The commit or checksum that is expected, empty where none is pinned."""
        match self.origin:
            case HubSet():
                return self.origin.revision
            case Archive():
                return self.origin.commit or self.origin.sha256
        return ""


def is_plain(name: str) -> bool:
    """Whether a path can be one of a file, and leads nowhere but below its folder."""
    parts = name.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    fits = max(sizes) <= LONGEST_NAME and sum(sizes) <= LONGEST_PATH
    return fits and "\0" not in name and not {"", ".", ".."} & {*parts}


def expand_braces(text: str) -> Iterator[str]:
    """Yield what a shell makes of braces: `{a,b}.{c,d}` gives a.c, a.d, b.c, b.d."""
    parts = BRACES.split(text)
    choices = [part.split(",") if number % 2 else [part] for number, part in enumerate(parts)]
    return ("".join(words) for words in product(*choices))
