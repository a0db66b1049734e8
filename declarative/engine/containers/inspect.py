"""`GET /containers/NAME/json`: everything of a container, in Docker's shape.

The rule that keeps it simple: pure. One document, in Docker's order; whatever has to be looked up comes in `Surroundings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.containers import moments
from declarative.engine.containers.container import UNREADABLE
from declarative.engine.containers.life import Status
from declarative.engine.containers.log_options import NONE
from declarative.engine.containers.network_view import Wiring, network_settings
from declarative.engine.containers.points import BIND, TMPFS
from declarative.engine.containers.shapes import write
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from declarative.engine.containers.config import Config
    from declarative.engine.containers.container import Container, Health
    from declarative.engine.containers.points import Point

Json = dict[str, Any]


@record
class Surroundings:
    """What inspect tells that is not the container's own.

    `files`: the folder of hosts, hostname and resolv.conf, of another container where it shares that one's network; None before
    the first start. `volume_path` gives a volume's folder. `sizes`: bytes of its own and in all, where asked for.
    """

    wiring: Wiring
    folder: Path
    files: Path | None
    lowers: Sequence[Path]
    volume_path: Callable[[str], str]
    exec_ids: Sequence[str]
    sizes: tuple[int, int] | None = None


def inspect(container: Container, around: Surroundings, version: tuple[int, int]) -> Json:
    """Give the document."""
    config, state = container.config, container.state
    argv = (*(config.entrypoint or ()), *(config.cmd or ()))
    document: Json = {
        "Id": container.id,
        "Created": moments.write(container.created),
        "Path": argv[0] if argv else "",
        "Args": list(argv[1:]),
        "State": state_document(container),
        "Image": container.image_id,
        "ResolvConfPath": _file(around, "resolv.conf"),
        "HostnamePath": str(around.folder / "hostname") if around.files else "",
        "HostsPath": _file(around, "hosts"),
        "LogPath": str(around.folder / "log") if around.files and container.host.log_config.type != NONE else "",
        "Name": f"/{container.name}",
        "RestartCount": state.restarts,
        "Driver": "overlay2",
        "Platform": container.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(around.exec_ids) or None,
        "HostConfig": write(container.host),
        "GraphDriver": {"Data": _layers(around), "Name": "overlay2"},
        "Mounts": [mount_document(point, around.volume_path) for point in container.points],
        "Config": write(_with_mac(container)),
        "NetworkSettings": network_settings(container, around.wiring, version),
    }
    if around.sizes is not None:
        document["SizeRw"], document["SizeRootFs"] = around.sizes
    return document


def _with_mac(container: Container) -> Config:
    """Give the configuration with the hardware address that was asked for of the first network, for old clients."""
    first = next(iter(container.networks.values()), None)
    wanted = container.config.mac_address or (first.mac_address if first else "")
    return replace(container.config, mac_address=wanted) if wanted else container.config


def state_document(container: Container) -> Json:
    """Give `State`."""
    state = container.state
    document: Json = {
        "Status": str(state.status),
        "Running": state.is_active,
        "Paused": state.status is Status.PAUSED,
        "Restarting": state.status is Status.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status is Status.DEAD,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": UNREADABLE.format(container.broken) if container.broken else state.error,
        "StartedAt": moments.write(state.started),
        "FinishedAt": moments.write(state.finished),
    }
    if state.health is not None:
        document["Health"] = health_document(state.health)
    return document


def health_document(health: Health) -> Json:
    """Give `State.Health`."""
    return {
        "Status": health.status,
        "FailingStreak": health.streak,
        "Log": [
            {
                "Start": moments.write(probe.start),
                "End": moments.write(probe.end),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in health.log or ()
        ],
    }


def mount_document(point: Point, volume_path: Callable[[str], str]) -> Json:
    """Give one of `Mounts`."""
    if point.kind == BIND:
        document: Json = {"Type": BIND, "Source": point.source, "Destination": point.destination}
    elif point.kind == TMPFS:
        document = {"Type": TMPFS, "Source": "", "Destination": point.destination}
    else:
        document = {
            "Type": "volume",
            "Name": point.name,
            "Source": volume_path(point.name),
            "Destination": point.destination,
            "Driver": point.driver or "local",
        }
    return document | {"Mode": point.mode, "RW": point.writable, "Propagation": point.propagation}


def _file(around: Surroundings, name: str) -> str:
    return str(around.files / name) if around.files else ""


def _layers(around: Surroundings) -> Json:
    folder = around.folder
    return {
        "LowerDir": ":".join(map(str, around.lowers)),
        "MergedDir": str(folder / "rootfs"),
        "UpperDir": str(folder / "upper"),
        "WorkDir": str(folder / "work"),
    }
