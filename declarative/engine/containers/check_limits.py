"""Whether limits are possible, with Docker's words where they are not, and its warnings where something is dropped.

The rule that keeps it simple: pure; `Machine` comes in. What Docker fills in or drops comes back as a new record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers.machine import members
from declarative.errors import Invalid
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.engine.containers.host import HostConfig
    from declarative.engine.containers.machine import Machine

_SMALLEST = 6 << 20
"""Bytes: less, and runc itself cannot start (moby, linuxMinMemory)."""
_CPU = 1_000_000_000
_NO_SWAP = (
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
)


def check_limits(host: HostConfig, machine: Machine, *, update: bool = False) -> tuple[HostConfig, tuple[str, ...]]:
    """Give the limits as they will be, and warnings. Invalid where they contradict each other or the machine."""
    host, warnings = _memory(host, machine, update=update)
    _cpu(host, machine)
    _cpusets(host, machine)
    host, dropped = _block(host, machine)
    if host.oom_kill_disable and host.memory == 0:
        warnings = (
            *warnings,
            (
                "OOM killer is disabled for the container, but no memory limit is set, "
                "this can result in the system running out of resources."
            ),
        )
    return host, warnings + dropped


def _memory(host: HostConfig, machine: Machine, *, update: bool) -> tuple[HostConfig, tuple[str, ...]]:
    memory, swap, reserved, swappiness = host.memory, host.memory_swap, host.memory_reservation, host.memory_swappiness
    if memory and memory < _SMALLEST:
        raise Invalid("", "Minimum memory limit allowed is 6MB")
    warnings: tuple[str, ...] = ()
    if memory > 0 and swap != -1 and not machine.swap_limit:
        warnings = (_NO_SWAP,)
        swap = -1
    if memory > 0 and 0 < swap < memory:
        raise Invalid("", "Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0 and not update:
        raise Invalid("", "You should always set the Memory limit when using Memoryswap limit, see usage")
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise Invalid("", f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if swappiness == -1:
        swappiness = None
    if 0 < reserved < _SMALLEST:
        raise Invalid("", "Minimum memory reservation allowed is 6MB")
    if 0 < memory < reserved:
        raise Invalid("", "Minimum memory limit can not be less than memory reservation limit, see usage")
    if memory > 0 and swap == 0 and not update:
        swap = memory * 2
    return replace(host, memory_swap=swap, memory_swappiness=swappiness), warnings


def _cpu(host: HostConfig, machine: Machine) -> None:
    if host.nano_cpus:
        if host.cpu_period > 0:
            raise Invalid("", "Conflicting options: Nano CPUs and CPU Period cannot both be set")
        if host.cpu_quota > 0:
            raise Invalid("", "Conflicting options: Nano CPUs and CPU Quota cannot both be set")
        most = machine.cpu_count
        if not 0 <= host.nano_cpus <= most * _CPU:
            raise Invalid("", f"Range of CPUs is from 0.01 to {most}.00, as there are only {most} CPUs available")
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise Invalid("", "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host.cpu_quota < 1000:
        raise Invalid("", "CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host.cpu_shares < 0:
        raise Invalid("", "shares: invalid argument")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise Invalid("", f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host.shm_size < 0:
        raise Invalid("", "SHM size can not be less than 0")


def _cpusets(host: HostConfig, machine: Machine) -> None:
    for wanted, available, name, what in (
        (host.cpuset_cpus, machine.cpus, "cpus", "CPUs"),
        (host.cpuset_mems, machine.memory_nodes, "mems", "memory nodes"),
    ):
        try:
            asked = members(wanted)
        except ValueError as error:
            raise Invalid("", f"Invalid value {wanted} for cpuset {name}: invalid format: {error}") from None
        if not asked <= members(available):
            raise Invalid("", f"Requested {what} are not available - requested {wanted}, available: {available}")


def _block(host: HostConfig, machine: Machine) -> tuple[HostConfig, tuple[str, ...]]:
    warnings: tuple[str, ...] = ()
    if host.blkio_weight and not machine.blkio_weight:
        warnings += ("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",)
        host = replace(host, blkio_weight=0)
    if host.blkio_weight and not 10 <= host.blkio_weight <= 1000:
        raise Invalid("", "Range of blkio weight is from 10 to 1000")
    if host.blkio_weight_device and not machine.blkio_weight_device:
        warnings = (
            *warnings,
            (
                "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
                "Weight-device discarded."
            ),
        )
        host = replace(host, blkio_weight_device=())
    return host, warnings
