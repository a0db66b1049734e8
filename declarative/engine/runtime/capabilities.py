"""Linux capabilities: their names, and which a container has that adds some and drops some.

The rule that keeps it simple: names go in as people write them (`net_admin`, `CAP_NET_ADMIN`, `ALL`) and come out as the
kernel's.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.runtime.sandbox import DEFAULT_CAPABILITIES
from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

# in the order of their numbers, include/uapi/linux/capability.h
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
KNOWN = tuple(f"CAP_{name}" for name in _NAMES.split())


@cache
def every() -> tuple[str, ...]:
    """Give every capability that this kernel has and this process may give: what it lacks itself nobody can get from it."""
    try:
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        status = Path("/proc/self/status").read_text()
        bounding = int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
    except (OSError, ValueError, StopIteration):
        return KNOWN
    return tuple(name for number, name in enumerate(KNOWN[: last + 1]) if bounding >> number & 1)


def resolve(add: Iterable[str], drop: Iterable[str], *, privileged: bool = False) -> tuple[str, ...]:
    """Give what a container has, sorted. Invalid, in Docker's words, for a name that is none.

    Privileged has every one. `ALL` dropped leaves what is added; `ALL` added leaves out what is dropped, as in Docker
    (TweakCapabilities).
    """
    added, dropped = _named(add, "CapAdd"), _named(drop, "CapDrop")
    if privileged:
        return tuple(sorted(every()))
    if "ALL" in added:
        return tuple(sorted(set(every()) - dropped))
    kept = set() if "ALL" in dropped else set(DEFAULT_CAPABILITIES) - dropped
    return tuple(sorted(kept | added))


def _named(names: Iterable[str], where: str) -> set[str]:
    found = set()
    for name in names:
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full == "CAP_ALL":
            full = "ALL"
        if full != "ALL" and full not in KNOWN:
            raise Invalid("", f'invalid {where}: unknown capability: "{full}"')
        found.add(full)
    return found
