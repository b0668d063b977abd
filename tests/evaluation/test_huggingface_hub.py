"""Names of models: folders, the Hub, what the Hub has sent before; one line and no waiting where there is nothing.

The Hub is a server on 127.0.0.1, asked by the real client; out of reach it is a port where nobody listens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import Fault, LocalHub, only_loopback
from tiny_models import make_model, make_tokenizer

from evaluation.huggingface.hub import ADAPTER, Origin, adapter_folder, locate
from evaluation.models import LanguageModel, ModelOptions, load_model, load_tokenizer
from task_registry.errors import ModelError

NAME = "harbour/tiny-opt"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny OPT as its repository has it."""
    folder = tmp_path_factory.mktemp("model")
    make_model("opt").save_pretrained(folder)
    make_tokenizer("opt").save_pretrained(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let the Hub's client, which reads its address when it is imported, ask this server."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, bytes]) -> Iterator[LocalHub]:
    only_loopback(monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with LocalHub() as server:
        server.add_dataset(NAME, files)
        server.add_dataset("harbour/closed", files, gated=True)
        use(monkeypatch, server.url)
        yield server


def refused(name: str, words: str, file: str = "config.json", revision: str | None = None) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=words) as caught:
        locate(name, file, revision)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(name)
    assert time.monotonic() - started < 5  # the libraries would try for half a minute


def test_what_the_hub_lacks_is_told_in_one_line(hub: LocalHub) -> None:
    assert locate(NAME) == Origin(NAME, str(hub.repos[NAME].resolve("main")))
    refused("harbour/tinny-opt", "no such folder, and no such model on the Hub; check the name")
    refused(NAME, "no branch, tag or commit v7 on the Hub", revision="v7")
    refused(NAME, "no adapter_config.json on the Hub, so it cannot be loaded$", ADAPTER)
    hub.add_dataset("harbour/adapter", {ADAPTER: b"{}"})
    refused(
        "harbour/adapter", "no config.json on the Hub, so it cannot be loaded; an adapter is given as --peft"
    )
    refused("harbour/closed", "its owner grants access; .* hf auth login")
    refused("harbour/a name", "no Hub id, which is written as owner/name")
    assert not hub.asked("/resolve/"), "nothing is fetched to find out"


def test_a_hub_in_trouble_is_left_to_what_loads_the_files(hub: LocalHub) -> None:
    hub.break_next("config.json", Fault(status=503))
    assert locate(NAME).place == NAME


def test_folders_are_never_asked_for(tmp_path: Path, hub: LocalHub) -> None:
    refused(str(tmp_path), "the folder has no config.json")
    refused(str(tmp_path / "missing"), "no such folder, and no Hub id")
    (tmp_path / "config.json").write_text("{}")
    assert locate(str(tmp_path)) == Origin(str(tmp_path))
    assert hub.requests == []


def answers(model: LanguageModel) -> dict[int, object]:
    return dict(model.score_options(model.tokenizer.options([("Is it?", ["yes", "no, it is not"])])))


def test_a_model_of_the_hub_is_loaded_and_again_when_the_hub_is_gone(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ModelOptions(NAME)
    tokenizer, length = load_tokenizer(options)
    assert length == 512
    assert tokenizer.bos == (2,)
    assert not hub.asked("model.safetensors"), "the weights are not needed for the tokenizer"
    loaded = load_model(options)
    assert loaded.describe().revision == hub.repos[NAME].resolve("main")
    hub.requests.clear()
    use(monkeypatch, NOBODY)
    again = load_model(options)
    assert again.describe() == loaded.describe()
    assert answers(again) == answers(loaded)
    assert hub.requests == []
    refused(
        "harbour/other",
        "not in the Hub's cache, and the Hub cannot be reached; check the name and the network",
    )
    assert capfd.readouterr().err == "", "nobody is told of attempts"


def test_a_revision_is_the_one_that_is_loaded(hub: LocalHub, files: dict[str, bytes]) -> None:
    config = json.loads(files["config.json"]) | {"max_position_embeddings": 300}
    commit = hub.repos[NAME].commit(files | {"config.json": json.dumps(config).encode()}, branch="v2")
    assert load_tokenizer(ModelOptions(NAME, revision="v2"))[1] == 300
    assert load_tokenizer(ModelOptions(NAME, revision=commit))[1] == 300
    assert load_tokenizer(ModelOptions(NAME))[1] == 512
    assert locate(NAME, revision="v2").commit == commit


def test_an_adapter_of_the_hub_is_fetched_without_what_else_lies_there(hub: LocalHub) -> None:
    hub.add_dataset(
        "harbour/adapter", {ADAPTER: b"{}", "adapter_model.safetensors": b"w", "optimizer.pt": b"o"}
    )
    try:
        folder = adapter_folder("harbour/adapter")
    except ModelError as error:
        pytest.fail(str(error))
    assert {file.name for file in folder.iterdir()} == {ADAPTER, "adapter_model.safetensors"}
