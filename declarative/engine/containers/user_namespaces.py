"""User namespaces of containers: who gets one, and with which maps.

The rule that keeps it simple: nothing on the disk knows of maps. They are chosen at each start, and those of a container that
runs are read from the kernel. What we read or write in a running container's root has the machine's ids (`mapped_entries`);
anywhere else, the image's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine import subids
from declarative.engine.containers import modes
from declarative.engine.runtime.idmaps import root_of
from declarative.engine.runtime.sandbox import IdMap, IdMaps
from declarative.errors import Conflict, Failed
from declarative.record import field, record

if TYPE_CHECKING:
    from declarative.engine.containers.container import Container
    from declarative.engine.containers.host import HostConfig
    from declarative.engine.containers.parts import Parts

HOST, PRIVATE = "host", "private"


@record
class UserNamespace:
    """What a container is started with: no maps for the machine's own namespace; `path` where it is another container's."""

    maps: IdMaps = field(default_factory=IdMaps)
    path: Path | None = None

    @property
    def root(self) -> tuple[int, int]:
        """The machine's (uid, gid) that the container's root is."""
        return root_of(self.maps.uids, self.maps.gids) if self.maps else (0, 0)


def is_wanted(parts: Parts, host: HostConfig) -> bool:
    """Tell whether a container gets a user namespace: by its own word, else by the daemon's option."""
    return host.userns_mode == PRIVATE or (host.userns_mode != HOST and bool(parts.settings.maps))


def maps(parts: Parts) -> IdMaps:
    """Give the maps of new user namespaces. Invalid, with what is to be done, where the machine has none to give."""
    return parts.settings.maps or subids.default_maps()


def of_start(parts: Parts, container: Container) -> UserNamespace:
    """Give what a container is started with. Conflict where it joins containers that are in other user namespaces.

    A namespace of another kind belongs to a user namespace, so who joins that joins this too, as with dockerd.
    """
    if not is_wanted(parts, container.host):
        return UserNamespace()
    host, found = container.host, None
    for mode in (host.network_mode, host.pid_mode, host.ipc_mode):
        other = parts.index.find(modes.joined(mode) or "-")
        if other is None or not other.state.is_up:
            continue  # which is told where it is joined
        theirs = UserNamespace(maps=of_process(other.state.pid), path=Path(f"/proc/{other.state.pid}/ns/user"))
        if not theirs.maps:
            problem = f"cannot join the namespaces of container {other.id}, which is in the host's user namespace"
            raise Conflict("", problem, "run this one with --userns=host too")
        if found is not None and found.path and theirs.path and not found.path.samefile(theirs.path):
            raise Conflict("", "cannot join containers that are in different user namespaces")
        found = theirs
    return found or UserNamespace(maps=maps(parts))


def of_process(pid: int) -> IdMaps:
    """Give the maps of a process's user namespace; none where it is ours. Failed where it has just ended."""
    place = Path("/proc") / str(pid)
    try:
        if (place / "ns/user").samefile("/proc/self/ns/user"):
            return IdMaps()
        return IdMaps(uids=_read(place / "uid_map"), gids=_read(place / "gid_map"))
    except OSError as error:
        raise Failed("", f"process {pid} has no user namespace: {error.strerror}") from error


def _read(path: Path) -> tuple[IdMap, ...]:
    rows = (map(int, line.split()) for line in path.read_text().splitlines())
    return tuple(IdMap(inside=inside, outside=outside, size=size) for inside, outside, size in rows)
