"""What clients are shown of containers: one, or a list, with everything looked up that the documents tell.

The rule that keeps it simple: reads only, takes no container's lock; a document shows one moment of each container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.containers import changes, inspect, joining, mounting, wishes
from declarative.engine.containers.filters import Lookups, matcher, shows_all
from declarative.engine.containers.network_view import Wiring
from declarative.engine.containers.parts import UPPER
from declarative.engine.containers.summary import summary
from declarative.errors import DeclarativeError, Failed, NotFound
from declarative.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.execs import Execs
    from declarative.engine.containers.parts import Parts

Json = dict[str, Any]


def inspect_one(parts: Parts, execs: Execs, container: Container, version: tuple[int, int], *, sizes: bool) -> Json:
    """Give `GET /containers/NAME/json`."""
    try:
        lowers = mounting.image_layers(parts, container)
    except (DeclarativeError, OSError):
        lowers = ()  # a damaged store must not hide the container
    state = container.state
    around = inspect.Surroundings(
        wiring=_wiring(parts, container),
        folder=parts.folder(container),
        files=joining.files_folder(parts, container) if state.started or state.error else None,
        lowers=lowers,
        volume_path=lambda name: _volume_path(parts, name),
        exec_ids=execs.ids_of(container),
        sizes=sizes_of(parts, container) if sizes else None,
    )
    return inspect.inspect(container, around, version)


def _volume_path(parts: Parts, name: str) -> str:
    try:
        return str(parts.volumes.get(name).path)
    except NotFound:
        return ""


def _wiring(parts: Parts, container: Container) -> Wiring:
    key = ""
    if container.state.is_up and container.network_mode == "host":
        key = str(parts.settings.paths.namespaces / "default")
    elif container.state.is_up and joining.owns_namespace(container):
        key = str(parts.networks.namespace(container.id))
    return Wiring(
        found=parts.networks.container(container.id), sandbox_key=key, id_of=lambda name: network_id(parts, name)
    )


def network_id(parts: Parts, name: str) -> str:
    """Give a network's id by its name, "" where there is none."""
    found = wishes.find(parts, name)
    return found.id if found else ""


def sizes_of(parts: Parts, container: Container) -> tuple[int, int]:
    """Give the bytes of a container's own layer, and of its whole root."""
    own = changes.size_of(parts.folder(container) / UPPER)
    try:
        image = parts.images.get(Digest.parse(container.image_id)).size if container.image_id else 0
    except DeclarativeError:
        image = 0
    return own, own + image


def list_all(
    parts: Parts,
    version: tuple[int, int],
    filters: Mapping[str, tuple[str, ...]],
    *,
    everything: bool = False,
    limit: int = 0,
    sizes: bool = False,
) -> list[Json]:
    """Give `GET /containers/json`, the newest first. `everything`: also those that are not up. Invalid, NotFound."""
    test = matcher(filters, lookups(parts))
    everything = everything or limit > 0 or shows_all(filters)
    now = parts.clock()
    names = _ImageNames(parts)
    ids: dict[str, str] = {}
    found: list[Json] = []
    for container in reversed(parts.index.all()):
        if not (everything or container.state.is_active) or not test(container):
            continue
        if 0 < limit <= len(found):
            break
        wiring = Wiring(
            found=parts.networks.container(container.id),
            sandbox_key="",
            id_of=lambda name: ids[name] if name in ids else ids.setdefault(name, network_id(parts, name)),
        )
        size = sizes_of(parts, container) if sizes else None
        found.append(summary(container, wiring, version, now, names.of(container), size))
    return found


class _ImageNames:
    """What a list calls images: the name a container was made from, or the id where that name is another image's by now."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[tuple[str, str], str] = {}

    def of(self, container: Container) -> str:
        key = container.config.image, container.image_id
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._look(*key)
        return found

    def _look(self, name: str, image_id: str) -> str:
        if not name or name == image_id:
            return image_id
        try:
            return name if str(self._parts.images.resolve(name).id) == image_id else image_id
        except DeclarativeError:
            return image_id


def lookups(parts: Parts) -> Lookups:
    """Give what filters ask of the rest of the engine."""
    return Lookups(
        container=parts.index.get,
        descendants=lambda name: _descendants(parts, name),
        network=parts.networks.container,
        network_id=lambda name: network_id(parts, name),
    )


def _descendants(parts: Parts, name: str) -> frozenset[str]:
    """Give an image, and those built on it here."""
    try:
        todo = [parts.images.resolve(name).id]
    except DeclarativeError:
        return frozenset()
    found: set[str] = set()
    while todo:
        at = todo.pop()
        if str(at) not in found:
            found.add(str(at))
            todo += parts.images.children(at)
    return frozenset(found)


def changes_of(parts: Parts, container: Container) -> list[Json] | None:
    """Give `GET /containers/NAME/changes`; null for none, as Docker does. Failed."""
    try:
        found = changes.changes(parts.folder(container) / UPPER, mounting.image_layers(parts, container))
    except OSError as error:
        if not parts.folder(container).exists():
            raise NotFound("", f"No such container: {container.id}") from None
        raise Failed("", f"the container's layer cannot be read: {error.strerror}") from error
    return [{"Path": change.path, "Kind": int(change.kind)} for change in found] or None
