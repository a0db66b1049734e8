"""What Podman adds on its own or says in other words than Docker: put in Docker's, so that like is compared with like.

Seen with Podman 4.3 over its Docker-compatible API. The rule: what the last apply stated, or the image says, is left alone; what
Podman does not tell is as it was stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.resources import Mount
from declarative.drivers.docker.image_read import shortened
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from declarative.core.resources import Attachment, ContainerSpec, Healthcheck, Logging, Port
    from declarative.core.state import ContainerState, ImageConfig, NetworkState
    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import Json

_ENVIRONMENT = ("HOME", "HOSTNAME", "PATH", "TERM", "container")
_PIDS = 2048  # containers.conf(5), pids_limit
_OWN_NAMESPACE = "private"
_SHAREABLE = ("shareable", _OWN_NAMESPACE)  # what it says, and what was asked for: it has but one sort
_PROPAGATION = "rprivate"
_TMPFS = frozenset({"rw", "rprivate", "nosuid", "nodev", "tmpcopyup"})
_WRITABLE = ("/run", "/tmp", "/var/tmp")  # noqa: S108 - paths in containers
_CHECK = {"interval": 30_000_000_000, "timeout": 30_000_000_000, "retries": 3}
_POWERS = frozenset(  # the usual capabilities, Docker's: what a container has is told by how it differs from these
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"}
    | {"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
)
_NOT_GIVEN = frozenset({"AUDIT_WRITE", "MKNOD", "NET_RAW"})  # containers.conf(5), default_capabilities: not among them
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound to
_NETWORKS = {"podman": "bridge"}  # what a container hangs on that asked for nothing
_OPTIONS = {"mtu": "com.docker.network.driver.mtu"}
_NO_REGISTRY = "localhost/"


def is_podman(client: EngineClient) -> bool:
    """Tell whether it is Podman that answers."""
    return "libpod" in client.facts.server.lower()


def in_docker_s_names(documents: Json) -> Json:
    """Give images as Docker would list or inspect them: what has no registry is `localhost/NAME` in Podman."""
    return [
        {**document, **{key: [_named(name) for name in document.get(key) or ()] for key in ("RepoTags", "RepoDigests")}}
        for document in documents or ()
        if document is not None
    ]


def _named(name: str) -> str:
    return name.removeprefix(_NO_REGISTRY)


def label_changes(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Write labels as it takes them for an import: one instruction in each parameter `changes`, and nothing is unquoted."""
    return tuple(f"LABEL {name}={value}" for name, value in labels.items())


def in_docker_s_words(state: ContainerState, image: ImageConfig | None) -> ContainerState:
    """Give a container as Docker would tell of it."""
    applied = state.applied or {}
    spec = state.spec
    resources = spec.resources
    if resources.pids == _PIDS and "spec.resources.pids" not in applied:
        resources = replace(resources, pids=None)
    return replace(
        state,
        spec=replace(
            spec,
            image=replace(spec.image, reference=shortened(_named(spec.image.reference))),
            entrypoint=None if spec.entrypoint == ("",) else spec.entrypoint,
            environment=_environment(spec, applied, image.environment if image is not None else {}),
            ports=tuple(sorted(_port(port, applied) for port in spec.ports)),
            expose=_exposed(spec, applied, image),
            networks=dict(_network(name, attachment, applied) for name, attachment in spec.networks.items()),
            sysctls=spec.sysctls or _stated(applied, "spec.sysctls."),  # which it does not tell
            volumes=(*(_mount(mount, applied) for mount in spec.volumes), *_soft_mounts(spec, applied)),
            tmpfs=_tmpfs(spec, applied),
            devices=tuple(_device(device, applied) for device in spec.devices),
            logging=_logging(spec.logging, applied),
            init=bool(applied["spec.init"]) if spec.init is None and "spec.init" in applied else spec.init,
            cap_add=_added(spec, applied),
            cap_drop=_dropped(spec, applied),
            healthcheck=_healthcheck(spec.healthcheck, applied),
            ipc=_OWN_NAMESPACE if (spec.ipc, applied.get("spec.ipc")) == _SHAREABLE else spec.ipc,
            pid=None if spec.pid == _OWN_NAMESPACE else spec.pid,
            stop_signal=_signal(spec.stop_signal),
            stop_grace_period=spec.stop_grace_period or (0 if "spec.stop_grace_period" in applied else None),
            resources=resources,
        ),
    )


def network_in_docker_s_words(state: NetworkState) -> NetworkState:
    """Give a network as Docker would tell of it."""
    stated = state.applied or {}
    options = {
        name if f"spec.options.{name}" in stated else _OPTIONS.get(name, name): value
        for name, value in state.spec.options.items()
    }
    return replace(state, spec=replace(state.spec, options=options))


def _exposed(spec: ContainerSpec, applied: Mapping[str, object], image: ImageConfig | None) -> tuple[str, ...]:
    """Add what the manifest and the image say: of a container that shares another's network Podman tells none."""
    of_image = image.exposed if image is not None else ()
    return tuple(sorted({*spec.expose, *_names(applied, "spec.expose"), *of_image}))


def _network(name: str, attachment: Attachment, applied: Mapping[str, object]) -> tuple[str, Attachment]:
    """Give an attachment with the addresses that were asked for: Podman tells those alone that a living container has."""
    stated = applied.get(f"spec.networks.{name}")
    if isinstance(stated, dict):
        addresses = {key: stated.get(key, "") for key in ("ipv4_address", "ipv6_address")}
        attachment = replace(attachment, **addresses)
    return _NETWORKS.get(name, name), attachment


def _logging(logging: Logging | None, applied: Mapping[str, object]) -> Logging | None:
    """Give a log driver with the options that were asked for: Podman does not tell."""
    if logging is None or logging.options or applied.get("spec.logging.driver", logging.driver) != logging.driver:
        return logging
    return replace(logging, options=_stated(applied, "spec.logging.options."))


def _stated(applied: Mapping[str, object], prefix: str) -> dict[str, str]:
    return {path.removeprefix(prefix): str(value) for path, value in applied.items() if path.startswith(prefix)}


def _environment(spec: ContainerSpec, applied: Mapping[str, object], image: Mapping[str, str]) -> Mapping[str, object]:
    added = {name for name in _ENVIRONMENT if f"spec.environment.{name}" not in applied and name not in image}
    return {name: value for name, value in spec.environment.items() if name not in added}


def _tmpfs(spec: ContainerSpec, applied: Mapping[str, object]) -> Mapping[str, str]:
    """Leave out what Podman adds: options, and folders that it makes writable where the root is not (`--read-only-tmpfs`)."""
    found = {}
    for target, options in spec.tmpfs.items():
        stated = applied.get(f"spec.tmpfs.{target}")
        if _soft_mount(target, applied) or (stated is None and spec.read_only and target in _WRITABLE):
            continue
        asked = set(str(stated or "").split(","))
        found[target] = ",".join(option for option in options.split(",") if option in asked or option not in _TMPFS)
    return found


def _soft_mounts(spec: ContainerSpec, applied: Mapping[str, object]) -> Iterator[Mount]:
    """Give the mounts of type tmpfs, which Podman tells as it tells `tmpfs`; the mode in its own way."""
    for target, options in spec.tmpfs.items():
        if stated := _soft_mount(target, applied):
            size = dict(option.partition("=")[::2] for option in options.split(",")).get("size", "")
            mode = int(str(stated.get("mode", 0)))
            yield Mount(target=target, type="tmpfs", size=int(size) if size.isdecimal() else 0, mode=mode)


def _soft_mount(target: str, applied: Mapping[str, object]) -> Mapping[str, object]:
    stated = applied.get(f"spec.volumes.{target}")
    return stated if isinstance(stated, dict) and stated.get("type") == "tmpfs" else {}


def _device(device: str, applied: Mapping[str, object]) -> str:
    """Give a device with the permissions that were asked for, or all: Podman does not tell."""
    asked = _names(applied, "spec.devices")
    return next((item for item in asked if item.startswith(device)), f"{device}rwm") if device.endswith(":") else device


def _added(spec: ContainerSpec, applied: Mapping[str, object]) -> tuple[str, ...]:
    """Give capabilities with those that were asked for and are usual; and ALL where it was asked for, which is written out."""
    asked, added = _names(applied, "spec.cap_add"), set(spec.cap_add)
    if spec.privileged or ("ALL" in asked and len(added) > len(_POWERS)):
        return tuple(sorted(asked))
    return tuple(sorted(added | (asked & _POWERS - set(spec.cap_drop))))


def _dropped(spec: ContainerSpec, applied: Mapping[str, object]) -> tuple[str, ...]:
    """Likewise, with those that were asked for and are not usual, and without those that nobody was given."""
    asked, dropped = _names(applied, "spec.cap_drop"), set(spec.cap_drop)
    if spec.privileged or ("ALL" in asked and dropped >= _POWERS - _names(applied, "spec.cap_add")):
        return tuple(sorted(asked))
    return tuple(sorted(dropped - (_NOT_GIVEN - asked) | (asked - _POWERS - set(spec.cap_add))))


def _names(applied: Mapping[str, object], path: str) -> set[str]:
    stated = applied.get(path)
    return {str(item) for item in stated} if isinstance(stated, list) else set()


def _healthcheck(check: Healthcheck | None, applied: Mapping[str, object]) -> Healthcheck | None:
    if check is None:
        return None
    silent = {
        name: 0
        for name, value in _CHECK.items()
        if getattr(check, name) == value and f"spec.healthcheck.{name}" not in applied
    }
    return replace(check, **silent)


def _port(port: Port, applied: Mapping[str, object]) -> Port:
    """Give a port as it was asked for.

    No address and 0.0.0.0 are one to Podman, which keeps or shows the one for the other; where it was to choose the port, it
    tells which it chose.
    """
    asked = _names(applied, "spec.ports")
    addresses = ("", _EVERYWHERE) if port.host_ip in {"", _EVERYWHERE} else (port.host_ip,)
    ways = [replace(port, published=published, host_ip=host) for published in (port.published, 0) for host in addresses]
    return next((way for way in ways if str(way) in asked), ways[0])


def _mount(mount: Mount, applied: Mapping[str, object]) -> Mount:
    stated = applied.get(f"spec.volumes.{mount.target}")
    asked = isinstance(stated, dict) and stated.get("propagation")
    return replace(mount, propagation="") if mount.propagation == _PROPAGATION and not asked else mount


def _signal(text: str | None) -> str | None:
    if not text or not text.isdecimal():
        return text
    import signal

    try:
        return signal.Signals(int(text)).name
    except ValueError:
        return text
