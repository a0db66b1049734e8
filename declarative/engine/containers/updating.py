"""Changing a container that is there: its limits, its restart policy, its name, the networks it is in.

The rule that keeps it simple: checked as at creation; the runtime first, the record after, so that what is recorded is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers import check, joining, names, wishes
from declarative.engine.containers.check_limits import check_limits
from declarative.engine.containers.host import HostConfig, RestartPolicy
from declarative.engine.containers.life import Status
from declarative.engine.containers.sandboxing import resources_of
from declarative.errors import Conflict, Denied, Invalid, NotFound
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.engine.containers.config import EndpointConfig
    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.networks.records import Network

_LIMITS = (
    "cpu_shares", "memory", "nano_cpus", "blkio_weight", "cpu_period", "cpu_quota", "cpu_realtime_period",
    "cpu_realtime_runtime", "cpuset_cpus", "cpuset_mems", "memory_reservation", "memory_swap", "pids_limit",
)  # fmt: skip


def update(parts: Parts, container: Container, asked: HostConfig) -> tuple[str, ...]:
    """Change limits and restart policy to what `asked` says; what it does not say stays. Give warnings. Conflict, Invalid."""
    policy = asked.restart_policy
    check.check_restart(policy, auto_remove=False)
    asked, warnings = check_limits(asked, parts.machine, update=True)
    container.insist_on_record()
    with container.lock:
        if container.removed or container.state.status in {Status.REMOVING, Status.DEAD}:
            raise _refused(container, "container is marked for removal and cannot be updated")
        if container.host.auto_remove and policy.name not in {"", "no"}:
            raise _refused(
                container, "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        changes = {name: value for name in _LIMITS if (value := getattr(asked, name))}
        host = _merged(container, changes, policy)
        if changes and container.state.is_up:
            parts.runtime.update(container.id, resources_of(replace(HostConfig(), **_for_runtime(changes, host))))
        container.host = host
        parts.records.put_host(container)
    parts.tell(container, "update")
    return warnings


def _merged(container: Container, changes: dict[str, object], policy: RestartPolicy) -> HostConfig:
    """Give the configuration with the changes. Conflict, in Docker's words, where they contradict what is there."""
    before = container.host
    if changes.get("cpu_period") and before.nano_cpus:
        raise _refused(container, "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")
    if changes.get("cpu_quota") and before.nano_cpus:
        raise _refused(container, "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
    for name, words in (("cpu_quota", "CPU Quota"), ("cpu_period", "CPU Period")):
        if changes.get("nano_cpus") and getattr(before, name):
            raise _refused(
                container, f"Conflicting options: Nano CPUs cannot be updated as {words} has already been set"
            )
    memory, swap = changes.get("memory"), changes.get("memory_swap")
    if memory and not swap and isinstance(memory, int) and (before.memory_swap == 0 or memory > before.memory_swap > 0):
        raise _refused(
            container,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        )
    host = replace(before, **changes)
    return replace(host, restart_policy=policy) if policy.name else host


def _for_runtime(changes: dict[str, object], host: HostConfig) -> dict[str, object]:
    """Give what the runtime is told: memory and swap always go together."""
    told = dict(changes)
    if "memory" in told or "memory_swap" in told:
        told |= {"memory": host.memory, "memory_swap": host.memory_swap}
    return told


def _refused(container: Container, reason: str) -> Conflict:
    return Conflict("", f"Cannot update container {container.id}: {reason}")


def rename(parts: Parts, container: Container, wanted: str) -> None:
    """Give a container another name. Conflict, Invalid, in Docker's words."""
    if not wanted:
        raise Invalid("", "Neither old nor new names may be empty")
    try:
        new = names.check(wanted)
    except Invalid:
        raise Invalid(
            "",
            f"Error when allocating new name: Invalid container name (/{wanted.removeprefix('/')}), "
            "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ) from None
    with container.lock:
        if container.removed:  # the new name would be kept for nobody
            raise NotFound("", f"No such container: {container.id}")
        old = container.name
        if new == old:
            raise Invalid("", "Renaming a container with the same name as its current name")
        try:
            parts.index.reserve(new, container.id)
        except Conflict as error:
            raise Conflict("", f"Error when allocating new name: {error.problem}") from None
        container.name = new
        try:
            parts.records.put_name(container)
        except BaseException:
            container.name = old
            parts.index.release(new, container.id)
            raise
        parts.index.release(old, container.id)
        if container.state.is_up:
            parts.networks.rename(container.id, joining.names_of(container))
    parts.tell(container, "rename", oldName=f"/{old}")


def connect(parts: Parts, container: Container, network: Network, wish: EndpointConfig) -> None:
    """Bring a container into one more network. Denied, Invalid, Conflict, in Docker's words."""
    with container.lock:
        _check_connectable(container, network)
        wishes.check_endpoint(network.name, wish, network)
        if container.state.is_up:
            joining.connect(parts, container, network.name, wish)
        container.networks = {**container.networks, network.name: wish}
        parts.records.put_networks(container)
        if container.state.is_up:
            joining.write_hosts(parts, container)
            joining.write_resolv(parts, container)


def _check_connectable(container: Container, network: Network) -> None:
    container.insist_on_record()
    if container.removed or container.state.status in {Status.REMOVING, Status.DEAD}:
        raise Denied(
            "", f"container {container.id} is marked for removal and cannot be connected or disconnected to the network"
        )
    if container.network_mode == "host" or container.shares_network_of:
        what = "host" if container.network_mode == "host" else "container sharing"
        raise Denied("", f"{what} network cannot be connected to another network" if what != "host" else _HOST)
    if network.name == "host":
        raise Denied("", "container cannot be connected to host network namespace")
    if "none" in container.networks or network.name == "none":
        raise Denied(
            "", "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )
    if network.name in container.networks:
        raise Denied("", f"endpoint with name {container.name} already exists in network {network.name}")


_HOST = "container sharing network namespace with another container or host cannot be connected to any other network"


def disconnect(parts: Parts, container: Container, network: Network, *, force: bool) -> None:
    """Take a container out of a network. NotFound, Denied, in Docker's words."""
    with container.lock:
        if container.network_mode == "host" and network.name == "host":
            raise Denied("", "container cannot be disconnected from host network or connected to host network ")
        if network.name not in container.networks:
            if force:
                return
            raise Denied("", f"container {container.id} is not connected to network {network.name}")
        if container.state.is_up:
            try:
                parts.networks.disconnect(container.id, network.name)
            except NotFound:
                if not force:
                    raise
        container.networks = {name: wish for name, wish in container.networks.items() if name != network.name}
        parts.records.put_networks(container)
        if container.state.is_up:
            joining.write_hosts(parts, container)
            joining.write_resolv(parts, container)
