"""A container as the sandbox that the runtime runs: every name looked up, every default filled in.

The rule that keeps it simple: reads the container, the mounted root and other containers' processes; changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.containers import defaults, devices, files, joining, modes
from declarative.engine.containers.mapped_entries import outside
from declarative.engine.containers.security import SecurityOptions, read_options, read_profile
from declarative.engine.runtime import capabilities, mounts
from declarative.engine.runtime.oci import find_init
from declarative.engine.runtime.sandbox import Mount, Namespaces, Resources, Rlimit, Sandbox
from declarative.engine.runtime.users import resolve_user
from declarative.errors import Conflict, Invalid, NotFound
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.host import HostConfig
    from declarative.engine.containers.parts import Parts
    from declarative.engine.containers.user_namespaces import UserNamespace
    from declarative.engine.runtime.sandbox import Device, Seccomp, Shared, User

_SHM = "/dev/shm"  # noqa: S108 - in the container


@record
class Site:
    """Where a container is to run: its mounted root, its volumes and binds, its network and user namespaces.

    `shm`: memory that it shares with others.
    """

    root: Path
    wanted: tuple[Mount, ...]
    network: Shared
    space: UserNamespace
    shm: Path | None


def sandbox_of(parts: Parts, container: Container, site: Site) -> Sandbox:
    """Give the sandbox. Invalid, Failed, NotFound."""
    config, host = container.config, container.host
    security = read_options(host.security_opt or ())
    devices.refuse_requests(host.device_requests or ())
    user = resolve_user(site.root, config.user, host.group_add or ())
    extra = (*_file_mounts(parts, container, site.wanted), *_memory(host, site.shm, site.wanted))
    return Sandbox(
        id=container.id,
        rootfs=site.root,
        args=(*(config.entrypoint or ()), *(config.cmd or ())),
        env=environment(parts, container, user, terminal=container.config.tty),
        cwd=config.working_dir or "/",
        user=user,
        terminal=config.tty,
        hostname=config.hostname,
        domainname=config.domainname,
        mounts=(*extra, *site.wanted),
        shm_size=host.shm_size,
        namespaces=Namespaces(
            network=site.network,
            pid=_joined(parts, host.pid_mode, "pid"),
            ipc=_joined(parts, host.ipc_mode, "ipc"),
            uts="host" if host.uts_mode == "host" else "private",
            cgroup="private" if host.cgroupns_mode == "private" else "host",
            user=site.space.path,
        ),
        uid_maps=site.space.maps.uids,
        gid_maps=site.space.maps.gids,
        capabilities=capabilities.resolve(host.cap_add or (), host.cap_drop or (), privileged=host.privileged),
        privileged=host.privileged,
        readonly_rootfs=host.readonly_rootfs,
        masked_paths=host.masked_paths or (),
        readonly_paths=host.readonly_paths or (),
        seccomp=_seccomp(security, privileged=host.privileged),
        no_new_privileges=security.no_new_privileges,
        resources=resources_of(host),
        devices=_devices(host),
        device_rules=tuple(devices.rules_of(host.device_cgroup_rules or ())),
        sysctls=dict(host.sysctls or {}),
        rlimits=tuple(
            Rlimit(name=f"RLIMIT_{limit.name.upper()}", soft=limit.soft, hard=limit.hard)
            for limit in host.ulimits or ()
        ),
        cgroup_parent=_parent(parts, host),
        owner=outside(site.space.maps, user.uid, user.gid) if site.space.maps else None,
        oom_score_adj=host.oom_score_adj,
        init=find_init() if host.init else None,
    )


def _devices(host: HostConfig) -> tuple[Device, ...]:
    """Give what was asked for; to a privileged container everything, and what was asked for under another name."""
    wanted = host.devices or ()
    if not host.privileged:
        return tuple(devices.devices_of(wanted))
    renamed = [one for one in wanted if one.path_in_container not in (None, "", one.path_on_host)]
    return (*devices.every(), *devices.devices_of(renamed))


def _parent(parts: Parts, host: HostConfig) -> str:
    return "/" + (host.cgroup_parent or parts.settings.cgroup_parent).strip("/")


def environment(parts: Parts, container: Container, user: User, *, terminal: bool) -> tuple[str, ...]:
    """Give the environment in Docker's order; what the configuration says stands in place of what the engine would say.

    `terminal`: whether the process has one, which another one of its container may not.
    """
    config = container.config
    own = config.env or ()
    first = [defaults.PATH, f"HOSTNAME={config.hostname}"]
    if terminal:
        first.append("TERM=xterm")
    values: dict[str, str | None] = {}
    for entry in (*first, *joining.link_environment(parts, container), *own):
        name, sign, value = entry.partition("=")
        values[name] = value if sign else None  # a name alone takes the variable away, as in Docker
    values.setdefault("HOME", user.home)
    return tuple(f"{name}={value}" for name, value in values.items() if value is not None)


def _file_mounts(parts: Parts, container: Container, wanted: tuple[Mount, ...]) -> tuple[Mount, ...]:
    folder = joining.files_folder(parts, container)
    taken = {mount.target for mount in wanted}
    return tuple(
        mounts.bind(folder / name, f"/etc/{name}", read_only=container.host.readonly_rootfs)
        for name in (files.RESOLV, files.HOSTNAME, files.HOSTS)
        if f"/etc/{name}" not in taken
    )


def _memory(host: HostConfig, shm: Path | None, wanted: tuple[Mount, ...]) -> tuple[Mount, ...]:
    if any(mount.target == _SHM for mount in wanted):
        return ()
    if shm is not None:
        return (mounts.bind(shm, _SHM),)
    if host.ipc_mode == "none":
        return (
            Mount(target=_SHM, kind="tmpfs", source="tmpfs", options=("ro", "nosuid", "nodev", "noexec", "size=4k")),
        )
    return ()


def _joined(parts: Parts, mode: str, kind: str) -> Shared:
    """Give a namespace by its mode. NotFound, Conflict, in Docker's words."""
    if mode == "host":
        return "host"
    other = modes.joined(mode)
    return Path(f"/proc/{pid_of(parts, other, kind)}/ns/{kind}") if other else "private"


def pid_of(parts: Parts, name: str, kind: str) -> int:
    """Give the first process of a container that is joined. NotFound, Conflict, in Docker's words, where there is none."""
    found = parts.index.find(name)
    if found is None:
        raise NotFound("", f"No such container: {name}")
    if not found.state.is_up:
        raise Conflict("", f"cannot join {kind.upper()} namespace of a non running container: {found.id}")
    return found.state.pid


def _seccomp(security: SecurityOptions, *, privileged: bool) -> Seccomp | Mapping[str, Any]:
    if security.seccomp == "unconfined" or (privileged and not security.seccomp):
        return "unconfined"
    if security.seccomp in {"", "builtin"}:
        return "default"
    return read_profile(security.seccomp) or "unconfined"  # `{}` forbids nothing


def resources_of(host: HostConfig) -> Resources:
    """Give the limits. Invalid."""
    if host.memory < 0:
        raise Invalid("", "Minimum memory limit allowed is 6MB")
    return Resources(
        memory=host.memory,
        memory_swap=host.memory_swap,
        memory_reservation=host.memory_reservation,
        memory_swappiness=host.memory_swappiness,
        oom_kill_disable=bool(host.oom_kill_disable),
        nano_cpus=host.nano_cpus,
        cpu_shares=host.cpu_shares,
        cpu_quota=host.cpu_quota,
        cpu_period=host.cpu_period,
        cpu_realtime_period=host.cpu_realtime_period,
        cpu_realtime_runtime=host.cpu_realtime_runtime,
        cpuset_cpus=host.cpuset_cpus,
        cpuset_mems=host.cpuset_mems,
        pids=max(host.pids_limit or 0, -1),
        blkio_weight=host.blkio_weight,
        blkio_device_weights=devices.weights_of(host.blkio_weight_device or ()),
        read_bytes=devices.rates_of(host.blkio_device_read_bps or ()),
        write_bytes=devices.rates_of(host.blkio_device_write_bps or ()),
        read_operations=devices.rates_of(host.blkio_device_read_iops or ()),
        write_operations=devices.rates_of(host.blkio_device_write_iops or ()),
    )
