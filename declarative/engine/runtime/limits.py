"""Limits as OCI's `linux.resources` has them.

The rule that keeps it simple: pure; what is not limited is not mentioned, so that the kernel's default stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from declarative.engine.runtime.sandbox import DeviceRate, Resources

Document = dict[str, Any]
CPU_PERIOD = 100_000
"""Microseconds; the kernel's default (`cpu.cfs_period_us`)."""


def limits(resources: Resources, *, unified: bool) -> Document:
    """Give the document; `devices` is not in it. `unified`: the machine has cgroup v2 alone, which has no swappiness."""
    parts = {
        "memory": _memory(resources, unified=unified),
        "cpu": _cpu(resources),
        "blockIO": _block(resources),
        "pids": {"limit": resources.pids} if resources.pids > 0 else {},
    }
    return {name: part for name, part in parts.items() if part}


def quota(resources: Resources) -> tuple[int, int]:
    """Give (quota, period) in microseconds; (0, 0) where nothing is limited. `nano_cpus` is 1e9 for each processor."""
    if resources.nano_cpus:
        return resources.nano_cpus * CPU_PERIOD // 1_000_000_000, CPU_PERIOD
    return resources.cpu_quota, resources.cpu_period


def _memory(resources: Resources, *, unified: bool) -> Document:
    document = _nonzero(limit=resources.memory, reservation=resources.memory_reservation, swap=resources.memory_swap)
    if not unified and resources.memory_swappiness is not None and resources.memory_swappiness >= 0:
        document["swappiness"] = resources.memory_swappiness
    if not unified and resources.oom_kill_disable:
        document["disableOOMKiller"] = True
    return document


def _cpu(resources: Resources) -> Document:
    most, period = quota(resources)
    document = _nonzero(
        shares=resources.cpu_shares,
        quota=most,
        period=period,
        realtimePeriod=resources.cpu_realtime_period,
        realtimeRuntime=resources.cpu_realtime_runtime,
    )
    document |= {"cpus": resources.cpuset_cpus} if resources.cpuset_cpus else {}
    return document | ({"mems": resources.cpuset_mems} if resources.cpuset_mems else {})


def _block(resources: Resources) -> Document:
    document = _nonzero(weight=resources.blkio_weight)
    if resources.blkio_device_weights:
        document["weightDevice"] = [
            {"major": entry.major, "minor": entry.minor, "weight": entry.weight}
            for entry in resources.blkio_device_weights
        ]
    rates = {
        "throttleReadBpsDevice": resources.read_bytes,
        "throttleWriteBpsDevice": resources.write_bytes,
        "throttleReadIOPSDevice": resources.read_operations,
        "throttleWriteIOPSDevice": resources.write_operations,
    }
    return document | {name: _rates(rate) for name, rate in rates.items() if rate}


def _rates(rates: tuple[DeviceRate, ...]) -> list[Document]:
    return [{"major": entry.major, "minor": entry.minor, "rate": entry.rate} for entry in rates]


def _nonzero(**values: int) -> Document:
    return {name: value for name, value in values.items() if value}
