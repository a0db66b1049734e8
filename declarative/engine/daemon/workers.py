"""Threads for connections: as many as have work, and a few seconds longer.

The rule that keeps it simple: a job never waits for another one's end; beyond the bound it is refused, and the caller says so.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_THREADS = 2048
"""Jobs at once. Each attached client, follower of logs and waiter is one; a stack of 500 under Compose has about a thousand."""

_IDLE_SECONDS = 10.0
_SPARE = 16  # threads that wait for the next job; a new one costs a tenth of a millisecond
_STACK_BYTES = 512 * 1024  # of address space; only what is used is memory


class Workers:
    """A pool that grows and shrinks."""

    def __init__(self, limit: int = MAX_THREADS) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0
        self._count = 0

    def submit(self, job: Callable[[], None]) -> bool:
        """Run `job` in a thread; False where too many run already. A job catches its own errors."""
        with self._lock:
            if self._free:
                self._free -= 1
                self._jobs.put(job)
                return True
            if self._count >= self._limit:
                return False
            self._count += 1
        before = threading.stack_size(_STACK_BYTES)
        try:
            threading.Thread(target=self._work, args=(job,), daemon=True, name="connection").start()
        except RuntimeError:  # the machine has no more threads for us
            with self._lock:
                self._count -= 1
            return False
        finally:
            threading.stack_size(before)
        return True

    def _work(self, job: Callable[[], None]) -> None:
        while True:
            job()
            del job  # what it held may go before the next one comes
            with self._lock:
                if self._free >= _SPARE:
                    self._count -= 1
                    return
                self._free += 1
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if not self._free:  # taken at this very moment: the job is on its way
                        taken = True
                    else:
                        self._free -= 1
                        self._count -= 1
                        taken = False
                if not taken:
                    return
                job = self._jobs.get()
