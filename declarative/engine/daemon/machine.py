"""Facts of this machine, as /version and /info tell them.

The rule that keeps it simple: read from the kernel's files when asked; only what cannot change while we run is kept.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import threading
from functools import cache
from pathlib import Path

from declarative.record import record

_CGROUPS = Path("/sys/fs/cgroup")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_SECONDS = 5.0
_FILE_SYSTEMS = {"ext2/ext3": "extfs", "ext4": "extfs"}


@record
class Groups:
    """Which limits the control groups of this machine know, and of which version they are."""

    version: str
    memory: bool
    swap: bool
    cpu: bool
    cpuset: bool
    pids: bool
    oom_kill_disable: bool


@cache
def groups() -> Groups:
    """Look at the control groups; a hybrid machine counts as version 1, whose controllers it uses."""
    unified = _CGROUPS / "cgroup.controllers"
    if unified.exists():
        controllers = set(unified.read_text().split())
        swap = any(_CGROUPS.glob("*/memory.swap.max"))
        return Groups(
            version="2",
            memory="memory" in controllers,
            swap=swap,
            cpu="cpu" in controllers,
            cpuset="cpuset" in controllers,
            pids="pids" in controllers,
            oom_kill_disable=False,
        )
    return Groups(
        version="1",
        memory=(_CGROUPS / "memory/memory.limit_in_bytes").exists(),
        swap=(_CGROUPS / "memory/memory.memsw.limit_in_bytes").exists(),
        cpu=(_CGROUPS / "cpu/cpu.shares").exists(),
        cpuset=(_CGROUPS / "cpuset/cpuset.cpus").exists(),
        pids=(_CGROUPS / "pids").is_dir(),
        oom_kill_disable=(_CGROUPS / "memory/memory.oom_control").exists(),
    )


def architecture() -> str:
    """Give the architecture in Go's words, as image platforms have it."""
    return _ARCHITECTURES.get(machine(), machine())


@cache
def operating_system() -> tuple[str, str]:
    """Give name and version, from os-release."""
    try:
        facts = platform.freedesktop_os_release()
    except OSError:
        return "Linux", ""
    return facts.get("PRETTY_NAME", "Linux"), facts.get("VERSION_ID", "")


def kernel() -> str:
    """Give the kernel's release."""
    return os.uname().release


def machine() -> str:
    """Give the architecture in the kernel's words."""
    return os.uname().machine


def host_name() -> str:
    """Give the name of this machine."""
    return os.uname().nodename


def threads() -> int:
    """Give how many threads this process has."""
    return threading.active_count()


def memory() -> int:
    """Give the machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def processors() -> int:
    """Give how many processors we may use."""
    return len(os.sched_getaffinity(0))


def forwards() -> bool:
    """Tell whether the kernel passes packets on between networks."""
    return _switch("/proc/sys/net/ipv4/ip_forward")


def filters_bridges(version: int) -> bool:
    """Tell whether packets inside a bridge pass the firewall, for IP 4 or 6."""
    name = "bridge-nf-call-iptables" if version == 4 else "bridge-nf-call-ip6tables"
    return _switch(f"/proc/sys/net/bridge/{name}")


def descriptors() -> int:
    """Give how many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def file_system(path: Path) -> str:
    """Name the file system that holds `path`, in dockerd's words."""
    best, kind = "", "unknown"
    place = str(path)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mounted = before.split(" ")[4]
        if (place + "/").startswith(mounted.rstrip("/") + "/") and len(mounted) >= len(best):
            best, kind = mounted, after.split(" ")[0]
    return _FILE_SYSTEMS.get(kind, kind)


@cache
def program_version(program: str) -> str:
    """Ask a program for its version: the last word of the first line. "" where it is not there."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        return ""
    try:
        ended = subprocess.run([found, "--version"], check=False, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = ended.stdout.partition("\n")[0].split()
    return words[-1] if ended.returncode == 0 and words else ""


def security_options(*, mapped: bool) -> list[str]:
    """Give what shields containers, as `docker info` lists it. `mapped`: they have user namespaces."""
    found = ["name=seccomp,profile=builtin"] if Path("/proc/sys/kernel/seccomp").exists() else []
    found += ["name=userns"] if mapped else []
    return [*found, "name=cgroupns"] if Path("/proc/self/ns/cgroup").exists() and groups().version == "2" else found


def _switch(path: str) -> bool:
    try:
        return Path(path).read_text().strip() not in {"", "0"}
    except OSError:
        return False
