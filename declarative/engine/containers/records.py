"""Containers on the disk: one row each, found again after the engine or the machine went down.

The rule that keeps it simple: a row is whole or not there. What was asked for is kept as documents of the API's form, the
state as one of ours.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.engine.containers.config import Config, NetworkingConfig
from declarative.engine.containers.container import Container, State
from declarative.engine.containers.host import HostConfig
from declarative.engine.containers.points import Point
from declarative.engine.containers.shapes import read, write

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from declarative.engine.containers.config import EndpointConfig
    from declarative.engine.db import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, image TEXT NOT NULL, platform TEXT NOT NULL,
    config TEXT NOT NULL, host TEXT NOT NULL, networks TEXT NOT NULL, points TEXT NOT NULL, state TEXT NOT NULL
);
"""


class Records:
    """The rows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def load(self) -> list[Container]:
        """Give all, oldest first."""
        return [_container(row) for row in self._db.rows("SELECT * FROM containers ORDER BY created, id")]

    def add(self, container: Container) -> None:
        """Record a new container."""
        values = {
            "id": container.id,
            "name": container.name,
            "created": container.created,
            "image": container.image_id,
            "platform": container.platform,
            "config": _text(write(container.config)),
            "host": _text(write(container.host)),
            "networks": _networks(container.networks),
            "points": _points(container.points),
            "state": _text(write(container.state)),
        }
        with self._db.transaction() as connection:
            names = ", ".join(values)
            marks = ", ".join(f":{name}" for name in values)
            connection.execute(f"INSERT INTO containers ({names}) VALUES ({marks})", values)  # noqa: S608 - names of ours

    def put_state(self, container: Container, state: State | None = None) -> None:
        """Record where a container is in its life, or will be in a moment."""
        self._put(container, "state", _text(write(state or container.state)))

    def put_name(self, container: Container) -> None:
        """Record a container's name and its configuration, which links may name."""
        self._put(container, "name", container.name)

    def put_host(self, container: Container) -> None:
        """Record changed limits or a changed restart policy."""
        self._put(container, "host", _text(write(container.host)))

    def put_networks(self, container: Container) -> None:
        """Record which networks a container wants to be in."""
        self._put(container, "networks", _networks(container.networks))

    def remove(self, container: Container) -> None:
        """Forget a container."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM containers WHERE id = ?", (container.id,))

    def _put(self, container: Container, column: str, value: str) -> None:
        with self._db.transaction() as connection:
            statement = f"UPDATE containers SET {column} = ? WHERE id = ?"  # noqa: S608 - a name of ours
            connection.execute(statement, (value, container.id))


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def _networks(networks: Mapping[str, EndpointConfig]) -> str:
    return _text(write(NetworkingConfig(endpoints=networks)))


def _points(points: tuple[Point, ...]) -> str:
    return _text([write(point) for point in points])


def _container(row: sqlite3.Row) -> Container:
    networking = read(NetworkingConfig, json.loads(row["networks"]))
    return Container(
        id=row["id"],
        name=row["name"],
        created=row["created"],
        image_id=row["image"],
        platform=row["platform"],
        config=read(Config, json.loads(row["config"])),
        host=read(HostConfig, json.loads(row["host"])),
        networks={name: found for name, found in (networking.endpoints or {}).items() if found is not None},
        points=tuple(read(Point, item) for item in json.loads(row["points"])),
        state=read(State, json.loads(row["state"])),
    )
