"""What `fetch` reads of others: the Hub's answers and cards, and its own records, which a disk may have damaged."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from random import Random
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import hostile_bytes
from fuzz_kit import Files, Target, laid_out

from benchmark_builder.fetch.fetching import Fetcher
from benchmark_builder.fetch.hub import Hub
from benchmark_builder.fetch.items import ALL_CONFIGS, Archive, HubSet, Item
from benchmark_builder.fetch.remote import Patience, Remote, RemoteFile
from benchmark_builder.fetch.store import PARTS, READY, RECORDS, STAGING, State, Store
from task_registry.errors import RemoteError

CARD = """---
configs:
- config_name: day
  default: true
  data_files:
  - {split: train, path: day/train.csv}
  - {split: test, path: "day/test-*.csv"}
- config_name: night
  data_files: [{split: train, path: night/*.jsonl}]
---
Boats of the harbour.
"""
TOLD = {
    "day": {"features": {"a": {"dtype": "int64", "_type": "Value"}}, "splits": {"train": {"name": "train"}}}
}
ROWS = {".csv": b"a,b\n1,x\n2,y\n", ".jsonl": b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'}
PLACES = (
    "../../outside/secret.jsonl", "../../outside/", "/etc/passwd", "..", ".", "", "/", "harbour/../../..", "a\0b",
    "harbour", "harbour/boats.tsv/x", ".fetched/harbour/boats.json", "a" * 300, "\ud800", "../work2", "~", "C:\\x",
    "https://harbour.example/x.csv", "hf://datasets/harbour/x/**", "**", "*" * 40, "day/train.csv::x", "zip://*::x.zip",
)  # fmt: skip


def make_names(rng: Random, place: str, content: bytes) -> bytes:
    """A damaged file, or one with a hostile name in the place of a text."""
    if rng.random() < 0.5:
        return hostile_bytes.mutate(rng, place, content)
    name = rng.choice(PLACES)
    if place.endswith(".json"):
        return json.dumps(_renamed(rng, json.loads(content), name)).encode()
    words = content.decode().split(" ")
    words[rng.randrange(len(words))] = json.dumps(name) + rng.choice(("", "\n", "}"))
    return " ".join(words).encode()


def _renamed(rng: Random, value: Any, name: str) -> Any:
    """The value with the name for one of its texts or keys."""
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        if rng.random() < 0.2:
            return {name if k == key else k: v for k, v in value.items()}
        return {**value, key: _renamed(rng, value[key], name)}
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        return [*value[:at], _renamed(rng, value[at], name), *value[at + 1 :]]
    return name


def answers(folder: Path) -> Files:
    """The Hub's lists of a data set and of its conversion to Parquet, its card, and what its files told before."""
    names = ("README.md", "dataset_infos.json", "day/train.csv", "day/test-0.csv", "night/one.jsonl")
    siblings: list[dict[str, Any]] = [{"rfilename": name} for name in names]
    siblings[2] |= {"size": 12, "blobId": hashlib.sha1(b"blob 12\0" + ROWS[".csv"]).hexdigest()}
    siblings[3] |= {
        "size": 12,
        "lfs": {"size": 12, "sha256": hashlib.sha256(ROWS[".csv"]).hexdigest(), "pointerSize": 99},
    }
    info = {
        "id": "harbour/boats",
        "sha": "c" * 40,
        "private": False,
        "gated": False,
        "siblings": siblings,
        "tags": [],
    }
    whole = [{"rfilename": f"{name}/train/0000.parquet", "size": 9} for name in ("day", "night")]
    files = {"info.json": info, "converted.json": info | {"siblings": whole}, "dataset_infos.json": TOLD}
    told = {name: json.dumps(content).encode() for name, content in files.items()}
    (folder / "tmp").mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    return laid_out(folder, told | {"README.md": CARD.encode()})


class Answer(io.BytesIO):
    """A server's answer with a file."""

    status = 200
    headers: ClassVar[dict[str, str]] = {}


class FolderRemote(Remote):
    """The network, as far as the answers in a folder go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Patience(tries=1))
        self.folder = folder

    def _ask(self, file: RemoteFile, method: str, headers: Any) -> Any:
        path = unquote(urlsplit(file.url).path)
        told = self.folder / path.rpartition("/")[2]
        if path.count("\0") or len(path) > 3_000:
            raise RemoteError("no such file")
        if told.name in ("README.md", "dataset_infos.json", "boats.tar.gz"):
            return Answer(told.read_bytes())
        return Answer(ROWS.get(Path(path).suffix, b"nothing"))


def ask_hub(folder: Path, place: str) -> None:
    """Find the data set's configs as `fetch` does, and bring what can be brought."""
    import httpx2
    import huggingface_hub

    def answer(request: Any) -> Any:
        name = "converted.json" if "convert" in str(request.url) else "info.json"
        return httpx2.Response(200, content=(folder / name).read_bytes(), request=request)

    huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(answer)))
    huggingface_hub.close_session()
    hub, out = Hub(FolderRemote(folder)), folder / "out"
    refused: list[RemoteError] = []
    try:
        for number, config in enumerate(("", "night", ALL_CONFIGS)):
            with _noted(refused):
                for found in hub.find(HubSet("harbour/boats", config)):
                    into = out / "parts" / "harbour" / (found.name if config == ALL_CONFIGS else "")
                    if number == 2:
                        hub.bring(found, into, out / "repository", lambda *_: None)
        with _noted(refused):
            hub.find(HubSet("harbour/boats", "day", revision="refs/convert/parquet", converted=True))
    finally:
        shutil.rmtree(out, ignore_errors=True)
    if refused:
        raise refused[0]


@contextlib.contextmanager
def _noted(refused: list[RemoteError]) -> Any:
    try:
        yield
    except RemoteError as error:
        refused.append(error)


BOATS = Item(
    "harbour/boats",
    Archive(
        "https://harbour.example/boats.tar.gz", {"harbour/logs/": ("*.txt",), "harbour/boats.tsv": ("b",)}
    ),
)


def records(folder: Path) -> Files:
    """A folder of sources with one item, another version of which is ready, and the beginning of a download."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in ("b", "one.txt"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    staging = f"sound/{STAGING}/harbour/boats"
    facts = {"size": 1, "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
    record = {
        "item": BOATS.name, "address": BOATS.origin.address, "places": list(BOATS.places),
        "commit": "", "checksum": "5" * 64, "pinned": False, "converted": False, "configs": [],
        "files": {"harbour/logs/one.txt": facts, "harbour/boats.tsv": facts},
    }  # fmt: skip
    told = json.dumps(record).encode()
    laid_out(
        folder,
        {
            "boats.tar.gz": out.getvalue(),
            "sound/harbour/logs/one.txt": b"x",
            "sound/harbour/boats.tsv": b"x",
            f"{staging}/{PARTS}/harbour/logs/one.txt": b"x",
            f"{staging}/boats.tar.gz.part": b"xy",
        },
    )
    state = {"url": "https://harbour.example/boats.tar.gz", "validator": "abc"}
    return laid_out(
        folder,
        {
            f"sound/{RECORDS}/harbour/boats.json": told,
            f"{staging}/{READY}": told,
            f"{staging}/.version": b"https://harbour.example/boats.tar.gz  harbour/logs/ harbour/boats.tsv",
            f"{staging}/boats.tar.gz.part.state": json.dumps(state).encode(),
        },
    )


def take_store(folder: Path, place: str) -> None:
    """Take a copy of the folder of sources, look what is there, and bring what is not."""
    work = folder / "work"
    shutil.copytree(folder / "sound", work)
    if not place.endswith(READY):
        (work / STAGING / BOATS.name / READY).unlink()
    if place.endswith((".version", ".state")):
        shutil.rmtree(work / RECORDS)
        shutil.rmtree(work / "harbour")
    try:
        store = Store(work)
        fetcher = Fetcher(store, FolderRemote(folder))
        with store.taken():
            finding = fetcher.look_at(BOATS, thoroughly=True)
            if finding.state is State.MISSING:
                finding = fetcher.bring_one(finding)
            if finding.state is State.FAILED:
                raise RemoteError(finding.error)
            if finding.record is not None and finding.record.size < 0:
                raise RemoteError("files of less than nothing")
    finally:
        shutil.rmtree(work, ignore_errors=True)


TARGETS = (
    Target("hub", answers, ask_hub, share=1, make=make_names),
    Target("fetched", records, take_store, share=3, make=make_names, lenient=True),
)
