"""A published bench, opened: addresses, what is downloaded, what is kept, and files that are not what they say."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from kit import build_folder, folder_digests
from local_hub_writes import Fault, WritableHub, running_hub
from publish_kit import REPO, client, publish_all

from task_registry.bench import Bench
from task_registry.errors import BenchFolderError, RemoteError, UsageError
from task_registry.remote import Address, cache_folder, is_address, open_bench, parse_address
from task_registry.types import Split
from task_registry.uploads import Published


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench") / "data"
    build_folder(None, folder, source=("flan", "superni"))
    return Bench.open(folder)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[WritableHub]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub: WritableHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HfApi:
    return client(hub, monkeypatch, tmp_path / "cache")


@pytest.fixture
def published(bench: Bench, api: HfApi) -> Published:
    return publish_all(bench, api)


def test_an_address_is_read() -> None:
    assert parse_address("hf://org/bench") == Address("org/bench", "main")
    assert parse_address("hf://datasets/org/bench@v1/rc") == Address("org/bench", "v1/rc")
    assert parse_address(str(Path("hf://org/bench@main/"))) == Address("org/bench", "main"), (
        "one slash is left"
    )
    digest = "0123456789abcdef" * 2
    assert parse_address(f"hf://org/bench@{digest}").digest == digest
    assert parse_address(f"hf://org/bench@bench-{digest}").digest == digest
    assert parse_address("hf://org/bench@0123456").digest == ""
    assert str(parse_address("hf://org/bench/@main")) == "hf://org/bench@main"
    assert is_address(Path("hf://org/bench"))
    assert not is_address("data/hf:/x")


@pytest.mark.parametrize(
    "text", ["hf://", "hf://org", "hf://org/bench/more", "hf://org/bench@", "hf://../x@y"]
)
def test_a_malformed_address_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        open_bench(text)


def test_a_folder_is_opened_as_it_is(bench: Bench, tmp_path: Path) -> None:
    assert open_bench(bench.path).tasks == bench.tasks
    assert open_bench(str(bench.path)).manifest == bench.manifest
    with pytest.raises(BenchFolderError, match="no such folder"):
        open_bench(tmp_path / "none")


def test_only_what_is_asked_for_is_brought_and_only_once(
    bench: Bench, hub: WritableHub, api: HfApi, published: Published
) -> None:
    told: list[str] = []
    opened = open_bench(f"hf://{REPO}@{published.tag}", sources=["superni"], api=api, watch=told.append)
    assert [path for path in told if path.startswith("data/")] == [
        "data/superni/demonstrations-00000-of-00001.parquet",
        "data/superni/test-00000-of-00001.parquet",
    ]
    for built in opened.tasks.values():
        if built.task.source == "superni":
            for split in (Split.DEMONSTRATIONS, Split.TEST):
                examples = list(opened.examples(built.task.id, split))
                assert examples == list(bench.examples(built.task.id, split))
    with pytest.raises(BenchFolderError):
        list(opened.examples("flan/sample_why_then", Split.TEST))
    before = len(hub.requests)
    digest = bench.manifest.digest
    assert open_bench(f"hf://{REPO}@{digest}", sources=["superni"], api=api).tasks == opened.tasks
    assert open_bench(f"hf://else/where@{digest}", sources=["superni"], api=api).path == opened.path
    assert len(hub.requests) == before, "a digest that is there needs no network"
    whole = open_bench(f"hf://{REPO}", list(Split), api=api)
    assert hub.count("GET .*superni/test") == 1
    assert whole.path == opened.path == cache_folder() / digest
    assert folder_digests(whole.path / "shards") == {
        path: found
        for path, found in folder_digests(bench.path / "shards").items()
        if not path.endswith("task.json")
    }


def test_several_processes_may_open_it_at_once(bench: Bench, api: HfApi, published: Published) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_bench(f"hf://{REPO}", list(Split), api=api), range(4)))
    assert all(list(one.damaged()) == [] and one.tasks == bench.tasks for one in opened)
    assert sorted(path.name for path in opened[0].path.iterdir()) == ["bench.json", "shards", "tasks.parquet"]


def test_a_bench_that_is_not_there(hub: WritableHub, api: HfApi, published: Published) -> None:
    with pytest.raises(RemoteError, match=r"org/none: no such repository or file \(404"):
        open_bench("hf://org/none", api=api)
    with pytest.raises(RemoteError, match=r"org/bench: no such revision \(v7\)"):
        open_bench(f"hf://{REPO}@v7", api=api)
    hub.create("org/glue", files={"train.parquet": b"PAR1"})
    with pytest.raises(RemoteError, match=r"hf://org/glue@main: holds no bench\.json, so it is no bench"):
        open_bench("hf://org/glue", api=api)
    hub.faults.append(Fault("^(GET|HEAD) /datasets/"))
    with pytest.raises(RemoteError, match=r"cannot download bench\.json: no answer from the Hub"):
        open_bench(f"hf://{REPO}", api=api)


def replace(hub: WritableHub, path: str, change: Callable[[bytes], bytes | None]) -> None:
    """Commit another content of a file; None removes it."""
    repository = hub.repositories[REPO]
    files = dict(repository.commits[repository.refs["main"]])
    content = change((hub.folder / files.pop(path)).read_bytes())
    if content is not None:
        files[path] = hub.store(content)
    repository.commit(files, "tampering")


def on_table(change: Callable[[pa.Table], pa.Table]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        out = io.BytesIO()
        pq.write_table(change(pq.read_table(io.BytesIO(content))), out)
        return out.getvalue()

    return changed


def with_values(name: str, change: Callable[[str], str]) -> Callable[[pa.Table], pa.Table]:
    def changed(table: pa.Table) -> pa.Table:
        values = pa.array([change(value) for value in table[name].to_pylist()], pa.string())
        return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)

    return changed


def in_manifest(**changes: object) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps(json.loads(content) | changes).encode()


TEST = "data/superni/test-00000-of-00001.parquet"
TAMPERED: dict[str, tuple[str, Callable[[bytes], bytes | None], str]] = {
    "another answer": (
        TEST, on_table(with_values("input", lambda text: text.replace("bird", "frog"))), "not what its digest says",
    ),
    "a row less": (TEST, on_table(lambda table: table.slice(0, table.num_rows - 1)), "not what its digest says"),
    "a task less": (TEST, on_table(lambda table: table.slice(0, 12)), r"lacks test of \d tasks"),
    "a cut file": (TEST, lambda content: content[:-100], "a damaged file of test examples"),
    "another metric": (
        "tasks.parquet", on_table(with_values("metric", lambda text: "accuracy")), "its tasks have digest",
    ),
    "no table of tasks": ("tasks.parquet", lambda content: b"PAR1", "of another version or damaged"),
    "another table": (
        "tasks.parquet", on_table(lambda table: table.drop_columns(["scored_from"])), "of another version or damaged",
    ),
    "a task outside": (
        "tasks.parquet", on_table(with_values("id", lambda id_: id_.replace("superni/", "superni/../../"))),
        "which would leave its folder",
    ),
    "a file is missing": (TEST, lambda content: None, "0 files, expected 1"),
    "a later format": ("bench.json", in_manifest(format=99), "format 99, expected"),
    "no manifest": ("bench.json", lambda content: b"[]", "not a readable manifest"),
    "another digest": ("bench.json", in_manifest(digest="../../x"), "its tasks have digest"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAMPERED)
def test_what_is_not_what_it_says_is_refused(
    hub: WritableHub, api: HfApi, published: Published, case: str
) -> None:
    path, change, message = TAMPERED[case]
    replace(hub, path, change)
    with pytest.raises(RemoteError, match=message) as raised:
        open_bench(f"hf://{REPO}", api=api)
    assert "\n" not in str(raised.value)
    assert not (cache_folder().parent.parent / "x").exists()
    opened = open_bench(f"hf://{REPO}@{published.tag}", list(Split), api=api)
    assert list(opened.damaged()) == [], "what was laid out before the fault is sound"


def test_the_bench_behind_a_digest_must_have_it(hub: WritableHub, api: HfApi, published: Published) -> None:
    repository = hub.repositories[REPO]
    repository.refs["bench-" + "0" * 32] = repository.refs["main"]
    with pytest.raises(RemoteError, match=r"its tasks have digest \w+, expected 0{32}"):
        open_bench(f"hf://{REPO}@{'0' * 32}", api=api)
