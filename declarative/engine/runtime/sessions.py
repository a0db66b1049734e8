"""Further processes in running containers (`docker exec`), each with a monitor of its own.

The rule that keeps it simple: a session is a folder, like a container, and gone when its process is. One that a daemon left
behind is ended by the next: nobody could attach to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
from typing import TYPE_CHECKING

from declarative.engine.runtime import spawn, spec, streams
from declarative.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.engine.runtime.hub import Attachment, Hub
    from declarative.engine.runtime.oci import OciRuntime
    from declarative.engine.runtime.sandbox import Process

_PATIENCE_SECONDS = 5.0


class Session:
    """One process, running or ended. `pid` is the machine's; `attachment` has its streams from the start on."""

    def __init__(self, folder: Path, pid: int, attachment: Attachment, monitor: int) -> None:
        self.pid = pid
        self.attachment = attachment
        self._folder = folder
        self._monitor = monitor

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; give the exit code (128 + the signal where one ended it), None after `timeout` seconds.

        What it wrote last may still wait in the attachment.
        """
        if self._monitor >= 0 and not _wait(self._monitor, timeout):
            return None
        try:
            return int((self._folder / spawn.EXIT_FILE).read_bytes() or b"0")
        except (OSError, ValueError):
            return 137  # the monitor was killed

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal. NotFound where it has ended."""
        streams.resize(self._folder, rows, columns)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.wait(0) is None:  # its parent lives, so the number is still its own
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Let go of a session that has ended."""
        self.attachment.close()
        if self._monitor >= 0:
            os.close(self._monitor)
            self._monitor = -1
        shutil.rmtree(self._folder, ignore_errors=True)


def start_session(oci: OciRuntime, hub: Hub, name: str, folder: Path, process: Process, *, stdin: bool) -> Session:
    """Start a process in the container `name`; `folder` is made for it. StartRefused where the program cannot be run."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise Conflict(folder.name, "such a session is there already") from None
    attachments: list[Attachment] = []
    try:
        specification = folder / "process.json"
        specification.write_text(json.dumps(spec.process_spec(process)))
        monitor = spawn.Monitor(
            name=name,
            folder=folder,
            stdin=stdin,
            terminal=process.terminal,
            process=specification,
        )
        pid = spawn.start_monitor(
            oci,
            monitor,
            process.args,
            ready=lambda: attachments.append(hub.attach(folder, "once" if stdin else "none")),
        )
        return Session(folder, pid, attachments[0], _monitor(folder))
    except BaseException:
        for attachment in attachments:
            attachment.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise


def sweep_sessions(folder: Path) -> None:
    """End the sessions that another daemon left below `folder`."""
    for session in folder.iterdir() if folder.exists() else ():
        monitor = _monitor(session)
        if monitor >= 0:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((session / spawn.PROCESS_FILE).read_bytes()), signal.SIGKILL)
            _wait(monitor, _PATIENCE_SECONDS)  # it still writes into the folder
            os.close(monitor)
        shutil.rmtree(session, ignore_errors=True)


def _wait(monitor: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(monitor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _monitor(folder: Path) -> int:
    """Give a descriptor of the monitor's process, -1 where it has ended already."""
    try:
        pid = int((folder / spawn.MONITOR_FILE).read_bytes())
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError):
        return -1
    if not spawn.works_in(pid, folder):
        os.close(descriptor)
        return -1
    return descriptor
