"""Hearing at once that the kernel killed a process of a container for want of memory, though the container goes on.

The rule that keeps it simple: monitors listen to the kernel already, and make a file in the container's folder then; one thread
waits for such files.
"""

from __future__ import annotations

import os
import select
import struct
import threading
from typing import TYPE_CHECKING

from declarative.engine.runtime import kernel
from declarative.engine.runtime.spawn import OOM_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_EVENT = struct.Struct("=iIII")  # man 7 inotify: the watch, what it was, a cookie, the length of the name that follows
_BUFFER = 65536


class OomWatch:
    """Calls `call` with a container's name, in a thread of its own, once for each of its runs."""

    def __init__(self, call: Callable[[str], None]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}
        self._changes = -1  # made with the first watch: a machine may have no more of them
        self._ends, self._ended = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread: threading.Thread | None = None

    def add(self, name: str, folder: Path) -> None:
        """Watch a container that runs; its folder's removal ends that. OSError where it is gone, or there are no watches left."""
        with self._lock:
            if self._changes < 0:
                self._changes = kernel.inotify()
            self._names[kernel.inotify_watch(self._changes, folder, kernel.IN_CREATE)] = name
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="out of memory", daemon=True)
                self._thread.start()
        if (folder / OOM_FILE).exists():  # made while nobody watched
            self._call(name)

    def close(self) -> None:
        """Stop watching."""
        os.write(self._ended, b"\0")
        if self._thread is not None:
            self._thread.join()
        for descriptor in (self._changes, self._ends, self._ended):
            if descriptor >= 0:
                os.close(descriptor)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._changes, select.POLLIN)
        poll.register(self._ends, select.POLLIN)
        while True:
            if self._ends in {descriptor for descriptor, _ in poll.poll()}:
                return
            for name in self._read():
                self._call(name)

    def _read(self) -> Iterator[str]:
        data = os.read(self._changes, _BUFFER)
        at = 0
        while at < len(data):
            watch, what, _, length = _EVENT.unpack_from(data, at)
            file = data[at + _EVENT.size :][:length].rstrip(b"\0").decode(errors="replace")
            at += _EVENT.size + length
            with self._lock:
                name = self._names.pop(watch, "") if what & kernel.IN_IGNORED else self._names.get(watch, "")
            if name and file == OOM_FILE:
                yield name
