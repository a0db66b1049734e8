"""The engine: its parts, put together. What a handler of the daemon gets.

The rule that keeps it simple: it makes the parts and hands them to each other; it does nothing itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from declarative.engine.db import Database
from declarative.engine.events import Events
from declarative.engine.log import Log
from declarative.engine.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.paths import Paths


class Engine:
    """All parts of one engine. `clock` gives nanoseconds since 1970."""

    def __init__(
        self, settings: Settings | None = None, log: Log | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.settings = settings or Settings()
        self.log = log or Log()
        self.clock = clock
        self.paths: Paths = self.settings.paths
        self.events = Events(clock)
        self.db = Database(self.paths.database, ())

    def restore(self) -> None:
        """Find what an earlier daemon left: sweep what was half done, take up what runs, start what a policy asks for."""

    def idle(self) -> bool:
        """Tell whether nothing runs, so that a daemon nobody speaks to may end."""
        return True

    def close(self) -> None:
        """Let go of everything; containers go on."""
        self.events.close()
        self.db.close()
