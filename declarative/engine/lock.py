"""One daemon for each data root: a lock that the kernel lets go when its holder ends, however it ends.

The rule that keeps it simple: the lock is flock's; what the file says is for people and for `engine status|stop`, and is believed
only while the lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Self

from declarative.dockerapi.places import LOCK_NAME
from declarative.errors import Conflict, Denied

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ATTEMPTS, _PAUSE_SECONDS = 20, 0.05


class RootLock:
    """The lock on a data root, held from construction to `release`."""

    def __init__(self, root: Path) -> None:
        """Take it. Conflict, naming the holder, where another daemon has it; Denied where the root cannot be written."""
        self._path = root / LOCK_NAME
        try:
            root.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError as error:
            raise Denied(str(root), "cannot be written", "run as root, or choose another one with --root") from error
        if not _taken(self._fd):
            said = os.pread(self._fd, 65536, 0)
            os.close(self._fd)
            raise Conflict(str(root), f"{_holder(said)} serves this data root", "stop it first, or use it")
        os.ftruncate(self._fd, 0)

    def tell(self, hosts: Sequence[str]) -> None:
        """Write who holds the lock, and where it listens: it answers now."""
        text = json.dumps({"pid": os.getpid(), "hosts": list(hosts)}) + "\n"
        os.pwrite(self._fd, text.encode(), 0)

    def release(self) -> None:
        """Let go."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _taken(descriptor: int) -> bool:
    """Take the lock. Who only looks whether somebody has it, as `engine status` does, has it himself for that moment."""
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False


def _holder(said: bytes) -> str:
    try:
        document = json.loads(said)
        return f"the daemon with process id {document['pid']} (at {', '.join(document['hosts'])})"
    except (ValueError, KeyError, TypeError):
        return "another daemon, which is starting or ending,"
