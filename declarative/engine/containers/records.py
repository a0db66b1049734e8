"""Containers on the disk: one row each, found again after the engine or the machine went down.

The rule that keeps it simple: a row is whole or not there. What was asked for is kept as documents of the API's form, the
state as one of ours.

A row that cannot be read must neither keep the others from being managed nor make a remnant of what it stands for: it is a
container still, `broken`, that runs on if it runs, and can be stopped, copied from and removed. Its row stays as it is.
A state alone that cannot be read is no loss: the runtime says what there is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.engine.containers.config import Config, NetworkingConfig
from declarative.engine.containers.container import Container, State
from declarative.engine.containers.host import HostConfig
from declarative.engine.containers.life import Status
from declarative.engine.containers.points import Point
from declarative.engine.containers.shapes import read, write
from declarative.errors import DeclarativeError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

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

    def load(self, tell: Callable[[Container, str], None] = lambda _, __: None) -> list[Container]:
        """Give all, oldest first. `tell` gets what cannot be read of whom; of one that is not `broken` it is the state alone."""
        return [_container(row, tell) for row in self._db.rows("SELECT * FROM containers ORDER BY created, id")]

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
        """Record where a container is in its life, or will be in a moment.

        A row that cannot be read stays as it is, for who looks into it.
        """
        if not container.broken:
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


def _container(row: sqlite3.Row, tell: Callable[[Container, str], None]) -> Container:
    wanted, broken = _wanted(row)
    created = row["created"] if isinstance(row["created"], int) else 0
    try:
        state, lost = read(State, _document(row, "state")), ""
    except (ValueError, DeclarativeError) as error:
        state, lost = State(status=Status.RUNNING, started=created), _problem(error)
    container = Container(
        id=str(row["id"]),
        name=str(row["name"]),
        created=created,
        image_id=str(row["image"]),
        platform=str(row["platform"]),
        state=state,
        broken=broken,
        **wanted,
    )
    if broken or lost:
        tell(container, broken or lost)
    return container


def _wanted(row: sqlite3.Row) -> tuple[dict[str, Any], str]:
    """Give what was asked for, and ""; where any of it cannot be read, nothing of it, and what is wrong."""
    try:
        networking = read(NetworkingConfig, _document(row, "networks"))
        found: dict[str, Any] = {
            "config": read(Config, _document(row, "config")),
            "host": read(HostConfig, _document(row, "host")),
            "networks": {name: wish for name, wish in (networking.endpoints or {}).items() if wish is not None},
            "points": tuple(read(Point, item) for item in _document(row, "points")),
        }
    except (ValueError, TypeError, DeclarativeError) as error:  # TypeError: points that are no list
        return {"config": Config(), "host": HostConfig(), "networks": {}, "points": ()}, _problem(error)
    return found, ""


def _document(row: sqlite3.Row, column: str) -> Any:
    """Give the document of a column. ValueError, with its name, for a text that is none."""
    try:
        document = json.loads(row[column])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{column}: {error}") from None
    if document is None:  # an empty object to `read`, which is what we never write
        raise ValueError(f"{column}: null")
    return document


def _problem(error: Exception) -> str:
    return error.problem if isinstance(error, DeclarativeError) else str(error)
