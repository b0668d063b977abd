"""What the tests of publishing share: a client of a local Hub, and publishing with everything allowed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from local_hub_writes import WritableHub

from benchmark_builder.publish.rows import Part
from benchmark_builder.publish.selection import PublishOptions, select
from benchmark_builder.publish.upload import publish
from task_registry.bench import Bench
from task_registry.uploads import Published

TOP = Path(__file__).parent.parent.parent
REPO = "org/bench"
TOKEN = "hf_writer"


def client(hub: WritableHub, monkeypatch: pytest.MonkeyPatch, cache: Path, token: str = TOKEN) -> HfApi:
    """The real client, talking to a local Hub: plain LFS transfers, a cache of its own, no waiting between tries."""
    # What HF_ENDPOINT sets in a process of its own: version 1 of the client looks here too.
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "xdg"))
    return HfApi(endpoint=hub.endpoint, token=token)


def publish_all(
    bench: Bench, api: HfApi, watch: Callable[[Part], None] | None = None, **options: Any
) -> Published:
    """Publish a bench, whatever it is, unless `options` say otherwise."""
    allowed = {"repo_id": REPO, "allow_sample": True, "allow_unknown_licence": True} | options
    return publish(select(bench, PublishOptions(**allowed)), api=api, watch=watch)


def environment(hub: WritableHub, home: Path, token: str = TOKEN) -> dict[str, str]:
    """What a process of its own needs to talk to a local Hub."""
    return {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "XDG_CACHE_HOME": str(home / "xdg"),
    }


def run_script(script: str, variables: dict[str, str], *arguments: str) -> str:
    """Run a script in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=TOP,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
