"""`engine fsck`: what is wrong with a data root that no daemon serves, and what of it could be mended.

The rule that keeps it simple: each owner of data checks its own; here they are asked in order, records first, since all else is
judged by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine import volumes
from declarative.engine.containers import records as containers
from declarative.engine.containers.container import UNREADABLE
from declarative.engine.containers.restoring import insist_on_records
from declarative.engine.db import ROOM, Database
from declarative.engine.images import fsck, records
from declarative.engine.images.store import open_store
from declarative.engine.networks import networks, store
from declarative.errors import DeclarativeError
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.engine.containers.container import Container
    from declarative.engine.paths import Paths
    from declarative.engine.settings import Settings


_SCHEMAS = (records.SCHEMA, containers.SCHEMA, store.SCHEMA, volumes.SCHEMA)


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
        db = Database(paths.database, _SCHEMAS, room=ROOM)
    except DeclarativeError as error:
        return [_beyond_us(paths, error.problem)]
    try:
        if found := [_beyond_us(paths, text) for text in db.damage()]:
            return found  # nothing can be judged by records that are wrong themselves
        found = [*_containers(db), *_networks(db), *_volumes(db, paths)]
        images = open_store(paths, db)
        try:
            found += [
                Damage(subject=one.subject, problem=one.problem, mended=one.mended)
                for one in fsck.check(images, mend=True)
            ]
        finally:
            images.close()
        return found
    finally:
        db.close()


def _containers(db: Database) -> Iterator[Damage]:
    """Check the records of containers. A state that is lost the runtime knows: the record is made to ask for it."""
    found: list[tuple[Container, str]] = []
    rows = containers.Records(db)
    rows.load(lambda container, problem: found.append((container, problem)))
    for container, problem in found:
        subject = f"container {container.name} ({container.id[:12]})"
        if container.broken:
            yield Damage(subject=subject, problem=UNREADABLE.format(problem))
        else:
            rows.put_state(container)
            mended = "taken for one that was running: the next start finds out"
            yield Damage(subject=subject, problem=f"its state cannot be read ({problem})", mended=mended)


def _networks(db: Database) -> Iterator[Damage]:
    for network in store.Definitions(db).load():
        if network.broken:
            subject = f"network {network.name} ({network.id[:12]})"
            mended = "made anew by the next start" if network.predefined else ""
            problem = "its record cannot be read ({})" if mended else networks.UNREADABLE
            yield Damage(subject=subject, problem=problem.format(network.broken), mended=mended)


def _volumes(db: Database, paths: Paths) -> Iterator[Damage]:
    for volume in volumes.load(db, paths.volumes):
        if volume.broken:
            yield Damage(subject=f"volume {volume.name}", problem=volumes.UNREADABLE.format(volume.broken, volume.path))


def _beyond_us(paths: Paths, problem: str) -> Damage:
    way_out = f"bring a copy of it back, or what `sqlite3 {paths.database.name} .recover` makes of it"
    return Damage(subject=str(paths.database), problem=f"{problem}; {way_out}")
