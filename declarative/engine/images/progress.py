"""What a pull, a push, a load tells while it works: in Docker's words, as typed events.

The rule that keeps it simple: workers post to a board, and only the thread that asked for the work reads it and tells; so a
client that is gone is noticed there, and no worker waits for one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.oci.digest import Digest


@record
class Progress:
    """A line. `id` names what it is about ("" for the whole); `total` in bytes where there is a bar, `current` of them done."""

    status: str
    id: str = ""
    current: int = 0
    total: int = 0

    @property
    def bar(self) -> bool:
        """Whether there is something to count."""
        return self.total > 0 or self.current > 0


@record
class Pushed:
    """What a push made: a tag, the digest of its manifest and that one's size in bytes."""

    tag: str
    digest: Digest
    size: int


@record
class Said:
    """A line without anything to count or to come back to: `stream` in Docker's messages."""

    text: str


Event: TypeAlias = Progress | Pushed | Said
Tell: TypeAlias = "Callable[[Event], None]"


class Board:
    """Events on their way from workers to whoever tells them. Of what is only counted, the last count is kept."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._counts: OrderedDict[str, Progress] = OrderedDict()
        self._woken = False

    def post(self, event: Event) -> None:
        """Add an event; any counts of the same thing come before it, or not at all."""
        with self._changed:
            if isinstance(event, Progress) and event.id:
                self._counts.pop(event.id, None)
            self._events.append(event)
            self._changed.notify_all()

    def count(self, progress: Progress) -> None:
        """Say how far something is."""
        with self._changed:
            self._counts[progress.id] = progress

    def wake(self) -> None:
        """Let whoever waits look at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def take(self, seconds: float) -> list[Event]:
        """Wait for an event, at most so long; give all events and the last counts, and forget them."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._woken, seconds)
            found: list[Event] = [*self._events, *self._counts.values()]
            self._events, self._woken = [], False
            self._counts.clear()
        return found
