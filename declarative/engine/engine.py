"""The engine: its parts, put together. What a handler of the daemon gets.

The rule that keeps it simple: it makes the parts and hands them to each other; it does nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.engine.db import Database
    from declarative.engine.events import Events
    from declarative.engine.paths import Paths


class Engine:
    """All parts of one engine."""

    def __init__(self, paths: Paths, db: Database, events: Events) -> None:
        self.paths = paths
        self.db = db
        self.events = events
