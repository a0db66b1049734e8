"""All containers in memory, found by id, by the beginning of an id, and by name.

The rule that keeps it simple: one lock, held for look-ups and for taking a name, never while anything is done to a container.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from declarative.engine.containers.container import Container

_LEAST_PREFIX = 1


class Index:
    """The containers there are, and names that are promised to ones not made yet."""

    def __init__(self, containers: Iterable[Container] = ()) -> None:
        self._lock = threading.Lock()
        self._by_id = {container.id: container for container in containers}
        self._names = {container.name: container.id for container in self._by_id.values()}

    def all(self) -> tuple[Container, ...]:
        """Give every container, oldest first."""
        with self._lock:
            return tuple(self._by_id.values())

    def find(self, name: str) -> Container | None:
        """Give the container of this id, name, or beginning of an id; None for none. Invalid where several ids begin so."""
        with self._lock:
            found = self._by_id.get(name) or self._by_id.get(self._names.get(name.removeprefix("/"), ""))
            if found is not None:
                return found
            if len(name) < _LEAST_PREFIX or not all(c in "0123456789abcdef" for c in name):
                return None
            matches = [container for id_, container in self._by_id.items() if id_.startswith(name)]
        if len(matches) > 1:
            raise Invalid("", f"multiple IDs found with provided prefix: {name}")
        return matches[0] if matches else None

    def get(self, name: str) -> Container:
        """Give the container of this id, name, or beginning of an id. NotFound, in Docker's words."""
        found = self.find(name)
        if found is None:
            raise NotFound("", f"No such container: {name}")
        return found

    def reserve(self, name: str, holder: str) -> None:
        """Promise a name to a container's id. Conflict, in Docker's words, where another has it."""
        with self._lock:
            other = self._names.setdefault(name, holder)
            if other == holder:
                return
        raise Conflict(
            "",
            f'Conflict. The container name "/{name}" is already in use by container "{other}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
        )

    def reserve_free(self, make: Callable[[Callable[[str], bool]], str], holder: str) -> str:
        """Promise a name that `make` makes up, given what tells whether one is taken."""
        with self._lock:
            name = make(self._names.__contains__)
            self._names[name] = holder
        return name

    def release(self, name: str, holder: str) -> None:
        """Give a promised name back; nothing where it is somebody else's."""
        with self._lock:
            if self._names.get(name) == holder:
                del self._names[name]

    def add(self, container: Container) -> None:
        """Add a container, whose name was promised to it."""
        with self._lock:
            self._by_id[container.id] = container
            self._names[container.name] = container.id

    def remove(self, container: Container) -> None:
        """Forget a container and its name."""
        with self._lock:
            self._by_id.pop(container.id, None)
            if self._names.get(container.name) == container.id:
                del self._names[container.name]
