"""Threads that make calls. They are daemons: whoever stops at once does not wait for a call that hangs."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Workers:
    """At most `limit` threads, started when there is work for them.

    What comes of a call goes to `inbox` as (token, value, error), whatever happens in it: a result that got lost would be
    waited for for ever.
    """

    def __init__(self, limit: int, inbox: SimpleQueue[tuple[Any, Any, BaseException | None]]) -> None:
        self._limit = limit
        self._inbox = inbox
        self._tasks: SimpleQueue[tuple[object, Callable[[], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def submit(self, token: object, call: Callable[[], Any]) -> None:
        """Make a call in one of the threads. Called from one thread only."""
        self._busy += 1
        if self._busy > len(self._threads) and len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name=f"apply-{len(self._threads) + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._tasks.put((token, call))

    def ended(self) -> None:
        """Note that the end of a call was seen. Called from the thread that submits."""
        self._busy -= 1

    def close(self) -> None:
        """Let the threads end once they are done."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            token, call = task
            value, error = None, None
            try:
                value = call()
            except BaseException as caught:  # noqa: BLE001 - everything goes to the thread that owns the state
                error = caught
            self._inbox.put((token, value, error))
