"""Further processes in running containers (`docker exec`): children of ours through the runtime, or with a monitor.

A process with a terminal has a monitor, which keeps the terminal. One without is left to crun itself, whose half megabyte waits
for it: that takes a third less time, and half of that can pass before it is known what to run. runc's ten megabytes do not stay;
under it every process has a monitor.

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
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.runtime import kernel, spawn, spec, streams
from declarative.engine.runtime.oci import refusal
from declarative.engine.runtime.pipes import PipeClient
from declarative.errors import Conflict

if TYPE_CHECKING:
    from declarative.engine.runtime.hub import Hub
    from declarative.engine.runtime.oci import OciRuntime
    from declarative.engine.runtime.sandbox import Process
    from declarative.engine.runtime.streams import Attachment

_PATIENCE_SECONDS = 5.0
_KILLED = 137


class Session:
    """One process, running or ended. `pid` is the machine's; `attachment` has its streams from the start on."""

    def __init__(
        self,
        folder: Path,
        pid: int,
        attachment: Attachment,
        keeper: int,
        *,
        child: subprocess.Popen[bytes] | None = None,
        spent: int = -1,
    ) -> None:
        """Take over `keeper`, a descriptor of the process that ends with the session's; `child` where it is our own.

        `spent`: a descriptor that is of no more use, and whose closing takes longer than a client should wait.
        """
        self.pid = pid
        self.attachment = attachment
        self._folder = folder
        self._keeper = keeper
        self._child = child
        self._spent = spent

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; give the exit code (128 + the signal where one ended it), None after `timeout` seconds.

        What it wrote last may still wait in the attachment.
        """
        if self._keeper >= 0 and not _wait(self._keeper, timeout):
            return None
        if self._child is not None:
            code = self._child.wait()
            return 128 - code if code < 0 else code
        try:
            return int((self._folder / spawn.EXIT_FILE).read_bytes() or b"0")
        except (OSError, ValueError):
            return _KILLED  # the monitor was killed

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal. NotFound where it has ended, or has none."""
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
        for descriptor in (self._keeper, self._spent):
            if descriptor >= 0:
                os.close(descriptor)
        self._keeper = self._spent = -1
        shutil.rmtree(self._folder, ignore_errors=True)


class Prepared:
    """A runtime that has got as far as it can without knowing what to run; it reads that from a pipe, where `run` writes it.

    It has joined nothing of the container's yet. Where we are killed it finds the pipe empty, and ends.
    """

    def __init__(self, oci: OciRuntime, name: str, folder: Path) -> None:
        """Start crun; `folder` is made for the session. Conflict where it is there."""
        _make(folder)
        self._folder = folder
        self._changes = self._keeper = -1
        reads, self._writes = os.pipe2(os.O_CLOEXEC)
        try:
            self._changes = kernel.inotify()
            kernel.inotify_watch(self._changes, folder, kernel.IN_CLOSE_WRITE)
            self._child = oci.start_beside(
                *("exec", "--process", f"/proc/self/fd/{reads}", "--pid-file", spawn.PROCESS_FILE, name),
                cwd=folder,
                stdin=subprocess.PIPE,  # never the machine's /dev/null, which crun would give to the process's user
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(reads,),
                start_new_session=True,
            )
            self._keeper = os.pidfd_open(self._child.pid)
        except BaseException:
            self._let_go()
            raise
        finally:
            os.close(reads)

    def run(self, process: Process, *, stdin: bool) -> Session:
        """Have it run a process. StartRefused where the program cannot be run. To be called once."""
        child = self._child
        try:
            if child.stdin is not None and not stdin:
                child.stdin.close()
                child.stdin = None
            for end in (child.stdin, child.stdout, child.stderr):
                if end is not None and process.owner is not None:
                    os.fchown(end.fileno(), *process.owner)
            _set_oom_score(child.pid, process)  # which the process inherits: crun sets it for containers alone
            with contextlib.suppress(BrokenPipeError), os.fdopen(self._writes, "wb") as pipe:
                self._writes = -1  # where the pipe is broken it has ended, and its complaint says why
                pipe.write(json.dumps(spec.process_spec(process)).encode())
            pid = _await_start(child, self._keeper, self._changes, self._folder / spawn.PROCESS_FILE)
        except BaseException:
            self.discard()
            raise
        if pid is None:
            complaint = child.communicate()[1].decode("utf-8", "replace")
            self._let_go()
            raise refusal(complaint, process.args)
        ends = [os.dup(pipe.fileno()) for pipe in (child.stdout, child.stderr) if pipe is not None]
        given = os.dup(child.stdin.fileno()) if child.stdin is not None else None
        _close_pipes(child)
        attachment = PipeClient(given, ends[0], ends[1], os.dup(self._keeper))
        # the kernel takes ten milliseconds and more to close an inotify descriptor
        return Session(self._folder, pid, attachment, self._keeper, child=child, spent=self._changes)

    def discard(self) -> None:
        """End it: it is not needed."""
        self._child.kill()
        self._child.wait()
        _close_pipes(self._child)
        self._let_go()

    def _let_go(self) -> None:
        for descriptor in (self._changes, self._keeper, self._writes):
            if descriptor >= 0:
                os.close(descriptor)
        self._changes = self._keeper = self._writes = -1
        shutil.rmtree(self._folder, ignore_errors=True)


def start_session(oci: OciRuntime, hub: Hub, name: str, folder: Path, process: Process, *, stdin: bool) -> Session:
    """Start a process in the container `name`; `folder` is made for it. StartRefused where the program cannot be run."""
    if oci.kind == "crun" and not process.terminal:
        return Prepared(oci, name, folder).run(process, stdin=stdin)
    _make(folder)
    try:
        (folder / "process.json").write_text(json.dumps(spec.process_spec(process)))
        return _start_monitored(oci, hub, name, folder, process, stdin=stdin)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise Conflict(folder.name, "such a session is there already") from None


def _close_pipes(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def _start_monitored(oci: OciRuntime, hub: Hub, name: str, folder: Path, process: Process, *, stdin: bool) -> Session:
    attachments: list[Attachment] = []
    monitor = spawn.Monitor(
        name=name,
        folder=folder,
        stdin=stdin,
        terminal=process.terminal,
        process=folder / "process.json",
        owner=process.owner,
    )
    try:
        pid = spawn.start_monitor(
            oci,
            monitor,
            process.args,
            ready=lambda: attachments.append(hub.attach(folder, "once" if stdin else "none")),
        )
    except BaseException:
        for attachment in attachments:
            attachment.close()
        raise
    _set_oom_score(pid, process)
    return Session(folder, pid, attachments[0], spawn.open_monitor(folder))


def _set_oom_score(pid: int, process: Process) -> None:
    if process.oom_score_adj is not None:
        with contextlib.suppress(OSError):  # it has ended
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(process.oom_score_adj))


def _await_start(child: subprocess.Popen[bytes], keeper: int, changes: int, file: Path) -> int | None:
    """Give the number of the process once the runtime has written it; None where the runtime ends without."""
    poll = select.poll()
    poll.register(keeper, select.POLLIN)
    poll.register(changes, select.POLLIN)
    while True:
        ended = keeper in {number for number, _ in poll.poll()}
        try:
            return int(file.read_bytes())
        except (OSError, ValueError):
            if ended:
                child.wait()
                return None
        with contextlib.suppress(BlockingIOError):
            os.read(changes, 4096)


def sweep_sessions(folder: Path) -> None:
    """End the sessions that another daemon left below `folder`. The process that keeps one works in its folder."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            session = (process / "cwd").readlink()
            if session.parent == folder:
                _end(int(process.name), session)
    for session in folder.iterdir():
        shutil.rmtree(session, ignore_errors=True)


def _end(keeper: int, session: Path) -> None:
    """End a session's process; whoever keeps it ends then, and still writes into the folder."""
    descriptor = os.pidfd_open(keeper)
    try:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((session / spawn.PROCESS_FILE).read_bytes()), signal.SIGKILL)
        if not _wait(descriptor, _PATIENCE_SECONDS):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _wait(keeper: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(keeper, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
