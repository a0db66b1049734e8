"""What a container uses (`docker stats`), and which processes it has (`docker top`).

The rule that keeps it simple: the kernel's numbers in the API's shape; clients make percentages of two readings.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from declarative.engine.containers import moments
from declarative.engine.containers.life import Call, allowed
from declarative.engine.runtime import usage
from declarative.errors import DeclarativeError, Failed
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.runtime.usage import Interface, Transfer, Usage

Json = dict[str, Any]
_BLOCK_LISTS = (
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
_PS_SECONDS = 10


@record
class Reading:
    """One reading: when, and what. `used` None: it does not run."""

    at: int
    used: Usage | None
    system: int = 0
    interfaces: tuple[Interface, ...] = ()


def take(parts: Parts, container: Container) -> Reading:
    """Read what a container uses now."""
    now = parts.clock()
    if not container.state.is_up:
        return Reading(at=now, used=None)
    try:
        used = parts.runtime.usage(container.id)
    except (DeclarativeError, OSError):
        return Reading(at=now, used=None)
    own = bool(container.networks) and container.network_mode != "host"
    return Reading(
        at=now,
        used=used,
        system=usage.system_time(),
        interfaces=usage.interfaces(container.state.pid) if own else (),
    )


def document(parts: Parts, container: Container, now: Reading, before: Reading | None) -> Json:
    """Give one entry of `GET /containers/NAME/stats`; `before` is the reading that it is compared with."""
    if now.used is None:
        return _empty(container)
    used = now.used
    found: Json = {
        "read": moments.write(now.at),
        "preread": moments.write(before.at if before else 0),
        "pids_stats": _pids(used),
        "blkio_stats": {
            "io_service_bytes_recursive": _transfers(used.block_bytes),
            "io_serviced_recursive": _transfers(used.block_operations),
            **{name: [] for name in _BLOCK_LISTS},
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(parts, used, now.system),
        "precpu_stats": _cpu(parts, before.used, before.system) if before and before.used else _no_cpu(),
        "memory_stats": _memory(parts, used),
        "name": f"/{container.name}",
        "id": container.id,
    }
    if now.interfaces:
        found["networks"] = {interface.name: _interface(interface) for interface in now.interfaces}
    return found


def _empty(container: Container) -> Json:
    return {
        "read": moments.NEVER,
        "preread": moments.NEVER,
        "pids_stats": {},
        "blkio_stats": {
            "io_service_bytes_recursive": None,
            "io_serviced_recursive": None,
            **dict.fromkeys(_BLOCK_LISTS),
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _no_cpu(),
        "precpu_stats": _no_cpu(),
        "memory_stats": {},
        "name": f"/{container.name}",
        "id": container.id,
    }


def _no_cpu() -> Json:
    return {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }


def _cpu(parts: Parts, used: Usage, system: int) -> Json:
    processor = used.processor
    counted: Json = {"total_usage": processor.total}
    if processor.each:
        counted["percpu_usage"] = list(processor.each)
    counted |= {"usage_in_kernelmode": processor.kernel, "usage_in_usermode": processor.user}
    return {
        "cpu_usage": counted,
        "system_cpu_usage": system,
        "online_cpus": parts.machine.cpu_count,
        "throttling_data": {
            "periods": processor.periods,
            "throttled_periods": processor.throttled,
            "throttled_time": processor.throttled_time,
        },
    }


def _pids(used: Usage) -> Json:
    found = {"current": used.processes}
    return found | {"limit": used.processes_limit} if used.processes_limit else found


def _memory(parts: Parts, used: Usage) -> Json:
    memory = used.memory
    found: Json = {"usage": memory.usage}
    if memory.peak:
        found["max_usage"] = memory.peak
    found["stats"] = dict(memory.details)
    if memory.failures:
        found["failcnt"] = memory.failures
    found["limit"] = memory.limit or parts.machine.memory
    return found


def _transfers(transfers: Sequence[Transfer]) -> list[Json]:
    return [
        {"major": entry.major, "minor": entry.minor, "op": entry.operation, "value": entry.value} for entry in transfers
    ]


def _interface(interface: Interface) -> Json:
    return {
        "rx_bytes": interface.received_bytes,
        "rx_packets": interface.received_packets,
        "rx_errors": interface.received_errors,
        "rx_dropped": interface.received_dropped,
        "tx_bytes": interface.sent_bytes,
        "tx_packets": interface.sent_packets,
        "tx_errors": interface.sent_errors,
        "tx_dropped": interface.sent_dropped,
    }


def top(parts: Parts, container: Container, name: str, arguments: str) -> Json:
    """Give titles and processes as the machine's ps(1) shows those of the container. Failed, in ps' words."""
    allowed(Call.TOP, container.state.status, id=container.id, name=name)
    words = arguments.split() or ["-ef"]
    ran = subprocess.run(["ps", *words], capture_output=True, text=True, check=False, timeout=_PS_SECONDS)
    if ran.returncode != 0:
        reason = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
        raise Failed("", f"ps: {reason[0] if reason else 'it failed'}")
    lines = ran.stdout.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise Failed("", "Couldn't find PID field in ps output")
    place, count = titles.index("PID"), len(titles)
    wanted = set(map(str, parts.runtime.pids(container.id)))
    processes = []
    for line in lines[1:]:
        fields = line.split(None, count - 1)
        if len(fields) > place and fields[place] in wanted:
            processes.append(fields)
    parts.tell(container, "top")
    return {"Titles": titles, "Processes": processes}
