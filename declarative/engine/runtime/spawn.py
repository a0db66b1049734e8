"""Starting `conmon`, the monitor of one process: the command line, and its talk over pipes until the process is made.

The rule that keeps it simple: one call, one monitor. A monitor leaves our session and becomes a child of init; what it knows it
writes into its own folder. It is started in that folder and calls it ".", so that its socket's name is never too long
(unix(7): 107 bytes).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from declarative.engine.runtime.oci import find_program, refusal
from declarative.errors import Failed, Unsupported
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from declarative.engine.runtime.oci import OciRuntime

PROCESS_FILE = "pid"
MONITOR_FILE = "monitor.pid"
EXIT_FILE = "exit"
OOM_FILE = "oom"
SOCKET = "attach"
CONTROL = "ctl"


@record
class Monitor:
    """What a monitor is to do. `folder` is its own; `name` the container; `log` None keeps no log.

    `process`: the file of a process specification, for one more process in a running container. `owner`: the machine's (uid, gid)
    to whom the process's pipes are given; None leaves them ours.
    """

    name: str
    folder: Path
    log: Path | None = None
    stdin: bool = False
    leave_stdin_open: bool = False
    terminal: bool = False
    process: Path | None = None
    owner: tuple[int, int] | None = None


def start_monitor(
    runtime: OciRuntime, monitor: Monitor, args: Sequence[str], ready: Callable[[], None] | None = None
) -> int:
    """Start a monitor and have it make the process; give the process's id.

    For one more process, `ready` is called when clients can attach and nothing runs yet. StartRefused in Docker's words where the
    runtime refuses `args`; Failed where the monitor breaks; Unsupported where it is not installed.
    """
    program = find_program("conmon")
    if program is None:
        raise Unsupported("engine", "there is no conmon here", "install it: apt-get install conmon")
    with ExitStack() as stack:
        told, tells = _pipe(stack)
        inherited = {"_OCI_SYNCPIPE": tells}
        begins = attached = None
        if monitor.process is not None:
            begin, begins = _pipe(stack)
            attached, attaches = _pipe(stack)
            inherited |= {"_OCI_STARTPIPE": begin, "_OCI_ATTACHPIPE": attaches}
        complaints = stack.enter_context((monitor.folder / "monitor.log").open("ab", buffering=0))
        child = subprocess.Popen(
            [str(program), *_arguments(runtime, monitor)],
            cwd=monitor.folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"}  # the log has local times
            | {name: str(end.fileno()) for name, end in inherited.items()},
            pass_fds=[end.fileno() for end in inherited.values()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
        )
        for end in inherited.values():
            end.close()
        try:
            if begins is not None and attached is not None:
                begins.write(b"\0")
                _answer(attached, monitor)
                if ready is not None:
                    ready()
                _give_pipes(monitor)
                begins.write(b"\0")
            answer = _answer(told, monitor)
            if begins is None:
                _give_pipes(monitor)  # before `start`: nothing of the container's runs yet
        finally:
            begins = begins and begins.close()
            child.wait()
    pid = answer.get("data", answer.get("pid", 0))
    if isinstance(pid, int) and pid > 0:
        return pid
    raise refusal(str(answer.get("message") or complaint(monitor.folder)), tuple(args))


def _give_pipes(monitor: Monitor) -> None:
    """Give the pipes that a monitor has made to the process's user; its others too, which nobody else can come at."""
    if monitor.owner is None:
        return
    with contextlib.suppress(OSError, ValueError):  # it has ended, which is told elsewhere
        pid = int((monitor.folder / MONITOR_FILE).read_bytes())
        for end in (Path("/proc") / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if end.readlink().name.startswith("pipe:"):
                    os.chown(end, *monitor.owner)


def complaint(folder: Path) -> str:
    """Give what a monitor had to complain about, "" for nothing."""
    try:
        return (folder / "monitor.log").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reader, writer = os.pipe()
    return stack.enter_context(open(reader, "rb")), stack.enter_context(open(writer, "wb", buffering=0))  # noqa: PTH123 - descriptors


def _answer(pipe: IO[bytes], monitor: Monitor) -> dict[str, Any]:
    """Read one line of JSON; runc's whole complaint may be in it."""
    line = pipe.readline()
    try:
        document = json.loads(line)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        reason = complaint(monitor.folder) or "it said nothing"
        raise Failed("monitor", f"conmon ended before the process was made: {reason[-2000:]}")
    return document


def _arguments(runtime: OciRuntime, monitor: Monitor) -> list[str]:
    log = f"k8s-file:{monitor.log}" if monitor.log is not None else "none"
    given = ["--api-version", "1", "--cid", monitor.name, "--cuuid", monitor.name, "--name", monitor.name]
    hands_over = monitor.terminal and monitor.process is not None
    program, *words = runtime.executable_for_terminal if hands_over else (runtime.executable,)
    given += ["--runtime", program]
    for word in (*words, "--root", str(runtime.root)):
        given += ["--runtime-arg", word]
    given += ["--bundle", ".", "--persist-dir", ".", "--full-attach", "--container-pidfile", PROCESS_FILE]
    given += ["--conmon-pidfile", MONITOR_FILE, "--log-path", log, "--no-sync-log"]
    given += ["--stdin"] if monitor.stdin else []
    given += ["--leave-stdin-open"] if monitor.leave_stdin_open else []
    given += ["--terminal"] if monitor.terminal else []
    if monitor.process is not None:
        given += ["--exec", "--exec-attach", "--exec-process-spec", str(monitor.process)]
    return given


def read_pid(file: Path) -> int:
    """Give the process id that was written into a file, 0 where there is none."""
    try:
        return int(file.read_bytes())
    except (OSError, ValueError):
        return 0


def open_monitor(folder: Path) -> int:
    """Give a descriptor of the monitor that works in a folder, -1 where it has ended or there never was one."""
    pid = read_pid(folder / MONITOR_FILE)
    try:
        descriptor = os.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        return -1
    if descriptor >= 0 and not works_in(pid, folder):
        os.close(descriptor)
        return -1
    return descriptor


def works_in(pid: int, folder: Path) -> bool:
    """Tell whether a process that is no zombie has this working folder."""
    try:
        return os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), folder.stat())
    except OSError:
        return False
