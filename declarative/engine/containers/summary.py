"""`GET /containers/json`: one line of `docker ps` for each container, and its words for how long and how well.

The rule that keeps it simple: pure; nothing is read from the disk for a line but sizes that were asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.containers.inspect import mount_document
from declarative.engine.containers.life import Status
from declarative.engine.containers.network_view import Wiring, endpoints, port_list
from declarative.oci.units import human_duration

if TYPE_CHECKING:
    from declarative.engine.containers.container import Container, State

Json = dict[str, Any]
_SECOND = 1_000_000_000


def status_text(state: State, now: int) -> str:
    """Say a container's state as `docker ps` does: `Up 3 seconds (healthy)`, `Exited (0) 2 hours ago`."""
    if state.is_up:
        return f"Up {human_duration(_since(state.started, now))}{_remark(state)}"
    if state.status in _WORDS:
        return _WORDS[state.status]
    if state.started == 0 and state.status is not Status.RESTARTING:
        return "Created"
    verb = "Restarting" if state.status is Status.RESTARTING else "Exited"
    return f"{verb} ({state.exit_code}) {human_duration(_since(state.finished, now))} ago"


_WORDS = {Status.REMOVING: "Removal In Progress", Status.DEAD: "Dead"}


def _remark(state: State) -> str:
    if state.status is Status.PAUSED:
        return " (Paused)"
    if state.health is None:
        return ""
    return " (health: starting)" if state.health.status == "starting" else f" ({state.health.status})"


def _since(moment: int, now: int) -> int:
    return max(0, now - moment)


def summary(
    container: Container, wiring: Wiring, version: tuple[int, int], now: int, image: str, sizes: tuple[int, int] | None
) -> Json:
    """Give one entry. `image`: the name it was made from, or the id where that name is another image's now."""
    config, host, state = container.config, container.host, container.state
    document: Json = {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": image,
        "ImageID": container.image_id,
        "Command": command_text((*(config.entrypoint or ()), *(config.cmd or ()))),
        "Created": container.created // _SECOND,
        "Ports": port_list(container, wiring.found),
        "Labels": dict(config.labels or {}),
        "State": str(state.status),
        "Status": status_text(state, now),
        "HostConfig": {"NetworkMode": host.network_mode},
        "NetworkSettings": {"Networks": endpoints(container, wiring, version)},
        "Mounts": [mount_document(point, _no_path) for point in container.points],
    }
    if version >= (1, 46) and host.annotations:
        document["HostConfig"]["Annotations"] = dict(host.annotations)
    if sizes is not None:
        own, total = sizes
        if own:
            document["SizeRw"] = own
        document["SizeRootFs"] = total
    return document


def _no_path(_: str) -> str:
    return ""


def command_text(argv: tuple[str, ...]) -> str:
    """Write a command as a list's entry shows it: arguments with blanks in them in single quotes."""
    if not argv:
        return ""
    words = [f"'{word}'" if " " in word else word for word in argv[1:]]
    return " ".join((argv[0], *words))
