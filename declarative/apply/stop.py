"""A request to stop: by Ctrl-C, by a signal, by --timeout, or because the lock was lost.

The rule that keeps it simple: a request is a flag with a reason, set once and never taken back. It may be set from a signal
handler, so nothing here takes a lock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.errors import DeclarativeError

_SLICE = 0.05  # seconds between two looks at the flag while sleeping


class Stop:
    """Whether we were asked to stop, and why. `abandon`: leave everything as it is, undo nothing.

    `guarded`: steps are under way, which must end in good order. Before that a signal may simply raise.
    """

    def __init__(self) -> None:
        self.error: DeclarativeError | None = None
        self.abandon = False
        self.guarded = False
        self._wakers: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether we were asked to stop."""
        return self.error is not None

    def request(self, error: DeclarativeError, *, abandon: bool = False) -> None:
        """Ask to stop because of `error`; the first reason stays."""
        if self.error is None:
            self.error = error
            self.abandon = abandon
        for wake in self._wakers:
            wake()

    def on_request(self, wake: Callable[[], None]) -> None:
        """Call `wake` when a stop is asked for; it must be safe in a signal handler."""
        self._wakers.append(wake)

    def check(self) -> None:
        """Raise the reason, if we were asked to stop."""
        if self.error is not None:
            raise self.error

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond a request to stop."""
        end = time.monotonic() + seconds
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
