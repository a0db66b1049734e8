"""Rotating logs: a log that has its size becomes `PATH.1`, and the monitor begins a new one.

The rule that keeps it simple: one thread looks at the sizes, the more often the faster a log grows. A file is renamed while the
monitor goes on writing to it; it leaves the file when it is told to open its log again. So no line is lost, whenever we are
killed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from declarative.engine.runtime.logs import RENAMING, files
from declarative.errors import NotFound
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SLOWEST_SECONDS = 0.5
_FASTEST_SECONDS = 0.02


@record
class Policy:
    """A file has `max_size` bytes, and a bit more; with the one being written there are `max_files`."""

    max_size: int
    max_files: int = 1


class _Log:
    def __init__(self, path: Path, policy: Policy, reopen: Callable[[], None]) -> None:
        self.path = path
        self.policy = policy
        self.reopen = reopen
        self.size = 0
        self.since = time.monotonic()
        self.seen = 0.0
        self.due = 0.0


class Rotation:
    """Every log that is to be rotated. The thread is started by the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[str, _Log] = {}
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, name: str, path: Path, policy: Policy, reopen: Callable[[], None]) -> None:
        """Rotate a log from now on. `reopen` has the monitor open it again; NotFound from it means that the monitor has ended."""
        with self._lock:
            self._logs[name] = _Log(path, policy, reopen)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rotate logs", daemon=True)
                self._thread.start()
        self._wake.set()

    def remove(self, name: str) -> None:
        """Rotate a log no more."""
        with self._lock:
            self._logs.pop(name, None)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                logs = list(self._logs.values())
            now = time.monotonic()
            for log in logs:
                if log.due <= now:
                    log.due = now + _SLOWEST_SECONDS
                    with contextlib.suppress(OSError, NotFound):  # a full disk, a monitor that has ended
                        _look_at(log, now)
            wait = min((log.due - now for log in logs), default=None)
            self._wake.wait(None if wait is None else max(wait, _FASTEST_SECONDS))
            self._wake.clear()


def _look_at(log: _Log, now: float) -> None:
    """Rotate a log that has its size, and say when to look again: before it can have grown by what is left."""
    try:
        size = log.path.stat().st_size
    except FileNotFoundError:
        # renamed, and the monitor does not know: whoever renamed it was killed
        log.reopen()
        return
    grown = size - log.size
    if size >= log.policy.max_size:
        rotate(log.path, log.policy.max_files)
        log.reopen()
        size = 0
    if now - log.since < _SLOWEST_SECONDS:
        log.due = now + _FASTEST_SECONDS  # nobody knows yet how fast it grows
    elif grown > 0:
        left = (log.policy.max_size - size) * (now - log.seen) / grown
        log.due = now + min(_SLOWEST_SECONDS, max(_FASTEST_SECONDS, left / 2))
    log.size, log.seen = size, now
    surplus = files(log.path)[: -log.policy.max_files]
    if log.path.exists():  # else the monitor still writes to the newest of the others
        for file in surplus:
            file.unlink(missing_ok=True)


def rotate(path: Path, max_files: int) -> None:
    """Give the files of a log their next names. The one that is too many goes, unless it is being written."""
    with RENAMING:
        for number in range(len(files(path)) - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if number >= max_files - 1:
                older.unlink(missing_ok=True)
            else:
                older.rename(path.with_name(f"{path.name}.{number + 1}"))
        path.rename(path.with_name(f"{path.name}.1"))
