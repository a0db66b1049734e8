"""Control groups, version 1, hybrid and 2: where a container's are, who is in them, freezing, killing, removing.

The rule that keeps it simple: a group is named by one path, the same in every hierarchy ("/declarative/ID"), and everything is
read from the kernel when it is asked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import Failed
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PATIENCE_SECONDS = 2.0  # a group stays busy for a moment after its last process
_STEP_SECONDS = 0.002


@record
class Cgroups:
    """The hierarchies of this machine: where each controller of version 1 is mounted, and where version 2 is."""

    first: Mapping[str, Path] = field(default_factory=dict, hash=False)
    second: Path | None = None

    @property
    def unified(self) -> bool:
        """Whether there is version 2 alone."""
        return not self.first and self.second is not None

    @property
    def hybrid(self) -> bool:
        """Whether both versions are mounted. Every controller of ours is in version 1 then."""
        return bool(self.first) and self.second is not None

    def folders(self, group: str) -> tuple[Path, ...]:
        """Give the group's folder in each hierarchy, whether it is there or not."""
        name = _below_the_top(group)
        points = dict.fromkeys((*self.first.values(), *((self.second,) if self.second is not None else ())))
        return tuple(point / name for point in points)

    def folder(self, controller: str, group: str) -> Path | None:
        """Give the group's folder for a controller; None where the machine has it not."""
        point = self.first.get(controller) or (self.second if self.unified else None)
        return point / _below_the_top(group) if point is not None else None

    def counting(self, group: str) -> Path:
        """Give the folder whose processes are those of the group: every hierarchy has the same ones."""
        for controller in ("freezer", "pids", "memory", "cpu"):
            found = self.folder(controller, group)
            if found is not None:
                return found
        return self.folders(group)[0]

    def pids(self, group: str) -> tuple[int, ...]:
        """Give every process of the group and of groups in it; () where there is no such group."""
        found: set[int] = set()
        for folder in _tree(self.counting(group)):
            with contextlib.suppress(OSError):
                found.update(map(int, (folder / "cgroup.procs").read_bytes().split()))
        # one of a process namespace that we do not see has the number 0, which for kill(2) is our own process group
        return tuple(sorted(found - {0}))

    def freeze(self, group: str, *, frozen: bool) -> None:
        """Stop every process of the group, or let all go on; returns when it is so. Failed where the kernel does not do it."""
        if self.unified:
            file, words = self.counting(group) / "cgroup.freeze", ("0", "1")
        else:
            file, words = self.counting(group) / "freezer.state", ("THAWED", "FROZEN")
        ends = time.monotonic() + _PATIENCE_SECONDS
        attempts = 0
        try:
            file.write_text(words[frozen])
            while self.is_frozen(group) != frozen:
                time.sleep(_STEP_SECONDS)
                attempts += 1
                if attempts % 10 == 0 and frozen and not self.unified:
                    # version 1 does not get there when a process waits for another that it has just forked: let them pass
                    file.write_text(words[False])
                    time.sleep(_STEP_SECONDS)
                    file.write_text(words[True])
                if time.monotonic() > ends:
                    file.write_text(words[not frozen])
                    raise Failed("cgroup", f"{group} does not {'freeze' if frozen else 'thaw'}")
        except OSError as error:
            raise Failed("cgroup", f"cannot {'freeze' if frozen else 'thaw'} {group}: {error.strerror}") from error

    def is_frozen(self, group: str) -> bool:
        """Tell whether every process of the group is stopped."""
        folder = self.counting(group)
        try:
            if self.unified:
                return "frozen 1" in (folder / "cgroup.events").read_text()
            return (folder / "freezer.state").read_text().strip() == "FROZEN"
        except OSError:
            return False

    def kill(self, group: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to every process of the group; SIGKILL ends them all, however fast they fork."""
        if number == signal.SIGKILL and self.unified and self._kill_at_once(group):
            return
        if number != signal.SIGKILL:
            for pid in self.pids(group):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            return
        ends = time.monotonic() + _PATIENCE_SECONDS
        while (pids := self.pids(group)) and time.monotonic() < ends:
            with contextlib.suppress(Failed):
                self.freeze(group, frozen=True)
                pids = self.pids(group)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(Failed):
                self.freeze(group, frozen=False)
            time.sleep(_STEP_SECONDS)

    def _kill_at_once(self, group: str) -> bool:
        """cgroup.kill, kernel 5.14 and later."""
        try:
            (self.counting(group) / "cgroup.kill").write_text("1")
        except OSError:
            return False
        return True

    def remove(self, group: str) -> None:
        """Remove the group and groups in it, everywhere; its processes must have ended. Failed where one is still there."""
        ends = time.monotonic() + _PATIENCE_SECONDS
        for top in self.folders(group):
            while True:
                try:
                    _remove_tree(top)
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > ends:
                        raise Failed("cgroup", f"cannot remove {top}: {error.strerror}") from error
                    time.sleep(_STEP_SECONDS)

    def let_fork(self, group: str) -> None:
        """Let a group have as many processes as it likes. Nothing where they are not counted."""
        folder = self.folder("pids", group)
        if folder is not None and folder.exists():
            (folder / "pids.max").write_text("max")

    def was_out_of_memory(self, group: str) -> bool:
        """Tell whether the kernel killed a process of the group for want of memory."""
        folder = self.folder("memory", group)
        if folder is None:
            return False
        name = "memory.events" if self.unified else "memory.oom_control"
        try:
            lines = (folder / name).read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)


def settle(groups: Cgroups, group: str, own: str | None = None) -> None:
    """Move this process out of its service's or session's control group into one of ours; monitors are started in it too.

    What ends a session or a service ends every process in its group, with the containers' monitors among them. Only hierarchies
    that service managers use matter. Nothing happens where this process is at the top already, or may not move. `own`: what
    /proc/self/cgroup says.
    """
    told = own if own is not None else Path("/proc/self/cgroup").read_text()
    for line in told.splitlines():
        number, controllers, path = line.split(":", 2)
        point = groups.second if number == "0" else groups.first.get(controllers)
        if point is None or path == "/" or controllers not in {"", "name=systemd"}:
            continue
        with contextlib.suppress(OSError):
            folder = point / group.strip("/")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cgroup.procs").write_text(str(os.getpid()))


def own_group(groups: Cgroups, own: str | None = None) -> Path | None:
    """Give the folder of this process's group in one hierarchy that containers are moved in. `own` as for `settle`."""
    told = own if own is not None else Path("/proc/self/cgroup").read_text()
    for line in told.splitlines():
        number, controllers, path = line.split(":", 2)
        point = groups.first.get(controllers.partition(",")[0]) if groups.first else groups.second
        if point is not None and (number != "0" or groups.unified):
            return point / path.strip("/")
    return None


def detect() -> Cgroups:
    """Give the hierarchies that are mounted here."""
    first: dict[str, Path] = {}
    second: Path | None = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point, (kind, _, options) = Path(left.split()[4]), right.split()[:3]
        if kind == "cgroup2":
            second = second or point
        elif kind == "cgroup":
            for option in options.split(","):
                if option not in {"rw", "ro", "xattr", "clone_children", "noprefix"} and "release_agent" not in option:
                    first.setdefault(option, point)
    return Cgroups(first=first, second=second)


def _below_the_top(group: str) -> str:
    """Give the group's path from the top. Failed for the top itself: every process of the machine may be in it."""
    name = group.strip("/")
    if not name:
        raise Failed("cgroup", "the name of a control group is empty")
    return name


def _tree(folder: Path) -> Iterator[Path]:
    """Give a group's folder and those below it, parents first."""
    yield folder
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for path in below:
            yield from _tree(path)


def _remove_tree(top: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        try:
            top.rmdir()
        except OSError as error:
            # EBUSY also stands for "has groups in it"
            if error.errno not in {errno.EBUSY, errno.ENOTEMPTY}:
                raise
            for folder in reversed(list(_tree(top))):
                with contextlib.suppress(FileNotFoundError):
                    folder.rmdir()
