"""The OCI runtime configuration (`config.json`, runtime-spec 1.0) of a sandbox.

The rule that keeps it simple: pure, and the only place that knows the document. Fields are in the order of the specification:
process, root, mounts, linux.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.engine.runtime import mounts, seccomp
from declarative.engine.runtime.limits import limits
from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.runtime.sandbox import Device, IdMap, Mount, Process, Sandbox, Shared

VERSION = "1.0.2"
INIT_TARGET = "/sbin/docker-init"
Document = dict[str, Any]


@record
class Host:
    """What the document depends on beside the sandbox: the machine, and whether it has cgroup v2 alone."""

    machine: seccomp.Machine
    unified: bool


def runtime_spec(sandbox: Sandbox, host: Host) -> Document:
    """Give the document. Invalid where the sandbox contradicts itself."""
    if not sandbox.args:
        raise Invalid("", "No command specified")
    document: Document = {
        "ociVersion": VERSION,
        "process": _process(sandbox),
        "root": {"path": str(sandbox.rootfs), "readonly": sandbox.readonly_rootfs},
        "mounts": [_mount(mount) for mount in _mounts(sandbox, host)],
        "linux": _linux(sandbox, host),
    }
    if sandbox.hostname and sandbox.namespaces.uts != "host":
        document["hostname"] = sandbox.hostname
    return document


def process_spec(process: Process) -> Document:
    """Give the document of a process that joins a running container (`--process`)."""
    return _any_process(process, process.args)


def _process(sandbox: Sandbox) -> Document:
    args = (INIT_TARGET, "--", *sandbox.args) if sandbox.init is not None else sandbox.args
    return _any_process(sandbox, args)


def _any_process(process: Sandbox | Process, args: Iterable[str]) -> Document:
    user: Document = {"uid": process.user.uid, "gid": process.user.gid}
    if process.user.additional:
        user["additionalGids"] = list(process.user.additional)
    names = list(process.capabilities)
    # a user other than root has what the bounding set allows only by the files it runs; inheritable stays empty (CVE-2022-24769)
    effective = names if process.user.uid == 0 else []
    document: Document = {
        "terminal": process.terminal,
        "user": user,
        "args": list(args),
        "env": list(process.env),
        "cwd": process.cwd or "/",
        "capabilities": {"bounding": names, "effective": effective, "permitted": effective, "inheritable": []},
        "noNewPrivileges": process.no_new_privileges,
    }
    if process.rlimits:
        document["rlimits"] = [
            {"type": limit.name, "soft": _unlimited(limit.soft), "hard": _unlimited(limit.hard)}
            for limit in process.rlimits
        ]
    if process.apparmor:
        document["apparmorProfile"] = process.apparmor
    if process.oom_score_adj is not None:
        document["oomScoreAdj"] = process.oom_score_adj
    return document


def _unlimited(value: int) -> int:
    return (1 << 64) - 1 if value < 0 else value


def _mounts(sandbox: Sandbox, host: Host) -> tuple[Mount, ...]:
    del host
    standard = mounts.standard(shm_size=sandbox.shm_size, cgroup_writable=sandbox.privileged)
    wanted = list(sandbox.mounts)
    if sandbox.namespaces.ipc == "host":
        standard = tuple(mount for mount in standard if mount.target not in {"/dev/shm", "/dev/mqueue"})  # noqa: S108 - in the container
        taken = {mount.target for mount in wanted}
        shared = [path for path in ("/dev/shm", "/dev/mqueue") if path not in taken]  # noqa: S108 - the machine's, on purpose
        wanted += [mounts.bind(path, path) for path in shared if Path(path).exists()]
    if sandbox.privileged:
        standard = tuple(_writable(mount) if mount.kind in {"sysfs", "cgroup"} else mount for mount in standard)
    if sandbox.uid_maps and sandbox.namespaces.network != "private" and sandbox.namespaces.user is None:
        # sysfs shows the network namespace, which the container's user namespace must own to mount it
        standard = tuple(_bound_sysfs(mount) if mount.kind == "sysfs" else mount for mount in standard)
    if sandbox.init is not None:
        wanted.append(mounts.bind(sandbox.init, INIT_TARGET, read_only=True, recursive=False))
    return mounts.in_order(standard, wanted)


def _writable(mount: Mount) -> Mount:
    return type(mount)(
        target=mount.target,
        kind=mount.kind,
        source=mount.source,
        options=tuple(option for option in mount.options if option != "ro"),
    )


def _bound_sysfs(mount: Mount) -> Mount:
    return mounts.bind("/sys", mount.target, read_only=True)


def _mount(mount: Mount) -> Document:
    return {
        "destination": mount.target,
        "type": mount.kind,
        "source": mount.source or mount.kind,
        "options": list(mount.options),
    }


def _linux(sandbox: Sandbox, host: Host) -> Document:
    document: Document = {
        "cgroupsPath": sandbox.cgroup,
        "namespaces": _namespaces(sandbox, host),
        "devices": [_device(device) for device in sandbox.devices],
        "resources": _resources(sandbox, host),
        "maskedPaths": [] if sandbox.privileged else list(sandbox.masked_paths),
        "readonlyPaths": [] if sandbox.privileged else list(sandbox.readonly_paths),
    }
    if sandbox.uid_maps:
        document["uidMappings"] = [_id_map(entry) for entry in sandbox.uid_maps]
        document["gidMappings"] = [_id_map(entry) for entry in sandbox.gid_maps]
    if sysctls := _sysctls(sandbox):
        document["sysctl"] = sysctls
    if shared := propagation(sandbox.mounts):
        document["rootfsPropagation"] = shared
    profile = sandbox.seccomp
    if profile != "unconfined" and not (sandbox.privileged and profile == "default"):
        wanted = seccomp.default_profile() if isinstance(profile, str) else profile
        document["seccomp"] = seccomp.resolve(wanted, sandbox.capabilities, host.machine)
    return document


def _namespaces(sandbox: Sandbox, host: Host) -> list[Document]:
    wanted = sandbox.namespaces
    cgroup: Shared = wanted.cgroup or ("private" if host.unified and not sandbox.privileged else "host")
    shared: tuple[tuple[str, Shared], ...] = (
        ("network", wanted.network),
        ("pid", wanted.pid),
        ("ipc", wanted.ipc),
        ("uts", wanted.uts),
        ("cgroup", cgroup),
    )
    found: list[Document] = [{"type": "mount"}]
    if wanted.user is not None:
        found.append({"type": "user", "path": str(wanted.user)})
    elif sandbox.uid_maps:
        found.append({"type": "user"})
    for kind, how in shared:
        if isinstance(how, Path):
            found.append({"type": kind, "path": str(how)})
        elif how == "private":
            found.append({"type": kind})
    return found


def _resources(sandbox: Sandbox, host: Host) -> Document:
    document = limits(sandbox.resources, unified=host.unified)
    if sandbox.privileged:
        document["devices"] = [{"allow": True, "access": "rwm"}]
        return document
    rules: list[Document] = [{"allow": False, "access": "rwm"}]
    rules += [
        {"allow": True, "type": device.kind, "major": device.major, "minor": device.minor, "access": device.permissions}
        for device in sandbox.devices
        if device.kind != "p"
    ]
    for rule in sandbox.device_rules:
        entry: Document = {"allow": rule.allow, "access": rule.permissions, "type": rule.kind}
        entry |= {"major": rule.major} if rule.major is not None else {}
        entry |= {"minor": rule.minor} if rule.minor is not None else {}
        rules.append(entry)
    document["devices"] = rules
    return document


def _device(device: Device) -> Document:
    document: Document = {"path": device.path, "type": device.kind, "fileMode": device.mode}
    if device.kind != "p":
        document |= {"major": device.major, "minor": device.minor}
    return document | {"uid": device.uid, "gid": device.gid}


def _id_map(entry: IdMap) -> Document:
    return {"containerID": entry.inside, "hostID": entry.outside, "size": entry.size}


def _sysctls(sandbox: Sandbox) -> dict[str, str]:
    found = dict(sandbox.sysctls)
    if sandbox.domainname and sandbox.namespaces.uts == "private":
        # runtime-spec 1.1 has `domainname`; older runtimes do not, and know this sysctl
        found.setdefault("kernel.domainname", sandbox.domainname)
    return found


def propagation(wanted: Iterable[Mount]) -> str:
    """Give how the root itself has to be mounted for binds that share mounts with the machine."""
    options = {option for mount in wanted for option in mount.options}
    if options & {"shared", "rshared"}:
        return "shared"
    return "rslave" if options & {"slave", "rslave"} else ""
