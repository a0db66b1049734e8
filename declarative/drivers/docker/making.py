"""Creating a container whole: with its files, on all its networks, or not at all.

The rule: under its own name a container is either absent or complete. What cannot be done in the one creating call is done under
NAME.making, and the rename is the commit; a crash in between leaves a `.making` behind, which the next lock sweeps away.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from declarative.core.state import LABEL_MADE, LABEL_STACK, SUFFIX_MAKING
from declarative.dockerapi.wire import quote_name
from declarative.drivers.docker import read_only
from declarative.drivers.docker.archive import archive_of
from declarative.drivers.docker.container_write import later_networks, write_attachment, write_container
from declarative.drivers.docker.containers import anonymous_volumes, path_of, remove
from declarative.drivers.docker.labels import owned_labels, same_spec
from declarative.errors import Conflict, DeclarativeError, NotFound, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from declarative.core.actions import CreateContainer
    from declarative.core.resources import ContainerSpec, FileEntry
    from declarative.dockerapi.client import EngineClient

PLATFORM_API = (1, 41)
"""Docker 20.10, the first to take a platform when a container is created."""


def create(client: EngineClient, action: CreateContainer, salt: Callable[[], str]) -> None:
    """Create; done where the same one is there already. Conflict over a foreign one or another spec."""
    _check_files(action)
    once = salt()
    labels = {**owned_labels(action.owner, action.applied, once), LABEL_MADE: once}
    body = write_container(action.spec, labels, _taken_over(client, action), client.facts.api)
    later = later_networks(action.spec, client.facts.api)
    if not later and not action.spec.files:
        _create(client, action, action.name, body)
    elif not _is_there(client, action):
        _create_in_steps(client, action, body, later)


def _create_in_steps(client: EngineClient, action: CreateContainer, body: dict[str, Any], later: Sequence[str]) -> None:
    """Create under another name, complete, rename; or remove again what was made."""
    spec, making = action.spec, action.name + SUFFIX_MAKING
    _make_room(client, making, action)
    puts, shut = _puts(client, spec)
    mounts = read_only.mounts_for(client, action, shut, body["Labels"]) if shut else []
    body["HostConfig"]["Mounts"] += mounts
    try:
        _create(client, action, making, body)
        for network in later:
            endpoint = {"Container": making, "EndpointConfig": write_attachment(spec.networks[network])}
            client.post_json(f"/networks/{quote_name(network)}/connect", None, endpoint)
        for root, files in puts.items():
            client.put(path_of(making, "/archive"), {"path": root}, archive_of(files, root))
        client.post_json(path_of(making, "/rename"), {"name": action.name})
    except BaseException:
        with suppress(DeclarativeError):
            remove(client, making, volumes=not action.inherit)
            read_only.drop(client, [mount["Source"] for mount in mounts])
        raise


def _create(client: EngineClient, action: CreateContainer, name: str, body: dict[str, Any]) -> None:
    query = {"name": name, "platform": action.spec.platform if client.facts.api >= PLATFORM_API else None}
    try:
        client.post_json("/containers/create", query, body)
    except Conflict:
        if name != action.name or not _is_there(client, action):
            raise


def _is_there(client: EngineClient, action: CreateContainer) -> bool:
    """Whether the container is there as it would be made; Conflict where another one has its name."""
    try:
        document = client.get_json(path_of(action.name, "/json"))
    except NotFound:
        return False
    if same_spec(document["Config"].get("Labels") or {}, action.owner, action.applied):
        return True
    raise Conflict(
        f"container {action.name}",
        "another container has this name",
        "remove or rename it, or choose another container_name",
    )


def _make_room(client: EngineClient, making: str, action: CreateContainer) -> None:
    """Remove what a crash left under this name; Conflict where it is somebody else's."""
    try:
        document = client.get_json(path_of(making, "/json"))
    except NotFound:
        return
    if (document["Config"].get("Labels") or {}).get(LABEL_STACK) != action.owner.stack:
        problem = f"another container has the name {making}, which it needs while it is made"
        raise Conflict(f"container {action.name}", problem, "remove or rename that container")
    remove(client, making, volumes=True)


def _check_files(action: CreateContainer) -> None:
    """Refuse what would be lost: files below a tmpfs."""
    spec = action.spec
    hidden = {*spec.tmpfs, *(mount.target for mount in spec.volumes if mount.type == "tmpfs")}
    for entry in spec.files:
        if read_only.covered(entry.target, hidden):
            problem = f"the file {entry.target} would be hidden by a tmpfs"
            raise Unsupported(f"container {action.name}", problem, "put the file elsewhere, or drop the tmpfs")


def _puts(client: EngineClient, spec: ContainerSpec) -> tuple[dict[str, list[FileEntry]], list[FileEntry]]:
    """Sort files by the folder that they are unpacked in; those that a read-only root file system shuts out are apart."""
    if not spec.read_only or not spec.files:
        return ({"/": list(spec.files)} if spec.files else {}), []
    open_ = {mount.target for mount in spec.volumes if not mount.read_only} | _image_volumes(client, spec)
    puts: dict[str, list[FileEntry]] = {}
    shut: list[FileEntry] = []
    for entry in spec.files:
        roots = [root for root in open_ if read_only.covered(entry.target, [root])]
        if roots:
            puts.setdefault(max(roots, key=len), []).append(entry)
        else:
            shut.append(entry)
    return puts, shut


def _image_volumes(client: EngineClient, spec: ContainerSpec) -> set[str]:
    image = client.get_json(f"/images/{quote_name(spec.image.reference)}/json")
    return set((image.get("Config") or {}).get("Volumes") or ())


def _taken_over(client: EngineClient, action: CreateContainer) -> dict[str, str]:
    """Give target → name of the anonymous volumes that the new container has in common with its predecessor."""
    if not action.inherit:
        return {}
    try:
        document = client.get_json(path_of(action.inherit, "/json"))
    except NotFound:
        return {}
    found = anonymous_volumes(document)
    if not found:
        return {}
    wanted = {mount.target for mount in action.spec.volumes if mount.type == "volume" and not mount.source}
    if found.keys() - wanted:
        wanted |= _image_volumes(client, action.spec)
    return {target: name for target, name in found.items() if target in wanted}
