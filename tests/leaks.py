"""What a run left behind: processes, mounts and folders, compared with what there was when it began.

The rule that keeps it simple: only what belongs to this run is looked at, by its namespaces, its children and the prefix of
its folders; another run on the same machine is not our business.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterable

_GRACE_SECONDS = 3.0  # a process that has been killed is seen for a moment
_SCRATCH = Path("/var/tmp")  # noqa: S108 - looked at, not written to


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What can be left, each as one line of text."""

    processes: frozenset[str]
    mounts: frozenset[str]
    folders: frozenset[str]


def look(*, ours: Iterable[int]) -> Traces:
    """Return what there is now; `ours` are processes that belong there."""
    return Traces(
        processes=frozenset(_processes(set(ours) | {os.getpid()})),
        mounts=frozenset(line.split(" ", 4)[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        folders=frozenset(str(path) for path in _SCRATCH.glob(f"declarative-tests-{os.getpid()}-*")),
    )


def left_behind(before: Traces, *, ours: Iterable[int]) -> list[str]:
    """Return what is here now and was not before, one line each; what is on its way out is given a moment."""
    ends = time.monotonic() + _GRACE_SECONDS
    expected = tuple(ours)
    while True:
        now = look(ours=expected)
        lines = [
            *(f"process {line}" for line in sorted(now.processes - before.processes)),
            *(f"mount {line}" for line in sorted(now.mounts - before.mounts)),
            *(f"folder {line}" for line in sorted(now.folders - before.folders)),
        ]
        if not lines or time.monotonic() > ends:
            return lines
        time.sleep(0.1)


def end_processes(left: Iterable[str]) -> None:
    """End the processes among what `left_behind` found: they are this run's own."""
    for line in left:
        kind, name = line.split(" ", 1)
        if kind == "process":
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(name.split(" ", 1)[0]), signal.SIGKILL)


def _processes(expected: set[int]) -> Iterable[str]:
    parents = {int(folder.name): _parent(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit()}
    network = sandbox.namespace("net")
    for pid in parents.keys() - expected:
        if _descends(pid, os.getpid(), parents) or (
            os.geteuid() == 0 and _network_of(pid) == network and _ran_later(pid)
        ):
            command = _command(pid)
            if command:  # what is left of a process that ended has none
                yield f"{pid} {command}"


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def _ran_later(pid: int) -> bool:
    """Whether the process is younger than this one: in a shared network namespace the older ones are strangers."""
    try:
        return _started(pid) > _started(os.getpid())
    except OSError:
        return False


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])  # proc(5), field 22


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])  # proc(5), field 4
    except OSError:
        return 0


def _network_of(pid: int) -> str:
    try:
        return sandbox.namespace("net", pid)
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""
