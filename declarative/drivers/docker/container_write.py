"""A `ContainerSpec` as the body of `POST /containers/create`. `container_read` reads it back as the same spec.

The rule: only what is stated is sent, so that the engine's and the image's defaults stay theirs. Secrets are revealed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.resources import Attachment, ContainerSpec, Healthcheck, Mount, Resources

MANY_ENDPOINTS = (1, 44)
"""From this API on a container is created on all its networks at once (moby 25.0, "Multiple EndpointsConfig")."""


def write_container(
    spec: ContainerSpec, labels: Mapping[str, str], taken_over: Mapping[str, str], api: tuple[int, int]
) -> dict[str, Any]:
    """Write the body. `taken_over`: target → name of the anonymous volume to be mounted there."""
    exposed = {*spec.expose, *(f"{port.target}/{port.protocol}" for port in spec.ports)}
    grace = spec.stop_grace_period
    body: dict[str, Any] = {
        "Image": spec.image.reference,
        "Cmd": None if spec.command is None else list(spec.command),
        "Entrypoint": None if spec.entrypoint is None else list(spec.entrypoint) or [""],  # [] would mean the image's
        "Env": [f"{name}={reveal(value)}" for name, value in spec.environment.items()],
        "ExposedPorts": {port: {} for port in sorted(exposed)},
        "Labels": {**spec.labels, **labels},
        "User": spec.user,
        "WorkingDir": spec.working_dir,
        "Hostname": spec.hostname,
        "Domainname": spec.domainname,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin_open,
        "StopSignal": spec.stop_signal,
        "StopTimeout": None if grace is None else -(-grace // 1_000_000_000),
        "Healthcheck": None if spec.healthcheck is None else _healthcheck(spec.healthcheck),
        "HostConfig": _host(spec, taken_over),
        "NetworkingConfig": _networking(spec, api),
    }
    return {name: value for name, value in body.items() if value is not None}


def reveal(value: str | Secret) -> str:
    """Give the plain text of a value that may be a secret."""
    return value.reveal() if isinstance(value, Secret) else value


def _healthcheck(check: Healthcheck) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "Retries": check.retries,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    return {name: value for name, value in body.items() if value}


def _host(spec: ContainerSpec, taken_over: Mapping[str, str]) -> dict[str, Any]:
    body = {
        "Binds": [write_bind(mount) for mount in spec.volumes if mount.create_host_path],
        "Mounts": _mounts(spec, taken_over),
        "NetworkMode": _network_mode(spec),
        "PortBindings": _bindings(spec),
        "RestartPolicy": None if spec.restart is None else write_restart(spec.restart),
        "Dns": list(spec.dns) or None,
        "ExtraHosts": list(spec.extra_hosts) or None,
        "CapAdd": list(spec.cap_add) or None,
        "CapDrop": list(spec.cap_drop) or None,
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.read_only,
        "Tmpfs": dict(spec.tmpfs) or None,
        "ShmSize": spec.shm_size,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in spec.ulimits.items()] or None,
        "Sysctls": dict(spec.sysctls) or None,
        "Devices": [_device(text) for text in spec.devices] or None,
        "SecurityOpt": list(spec.security_opt) or None,
        "PidMode": spec.pid,
        "IpcMode": spec.ipc,
        "Init": spec.init,
        "LogConfig": spec.logging and {"Type": spec.logging.driver, "Config": dict(spec.logging.options)},
    }
    return {name: value for name, value in body.items() if value is not None} | write_resources(spec.resources)


def write_resources(resources: Resources) -> dict[str, Any]:
    """Write limits, for create and update alike; only what is not None."""
    body = {
        "Memory": resources.memory,
        "MemoryReservation": resources.memory_reservation,
        "MemorySwap": resources.memory_swap,
        "NanoCpus": resources.cpus,
        "CpuShares": resources.cpu_shares,
        "CpusetCpus": resources.cpuset,
        "PidsLimit": resources.pids,
    }
    return {name: value for name, value in body.items() if value is not None}


def write_restart(text: str) -> dict[str, Any]:
    """Write a restart policy: `on-failure:3` is a name and a count."""
    name, _, count = text.partition(":")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _mounts(spec: ContainerSpec, taken_over: Mapping[str, str]) -> list[dict[str, Any]]:
    asked = [_mount(mount, taken_over) for mount in spec.volumes if not mount.create_host_path]
    targets = {mount.target for mount in spec.volumes} | set(spec.tmpfs)
    kept = [
        {"Type": "volume", "Source": name, "Target": target}
        for target, name in taken_over.items()
        if target not in targets
    ]
    return asked + kept


def _mount(mount: Mount, taken_over: Mapping[str, str]) -> dict[str, Any]:
    source = mount.source or (taken_over.get(mount.target, "") if mount.type == "volume" else "")
    body: dict[str, Any] = {"Type": mount.type, "Target": mount.target, "ReadOnly": mount.read_only}
    if source:
        body["Source"] = source
    if mount.nocopy:
        body["VolumeOptions"] = {"NoCopy": True}
    if mount.propagation:
        body["BindOptions"] = {"Propagation": mount.propagation}
    if mount.type == "tmpfs" and (mount.size or mount.mode):
        body["TmpfsOptions"] = {"SizeBytes": mount.size, "Mode": mount.mode}
    return body


def write_bind(mount: Mount) -> str:
    """Write a line of HostConfig.Binds, the only way in which engines of every age make a missing host path."""
    words = [word for word in ("ro" if mount.read_only else "", mount.propagation) if word]
    return ":".join(part for part in (mount.source, mount.target, ",".join(words)) if part)


def _bindings(spec: ContainerSpec) -> dict[str, list[dict[str, str]]] | None:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        host = {"HostIp": port.host_ip, "HostPort": str(port.published) if port.published else ""}
        bindings.setdefault(f"{port.target}/{port.protocol}", []).append(host)
    return bindings or None


def _device(text: str) -> dict[str, str]:
    host, container, permissions = text.rsplit(":", 2)
    return {"PathOnHost": host, "PathInContainer": container, "CgroupPermissions": permissions}


def first_network(spec: ContainerSpec) -> str | None:
    """Name the network that the container is created on; None where it has a network mode instead."""
    return None if spec.network_mode or not spec.networks else next(iter(spec.networks))


def later_networks(spec: ContainerSpec, api: tuple[int, int]) -> list[str]:
    """Name the networks that the container has to be attached to after it was created."""
    if api >= MANY_ENDPOINTS:
        return []
    return [name for name in spec.networks if name != first_network(spec)]


def _network_mode(spec: ContainerSpec) -> str | None:
    return spec.network_mode or first_network(spec)


def _networking(spec: ContainerSpec, api: tuple[int, int]) -> dict[str, Any] | None:
    later = set(later_networks(spec, api))
    endpoints = {name: write_attachment(attachment) for name, attachment in spec.networks.items() if name not in later}
    return {"EndpointsConfig": endpoints} if endpoints else None


def write_attachment(attachment: Attachment) -> dict[str, Any]:
    """Write how a container hangs on a network (an EndpointSettings of the API)."""
    addresses = {"IPv4Address": attachment.ipv4_address, "IPv6Address": attachment.ipv6_address}
    configured = {name: address for name, address in addresses.items() if address}
    body: dict[str, Any] = {"Aliases": list(attachment.aliases)} if attachment.aliases else {}
    return {**body, "IPAMConfig": configured} if configured else body
