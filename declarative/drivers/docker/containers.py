"""What is done to containers that are there: start, stop, restart, remove, rename, update, connect, disconnect.

The rule: each is one call and safe to send again; "already so" is done. Only where an engine's refusal is ambiguous is the
container looked at, and then after the refusal.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from declarative.core.state import LABEL_STACK
from declarative.dockerapi.wire import quote_name
from declarative.drivers.docker.container_read import ANONYMOUS, engine_aliases, read_attachment
from declarative.drivers.docker.container_write import write_attachment, write_resources, write_restart
from declarative.drivers.docker.labels import holds_files
from declarative.drivers.docker.network_read import is_lost, known_networks
from declarative.errors import Conflict, DeclarativeError, Failed, Invalid, NotFound

if TYPE_CHECKING:
    from declarative.core.actions import ConnectNetwork, RenameContainer, UpdateContainer
    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import Json

_STOPPED = frozenset({"created", "exited", "dead", "removing"})
GONE_SECONDS = 30.0
"""How long a removal that somebody else began may take before we say so."""


def path_of(name: str, rest: str = "") -> str:
    """Give the API's path of a container."""
    return f"/containers/{quote_name(name)}{rest}"


def start(client: EngineClient, name: str) -> None:
    """Start; a paused one is unpaused."""
    try:
        client.post_json(path_of(name, "/start"))
    except (Conflict, Failed, Invalid) as error:
        if "paused container" not in error.problem:
            raise
        client.post_json(path_of(name, "/unpause"))


def stop(client: EngineClient, name: str) -> None:
    """Stop; a paused one is unpaused first, or it could not hear its signal. Nothing where it does not run or is not there."""
    try:
        state = _state(client, name)
        if state == "paused":
            client.post_json(path_of(name, "/unpause"))
        if state not in _STOPPED:
            client.post_json(path_of(name, "/stop"))  # waits for its grace, which the engine knows
    except NotFound:
        return


def restart(client: EngineClient, name: str) -> None:
    """Stop and start again."""
    if _state(client, name) == "paused":
        client.post_json(path_of(name, "/unpause"))
    client.post_json(path_of(name, "/restart"))


def _state(client: EngineClient, name: str) -> str:
    return str(client.get_json(path_of(name, "/json"))["State"]["Status"])


def remove(client: EngineClient, name: str, *, volumes: bool) -> None:
    """Remove, running or not. Anonymous volumes taken over from a predecessor are the engine's "named" ones: removed by us."""
    doomed = _volumes(client, name, anonymous=volumes)
    try:
        client.delete(path_of(name), {"force": True, "v": volumes})
    except NotFound:
        return
    except Conflict as error:
        if "already in progress" not in error.problem:
            raise
        _wait_gone(client, name)
    for volume in doomed:
        try:
            client.delete(f"/volumes/{volume}")
        except (NotFound, Conflict):  # gone with the container, or taken over by its successor
            continue


def _volumes(client: EngineClient, name: str, *, anonymous: bool) -> list[str]:
    """Name the volumes that go with a container: those of its files always, anonymous ones where wanted."""
    try:
        document = client.get_json(path_of(name, "/json"))
    except NotFound:
        return []
    mounts = document["HostConfig"].get("Mounts") or ()
    files = [mount["Source"] for mount in mounts if holds_files(mount)]
    return files + (list(anonymous_volumes(document).values()) if anonymous else [])


def anonymous_volumes(document: Any) -> dict[str, str]:
    """Give target → name of the anonymous volumes of an inspected container."""
    files = {mount["Target"] for mount in document["HostConfig"].get("Mounts") or () if holds_files(mount)}
    return {
        mount["Destination"]: mount["Name"]
        for mount in document.get("Mounts") or ()
        if mount["Destination"] not in files
        and mount.get("Type") == "volume"
        and ANONYMOUS.fullmatch(mount.get("Name", ""))
    }


def _wait_gone(client: EngineClient, name: str) -> None:
    end = time.monotonic() + GONE_SECONDS
    while time.monotonic() < end:
        try:
            client.get_json(path_of(name, "/json"))
        except NotFound:
            return
        time.sleep(0.1)
    raise Conflict(f"container {name}", "its removal does not come to an end", "look at the engine's log")


def rename(client: EngineClient, action: RenameContainer) -> None:
    """Rename; done where the old name is gone and a container of ours has the new one."""
    if action.name == action.to:
        return
    try:
        client.post_json(path_of(action.name, "/rename"), {"name": action.to})
    except NotFound:
        if not _is_ours(client, action.to):
            raise


def _is_ours(client: EngineClient, name: str) -> bool:
    try:
        document = client.get_json(path_of(name, "/json"))
    except NotFound:
        return False
    return LABEL_STACK in (document["Config"].get("Labels") or {})


def update(client: EngineClient, action: UpdateContainer) -> None:
    """Change limits and restart policy."""
    body = write_resources(action.resources)
    if action.restart is not None:
        body["RestartPolicy"] = write_restart(action.restart)
    memory = action.resources.memory
    if memory is not None and action.resources.memory_swap is None:
        body.update(_swap(client, action.name, memory))
    client.post_json(path_of(action.name, "/update"), None, body)


def _swap(client: EngineClient, name: str, memory: int) -> dict[str, int]:
    """Keep swap at twice the memory where it was so: the engine sets that at creation and does not follow a change."""
    host = client.get_json(path_of(name, "/json"))["HostConfig"]
    now = host.get("MemorySwap") or 0
    return {"MemorySwap": 2 * memory} if now in {0, 2 * (host.get("Memory") or 0)} else {}


def connect(client: EngineClient, action: ConnectNetwork) -> None:
    """Attach; where it is attached with other settings, or to a network that had this name before, anew."""
    document = client.get_json(path_of(action.container, "/json"))
    there = (document["NetworkSettings"].get("Networks") or {}).get(action.network)
    if there is not None:
        alike = read_attachment(there, engine_aliases(document) - set(action.attachment.aliases)) == action.attachment
        if alike and (document["State"].get("Running") or not _is_lost(client, action.network, there)):
            return
        disconnect(client, action.container, action.network)
    path = f"/networks/{quote_name(action.network)}/connect"
    body = {"Container": action.container, "EndpointConfig": write_attachment(action.attachment)}
    client.post_json(path, None, body)


def _is_lost(client: EngineClient, name: str, endpoint: Json) -> bool:
    return is_lost(endpoint, known_networks([client.get_json(f"/networks/{quote_name(name)}")]))


def disconnect(client: EngineClient, container: str, network: str) -> None:
    """Detach; done where it is not attached, or either is gone."""
    path = f"/networks/{quote_name(network)}/disconnect"
    try:
        client.post_json(path, None, {"Container": container, "Force": True})
    except NotFound:
        return
    except DeclarativeError as error:
        if "is not connected to" not in error.problem:
            raise
