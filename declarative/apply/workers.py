"""Threads that make calls. They are daemons: whoever stops at once does not wait for a call that hangs."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Workers:
    """At most `limit` threads, started when there is work for them. A task must not raise."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task in one of the threads. Called from one thread only."""
        self._busy += 1
        if self._busy > len(self._threads) and len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name=f"apply-{len(self._threads) + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._tasks.put(task)

    def ended(self) -> None:
        """Note that a task's end was seen. Called from the thread that submits."""
        self._busy -= 1

    def close(self) -> None:
        """Let the threads end once they are done."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
