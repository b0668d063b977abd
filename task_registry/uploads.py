"""Something of ours becomes a data set repository on the Hub, all at once: files go up one by one, then one commit.

Until that commit the main branch is as it was, and it fails if the branch has moved meanwhile. What has gone up
stays on the Hub by its content, so that the next try sends only what is missing. A `marker`, a JSON file with a
digest, says what a repository holds; one that holds something else is left alone.

With `hf_xet` (it comes with the Hub's client) files go up in chunks by content, and only chunks that the Hub
lacks; without it, or with HF_HUB_DISABLE_XET=1, whole, by LFS. The tests cover LFS with every fault, and the Xet
client as far as its own local store goes, which knows no faults of a network.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from task_registry.errors import RemoteError
from task_registry.hub import hub_errors, scrubbed

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

CARD = "README.md"

_HUBS_OWN = frozenset((".gitattributes", CARD))
"""Files that a repository may hold before anything is published to it."""


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a publication."""

    url: str
    tag: str
    commit: str
    created: bool = False
    """Whether the repository was made for it."""
    unchanged: bool = False
    """Whether the repository's main branch held the same already."""
    notes: tuple[str, ...] = ()
    """What the Hub remarked on the card's head."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A repository as it was when the publication began."""

    head: str
    """Commit of the main branch."""
    files: frozenset[str]
    digest: str
    """In the marker on the main branch; empty where there is none."""
    created: bool = False


class Repository:
    """The calls to the Hub that publish to one repository; each raises RemoteError for what the Hub refuses."""

    def __init__(self, api: HfApi, repo_id: str, marker: str, holds: str) -> None:
        self.api, self.repo_id, self.marker = api, repo_id, marker
        self.holds = holds
        """What the marker stands for, in words, such as `bench`."""
        self.url = f"{api.endpoint}/datasets/{repo_id}"

    def look(self, private: bool) -> Seen:
        """Look at the repository, or make it; RemoteError where it is not for us to write to."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            with hub_errors(self.repo_id, "look it up"):
                info = self._info()
        except RemoteError as error:
            cause = error.__cause__
            if not isinstance(cause, RepositoryNotFoundError) or cause.response.status_code != 404:
                raise
            with hub_errors(self.repo_id, "create it"):
                self.api.create_repo(self.repo_id, repo_type="dataset", private=private)
                return Seen(self._info().sha or "", frozenset(), "", created=True)
        if private and not info.private:
            raise RemoteError(
                f"{self.repo_id}: exists and is public, which --private does not change; choose another, "
                "or make it private in its settings"
            )
        files = frozenset(entry.rfilename for entry in info.siblings or ())
        return Seen(info.sha or "", files, self._digest_there(info.sha or "", files))

    def _info(self) -> Any:
        return self.api.dataset_info(self.repo_id, revision="main")

    def _digest_there(self, head: str, files: frozenset[str]) -> str:
        """The digest of what the main branch holds; RemoteError where it holds something else."""
        strangers = sorted(files - _HUBS_OWN)
        if not strangers:
            return ""
        digest = None
        if self.marker in files:
            with (
                tempfile.TemporaryDirectory() as folder,
                hub_errors(self.repo_id, f"read its {self.marker}"),
            ):
                file = self.api.hf_hub_download(
                    self.repo_id, self.marker, repo_type="dataset", revision=head, local_dir=folder
                )
                digest = _digest_in(Path(file))
        if digest is None:
            raise RemoteError(
                f"{self.repo_id}: exists and holds {strangers[0]}, which is no {self.holds}; "
                "choose another --repo-id"
            )
        return digest

    def send(self, path: str, file: Path) -> CommitOperationAdd:
        """Send a file; it may be removed afterwards, for only its name and digest are kept."""
        from huggingface_hub import CommitOperationAdd

        addition = CommitOperationAdd(path, file)
        with hub_errors(self.repo_id, f"upload {path}"):
            self.api.preupload_lfs_files(self.repo_id, [addition], repo_type="dataset", revision="main")
        if addition.path_or_fileobj == str(file):
            # The repository's rules want it in the commit itself, when the file will be gone.
            addition.path_or_fileobj = file.read_bytes()
        return addition

    def commit(
        self, seen: Seen, additions: Sequence[CommitOperationAdd], ours: Iterable[str], message: str
    ) -> tuple[str, tuple[str, ...]]:
        """Make everything appear at once, and `ours` of an earlier time disappear; returns commit and remarks."""
        from huggingface_hub import CommitOperationDelete

        stale = set(ours) - {addition.path_in_repo for addition in additions}
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *additions,
            *(CommitOperationDelete(path) for path in sorted(stale)),
        ]
        with hub_errors(self.repo_id, "commit to it"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            commit = self.api.create_commit(
                self.repo_id,
                operations,
                commit_message=message,
                repo_type="dataset",
                revision="main",
                parent_commit=seen.head,
            )
        return commit.oid, tuple(scrubbed(str(one.message)) for one in caught)

    def tag(self, name: str, commit: str) -> None:
        """Tag a commit, unless the tag is there from an earlier time."""
        with hub_errors(self.repo_id, "tag the commit"):
            self.api.create_tag(self.repo_id, tag=name, revision=commit, repo_type="dataset", exist_ok=True)


def _digest_in(file: Path) -> str | None:
    """The digest in a marker of whatever version; None where it is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    digest = content.get("digest") if isinstance(content, dict) else None
    return digest if isinstance(digest, str) and digest else None
