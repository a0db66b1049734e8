"""Reading calls beside the snapshot: how containers are now, what differs in their file systems, which stacks there are.

The rule: reads only, each a list or one pipelined round, whatever the number of containers.
"""

from __future__ import annotations

import hashlib
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from declarative.core.secret import Sealed
from declarative.core.state import LABEL_KIND, LABEL_SPEC, LABEL_STACK
from declarative.drivers.docker.container_read import NEVER, read_container, read_state
from declarative.drivers.docker.containers import path_of
from declarative.drivers.docker.labels import CONTAINER_KINDS, applied_of
from declarative.drivers.port import FileChange, Observed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from declarative.core.state import ContainerState
    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import Json

_KINDS = {0: "changed", 1: "added", 2: "deleted"}
_INIT = "/sbin/docker-init"
"""Where dockerd mounts its init (`init: true`, or `"init"` of its configuration), and leaves an empty file below."""
_LINKS = (
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    *((f"/{name}", f"/usr/{name}") for name in ("bin", "sbin", "lib")),
)
"""Links that images have by convention (FHS 3.0, sections 3.15 and 5.13; merged /usr): changes are told of what they lead to."""


def observe(client: EngineClient, names: Sequence[str]) -> dict[str, Observed]:
    """See how these containers are; those that are gone are left out."""
    documents = client.get_many([path_of(name, "/json") for name in names])
    return {name: _observed(found) for name, found in zip(names, documents, strict=True) if found is not None}


def _observed(document: Json) -> Observed:
    state = document["State"]
    health = (state.get("Health") or {}).get("Status", "")
    started = state.get("StartedAt", "")
    return Observed(
        state=read_state(state["Status"]),
        health="" if health == "none" else health,
        exit_code=state.get("ExitCode", 0),
        started="" if started == NEVER else started,
        restarts=document.get("RestartCount", 0),
        stack=(document["Config"].get("Labels") or {}).get(LABEL_STACK, ""),
    )


def inspect(client: EngineClient, name: str) -> ContainerState:
    """See one container whole; NotFound where there is none."""
    document = client.get_json(path_of(name, "/json"))
    host = document["HostConfig"]
    modes = (host.get("NetworkMode", ""), host.get("PidMode", ""), host.get("IpcMode", ""))
    others = [mode.removeprefix("container:") for mode in modes if mode.startswith("container:")]
    found = client.get_many([path_of(other, "/json") for other in others])
    names = {item["Id"]: item["Name"].removeprefix("/") for item in found if item is not None}
    return read_container(document, names)


def stacks(client: EngineClient) -> list[str]:
    """Name every stack that owns a container, a network or a volume."""
    query = "{%22label%22:[%22" + LABEL_STACK + "%22]}"
    containers, networks, volumes = client.get_many(
        [f"/containers/json?all=1&filters={query}", f"/networks?filters={query}", f"/volumes?filters={query}"]
    )
    kinds = {*CONTAINER_KINDS, "Network", "Volume"}
    everything = [*containers, *networks, *(volumes.get("Volumes") or ())]
    labels = [item.get("Labels") or {} for item in everything]
    return sorted({found[LABEL_STACK] for found in labels if found.get(LABEL_KIND) in kinds and LABEL_STACK in found})


def changes(client: EngineClient, name: str) -> tuple[FileChange, ...]:
    """List what differs in a container's writable layer, without what its own spec put there: files, mount points."""
    document = client.get_json(path_of(name, "/json"))
    listed = client.get_json(path_of(name, "/changes")) or ()
    found = {item["Path"]: _KINDS.get(item["Kind"], "changed") for item in listed}
    parents = {parent for path in found for parent in _parents(path)}
    expected = _expected(client, name, document, found)
    made = expected | {parent for path in expected for parent in _parents(path)}
    return tuple(
        FileChange(path=path, kind=kind)
        for path, kind in sorted(found.items())
        if path not in made and not (kind == "changed" and path in parents)
    )


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts))]


def _expected(client: EngineClient, name: str, document: Json, found: Mapping[str, str]) -> set[str]:
    """Give the paths that are as the spec made them: mount points, the working folder, and files that are still the same."""
    host = document["HostConfig"]
    targets = {mount["Destination"] for mount in document.get("Mounts") or ()} | set(host.get("Tmpfs") or ())
    targets |= {document["Config"].get("WorkingDir") or "/", _INIT}
    labels: dict[str, str] = document["Config"].get("Labels") or {}
    applied = applied_of(labels) if LABEL_SPEC in labels else None
    prefix, suffix = "spec.files.", ".content"
    files = {
        path[len(prefix) : -len(suffix)]: value
        for path, value in (applied or {}).items()
        if path.startswith(prefix) and path.endswith(suffix)
    }
    same = {
        path
        for written, value in files.items()
        for path in _names(written)
        if path in found and _holds(_content(client, name, path), value)
    }
    return {path for target in targets for path in _names(normpath(target))} | same


def _names(path: str) -> list[str]:
    return [path, *(there + path[len(link) :] for link, there in _LINKS if path.startswith(f"{link}/"))]


def _holds(content: bytes | None, wanted: Any) -> bool:
    if content is None:
        return False
    if isinstance(wanted, Sealed):
        return wanted.holds(content.decode("utf-8", "replace"))
    return bool(wanted == "sha256:" + hashlib.sha256(content).hexdigest())


def _content(client: EngineClient, name: str, path: str) -> bytes | None:
    """Read a file out of a container; None where it is no file any more."""
    import io
    import tarfile

    from declarative.errors import NotFound

    try:
        packed = b"".join(client.stream_bytes(path_of(name, "/archive"), {"path": path}))
    except NotFound:
        return None
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.next()
        file = archive.extractfile(member) if member is not None and member.isfile() else None
        return file.read() if file is not None else None
