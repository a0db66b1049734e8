"""What happens to a machine and its embedded engine: a crash, a reboot; and what may not be left: a count of what a kernel keeps.

The rule that keeps it simple: the engine is looked at from outside, with the kernel's own lists; nothing is asked of it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests import embedded, engines

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon, Ended

_SOURCES = Path(embedded.__file__).resolve().parent.parent
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What containers and networks take of the kernel, by kind; each line names one thing."""

    links: frozenset[str]
    namespaces: frozenset[str]
    mounts: frozenset[str]
    groups: frozenset[str]
    processes: frozenset[str]
    rules: frozenset[str]

    def __sub__(self, before: Counts) -> list[str]:
        """Say what is here and was not before."""
        return [
            f"{kind}: {line}" for kind in self.__slots__ for line in sorted(getattr(self, kind) - getattr(before, kind))
        ]


def machine(daemon: Daemon) -> embedded.EmbeddedEngine:
    """Give the engine behind a daemon that must be ours."""
    assert isinstance(daemon.engine, embedded.EmbeddedEngine)
    return daemon.engine


def crash(daemon: Daemon) -> None:
    """Kill -9 the daemon alone."""
    daemon.engine.kill()


def restart(daemon: Daemon) -> None:
    daemon.engine.start_daemon()


def reboot(daemon: Daemon) -> None:
    """End every process of the engine's machine at once, with all mounts, links and rules, empty /run, and start the daemon."""
    engine = machine(daemon)
    assert engine._holder is not None
    assert engine._daemon is not None
    engines._end(engine._holder)
    engines._end(engine._daemon)
    engine._daemon = None
    engines.remove_control_groups(engine.name)
    shutil.rmtree(engine.run, ignore_errors=True)
    if engine.socket_path is not None:
        engine.socket_path.unlink(missing_ok=True)
    engine._hold_namespaces()
    engine.start_daemon()


def fsck(daemon: Daemon) -> Ended:
    """Check the stopped engine's data root, in its own namespaces."""
    root = machine(daemon).root
    python = ["env", f"PYTHONPATH={_SOURCES}", sys.executable, "-m", "declarative.engine"]
    return daemon.enter(*python, f"--root={root}", f"--run={machine(daemon).run}", "--fsck", check=False)


def count(daemon: Daemon) -> Counts:
    """Count what the kernel has of this engine now. What names a number that differs from run to run has it taken out."""
    engine = machine(daemon)
    mounts = daemon.enter("cat", "/proc/self/mountinfo").stdout.splitlines()
    return Counts(
        links=frozenset(re.split(r"[:@ ]+", line)[1] for line in daemon.enter("ip", "-o", "link").stdout.splitlines()),
        namespaces=frozenset(line.split()[3] for line in mounts if " nsfs " in line),
        mounts=frozenset(line.split()[4] for line in mounts if str(engine.folder) in line),
        groups=frozenset(
            str(folder.relative_to(_CONTROL_GROUPS))
            for top in [*_CONTROL_GROUPS.glob(f"*/{engine.name}"), _CONTROL_GROUPS / engine.name]
            for folder in top.rglob("*")
            if folder.is_dir()
        )
        | _covered(engine.name),
        processes=frozenset(_processes(daemon)),
        rules=frozenset(_rules(daemon)),
    )


def _covered(name: str) -> frozenset[str]:
    """Name what lies below the mount of control groups' version 2, where nobody sees it, on a machine that has version 1 too."""
    point = _CONTROL_GROUPS / "unified"
    if not point.is_mount():
        return frozenset()
    script = 'umount "$0" && find "$0" -path "*$1*"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(point), name]
    return frozenset(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines())


def used(daemon: Daemon) -> Counts:
    """Count after a first use: the default bridge and the guard of build steps stay while the daemon lives."""
    daemon.docker("build", "-q", "--no-cache", "-", stdin="FROM busybox\nRUN true\n")
    daemon.run("busybox", "true")
    return count(daemon)


def settled(daemon: Daemon, before: Counts, seconds: float = 15) -> list[str]:
    """Say what is left over; what is on its way out is given time."""
    left: list[str] = []

    def nothing() -> bool:
        left[:] = count(daemon) - before
        return not left

    try:
        engines.wait_until(nothing, "nothing to be left", seconds)
    except TimeoutError:
        return left
    return []


def _processes(daemon: Daemon) -> list[str]:
    script = (
        "for p in /proc/[0-9]*; do echo $(basename $p) $(tr '\\0' ' ' < $p/cmdline 2>/dev/null | cut -c 1-150); done"
    )
    own = {"sh -c", "nsenter", "basename", "tr ", "cut "}
    lines = daemon.enter("sh", "-c", script).stdout.splitlines()
    found = [line.partition(" ")[2] for line in lines if line.partition(" ")[2]]
    return [
        line for line in found if not any(line.startswith(word) for word in own) and "declarative.engine" not in line
    ]


def _rules(daemon: Daemon) -> list[str]:
    text = daemon.enter("nft", "list", "ruleset", check=False).stdout
    return [
        re.sub(r"counter packets \d+ bytes \d+", "counter", line).strip() for line in text.splitlines() if line.strip()
    ]


def open_files(daemon: Daemon) -> int:
    """Count the daemon's open files."""
    (pid,) = daemon.engine.daemon_pids()[:1]
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a count, and paths vanish
