"""Where a name leads: to a folder, to the Hub, or, where that is out of reach, to what it has sent before.

The libraries ask the Hub for each of a dozen files and try each of them again for half a minute; here it is asked
once, and what is wrong is told in our own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from task_registry.errors import ModelError

CONFIG = "config.json"
ADAPTER = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model or an adapter is loaded from."""

    place: str
    """A folder, or, where the Hub has to be asked, its id there."""
    commit: str = ""
    """On the Hub; empty for a folder of the user's own."""


def locate(name: str, file: str = CONFIG, revision: str | None = None) -> Origin:
    """Find out where `name` leads; `file` is the one that every model, or every adapter, has.

    Raises:
        ModelError: there is no such folder, and no such repository either here or on the Hub.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        if not (local / file).is_file():
            raise ModelError(f"{name}: the folder has no {file}; expected one made by save_pretrained")
        return Origin(str(local))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"{name}: no such folder, and no Hub id, which is written as owner/name")
    commit = _on_hub(name, file, revision)
    if commit is not None:
        return Origin(name, commit)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, file, revision=revision)
    if not isinstance(cached, str):
        raise ModelError(
            f"{name}: no such folder, not in the Hub's cache, and the Hub cannot be reached;"
            " check the name and the network"
        )
    # Even when told to stay offline, the libraries ask for some files by an id, but never by a folder.
    snapshot = Path(cached).parent
    return Origin(str(snapshot), commit=snapshot.name)


def adapter_folder(name: str) -> Path:
    """The folder of a PEFT adapter, fetched from the Hub if need be; ModelError as for `locate`."""
    place = Path(locate(name, ADAPTER).place)
    if place.is_dir():
        return place
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    folder = Path(hf_hub_download(name, ADAPTER)).parent
    for weights in ("adapter_model.safetensors", "adapter_model.bin"):
        try:
            hf_hub_download(name, weights)
            break
        except EntryNotFoundError:
            continue  # without either, loading says so
    return folder


def _on_hub(name: str, file: str, revision: str | None) -> str | None:
    """The commit at which the Hub has a repository's file; None if it cannot be reached."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return get_hf_file_metadata(hf_hub_url(name, file, revision=revision)).commit_hash or ""
    except HFValidationError:
        raise ModelError(f"{name}: no such folder, and no Hub id, which is written as owner/name") from None
    except GatedRepoError:
        raise ModelError(
            f"{name}: its owner grants access; ask for it on the model's page, then run: hf auth login"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"{name}: no such folder, and no such model on the Hub; check the name, or, if it is private, run:"
            " hf auth login"
        ) from None
    except RevisionNotFoundError:
        raise ModelError(f"{name}: no branch, tag or commit {revision} on the Hub") from None
    except EntryNotFoundError:
        hint = "; an adapter is given as --peft, beside its --model" if file == CONFIG else ""
        raise ModelError(f"{name}: no {file} on the Hub, so it cannot be loaded{hint}") from None
    except HfHubHTTPError:
        return revision or ""  # reached, and in trouble: what loads the files tries again
    except Exception:  # noqa: BLE001 - of the HTTP library, which is another in each version
        return None
