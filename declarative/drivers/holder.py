"""Who holds a lock: how a process describes itself, and how another one on the same machine tells that it is dead.

The rule: a process is its pid together with its start time, within one boot and one pid namespace; outside of those nothing is
known about it, and it counts as alive.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("host", "pid", "boot", "pidns", "start", "user", "command", "nonce")


def describe(*, user: str, command: str, nonce: str) -> dict[str, str]:
    """Describe this process, as `Driver.lock` wants its holder. `nonce` is fresh for every lock."""
    return {
        "host": os.uname().nodename,
        "pid": str(os.getpid()),
        "boot": _boot(),
        "pidns": _namespace(),
        "start": start_of(os.getpid()) or "",
        "user": user,
        "command": command,
        "nonce": nonce,
    }


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def start_of(pid: int) -> str | None:
    """Give when a process started, in clock ticks since the boot (proc(5), /proc/PID/stat field 22); None: no such process.

    A zombie has ended: all that is left of it is its exit code.
    """
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return ""
    fields = content.rpartition(b") ")[2].split()
    return None if fields[0] in {b"Z", b"X"} else fields[19].decode()


def certainly_dead(other: Mapping[str, str], ours: Mapping[str, str]) -> bool:
    """Whether the process that `other` describes is gone for certain, seen from the process that `ours` describes."""
    if not other.get("boot") or other.get("boot") != ours.get("boot") or other.get("pidns") != ours.get("pidns"):
        return False
    pid = other.get("pid", "")
    if not pid.isdecimal():
        return False
    start = start_of(int(pid))
    return start is None or (bool(start) and bool(other.get("start")) and start != other["start"])
