"""The Hub's side of a bench: its Parquet files are written and sent one by one, then a single commit shows them.

The tag comes last; a try that finds the bench there already adds the tag and nothing else. How files go up, and
what is left when that fails, is `task_registry.uploads`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark_builder.publish.card import write_card
from benchmark_builder.publish.rows import Part, plan_parts, write_part
from benchmark_builder.publish.selection import Publication
from task_registry.bench import MANIFEST, TASKS
from task_registry.hub import check_repo_id, quiet_client
from task_registry.published import data_files, manifest_text, tag_of, tasks_table
from task_registry.uploads import CARD, Published, Repository

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi


def publish(
    publication: Publication, *, api: HfApi | None = None, watch: Callable[[Part], None] | None = None
) -> Published:
    """Put a publication on the Hub, and tell `watch` of each file that is there.

    Raises UsageError for a malformed repository id, BenchFolderError for a damaged shard, and RemoteError for
    whatever the Hub refuses; until the end nobody sees any of it.
    """
    from huggingface_hub import HfApi

    options, manifest = publication.options, publication.manifest
    check_repo_id(options.repo_id)
    repository = Repository(api or HfApi(), options.repo_id, MANIFEST, "bench")
    tag = tag_of(manifest.digest)
    with quiet_client():
        seen = repository.look(options.private)
        if seen.digest == manifest.digest:
            repository.tag(tag, seen.head)
            return Published(repository.url, tag, seen.head, unchanged=True)
        parts = plan_parts(publication)
        additions = _texts(publication, parts)
        for part in parts:
            additions.append(_sent(repository, publication, part))
            if watch is not None:
                watch(part)
        ours = (file.path for file in data_files(seen.files))
        message = f"Bench {manifest.digest}: {manifest.tasks:,} tasks"
        commit, notes = repository.commit(seen, additions, ours, message)
        repository.tag(tag, commit)
    return Published(repository.url, tag, commit, created=seen.created, notes=notes)


def _texts(publication: Publication, parts: Sequence[Part]) -> list[CommitOperationAdd]:
    """The small files: the card, the manifest, the table of tasks."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import CommitOperationAdd

    table = pa.BufferOutputStream()
    pq.write_table(tasks_table(publication.tasks), table, compression="zstd")
    contents = {
        CARD: write_card(publication, parts).encode(),
        MANIFEST: manifest_text(publication.manifest).encode(),
        TASKS: table.getvalue().to_pybytes(),
    }
    return [CommitOperationAdd(path, content) for path, content in contents.items()]


def _sent(repository: Repository, publication: Publication, part: Part) -> CommitOperationAdd:
    """Write one Parquet file, send it, remove it."""
    with tempfile.TemporaryDirectory(prefix="optiml-bench-") as folder:
        file = Path(folder) / Path(part.file.path).name
        write_part(publication.bench, part, file)
        return repository.send(part.file.path, file)
