"""`engine fsck`: what is wrong with a data root that no daemon serves, and what of it could be mended.

The rule that keeps it simple: each owner of data checks its own; here they are asked in order, records first, since all else is
judged by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers.restoring import insist_on_records
from declarative.engine.db import ROOM, Database
from declarative.engine.images import fsck, records
from declarative.engine.images.store import open_store
from declarative.errors import DeclarativeError
from declarative.record import record

if TYPE_CHECKING:
    from declarative.engine.paths import Paths
    from declarative.engine.settings import Settings


@record
class Damage:
    """One thing that is wrong, and what was done about it ("" for nothing)."""

    subject: str
    problem: str
    mended: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}" + (f" — {self.mended}" if self.mended else "")


def check(settings: Settings) -> list[Damage]:
    """Check everything below the data root, whose lock the caller holds; mend what can be."""
    paths = settings.paths
    try:
        insist_on_records(paths)
        db = Database(paths.database, (records.SCHEMA,), room=ROOM)
    except DeclarativeError as error:
        return [_beyond_us(paths, error.problem)]
    try:
        if found := [_beyond_us(paths, text) for text in db.damage()]:
            return found  # nothing can be judged by records that are wrong themselves
        store = open_store(paths, db)
        try:
            return [
                Damage(subject=one.subject, problem=one.problem, mended=one.mended)
                for one in fsck.check(store, mend=True)
            ]
        finally:
            store.close()
    finally:
        db.close()


def _beyond_us(paths: Paths, problem: str) -> Damage:
    way_out = f"bring a copy of it back, or what `sqlite3 {paths.database.name} .recover` makes of it"
    return Damage(subject=str(paths.database), problem=f"{problem}; {way_out}")
