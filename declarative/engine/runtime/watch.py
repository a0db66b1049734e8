"""Watching monitors for their end.

The rule that keeps it simple: a process is over when its monitor is. By then its last output is in the log and in every
attachment, and its exit code in a file. One thread polls the monitors' process descriptors.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Watch:
    """Calls back once for each process that ends. The thread is started by the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._poll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._ends, self._ended = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll.register(self._ends, select.EPOLLIN)

    def add(self, descriptor: int, call: Callable[[], None]) -> None:
        """Take over a process descriptor (pidfd_open(2)); `call` runs in the watching thread when the process ends."""
        with self._lock:
            self._calls[descriptor] = call
            self._poll.register(descriptor, select.EPOLLIN)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch monitors", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop watching; processes go on."""
        os.write(self._ended, b"\0")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self._lock:
            for descriptor in self._calls:
                os.close(descriptor)
            self._calls.clear()
        self._poll.close()
        os.close(self._ends)
        os.close(self._ended)

    def _run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._ends:
                    return
                with self._lock:
                    call = self._calls.pop(descriptor, None)
                    with contextlib.suppress(OSError):
                        self._poll.unregister(descriptor)
                    os.close(descriptor)
                if call is not None:
                    try:
                        call()
                    except Exception:  # noqa: BLE001 - one container's trouble must not leave the others unwatched
                        traceback.print_exc()
