"""When what was written is on the disk for good: later, together, and nothing is trusted before.

The rule that keeps it simple: nobody waits for the disk while images are made. What is published carries a mark that it may
not be on the disk yet; one `syncfs` a moment later takes the marks of all of it away. A process that is killed loses nothing,
since the kernel still has it; after a reboot, whatever still has its mark is checked, or thrown away and made again.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_DELAY = 2.0
"""Seconds between the first thing published and the sync: builds and pulls publish in bursts."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_LIBC = ctypes.CDLL(None, use_errno=True)


class Settler:
    """Brings what was written below `root` to the disk, in its own time. Safe to use from several threads."""

    def __init__(self, root: Path, delay: float = _DELAY) -> None:
        self._root = root
        self._delay = delay
        self._wanted = threading.Condition()
        self._noted: dict[Callable[[list[Any]], None], list[Any]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        self._flushing = threading.Lock()

    def note(self, settled: Callable[[list[Any]], None], item: object) -> None:
        """Hear that `item` was published; `settled` is called with it, and others of the kind, once it is on the disk."""
        with self._wanted:
            self._noted.setdefault(settled, []).append(item)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="settle", daemon=True)
                self._thread.start()
            self._wanted.notify()

    def flush(self) -> None:
        """Bring everything to the disk now. OSError where the disk fails; then the marks stay."""
        with self._flushing:
            with self._wanted:
                noted, self._noted = self._noted, {}
            if not noted:
                return
            try:
                sync_filesystem(self._root)
            except OSError:
                with self._wanted:
                    for settled, items in noted.items():
                        self._noted.setdefault(settled, []).extend(items)
                raise
            for settled, items in noted.items():
                settled(items)

    def close(self) -> None:
        """Bring everything to the disk and stop."""
        with self._wanted:
            self._closed = True
            self._wanted.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self.flush()

    def _run(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._noted or self._closed)
                self._wanted.wait_for(lambda: self._closed, self._delay)
                if self._closed:
                    return
            with suppress(Exception):  # whatever it is, the marks stay, and the next round tries again
                self.flush()


def sync_filesystem(path: Path) -> None:
    """Wait until all that was written to the file system of `path` is on its disk (syncfs(2)). OSError where it fails."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(fd)


def boot_id() -> str:
    """Give what names this run of the kernel: another one means that memory was lost in between."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
