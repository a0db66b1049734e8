"""Creating a container whole: with its files, on all its networks, or not at all.

The rule: under its own name a container is either absent or complete. What cannot be done in the one creating call is done under
NAME.making, and the rename is the commit; a crash in between leaves a `.making` behind, which the next lock sweeps away.
"""

from __future__ import annotations

import posixpath
from contextlib import suppress
from typing import TYPE_CHECKING

from declarative.core.secret import Secret
from declarative.core.state import SUFFIX_MAKING
from declarative.dockerapi.wire import quote_name
from declarative.drivers.docker.container_write import later_networks, write_attachment, write_container
from declarative.drivers.docker.containers import anonymous_volumes, path_of, remove
from declarative.drivers.docker.labels import owned_labels, same_spec
from declarative.errors import Conflict, DeclarativeError, NotFound, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from declarative.core.actions import CreateContainer
    from declarative.core.resources import ContainerSpec, FileEntry
    from declarative.dockerapi.client import EngineClient


def create(client: EngineClient, action: CreateContainer, salt: Callable[[], str]) -> None:
    """Create; done where the same one is there already. Conflict over a foreign one or another spec."""
    api = client.facts.api
    _check_files(action)
    labels = owned_labels(action.owner, action.applied, salt())
    body = write_container(action.spec, labels, _taken_over(client, action), api)
    later = later_networks(action.spec, api)
    if not later and not action.spec.files:
        _create(client, action, action.name, body)
        return
    if _is_there(client, action):
        return
    making = action.name + SUFFIX_MAKING
    remove(client, making, volumes=True)
    _create(client, action, making, body)
    try:
        _complete(client, action.spec, making, later)
        client.post_json(path_of(making, "/rename"), {"name": action.name})
    except BaseException:
        with suppress(DeclarativeError):
            remove(client, making, volumes=not action.inherit)
        raise


def _create(client: EngineClient, action: CreateContainer, name: str, body: dict[str, object]) -> None:
    query = {"name": name, "platform": action.spec.platform if client.facts.api >= (1, 41) else None}
    try:
        client.post_json("/containers/create", query, body)
    except Conflict:
        if not _is_there(client, action):
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


def _complete(client: EngineClient, spec: ContainerSpec, name: str, later: Sequence[str]) -> None:
    for network in later:
        body = {"Container": name, "EndpointConfig": write_attachment(spec.networks[network])}
        client.post_json(f"/networks/{quote_name(network)}/connect", None, body)
    if spec.files:
        client.put(path_of(name, "/archive"), {"path": "/"}, archive_of(spec.files))


def archive_of(files: Sequence[FileEntry]) -> bytes:
    """Pack files for `PUT /containers/NAME/archive?path=/`. Secrets are revealed here. The same files make the same bytes."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in files:
            content = entry.content.reveal().encode() if isinstance(entry.content, Secret) else entry.content
            member = tarfile.TarInfo(entry.target.lstrip("/"))
            member.size, member.mode, member.uid, member.gid = len(content), entry.mode, entry.uid, entry.gid
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _check_files(action: CreateContainer) -> None:
    """Refuse what engines do not take or would lose: files on a read-only root file system, or below a tmpfs."""
    spec = action.spec
    covered = {*spec.tmpfs, *(mount.target for mount in spec.volumes if mount.type == "tmpfs")}
    for entry in spec.files:
        for path in covered:
            if posixpath.commonpath([path, entry.target]) == path.rstrip("/"):
                problem = f"the file {entry.target} would be hidden by the tmpfs on {path}"
                raise Unsupported(f"container {action.name}", problem, "put the file elsewhere, or drop the tmpfs")
    if spec.files and spec.read_only:
        problem = f"engines put no file ({spec.files[0].target}) into a container with read_only"
        remedy = "mount it from a volume or a host path, or build it into the image"
        raise Unsupported(f"container {action.name}", problem, remedy)


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
        image = client.get_json(f"/images/{quote_name(action.spec.image.reference)}/json")
        wanted |= set((image.get("Config") or {}).get("Volumes") or ())
    return {target: name for target, name in found.items() if target in wanted}
