"""One build at a time in a folder of an object store: a lock that its holder renews and that a dead one's heir takes.

The lock is an object that is put only where there is none; a store without such a condition is asked before and
after. Its holder puts it again every minute. It is taken over when it has not been for `STALE` seconds, by the
store's clock, or at once where its process lived on this machine and is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from task_registry.errors import BenchFolderError, RemoteError
from task_registry.objects.client import Objects

LOCK = "lock"
CLAIM = "claim"
"""Put by the one who takes over a dead build's lock, so that it is one."""
BEAT = 60.0
STALE = 600.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock; its content."""

    token: str
    host: str
    machine: str
    """Tells a machine, or a container with process numbers of its own, from others of the same name."""
    pid: int

    @classmethod
    def of_this_process(cls) -> Holder:
        """A new holder: this process, for one build."""
        return cls(secrets.token_hex(8), socket.gethostname(), _machine(), os.getpid())

    def is_gone(self) -> bool:
        """Whether its process is known to have ended."""
        if self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class Lock:
    """A lock that is held."""

    def __init__(self, folder: Objects, holder: Holder) -> None:
        self.folder, self.holder = folder, holder
        self._lost = False
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def check(self, thoroughly: bool = False) -> None:
        """Raise BenchFolderError where another build has taken over; `thoroughly`: ask the store."""
        if thoroughly:
            self._look()
        if self._lost:
            raise BenchFolderError(
                f"{self.folder.url}: another build has taken it over while this one was not heard of; wait for it"
            )

    def release(self) -> None:
        """Let others have it."""
        self._released.set()
        self._thread.join()
        self._look()
        if not self._lost:
            self.folder.remove([LOCK])

    def _look(self) -> None:
        self._lost = self._lost or _holder(self.folder) != self.holder

    def _renew(self) -> None:
        while not self._released.wait(BEAT) and not self._lost:
            with contextlib.suppress(RemoteError):  # once is not enough to lose it
                self._look()
                if not self._lost:
                    self.folder.write(LOCK, _text(self.holder))


@contextmanager
def taken(folder: Objects, place: str) -> Iterator[Lock]:
    """Take the lock in a folder; BenchFolderError, about `place`, where another build has it."""
    holder = Holder.of_this_process()
    if not _take(folder, holder):
        raise BenchFolderError(
            f"{place}: another build is writing to it; wait for it, or choose another place (the lock of a build "
            f"that died elsewhere is let go {STALE / 60:.0f} minutes after)"
        )
    lock = Lock(folder, holder)
    try:
        yield lock
    except BaseException:
        with contextlib.suppress(RemoteError):  # the store may be what has failed
            lock.release()
        raise
    lock.release()


def _take(folder: Objects, holder: Holder) -> bool:
    there = folder.read(LOCK)
    if there is None:
        return folder.create(LOCK, _text(holder)) and _holder(folder) == holder
    if not _is_over(folder, LOCK, holder) or not _claim(folder, holder):
        return False
    try:
        # Once more: since the first look another may have taken it over and dropped its claim.
        if not _is_over(folder, LOCK, holder):
            return False
        folder.write(LOCK, _text(holder))
        return True
    finally:
        folder.remove([CLAIM])


def _claim(folder: Objects, holder: Holder) -> bool:
    if folder.create(CLAIM, _text(holder)):
        return True
    if _is_over(folder, CLAIM, holder):
        folder.remove([CLAIM])
        return folder.create(CLAIM, _text(holder))
    return False


def _is_over(folder: Objects, name: str, asking: Holder) -> bool:
    """Whether the holder of a lock or a claim is gone, or not heard of for too long."""
    found = _holder(folder, name)
    if found is not None and found.is_gone():
        return True
    probe = f"probe-{asking.token}"
    folder.write(probe, b"")
    try:
        age = folder.age(name, probe)
    finally:
        folder.remove([probe])
    return age is not None and age > STALE


def _holder(folder: Objects, name: str = LOCK) -> Holder | None:
    try:
        return Holder(**json.loads(folder.read(name) or b""))
    except (ValueError, TypeError):
        return None


def _text(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _machine() -> str:
    """The boot of this machine and the space of its process numbers; its name where the kernel tells neither."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()
