"""Publishing, by the real clients against a small Hub: what is read back, and what is left when it goes wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from hypothesis import given
from hypothesis import strategies as st
from kit import build_folder
from local_hub_writes import Fault, WritableHub, running_hub
from publish_kit import REPO, TOKEN, client, environment, publish_all, run_script

from benchmark_builder.publish import rows
from benchmark_builder.publish.selection import Publication, PublishOptions, select
from task_registry.bench import Bench
from task_registry.errors import GateError, RemoteError, UsageError
from task_registry.licences import Terms
from task_registry.published import PUBLISHED_SCHEMA, data_files, tag_of
from task_registry.remote import open_bench
from task_registry.types import Leak, Split


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench") / "data"
    build_folder(None, folder)
    return Bench.open(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Three sources of it, for what has to be published several times."""
    folder = tmp_path_factory.mktemp("small") / "data"
    build_folder(None, folder, source=("flan", "reasoning", "superni"))
    return Bench.open(folder)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[WritableHub]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub: WritableHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HfApi:
    return client(hub, monkeypatch, tmp_path / "cache")


def puts(hub: WritableHub) -> int:
    return hub.count(r"^PUT ")


# what is published

READ_BACK = """
import json, sys
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset
repo, revision, task = sys.argv[1:]
read = {}
for config in get_dataset_config_names(repo, revision=revision):
    for split in get_dataset_split_names(repo, config, revision=revision):
        whole = load_dataset(repo, config, split=split, revision=revision)
        stream = load_dataset(repo, config, split=split, revision=revision, streaming=True)
        assert list(whole) == list(stream), (config, split)
        read[f"{config} {split}"] = list(whole)
config, filters = task.partition("/")[0], [("task", "==", task)]
read["of one task"] = list(load_dataset(repo, config, split="test", revision=revision, filters=filters))
print(json.dumps(read))
"""


def test_load_dataset_reads_what_the_shards_hold(
    bench: Bench, hub: WritableHub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By config, split and revision, whole, streamed and filtered; an older revision stays what it was."""
    monkeypatch.setattr(rows, "BYTES_PER_FILE", 20_000)
    monkeypatch.setattr(rows, "ROWS_PER_GROUP", 7)
    older = publish_all(bench, api, include=("custom/*", "superni/*"))
    publish_all(bench, api, include=("reasoning/*",))
    task = "superni/sample_pairs"
    out = run_script(READ_BACK, environment(hub, tmp_path / "home"), REPO, older.tag, task)
    read = json.loads(out)
    expected: dict[str, list[dict[str, object]]] = {}
    published = {id_: b for id_, b in bench.tasks.items() if b.task.source in ("custom", "superni")}
    for built in published.values():
        facts = {
            "task": built.task.id,
            "category": built.task.category,
            "level": built.assignment.level,
            "eval_set": built.assignment.eval_set,
            "metric": built.task.metric,
        }
        for split in built.counts:
            rows_there = expected.setdefault(f"{built.task.source} {split}", [])
            for example in bench.examples(built.task.id, split):
                row = example._asdict() | {"references": list(example.references)}
                row |= {"example_id": row.pop("id"), "options": list(example.options)}
                rows_there.append(facts | row)
    assert [row["task"] for row in read.pop("of one task")] == [task] * bench.task(task).counts[Split.TEST]
    tasks = read.pop("tasks tasks")
    assert {row["id"]: row["digest"] for row in tasks} == {id_: b.digest for id_, b in published.items()}
    dropped = {row["id"]: {rule["rule"]: rule["count"] for rule in row["dropped"]} for row in tasks}
    assert dropped == {id_: dict(built.dropped) for id_, built in published.items()}
    assert read == expected


@pytest.mark.parametrize("limits", [(500_000_000, 10_000), (20_000, 7), (1, 1)], ids=str)
def test_a_published_bench_is_the_bench(
    bench: Bench, api: HfApi, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]
) -> None:
    """However it is cut to files and row groups, the shards that are made of it have the same digests."""
    monkeypatch.setattr(rows, "BYTES_PER_FILE", limits[0])
    monkeypatch.setattr(rows, "ROWS_PER_GROUP", limits[1])
    publish_all(bench, api)
    back = open_bench(f"hf://{REPO}", list(Split), api=api)
    assert back.manifest == bench.manifest
    assert back.tasks == bench.tasks
    assert list(back.damaged()) == []


def test_files_are_what_the_hub_asks_for(bench: Bench, tmp_path: Path) -> None:
    publication = select(bench, PublishOptions(REPO, private=True, allow_sample=True))
    part = next(p for p in rows.plan_parts(publication) if p.file.path.startswith("data/superni/test-"))
    for name in ("first", "second"):
        rows.write_part(bench, part, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    with pq.ParquetFile(tmp_path / "first") as file:
        assert file.schema_arrow.equals(PUBLISHED_SCHEMA)
        assert {str(kind) for kind in PUBLISHED_SCHEMA.types} == {"string", "list<item: string>"}
        group = file.metadata.row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
        assert {column.compression for column in columns} == {"ZSTD"}
        assert all(column.has_column_index and column.has_offset_index for column in columns)
        assert file.metadata.num_rows == part.rows


def test_a_repository_that_keeps_everything_in_git_gets_everything(
    small: Bench, hub: WritableHub, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own rules may want Parquet files in the commit itself, when ours are long removed."""
    monkeypatch.setattr("local_hub_writes.LFS_SUFFIXES", (".bin",))
    publish_all(small, api)
    assert puts(hub) == 0
    assert open_bench(f"hf://{REPO}", list(Split), api=api).tasks == small.tasks


def test_a_large_bench_has_larger_files_not_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    publication = select(bench, PublishOptions(REPO, private=True, allow_sample=True))
    monkeypatch.setattr(rows, "BYTES_PER_FILE", 1)
    counts = []
    for most in (1, 20, 1_000_000):
        monkeypatch.setattr(rows, "MOST_FILES", most)
        parts = rows.plan_parts(publication)
        assert sum(part.rows for part in parts) == sum(bench.totals.values())
        counts.append(len(parts))
    per_split = len({(part.file.source, part.file.split) for part in parts})
    assert counts[0] == per_split
    assert per_split < counts[1] <= per_split + 20 < counts[2]


def test_row_groups_end_by_rows_and_by_size(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publication = select(bench, PublishOptions(REPO, private=True, allow_sample=True))
    part = next(p for p in rows.plan_parts(publication) if p.file.path.startswith("data/superni/test-"))
    groups = {}
    for name, value in (("ROWS_PER_GROUP", 20), ("BYTES_PER_GROUP", 4_000), ("ROWS_PER_GROUP", 10_000)):
        with monkeypatch.context() as patch:
            patch.setattr(rows, name, value)
            rows.write_part(bench, part, tmp_path / "file")
            groups[name, value] = pq.read_metadata(tmp_path / "file").num_row_groups
    assert groups["ROWS_PER_GROUP", 10_000] == 1
    assert groups["ROWS_PER_GROUP", 20] > 1
    assert groups["BYTES_PER_GROUP", 4_000] > 1


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 120))
def test_pieces_keep_every_task_in_order_below_the_limit(sizes: list[int], limit: int) -> None:
    pieces = list(rows._pieces(list(enumerate(sizes)), limit))  # type: ignore[arg-type]
    assert [task for piece in pieces for task in piece] == list(enumerate(sizes))
    assert all(len(piece) == 1 or sum(size for _, size in piece) <= limit for piece in pieces)
    for one, two in pairwise(pieces):
        assert sum(size for _, size in one) + two[0][1] > limit, "files as full as may be"


# revisions


def test_an_unchanged_bench_makes_no_commit(small: Bench, hub: WritableHub, api: HfApi) -> None:
    first = publish_all(small, api)
    sent, repository = puts(hub), hub.repositories[REPO]
    del repository.refs[first.tag]  # as if the first try had ended before the tag
    again = publish_all(small, api)
    assert (again.commit, again.unchanged, first.created, again.created) == (first.commit, True, True, False)
    assert repository.refs[first.tag] == first.commit
    assert len(repository.commits) == 2
    assert puts(hub) == sent


def test_another_bench_is_a_commit_on_top_that_sends_only_what_is_new(
    small: Bench, hub: WritableHub, api: HfApi
) -> None:
    first = publish_all(small, api)
    sent = puts(hub)
    part = publish_all(small, api, include=("superni/*", "sample_riverside"))
    files = hub.repositories[REPO].commits[part.commit]
    assert {file.source for file in data_files(files)} == {"superni", "reasoning"}
    assert puts(hub) == sent + 2, (
        "the table of tasks and reasoning's cut train split; superni's files are there"
    )
    assert open_bench(f"hf://{REPO}@{first.tag}", list(Split), api=api).tasks == small.tasks
    now = open_bench(f"hf://{REPO}", list(Split), api=api)
    chosen = {
        id_
        for id_, b in small.tasks.items()
        if b.task.source == "superni" or b.task.name == "sample_riverside"
    }
    assert set(now.tasks) == chosen
    assert now.manifest.selection["include"] == ("superni/*", "sample_riverside")
    counts = {name: origin.tasks for name, origin in now.manifest.sources.items()}
    assert counts == {"reasoning": 1, "superni": len(chosen) - 1}
    assert tag_of(now.manifest.digest) == part.tag != first.tag
    back = publish_all(small, api)
    assert back.commit not in (first.commit, part.commit)
    assert hub.repositories[REPO].refs[first.tag] == first.commit, "a tag is never moved"


def test_files_that_are_not_ours_stay(small: Bench, hub: WritableHub, api: HfApi) -> None:
    publish_all(small, api)
    repository = hub.repositories[REPO]
    repository.commit(repository.commits[repository.refs["main"]] | {"logo.png": hub.store(b"png")}, "logo")
    last = publish_all(small, api, include=("superni/*",))
    assert "logo.png" in repository.commits[last.commit]


# what may be published


def test_a_sample_is_refused_unless_told(bench: Bench) -> None:
    with pytest.raises(UsageError, match="--allow-sample"):
        select(bench, PublishOptions(REPO, allow_unknown_licence=True))


def with_licence(bench: Bench, **licences: str) -> Bench:
    """The bench with other licences, by task name."""
    tasks = {}
    for id_, built in bench.tasks.items():
        licence = licences.get(built.task.name, built.task.licence)
        tasks[id_] = dataclasses.replace(built, task=dataclasses.replace(built.task, licence=licence))
    return Bench(bench.path, bench.manifest, tasks)


def test_licences_that_are_unknown_or_forbid_it_are_refused(bench: Bench) -> None:
    """Each of the two is let through by its own option, and by no other."""
    changed = with_licence(bench, sample_pairs="CC BY-NC-ND 4.0", sample_sums="CC BY-NC 4.0|No idea")
    total = len(bench.tasks)
    unknown = (
        f"2 of {total} tasks with no licence that is known (custom/sample_odd_one_out, superni/sample_sums)"
    )
    forbidding = f"1 of {total} tasks with a licence that forbids it (superni/sample_pairs)"
    ways = ("--only-licensed", "--private", "--allow-unknown-licence", "--allow-forbidding-licence")

    def chosen(**options: bool) -> Publication:
        return select(changed, PublishOptions(REPO, allow_sample=True, **options))

    for allowed, told, offered in (
        ([], f"{unknown} and {forbidding}; ", ways),
        (["allow_unknown_licence"], f"{forbidding}; ", (*ways[:2], ways[3])),
        (["allow_forbidding_licence"], f"{unknown}; ", ways[:3]),
    ):
        with pytest.raises(GateError) as refused:
            chosen(**dict.fromkeys(allowed, True))
        text = str(refused.value)
        assert text.startswith(f"{REPO} would be public: {told}")
        assert tuple(way for way in ways if way in text) == offered
    assert len(chosen(allow_unknown_licence=True, allow_forbidding_licence=True).tasks) == total
    assert len(chosen(private=True).tasks) == total
    kept = chosen(only_licensed=True)
    assert kept.left_out == {
        "custom/sample_odd_one_out": Terms.UNKNOWN,
        "superni/sample_pairs": Terms.FORBIDDEN,
        "superni/sample_sums": Terms.UNKNOWN,
    }
    assert len(kept.tasks) == kept.manifest.tasks == total - 3
    assert kept.manifest.digest != changed.manifest.digest
    assert not {leak.evaluation_task for built in kept.tasks for leak in built.leaks} & set(kept.left_out)


def test_what_is_left_out_is_not_told_of(bench: Bench) -> None:
    """A leak quotes passages of its evaluated task: it goes where that task goes."""
    leaks = tuple(
        Leak(name, "shares_passages", "kept", passages=("a passage of " + name,))
        for name in ("superni/sample_pairs", "flan/sample_why_then")
    )
    tasks = dict(bench.tasks)
    training = next(id_ for id_, built in tasks.items() if built.task.source == "superni" and not built.leaks)
    tasks[training] = dataclasses.replace(tasks[training], leaks=leaks)
    leaky = Bench(bench.path, bench.manifest, tasks)
    part = select(leaky, PublishOptions(REPO, include=("superni/*",), allow_sample=True, private=True))
    told = next(built.leaks for built in part.tasks if built.task.id == training)
    assert told == leaks[:1]
    assert part.manifest.leaks == {"shares_passages: kept (not reviewed)": 1}
    whole = select(leaky, PublishOptions(REPO, allow_sample=True, private=True))
    assert whole.tasks == tuple(tasks.values())


def test_a_glob_that_matches_nothing_is_an_error(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"'suprni/\*': matches none of the \d+ tasks"):
        select(bench, PublishOptions(REPO, include=("superni/*", "suprni/*"), allow_sample=True))


# what goes wrong

FAULTS = {
    "dropped while sending": (Fault(r"^PUT ", after=3), "no answer from the Hub"),
    "dropped at the commit": (Fault(r"/commit/"), "no answer from the Hub"),
    "server error": (Fault(r"objects/batch", 500, after=5), "the Hub answered 500"),
    "too many requests": (Fault(r"preupload", 429, {"RateLimit": '"api";r=0;t=42'}), "free again in 42 s"),
    "too many commits": (Fault(r"/commit/", 429, {"Retry-After": "7"}), "free again in 7 s"),
    "stale parent": (
        Fault(r"/commit/", 412, error="A commit has happened since."),
        "changed by somebody else",
    ),
    "no storage left": (
        Fault(r"^PUT ", 403, error="Storage quota is used up", after=2),
        "Storage quota is used",
    ),
    "bad card": (Fault(r"validate-yaml", 400, error="license must be one of"), "license must be one of"),
    "token in an answer": (
        Fault(r"preupload", 403, error=f"{TOKEN} may not. Bearer {TOKEN}"),
        "<token> may not",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_failure_leaves_main_as_it_was_and_the_next_try_sends_the_rest(
    small: Bench, hub: WritableHub, api: HfApi, case: str
) -> None:
    fault, message = FAULTS[case]
    before = publish_all(small, api, include=("flan/*",))
    repository = hub.repositories[REPO]
    repository_before = (dict(repository.refs), len(repository.commits))
    hub.faults.append(fault)
    with pytest.raises(RemoteError) as raised:
        publish_all(small, api)
    text = str(raised.value)
    assert text.startswith(f"{REPO}: ")
    assert message in text
    assert "\n" not in text
    assert TOKEN not in text
    assert (dict(repository.refs), len(repository.commits)) == repository_before
    assert open_bench(f"hf://{REPO}", api=api).manifest.digest == before.tag.removeprefix("bench-")
    hub.faults.clear()
    there = {path.name for path in (hub.folder).iterdir()}
    sent = puts(hub)
    publish_all(small, api)
    assert puts(hub) - sent == sum(
        len(p.name) == 64 and p.name not in there for p in new_lfs(hub, repository.refs)
    )
    assert open_bench(f"hf://{REPO}", list(Split), api=api).tasks == small.tasks


def new_lfs(hub: WritableHub, refs: dict[str, str]) -> Iterator[Path]:
    """The stored Parquet files of the main branch."""
    files = hub.repositories[REPO].commits[refs["main"]]
    yield from {hub.folder / digest for path, digest in files.items() if path.endswith(".parquet")}


def test_a_lost_answer_to_the_commit_ends_in_one_commit(small: Bench, hub: WritableHub, api: HfApi) -> None:
    hub.faults.append(Fault(r"/commit/", too_late=True))
    with pytest.raises(RemoteError, match="no answer from the Hub"):
        publish_all(small, api)
    hub.faults.clear()
    again = publish_all(small, api)
    assert again.unchanged
    assert len(hub.repositories[REPO].commits) == 2
    assert hub.repositories[REPO].refs[again.tag] == again.commit


def test_somebody_elses_commit_in_between_is_not_overwritten(
    small: Bench, hub: WritableHub, api: HfApi
) -> None:
    repository = hub.create(REPO)

    def meddle(part: rows.Part) -> None:
        if len(repository.commits) == 1:
            repository.commit(repository.commits[repository.refs["main"]], "meddling")

    with pytest.raises(RemoteError, match="changed by somebody else meanwhile"):
        publish_all(small, api, watch=meddle)
    assert repository.messages[-1] == "meddling"
    assert publish_all(small, api).commit == repository.refs["main"]


def test_an_interrupted_upload_goes_on_where_it_was(
    small: Bench, hub: WritableHub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    sent: list[rows.Part] = []

    def interrupt(part: rows.Part) -> None:
        sent.append(part)
        if len(sent) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_all(small, api, watch=interrupt)
    assert hub.repositories[REPO].messages == ["initial commit"]
    assert list((tmp_path / "scratch").iterdir()) == []
    assert puts(hub) == 5
    publish_all(small, api)
    files = {hub.repositories[REPO].commits[hub.repositories[REPO].refs["main"]][f] for f in hub_paths(hub)}
    assert puts(hub) == len(files), "each content is sent once"


def hub_paths(hub: WritableHub) -> list[str]:
    repository = hub.repositories[REPO]
    return [path for path in repository.commits[repository.refs["main"]] if path.endswith(".parquet")]


# by Xet, as the Hub itself has it: the real client, whose store is a folder


@pytest.fixture
def xet_api(hub: WritableHub, api: HfApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HfApi:
    pytest.importorskip("hf_xet", reason="hf_xet is not installed")
    hub.xet = tmp_path / "xet"
    hub.xet.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    # Else the client tries for minutes what fails here on purpose.
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "10ms")
    return api


def test_xet_brings_the_same_files_and_no_other_way_is_used(
    small: Bench, hub: WritableHub, xet_api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = publish_all(small, xet_api).commit
    assert puts(hub) == 0
    assert hub.count("xet-write-token") > 0
    by_xet = hub.repositories[REPO].commits[commit]
    assert publish_all(small, xet_api).unchanged
    hub.xet = None
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    other = publish_all(small, xet_api, repo_id="org/other")
    by_lfs = hub.repositories["org/other"].commits[other.commit]
    assert {path for path in by_lfs if by_xet.get(path) != by_lfs[path]} == {"README.md"}, (
        "names its repository"
    )
    assert by_xet.keys() == by_lfs.keys()


XET_FAULTS = {
    0: "no answer from the Hub (",
    401: "does not accept the token (401)",
    403: "the token may not upload data/flan/train-00000-of-00001.parquet (403)",
    429: "too many requests (429)",
    500: "the Hub answered 500",
}


@pytest.mark.parametrize("status", XET_FAULTS)
def test_a_failure_of_xet_is_told_and_made_up_for(
    small: Bench, hub: WritableHub, xet_api: HfApi, status: int
) -> None:
    hub.faults.append(Fault("xet-write-token", status))
    with pytest.raises(RemoteError) as raised:
        publish_all(small, xet_api)
    text = str(raised.value)
    assert text.startswith(f"{REPO}: ")
    assert XET_FAULTS[status] in text
    assert TOKEN not in text
    assert "\n" not in text
    assert hub.repositories[REPO].messages == ["initial commit"]
    hub.faults.clear()
    assert publish_all(small, xet_api).commit == hub.repositories[REPO].refs["main"]


def expire(hub: WritableHub) -> str:
    hub.expired.add(TOKEN)
    return TOKEN


TOKENS: dict[str, tuple[Callable[[WritableHub], str], str]] = {
    "expired": (expire, r"does not accept the token \(401: User access token is expired"),
    "wrong": (lambda hub: "hf_wrong", r"does not accept the token \(401: Invalid credentials"),
    "of a reader": (
        lambda hub: "hf_reader",
        r"the token may not .* \(403: Forbidden: you must use a write token",
    ),
}


@pytest.mark.parametrize("exists", [False, True], ids=["new", "there"])
@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_that_does_not_suffice(
    small: Bench, hub: WritableHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, exists: bool
) -> None:
    make, message = TOKENS[kind]
    if exists:
        hub.create(REPO)
    token = make(hub)
    with pytest.raises(RemoteError, match=message) as raised:
        publish_all(small, client(hub, monkeypatch, tmp_path / "cache", token))
    assert token not in str(raised.value)
    assert len(hub.repositories.get(REPO, hub.create("org/other")).commits) == 1
    assert puts(hub) == 0


def test_a_repository_of_something_else_is_left_alone(small: Bench, hub: WritableHub, api: HfApi) -> None:
    for name, files in {
        "org/glue": {"README.md": b"# GLUE", "train.parquet": b"PAR1"},
        "org/odd": {"bench.json": b"[1, 2]"},
    }.items():
        hub.create(name, files=files)
        with pytest.raises(RemoteError, match="which is no bench; choose another --repo-id"):
            publish_all(small, api, repo_id=name)
        assert len(hub.repositories[name].commits) == 1
    hub.create("org/fresh", files={"README.md": b"# soon"})
    assert not publish_all(small, api, repo_id="org/fresh").created


def test_private_makes_a_private_repository_and_no_public_one_will_do(
    small: Bench, hub: WritableHub, api: HfApi
) -> None:
    publish_all(small, api, private=True, allow_unknown_licence=False)
    assert hub.repositories[REPO].private
    hub.create("org/open")
    with pytest.raises(RemoteError, match="exists and is public"):
        publish_all(small, api, repo_id="org/open", private=True)
    assert hub.count("preupload/main") and not hub.count("org/open/preupload")


def test_a_hub_that_is_not_there(small: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        api = client(hub, monkeypatch, tmp_path / "cache")
    with pytest.raises(RemoteError, match=r"cannot look it up: no answer from the Hub \(.*refused"):
        publish_all(small, api)


@pytest.mark.parametrize(
    "repo_id", ["bench", "org/bench/more", "../bench", "", "org/ bench", f"{TOKEN}x/y z"]
)
def test_a_malformed_repository_id(small: Bench, api: HfApi, repo_id: str) -> None:
    with pytest.raises(UsageError, match="expected ORG/NAME"):
        publish_all(small, api, repo_id=repo_id)
