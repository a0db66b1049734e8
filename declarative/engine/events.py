"""What happens in the engine, told to whoever listens (`GET /events`), and remembered for a while.

The rule that keeps it simple: publishing never waits for a listener. A listener that falls far behind is cut off.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_REMEMBERED = 1024  # dockerd remembers 256 (api/types/events); a `docker events --since` over a busy minute wants more
_BEHIND = 10_000


@record
class Event:
    """One thing that happened: to which object, when (nanoseconds since 1970), and what describes the object."""

    kind: str
    action: str
    id: str
    time: int
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


class Events:
    """The engine's events. `clock` gives nanoseconds since 1970. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._past: deque[Event] = deque(maxlen=_REMEMBERED)
        self._listeners: list[queue.Queue[Event | None]] = []

    def publish(self, kind: str, action: str, id: str, attributes: Mapping[str, str] | None = None) -> Event:  # noqa: A002 - Docker's word
        """Tell that `action` happened to an object of `kind` ("container", "image", "network", "volume", "builder")."""
        with self._lock:
            event = Event(kind=kind, action=action, id=id, time=self._clock(), attributes=dict(attributes or {}))
            self._past.append(event)
            for listener in list(self._listeners):
                try:
                    listener.put_nowait(event)
                except queue.Full:
                    self._listeners.remove(listener)
        return event

    @contextmanager
    def listen(self, since: int | None = None) -> Iterator[queue.Queue[Event | None]]:
        """Give a queue of what happens from now on, after what is remembered from `since` on. None in it: no more come."""
        listener: queue.Queue[Event | None] = queue.Queue(maxsize=_BEHIND)
        with self._lock:
            for event in self._past if since is not None else ():
                if event.time >= (since or 0):
                    listener.put_nowait(event)
            self._listeners.append(listener)
        try:
            yield listener
        finally:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

    def listening(self) -> int:
        """Give how many listen."""
        return len(self._listeners)

    def close(self) -> None:
        """Let every listener go: the daemon ends."""
        with self._lock:
            for listener in self._listeners:
                try:
                    listener.put_nowait(None)
                except queue.Full:
                    continue
            self._listeners.clear()
