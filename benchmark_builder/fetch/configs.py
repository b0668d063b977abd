"""Configs of Hub data sets: which files of a repository are which split, and how they become Parquet."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmark_builder.fetch.archives import MACHINE
from benchmark_builder.fetch.items import ALL_CONFIGS, HubSet
from benchmark_builder.fetch.remote import Refused, RemoteFile
from task_registry.errors import RemoteError
from task_registry.suggest import did_you_mean

CONVERTED_FILE = re.compile(r"(?P<config>[^/]+)/(?P<split>[^/]+)/\d+\.parquet")
"""A file of the Hub's own conversion."""
CONFIG_CARDS = ("README.md", ".huggingface.yaml")
"""Files in which a repository says what its configs are; the first between lines of `---`."""
FRONT_MATTER = re.compile(r"\s*---\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
"""As `huggingface_hub` looks for it."""
CUT = "partial-"
"""Before a split's name there, where only its beginning was converted."""
FORMATS = frozenset({"arrow", "csv", "json", "parquet", "text"})
"""What `datasets` may read: tables and texts, none of the formats that can hold code."""
UNREADABLE = (
    OSError, ValueError, RuntimeError, ImportError, TypeError, AttributeError, LookupError, ArithmeticError,
    AssertionError, yaml.YAMLError, zipfile.BadZipFile,
)  # fmt: skip
"""What `datasets` raises where a folder holds no data set that it can read, or a card that says nonsense."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at a commit."""

    repo: str
    commit: str
    files: Mapping[str, RemoteFile]
    gated: bool
    converted: bool
    """Whether it is the Hub's own conversion."""

    def words_for(self, refusal: Refused) -> str:
        """What a refusal of one of its files means for the user."""
        refused = self.gated or refusal.code in (401, 403)
        return gated_words(self.repo) if refused else str(refusal)

    @property
    def is_script(self) -> bool:
        """Whether the data set is a script, which nobody runs any more."""
        return f"{self.repo.rpartition('/')[2]}.py" in self.files


@dataclass(frozen=True, slots=True)
class Config:
    """One config of a data set, and which files make its splits."""

    listing: Listing
    name: str
    splits: Mapping[str, tuple[str, ...]]
    """Files by split, in their order."""

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All files of all splits."""
        return tuple(self.listing.files[path] for paths in self.splits.values() for path in paths)

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size or 0 for file in self.files)

    @property
    def is_parquet(self) -> bool:
        """Whether its files can be stored as they are."""
        return all(path.endswith(".parquet") for paths in self.splits.values() for path in paths)


def config_names(folder: Path) -> tuple[tuple[str, ...], str]:
    """The configs that `datasets` sees in a folder of a repository's files, and which is the default one.

    None where it sees no rows, or would look for them elsewhere; an empty default where there is none.
    """
    import datasets

    try:
        if _names_addresses(folder):
            return (), ""
        names = datasets.get_dataset_config_names(str(folder))
        default = names[0] if len(names) == 1 else datasets.get_dataset_default_config_name(str(folder))
    except UNREADABLE:
        return (), ""
    return tuple(names), default or ""


def _names_addresses(folder: Path) -> bool:
    """Whether a card has its files lie on a server: `datasets` would ask whatever server a stranger names."""
    for name in CONFIG_CARDS:
        file = folder / name
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        found = FRONT_MATTER.match(text) if file.suffix == ".md" else None
        card = yaml.safe_load(found[1] if found else "" if file.suffix == ".md" else text)
        configs = card.get("configs") if isinstance(card, dict) else None
        left, seen = [configs], set[int]()
        while left:
            value = left.pop()
            if isinstance(value, str) and ("::" in value or "://" in value):
                return True
            if isinstance(value, (dict, list)) and id(value) not in seen:  # a list may hold itself
                seen.add(id(value))
                left.extend([*value, *value.values()] if isinstance(value, dict) else value)
    return False


def understood_config(listing: Listing, folder: Path, name: str) -> Config | None:
    """A config with its files, as `datasets` sees them in a folder; None where it may not read them."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(str(folder), name, **_caches(folder))
        splits = {
            str(split): tuple(Path(file).relative_to(folder).as_posix() for file in files)
            for split, files in (builder.config.data_files or {}).items()
        }
    except UNREADABLE:
        return None
    known = type(builder).__module__.rpartition(".")[2] in FORMATS
    listed = all(path in listing.files for paths in splits.values() for path in paths)
    return Config(listing, name, splits) if known and splits and listed else None


def converted_configs(listing: Listing) -> Mapping[str, Config]:
    """The configs of the Hub's own conversion, whose folders say everything."""
    splits: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(listing.files):
        if found := CONVERTED_FILE.fullmatch(path):
            splits[found["config"]][found["split"]].append(path)
    return {
        name: Config(listing, name, {split: tuple(paths) for split, paths in own.items()})
        for name, own in splits.items()
    }


def chosen_names(wanted: HubSet, names: Collection[str], default: str) -> tuple[str, ...]:
    """The configs that are wanted of those that a data set has.

    One of another name stands in for the one wanted only where it is the only one, and nothing else is wanted
    of that repository. Raises RemoteError where there is none.
    """
    if wanted.config == ALL_CONFIGS and names:
        return tuple(names)
    if wanted.config in names:
        return (wanted.config,)
    if default and (not wanted.config or (len(names) == 1 and wanted.sole)):
        return (default,)
    asked = f"no config {wanted.config!r}" if wanted.config else "no default config"
    hint = did_you_mean(wanted.config, names) if wanted.config else ""
    listed = ", ".join(sorted(names)[:8]) or "none"
    raise RemoteError(f"{wanted.repo}: {asked} among {listed}{hint or '; bring its rows by hand'}")


def check_whole(config: Config) -> Config:
    """Raise RemoteError for a config of which the Hub has converted the beginning only."""
    for split in config.splits:
        if split.startswith(CUT):
            found = f"only the beginning of {config.name} as Parquet ({split})"
            raise RemoteError(f"{config.listing.repo}: the Hub has {found}; bring its rows by hand")
    return config


def convert(config: Config, workspace: Path, into: Path) -> None:
    """Read a config's files with `datasets` and write its splits as Parquet; RemoteError where it cannot."""
    import datasets

    out = workspace.parent / "converted"
    shutil.rmtree(out, ignore_errors=True)
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(str(workspace), config.name, **_caches(workspace))
        builder.download_and_prepare(str(out), file_format="parquet")
    except (*UNREADABLE, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, OSError) and error.errno in MACHINE:
            raise
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        message = f"{config.listing.repo}: `datasets` cannot read it ({found}); bring its rows by hand"
        raise RemoteError(message) from error
    finally:
        if not shown:
            datasets.enable_progress_bars()
    into.mkdir(parents=True, exist_ok=True)
    for split in config.splits:
        shards = sorted(out.glob(f"{builder.dataset_name}-{split}.parquet")) or sorted(
            out.glob(f"{builder.dataset_name}-{split}-?????-of-?????.parquet")
        )
        for number, shard in enumerate(shards):
            shard.replace(into / shard_name(split, number, len(shards)))


def shard_name(split: str, number: int, count: int) -> str:
    """The name of a split's file, as `datasets_at_hand` looks for it."""
    return f"{split}-{number:05d}-of-{count:05d}.parquet"


def _caches(folder: Path) -> dict[str, str]:
    return {"cache_dir": str(folder.parent / "cache")}


def gated_words(repo: str) -> str:
    """What to do about a gated data set."""
    address = HubSet(repo).address
    return f"{repo}: gated; accept its conditions on {address}, log in (`hf auth login`, or $HF_TOKEN) and fetch again"
