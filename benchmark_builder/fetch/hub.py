"""The Hub: lists of files, asked for once a repository, and the files of data sets, stored as Parquet.

Which files are a config's splits is decided by the `datasets` library itself, over a folder with the
repository's card and empty files of the others' names. Parquet files are stored as they are; anything else is
read by `datasets` and written as Parquet. Where it sees nothing to read (a data set that is a script, an
archive), the Hub's own conversion to Parquet is taken, if there is one.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark_builder.fetch.configs import (
    Config,
    Listing,
    check_whole,
    chosen_names,
    config_names,
    convert,
    converted_configs,
    gated_words,
    shard_name,
    understood_config,
)
from benchmark_builder.fetch.items import HubSet, is_plain
from benchmark_builder.fetch.remote import (
    PASSING,
    Passing,
    Refused,
    Remote,
    RemoteFile,
    Watch,
    asked_wait,
)
from task_registry.errors import RemoteError, quote

CONVERSION = "refs/convert/parquet"
"""The branch of the Hub's own conversion: `<config>/<split>/0000.parquet`."""
CARDS = frozenset({"README.md", ".huggingface.yaml", "dataset_infos.json"})
"""Files of a repository that say what its other files are."""
NONSENSE = (TypeError, ValueError, AttributeError, LookupError, RecursionError)
"""What an answer that is no list of files makes of the Hub's client, and of this module."""
READING = threading.Lock()
"""`datasets` has settings of the whole process; one data set is resolved or converted at a time."""


class Hub:
    """The Hub, asked once for each repository; one for all threads."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.endpoint = os.environ.get("HF_ENDPOINT") or None
        self._listings: dict[tuple[str, str], Listing] = {}
        self._names: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {}
        self._cards: dict[str, bytes] = {}
        self._asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def find(self, wanted: HubSet) -> tuple[Config, ...]:
        """The configs that an item is made of; RemoteError, in words for its user, where there are none."""
        listing = self._listing(wanted.repo, wanted.revision, wanted.converted)
        if listing.converted:
            return _of_conversion(wanted, listing)
        found = () if listing.is_script else self._understood(wanted, listing)
        if found:
            return found
        if wanted.revision:
            raise RemoteError(
                f"{wanted.repo}: nothing at {wanted.revision} that `datasets` reads; pin another"
            )
        try:
            converted = self._listing(wanted.repo, CONVERSION, converted=True)
        except Refused as refusal:
            why = "is a script" if listing.is_script else "holds no rows that `datasets` reads"
            message = f"{wanted.repo}: {why}, and the Hub has no Parquet of it; bring its rows by hand"
            raise RemoteError(message) from refusal
        return _of_conversion(wanted, converted)

    def bring(self, config: Config, into: Path, workspace: Path, watch: Watch) -> None:
        """Store a config's rows in `into`, as `<split>-0000i-of-0000n.parquet`.

        What is not Parquet is downloaded into `workspace` and read there.
        """
        try:
            if config.is_parquet:
                for split, paths in config.splits.items():
                    for number, path in enumerate(paths):
                        file = into / shard_name(split, number, len(paths))
                        self.remote.download(config.listing.files[path], file, watch)
                return
            self._lay_out(config.listing, workspace)
            for path in chain(*config.splits.values()):
                if not (workspace / path).stat().st_size:
                    (workspace / path).unlink()
                self.remote.download(config.listing.files[path], workspace / path, watch)
        except Refused as refusal:
            raise RemoteError(config.listing.words_for(refusal)) from refusal
        with READING:
            convert(config, workspace, into)

    def _understood(self, wanted: HubSet, listing: Listing) -> tuple[Config, ...]:
        """What `datasets` sees in a repository; empty where it reads nothing there."""
        with TemporaryDirectory(prefix="optiml-bench-") as name:
            # Resolved, as `datasets` resolves the paths that it returns.
            folder = Path(name).resolve() / "repository"
            try:
                self._lay_out(listing, folder)
            except Refused as refusal:
                raise RemoteError(listing.words_for(refusal)) from refusal
            with READING:
                key = listing.repo, listing.commit
                if key not in self._names:
                    self._names[key] = config_names(folder)
                names, default = self._names[key]
                if not names and not wanted.revision:
                    return ()
                chosen = chosen_names(wanted, names, default)
                configs = [understood_config(listing, folder, name) for name in chosen]
        return tuple(config for config in configs if config) if all(configs) else ()

    def _lay_out(self, listing: Listing, folder: Path) -> None:
        """Make a folder of a repository's files: the cards as they are, all others empty."""
        for name, file in listing.files.items():
            place = folder / name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise RemoteError(
                    f"{listing.repo}: lists {quote(name)} below a file; tell its owners"
                ) from error
            if name in CARDS:
                place.write_bytes(self._card(file, place))
            elif not place.exists():
                place.touch()  # `datasets` looks at names; what is read is downloaded in its place

    def _card(self, file: RemoteFile, place: Path) -> bytes:
        """A card, downloaded once."""
        if file.url not in self._cards:
            self.remote.download(file, place)
            self._cards[file.url] = place.read_bytes()
        return self._cards[file.url]

    def _listing(self, repo: str, revision: str, converted: bool) -> Listing:
        with self._asking[repo]:
            if (repo, revision) not in self._listings:
                url = f"{self.endpoint or 'https://huggingface.co'}/datasets/{repo}"
                listing = self.remote.patiently(url, lambda: self._ask(repo, revision, converted))
                self._listings[repo, revision] = listing
            return self._listings[repo, revision]

    def _ask(self, repo: str, revision: str, converted: bool) -> Listing:
        from huggingface_hub import HfApi, get_token, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        api = HfApi(endpoint=self.endpoint)
        # The base of all errors of the library that huggingface_hub speaks HTTP with, httpx or its successor.
        transport: Any = HfHubHTTPError.__bases__[0]
        try:
            info = api.dataset_info(
                repo, revision=revision or None, files_metadata=True, timeout=self.remote.patience.timeout
            )
        except OfflineModeIsEnabled as error:
            raise RemoteError(f"{repo}: HF_HUB_OFFLINE is set; unset it to fetch") from error
        except HfHubHTTPError as error:
            raise _answer(repo, revision, error) from error
        except (transport, OSError) as error:
            words = " ".join(str(error).split()) or type(error).__name__
            raise Passing(f"no connection ({words})", silent=True) from error
        except NONSENSE as error:
            raise _nonsense(repo, error) from error
        token = get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = partial(hf_hub_url, repo, repo_type="dataset", revision=info.sha, endpoint=self.endpoint)
        try:
            files = {
                sibling.rfilename: _remote_file(address(sibling.rfilename), sibling, headers)
                for sibling in info.siblings or ()
                if is_plain(sibling.rfilename)  # others cannot be stored
            }
            commit = _typed(info.sha or revision, str)
        except NONSENSE as error:
            raise _nonsense(repo, error) from error
        return Listing(repo, commit, files, bool(info.gated), converted)


def _remote_file(url: str, sibling: Any, headers: Mapping[str, str]) -> RemoteFile:
    """A file as the Hub lists it; one of `NONSENSE` where that cannot be."""
    lfs = sibling.lfs
    size = lfs.size if lfs else sibling.size
    return RemoteFile(
        url,
        size=None if size is None else _typed(size, int),
        sha256=_typed(lfs.sha256, str) if lfs else "",
        blob="" if lfs else _typed(sibling.blob_id or "", str),
        headers=headers,
    )


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{quote(value)}, expected {kind.__name__}")
    return value


def _nonsense(repo: str, error: Exception) -> RemoteError:
    found = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return RemoteError(f"{repo}: the Hub's list of its files makes no sense ({found}); try again later")


def _of_conversion(wanted: HubSet, listing: Listing) -> tuple[Config, ...]:
    """The configs wanted of the Hub's own conversion."""
    configs = converted_configs(listing)
    default = next(iter(configs)) if len(configs) == 1 else "default" * ("default" in configs)
    return tuple(check_whole(configs[name]) for name in chosen_names(wanted, tuple(configs), default))


def _answer(repo: str, revision: str, error: Any) -> Exception:
    """What an answer that is no list of files means for the user."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    code = error.response.status_code
    if code in PASSING:
        return Passing(f"the server answers {code}", asked_wait(error.response.headers))
    if isinstance(error, GatedRepoError):
        return Refused(gated_words(repo), code)
    if isinstance(error, RevisionNotFoundError):
        return Refused(f"{repo}: no revision {quote(revision)}; bring it by hand, or pin another", code)
    if isinstance(error, RepositoryNotFoundError):
        found = "no such data set on the Hub, or a private one"
        return Refused(f"{repo}: {found}; bring its rows by hand, or log in (`hf auth login`)", code)
    return Refused(f"{repo}: the Hub answers {code}; try again later, or bring its rows by hand", code)
