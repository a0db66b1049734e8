"""What of the machine decides whether a container's configuration is possible: processors, memory nodes, what its kernel counts.

The rule that keeps it simple: read once, when the engine starts.
"""

from __future__ import annotations

import os
from pathlib import Path

from declarative.record import record

_CGROUPS = Path("/sys/fs/cgroup")


@record
class Machine:
    """`cpus` and `memory_nodes`: what is online, as the kernel writes it (`0-3`). Flags: what its control groups have."""

    cpus: str = "0"
    cpu_count: int = 1
    memory_nodes: str = "0"
    memory: int = 0
    unified: bool = False
    swap_limit: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    hostname: str = ""


def look(root: Path = Path("/")) -> Machine:
    """Read what this machine has. A file that is not there counts as the smallest machine."""
    node = root / "sys/devices/system"
    groups = root / _CGROUPS.relative_to("/")
    cpus = _text(node / "cpu/online") or "0"
    unified = (groups / "cgroup.controllers").exists()
    return Machine(
        cpus=cpus,
        cpu_count=len(members(cpus)),
        memory_nodes=_text(node / "node/online") or "0",
        memory=_memory(root / "proc/meminfo"),
        unified=unified,
        swap_limit=unified or (groups / "memory/memory.memsw.limit_in_bytes").exists(),
        blkio_weight=unified or (groups / "blkio/blkio.weight").exists(),
        blkio_weight_device=unified or (groups / "blkio/blkio.weight_device").exists(),
        hostname=os.uname().nodename,
    )


def members(text: str) -> frozenset[int]:
    """Read a list of numbers and ranges as the kernel writes it, `0-2,7`. ValueError for anything else."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        low, high = _number(first), _number(last if dash else first)
        if high < low or high > 65535:
            raise ValueError(part)
        found.update(range(low, high + 1))
    return frozenset(found)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(text)
    return int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _memory(path: Path) -> int:
    for line in _text(path).splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
