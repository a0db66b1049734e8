"""An engine's answer to `GET /containers/ID/json`, read into `ContainerState`.

The rule: what was asked for (HostConfig, Config) is read, not what came of it, save where only the outcome has it
(volumes of the image, networks). Zero, false, empty and null are all "not stated". 200 of these are read in every plan: lean
code, no helper classes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from declarative.core.resources import (
    Attachment,
    ContainerSpec,
    Healthcheck,
    ImageRef,
    Logging,
    Mount,
    Port,
    Resources,
)
from declarative.core.state import ContainerState
from declarative.drivers.docker.labels import CONTAINER_KINDS, applied_of, holds_files, owner_of, without_ours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.state import Canonical, RunState
    from declarative.dockerapi.wire import Json

ANONYMOUS = re.compile(r"[0-9a-f]{64}", re.ASCII)
NEVER = "0001-01-01T00:00:00Z"
_PROPAGATIONS = frozenset({"shared", "slave", "private", "rshared", "rslave", "rprivate"})
_STATES: Mapping[str, RunState] = {
    "stopped": "exited",
    "stopping": "running",
    "configured": "created",
    "initialized": "created",
}
_NO_RESOURCES = Resources()
_NOT_NETWORKS = frozenset({"host", "none"})
_NO_HOMES = _NOT_NETWORKS | {"default", "bridge"}


def read_container(document: Json, names: Mapping[str, str]) -> ContainerState:
    """Read one inspected container. `names` maps ids to names, for `container:ID`."""
    config, state = document["Config"], document["State"]
    labels: dict[str, str] = config.get("Labels") or {}
    health = (state.get("Health") or {}).get("Status", "")
    owner = owner_of(labels, CONTAINER_KINDS)
    applied = applied_of(labels) if owner else None
    return ContainerState(
        name=document["Name"].removeprefix("/"),
        id=document["Id"],
        image_id=document["Image"],
        spec=_spec(document, without_ours(labels), names, applied or {}),
        owner=owner,
        applied=applied,
        home=_home(document),
        state=read_state(state.get("Status", "created")),
        health="" if health == "none" else health,
        exit_code=state.get("ExitCode", 0),
        oom_killed=state.get("OOMKilled", False),
        restarts=document.get("RestartCount", 0),
        created=document.get("Created", ""),
        started=_moment(state.get("StartedAt", "")),
        finished=_moment(state.get("FinishedAt", "")),
        error=state.get("Error", ""),
    )


def read_state(text: str) -> RunState:
    """Read a container's state; Podman has some words of its own."""
    return _STATES.get(text, text)  # type: ignore[arg-type] # the rest is Docker's


def _moment(text: str) -> str:
    return "" if text == NEVER else text


def _spec(document: Json, labels: dict[str, str], names: Mapping[str, str], applied: Canonical) -> ContainerSpec:
    config, host = document["Config"], document["HostConfig"]
    mode, networks = _networks(document, names, applied)
    grace = config.get("StopTimeout")
    return ContainerSpec(
        image=ImageRef(reference=config.get("Image", "")),
        command=_texts(config.get("Cmd")),
        entrypoint=_texts(config.get("Entrypoint")),
        environment=read_environment(config.get("Env")),
        ports=_ports(host.get("PortBindings")),
        expose=tuple(sorted(config["ExposedPorts"])) if config.get("ExposedPorts") else (),
        volumes=_mounts(document),
        networks=networks,
        network_mode=mode,
        healthcheck=read_healthcheck(config.get("Healthcheck")),
        restart=_restart(host.get("RestartPolicy")),
        labels=labels,
        user=config.get("User") or None,
        working_dir=config.get("WorkingDir") or None,
        hostname=_hostname(document),
        domainname=config.get("Domainname") or None,
        dns=tuple(host.get("Dns") or ()),
        extra_hosts=tuple(sorted(host.get("ExtraHosts") or ())),
        cap_add=_capabilities(host.get("CapAdd")),
        cap_drop=_capabilities(host.get("CapDrop")),
        privileged=host.get("Privileged") or None,
        read_only=host.get("ReadonlyRootfs") or None,
        tmpfs=host.get("Tmpfs") or {},
        shm_size=host.get("ShmSize") or None,
        ulimits={item["Name"]: (item["Soft"], item["Hard"]) for item in host.get("Ulimits") or ()},
        sysctls=host.get("Sysctls") or {},
        devices=_devices(host.get("Devices")),
        security_opt=_security(host),
        pid=named_mode(host.get("PidMode"), names),
        ipc=named_mode(host.get("IpcMode"), names),
        init=host.get("Init"),
        tty=config.get("Tty") or None,
        stdin_open=config.get("OpenStdin") or None,
        stop_signal=config.get("StopSignal") or None,
        stop_grace_period=None if grace is None else grace * 1_000_000_000,
        logging=_logging(host.get("LogConfig")),
        resources=_resources(host),
    )


def _texts(items: list[str] | None) -> tuple[str, ...] | None:
    return tuple(items) if items else None


def read_environment(items: list[str] | None) -> dict[str, str]:
    """Read "NAME=value" lines; a name alone stands for an empty value."""
    found: dict[str, str] = {}
    for item in items or ():
        name, _, value = item.partition("=")
        found[name] = value
    return found


def _hostname(document: Json) -> str | None:
    """Read the host name, where it is one of the container's own and not made of its id."""
    config = document["Config"]
    name: str = config.get("Hostname", "")
    mode: str = document["HostConfig"].get("NetworkMode", "")
    if not name or name == document["Id"][:12] or mode == "host" or mode.startswith("container:"):
        return None
    return name


def named_mode(mode: str | None, names: Mapping[str, str]) -> str | None:
    """Read a namespace mode; the engine keeps `container:NAME` as the id, and we name things by name."""
    if not mode or not mode.startswith("container:"):
        return mode or None
    other = mode.removeprefix("container:")
    return "container:" + names.get(other, other)


def _networks(document: Json, names: Mapping[str, str], applied: Canonical) -> tuple[str | None, dict[str, Attachment]]:
    mode: str = document["HostConfig"].get("NetworkMode") or "default"
    found = document["NetworkSettings"].get("Networks") or {}
    if mode in _NOT_NETWORKS or mode.startswith("container:"):
        return named_mode(mode, names), {}
    added = engine_aliases(document)
    networks = {
        name: read_attachment(endpoint, added - set((applied.get(f"spec.networks.{name}") or {}).get("aliases", ())))
        for name, endpoint in sorted(found.items())
        if name not in _NOT_NETWORKS and not (name == "bridge" and mode in {"default", "bridge"})
    }
    return ("bridge" if mode in {"default", "bridge"} else None), networks


def _home(document: Json) -> str:
    mode: str = document["HostConfig"].get("NetworkMode") or "default"
    return "" if mode in _NO_HOMES or mode.startswith("container:") else mode


def engine_aliases(document: Json) -> set[str]:
    """Give the aliases that engines before 26.1 add on their own: the short id, and the host name."""
    return {document["Id"][:12], document["Config"].get("Hostname", "")}


def read_attachment(endpoint: Json, added: set[str]) -> Attachment:
    """Read how a container hangs on a network, without the aliases `added` by the engine."""
    configured = endpoint.get("IPAMConfig") or {}
    return Attachment(
        aliases=tuple(sorted(set(endpoint.get("Aliases") or ()) - added)),
        ipv4_address=configured.get("IPv4Address", ""),
        ipv6_address=configured.get("IPv6Address", ""),
    )


def _ports(bindings: Json) -> tuple[Port, ...]:
    if not bindings:
        return ()
    found: list[Port] = []
    for key, hosts in bindings.items():
        target, _, protocol = key.partition("/")
        found.extend(
            Port(
                target=int(target),
                protocol=protocol or "tcp",
                published=int(host["HostPort"]) if host.get("HostPort", "").isdecimal() else 0,
                host_ip=host.get("HostIp", ""),
            )
            for host in hosts or ()
        )
    return tuple(sorted(found))


def _mounts(document: Json) -> tuple[Mount, ...]:
    host = document["HostConfig"]
    found = {mount.target: mount for mount in map(read_bind, host.get("Binds") or ())}
    ours: set[str] = set()
    for item in host.get("Mounts") or ():
        if holds_files(item):
            ours.add(item["Target"])
            continue
        mount = _asked_mount(item)
        found[mount.target] = mount
    for item in document.get("Mounts") or ():
        target = item["Destination"]
        if target not in found and target not in ours and item.get("Type", "volume") == "volume":
            found[target] = Mount(
                target=target, source=_volume(item.get("Name", "")), read_only=not item.get("RW", True)
            )
    return tuple(found[target] for target in sorted(found))


def _volume(name: str) -> str:
    """Give the name of a volume that somebody named; the engine's own names are 64 hex digits."""
    return "" if ANONYMOUS.fullmatch(name) else name


def read_bind(text: str) -> Mount:
    """Read one line of HostConfig.Binds: `source:target[:options]`."""
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    words = options.split(",") if options else []
    is_path = source.startswith("/")
    return Mount(
        target=target,
        type="bind" if is_path else "volume",
        source=source if is_path else _volume(source),
        read_only="ro" in words,
        nocopy="nocopy" in words,
        propagation=next((word for word in words if word in _PROPAGATIONS), ""),
        create_host_path=is_path,
    )


def _asked_mount(item: dict[str, Any]) -> Mount:
    kind = item.get("Type", "volume")
    source = item.get("Source", "")
    tmpfs = item.get("TmpfsOptions") or {}
    return Mount(
        target=item["Target"],
        type=kind,
        source=_volume(source) if kind == "volume" else source,
        read_only=item.get("ReadOnly", False),
        nocopy=(item.get("VolumeOptions") or {}).get("NoCopy", False),
        propagation=(item.get("BindOptions") or {}).get("Propagation", ""),
        size=tmpfs.get("SizeBytes", 0),
        mode=tmpfs.get("Mode", 0),
    )


def read_healthcheck(check: Json) -> Healthcheck | None:
    """Read a health check of a container or an image."""
    if not check:
        return None
    return Healthcheck(
        test=tuple(check.get("Test") or ()),
        interval=check.get("Interval", 0),
        timeout=check.get("Timeout", 0),
        retries=check.get("Retries", 0),
        start_period=check.get("StartPeriod", 0),
        start_interval=check.get("StartInterval", 0),
    )


def _restart(policy: Json) -> str | None:
    name: str = (policy or {}).get("Name", "")
    retries = (policy or {}).get("MaximumRetryCount", 0)
    return f"{name}:{retries}" if name == "on-failure" and retries else name or None


def _capabilities(names: list[str] | None) -> tuple[str, ...]:
    return tuple(sorted(name.upper().removeprefix("CAP_") for name in names)) if names else ()


def _devices(items: Json) -> tuple[str, ...]:
    return tuple(
        sorted(f"{item['PathOnHost']}:{item['PathInContainer']}:{item['CgroupPermissions']}" for item in items or ())
    )


def _security(host: dict[str, Any]) -> tuple[str, ...]:
    """Read the security options, without the one that the engine adds for containers that share with the host."""
    options = host.get("SecurityOpt") or ()
    if host.get("Privileged") or host.get("PidMode") == "host" or host.get("IpcMode") == "host":
        options = [option for option in options if option != "label=disable"]
    return tuple(sorted(options))


def _logging(config: Json) -> Logging | None:
    return Logging(driver=config["Type"], options=config.get("Config") or {}) if config and config.get("Type") else None


def _resources(host: dict[str, Any]) -> Resources:
    period, quota = host.get("CpuPeriod", 0), host.get("CpuQuota", 0)
    cpus = host.get("NanoCpus", 0) or (quota * 1_000_000_000 // (period or 100_000) if quota > 0 else 0)
    found = Resources(
        memory=host.get("Memory") or None,
        memory_reservation=host.get("MemoryReservation") or None,
        memory_swap=host.get("MemorySwap") or None,
        cpus=cpus or None,
        cpu_shares=host.get("CpuShares") or None,
        cpuset=host.get("CpusetCpus") or None,
        pids=host.get("PidsLimit") or None,
    )
    return _NO_RESOURCES if found == _NO_RESOURCES else found
