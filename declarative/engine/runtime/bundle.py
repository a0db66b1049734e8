"""A container's bundle: the folder that its runtime is given and its monitor writes into, and what can be told from that.

The rule that keeps it simple: nothing is remembered. A number in a file may be another process's by now, so it is taken for the
monitor's only while that process works in the folder, and for the container's only while the monitor, its parent, lives.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING, cast

from declarative.engine.runtime import spawn
from declarative.errors import Conflict, Failed, NotFound
from declarative.record import record

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.engine.runtime.cgroups import Cgroups
    from declarative.engine.runtime.hub import Input

_GROUP_FILE = "cgroup"
_INPUT_FILE = "input"
_LOST_FILE = "lost"
_LOST = 137  # the exit code where the monitor was killed: we kill what is left


@record
class Exit:
    """How a process ended: its code (128 + the signal where one ended it), when (nanoseconds since 1970).

    `oom`: the kernel killed a process of it for want of memory. `lost`: the monitor was killed, so the code is not known.
    """

    id: str
    code: int
    at: int
    oom: bool = False
    lost: bool = False


@record
class Bundle:
    """The bundle of the container `name`, whether or not it is there."""

    name: str
    folder: Path
    cgroups: Cgroups

    def make(self) -> None:
        """Make the folder. Conflict where it is there."""
        try:
            self.folder.mkdir(mode=0o700)
        except FileExistsError:
            raise Conflict(self.name, "the runtime has such a container", "delete it first") from None

    def fill(self, document: str, group: str, given: Input) -> None:
        """Write what is known before there is a process: the runtime's configuration, the control group, the kind of input."""
        (self.folder / _GROUP_FILE).write_text(group)
        (self.folder / "config.json").write_text(document)
        (self.folder / _INPUT_FILE).write_text(given)

    def exists(self) -> bool:
        """Whether there is one."""
        return self.folder.exists()

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def group(self) -> str:
        """Give the container's control group. NotFound where there is no container, or it came not so far as to have one."""
        with contextlib.suppress(OSError):
            if group := (self.folder / _GROUP_FILE).read_text():  # empty where its writer was killed over it
                return group
        raise self._absent()

    def input(self) -> Input:
        """Give the kind of input. NotFound where there is no container."""
        try:
            kind = (self.folder / _INPUT_FILE).read_text()
        except OSError:
            kind = ""
        if kind not in {"none", "once", "open"}:
            raise self._absent()
        return cast("Input", kind)

    def pid(self) -> int:
        """Give the id of the first process, 0 where there never was one."""
        return spawn.read_pid(self.folder / spawn.PROCESS_FILE)

    def has_monitor(self) -> bool:
        """Tell whether the monitor runs."""
        pid = spawn.read_pid(self.folder / spawn.MONITOR_FILE)
        return bool(pid) and spawn.works_in(pid, self.folder)

    def open_process(self) -> int:
        """Give a descriptor of the first process; its monitor lives after it was opened. NotFound where it has ended."""
        pid = self.pid()
        try:
            descriptor = os.pidfd_open(pid) if pid else -1
        except ProcessLookupError:
            descriptor = -1
        if descriptor < 0:
            raise NotFound(self.name, "its process has ended")
        if not self.has_monitor() or self.exit() is not None:
            os.close(descriptor)
            raise NotFound(self.name, "its process has ended")
        return descriptor

    def starved(self) -> bool:
        """Tell whether the kernel killed a process of this run for want of memory, as far as the monitor has heard of it."""
        return (self.folder / spawn.OOM_FILE).exists()

    def exit(self) -> Exit | None:
        """Give how the container ended; None where it has not, or nobody has written it down."""
        try:
            with (self.folder / spawn.EXIT_FILE).open("rb") as file:
                text, at = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return None
        lost, oom = (self.folder / _LOST_FILE).exists(), self.starved()
        if not oom:  # a monitor may hear of the end before it hears of the reason
            with contextlib.suppress(NotFound, Failed):
                oom = self.cgroups.was_out_of_memory(self.group())
        return Exit(id=self.name, code=int(text or b"0"), at=at, oom=oom, lost=lost)

    def lose(self) -> Exit:
        """Put an end to a container whose monitor was killed: nobody reads its output or will know its code."""
        with contextlib.suppress(OSError, NotFound):  # it may be removed at this moment
            self.cgroups.kill(self.group())
            (self.folder / _LOST_FILE).touch()
            (self.folder / spawn.EXIT_FILE).write_text(str(_LOST))
        return self.exit() or Exit(id=self.name, code=_LOST, at=time.time_ns(), lost=True)

    def _absent(self) -> NotFound:
        return NotFound(self.name, "the runtime has no such container")
