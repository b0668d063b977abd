"""What goes wrong between us and the Hugging Face Hub, told in one line each, and never with a token in it."""

from __future__ import annotations

import errno
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from task_registry.errors import RemoteError, UsageError

_TOKENS = re.compile(r"hf_\w{4,}|(?i:bearer\s+)\S+")
_OF_THIS_MACHINE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM))
_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3})\b")
"""How the Xet client, which knows no responses, words an answer of the Hub."""
_AGAIN = "run the same command again: what has been transferred stays"


@contextmanager
def hub_errors(repo_id: str, doing: str) -> Iterator[None]:
    """Turn every failure of a call to the Hub into a RemoteError: the repository, what happened, what to do.

    `doing` ends the sentence "cannot ...", such as `upload to it`. An OSError of this machine, such as a full
    disk, passes through.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # Version 1 of the client speaks through httpx, version 2 through httpx2: its own error tells which.
    transport_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except (transport_error, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
            raise
        raise RemoteError(f"{repo_id}: {_line(_cause(error, HfHubHTTPError), doing)}") from error


@contextmanager
def quiet_client() -> Iterator[None]:
    """Silence the client's own progress bars, log lines and deprecations, which stand in the way of ours."""
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    verbosity, bars = hub_logging.get_verbosity(), not are_progress_bars_disabled()
    hub_logging.set_verbosity(logging.ERROR)
    disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        hub_logging.set_verbosity(verbosity)
        if bars:
            enable_progress_bars()


def check_repo_id(repo_id: str) -> None:
    """Make sure that a repository is named `ORG/NAME`; else raise UsageError."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        pass
    else:
        if repo_id.count("/") == 1:
            return
    raise UsageError(f"{scrubbed(repo_id)!r}: no repository's id, expected ORG/NAME such as allenai/c4")


def scrubbed(text: str) -> str:
    """A text without line breaks, and without anything that looks like a token."""
    return _TOKENS.sub("<token>", " ".join(text.split()))


def _cause(error: BaseException, wanted: type[BaseException]) -> BaseException:
    """The Hub's own answer, where the client has wrapped it, else the first error of the chain."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, wanted):
            return link
        last, link = link, link.__cause__ or link.__context__
    return last


def _line(error: BaseException, doing: str) -> str:
    response: Any = getattr(error, "response", None)
    if response is not None:
        return _told(error, response, doing)
    reason = scrubbed(str(error))[:200] or type(error).__name__
    if status := _STATUS.search(reason):
        return _of_status(int(status[1]), status[1], doing)
    if isinstance(error, ValueError):
        return f"cannot {doing}: {reason}"
    return f"cannot {doing}: no answer from the Hub ({reason}); {_AGAIN}"


def _told(error: BaseException, response: Any, doing: str) -> str:
    status = response.status_code
    if status == 404 and response.headers.get("X-Error-Code") == "RevisionNotFound":
        return f"no such revision ({response.url.path.rpartition('/')[2]}); see its tags on the Hub"
    said = scrubbed(getattr(error, "server_message", None) or response.headers.get("X-Error-Message") or "")
    return _of_status(status, f"{status}: {said[:160]}" if said else str(status), doing, _wait(response))


def _of_status(status: int, told: str, doing: str, wait: str = "") -> str:
    match status:
        case 401:
            return f"the Hub does not accept the token ({told}); log in by `hf auth login`, or set HF_TOKEN"
        case 403:
            return f"the token may not {doing} ({told}); take one with the permission, or another repository"
        case 404:
            return f"no such repository or file ({told}), or one that this token may not see; check the name"
        case 400 | 413 | 422:
            return f"cannot {doing}: the Hub answered {told}"
        case 412 | 409:
            return f"it was changed by somebody else meanwhile ({told}); {_AGAIN}"
        case 429:
            return f"too many requests ({told}){wait}; wait, then run the same command again"
    return f"cannot {doing}: the Hub answered {told}; {_AGAIN}"


def _wait(response: Any) -> str:
    seconds = response.headers.get("Retry-After") or ""
    found = re.search(r"\bt=(\d+)", response.headers.get("RateLimit", ""))
    seconds = found[1] if found else seconds
    return f", free again in {seconds} s" if seconds.isdigit() else ""
