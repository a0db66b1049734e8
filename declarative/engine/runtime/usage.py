"""What a container uses, as its control groups count it: processor time, memory, processes, block I/O, network.

The rule that keeps it simple: numbers as the kernel has them, in nanoseconds and bytes; what is not counted on this machine is 0
or empty. Percentages are the client's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.engine.runtime.cgroups import Cgroups

_TICKS = 100  # USER_HZ, the unit of cpuacct.stat and /proc/stat on every architecture
_UNLIMITED = 1 << 62  # version 1 says "no limit" by a number near 2^63

_BYTES = (("read", "rbytes"), ("write", "wbytes"))
_COUNTS = (("read", "rios"), ("write", "wios"))


@record
class Processor:
    """Nanoseconds; `periods` and `throttled` count, `throttled_time` is in nanoseconds again."""

    total: int = 0
    user: int = 0
    kernel: int = 0
    each: tuple[int, ...] = ()
    periods: int = 0
    throttled: int = 0
    throttled_time: int = 0


@record
class Memory:
    """Bytes. `limit` 0: none. `details` is the kernel's memory.stat."""

    usage: int = 0
    peak: int = 0
    limit: int = 0
    failures: int = 0
    details: Mapping[str, int] = field(default_factory=dict, hash=False)


@record
class Transfer:
    """What went to or from one block device. `operation` is read, write, or another that the kernel names."""

    major: int
    minor: int
    operation: str
    value: int


@record
class Interface:
    """What went through one network interface."""

    name: str
    received_bytes: int
    received_packets: int
    received_errors: int
    received_dropped: int
    sent_bytes: int
    sent_packets: int
    sent_errors: int
    sent_dropped: int


@record
class Usage:
    """All of it. `processes_limit` 0: none."""

    processor: Processor
    memory: Memory
    processes: int = 0
    processes_limit: int = 0
    block_bytes: tuple[Transfer, ...] = ()
    block_operations: tuple[Transfer, ...] = ()


def usage(groups: Cgroups, group: str) -> Usage:
    """Give what a group uses."""
    pids = groups.folder("pids", group)
    moved, operations = _block(groups, group)
    return Usage(
        processor=_processor(groups, group),
        memory=_memory(groups, group),
        processes=_number(pids, "pids.current"),
        processes_limit=_number(pids, "pids.max"),
        block_bytes=moved,
        block_operations=operations,
    )


def interfaces(pid: int) -> tuple[Interface, ...]:
    """Give the network interfaces that a process sees, the loopback left out; () where the process has ended."""
    found = []
    for line in _text(Path(f"/proc/{pid}/net/dev")).splitlines()[2:]:
        name, _, rest = line.partition(":")
        if name.strip() == "lo":
            continue
        n = [int(word) for word in rest.split()]
        found.append(
            Interface(
                name=name.strip(),
                received_bytes=n[0],
                received_packets=n[1],
                received_errors=n[2],
                received_dropped=n[3],
                sent_bytes=n[8],
                sent_packets=n[9],
                sent_errors=n[10],
                sent_dropped=n[11],
            )
        )
    return tuple(found)


def system_time() -> int:
    """Give the time that all processors of the machine together have spent on anything, idling too, in nanoseconds."""
    words = _text(Path("/proc/stat")).split("\n", 1)[0].split()[1:8]
    return sum(map(int, words)) * (1_000_000_000 // _TICKS)


def _processor(groups: Cgroups, group: str) -> Processor:
    if groups.unified:
        table = _table(groups.folder("cpu", group), "cpu.stat")
        return Processor(
            total=table.get("usage_usec", 0) * 1000,
            user=table.get("user_usec", 0) * 1000,
            kernel=table.get("system_usec", 0) * 1000,
            periods=table.get("nr_periods", 0),
            throttled=table.get("nr_throttled", 0),
            throttled_time=table.get("throttled_usec", 0) * 1000,
        )
    account = groups.folder("cpuacct", group)
    ticks = _table(account, "cpuacct.stat")
    bandwidth = _table(groups.folder("cpu", group), "cpu.stat")
    each = _read(account, "cpuacct.usage_percpu").split()
    return Processor(
        total=_number(account, "cpuacct.usage"),
        user=ticks.get("user", 0) * (1_000_000_000 // _TICKS),
        kernel=ticks.get("system", 0) * (1_000_000_000 // _TICKS),
        each=tuple(map(int, each)),
        periods=bandwidth.get("nr_periods", 0),
        throttled=bandwidth.get("nr_throttled", 0),
        throttled_time=bandwidth.get("throttled_time", 0),
    )


def _memory(groups: Cgroups, group: str) -> Memory:
    folder = groups.folder("memory", group)
    details = _table(folder, "memory.stat")
    if groups.unified:
        return Memory(
            usage=_number(folder, "memory.current"),
            peak=_number(folder, "memory.peak"),
            limit=_number(folder, "memory.max"),
            failures=_table(folder, "memory.events").get("max", 0),
            details=details,
        )
    limit = _number(folder, "memory.limit_in_bytes")
    return Memory(
        usage=_number(folder, "memory.usage_in_bytes"),
        peak=_number(folder, "memory.max_usage_in_bytes"),
        limit=0 if limit >= _UNLIMITED else limit,
        failures=_number(folder, "memory.failcnt"),
        details=details,
    )


def _block(groups: Cgroups, group: str) -> tuple[tuple[Transfer, ...], tuple[Transfer, ...]]:
    folder = groups.folder("blkio", group) if not groups.unified else groups.folder("io", group)
    if not groups.unified:
        return (
            _first_version(_read(folder, "blkio.throttle.io_service_bytes_recursive")),
            _first_version(_read(folder, "blkio.throttle.io_serviced_recursive")),
        )
    moved, operations = [], []
    for line in _read(folder, "io.stat").splitlines():
        device, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        major, _, minor = device.partition(":")
        if not minor.isdigit():
            continue
        numbers = int(major), int(minor)
        moved += [_transfer(numbers, operation, values.get(key)) for operation, key in _BYTES]
        operations += [_transfer(numbers, operation, values.get(key)) for operation, key in _COUNTS]
    return tuple(moved), tuple(operations)


def _transfer(device: tuple[int, int], operation: str, value: str | None) -> Transfer:
    return Transfer(major=device[0], minor=device[1], operation=operation, value=int(value or 0))


def _first_version(text: str) -> tuple[Transfer, ...]:
    """Read lines like `254:0 Read 4096`."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            major, _, minor = words[0].partition(":")
            found.append(Transfer(major=int(major), minor=int(minor), operation=words[1].lower(), value=int(words[2])))
    return tuple(found)


def _table(folder: Path | None, name: str) -> dict[str, int]:
    found = {}
    for line in _read(folder, name).splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def _number(folder: Path | None, name: str) -> int:
    text = _read(folder, name).strip()
    return int(text) if text.isdigit() else 0


def _read(folder: Path | None, name: str) -> str:
    return _text(folder / name) if folder is not None else ""


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
