"""The embedded engine's daemon as the tool sees it: start it where it does not run, tell whether it does, end it.

Nothing of `declarative.engine` is imported: the daemon is another process, found by the lock on its data root, reached by its
socket. The rule that keeps it simple: whoever starts one holds a lock while it comes up, so that of many commands at once one
starts it and the others find it; and the data root's own lock makes sure of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

from declarative.errors import Conflict, Denied, Failed, Unavailable, Unsupported
from declarative.record import record

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from declarative.dockerapi.places import Places

IDLE_SECONDS = 300
"""How long a daemon that was started on demand stays when nothing runs and nobody asks."""

_START_SECONDS = 60.0  # a start takes a fifth of a second; with many containers to take up again, some seconds
_SAID_SECONDS = 5.0
_STOP_SECONDS = 60.0  # requests under way are given ten
_POLL_SECONDS = 0.01
_LOG_LINES = 5
_LOG_BYTES = 1 << 20  # beyond this a log is begun anew, one old one kept


@record
class Running:
    """A daemon that serves a data root: its process, and where it listens (nothing while it comes up or goes)."""

    pid: int
    hosts: tuple[str, ...]


def command(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Give the command line of the daemon's process, and what its environment needs beside ours."""
    from pathlib import Path

    import declarative

    # -P: the folder we stand in must not take the place of our package. Where we were found is where it is found.
    home = Path(declarative.__file__).resolve().parent.parent
    extra = {} if home.name in {"site-packages", "dist-packages"} else {"PYTHONPATH": str(home)}
    return [sys.executable, "-P", "-m", "declarative.engine", *words], extra


def ensure(where: Places, environ: Mapping[str, str], origin: str, options: Sequence[str] | None = None) -> bool:
    """Let a daemon answer at its socket: whether it had to be started. `options`: of its start, beside the places.

    Raises Denied without root, Unsupported not on Linux, Failed with the daemon's own words where it does not come up.
    """
    if answers(where.socket):
        return False
    if not sys.platform.startswith("linux"):
        raise Unsupported("engine", "the embedded engine runs on Linux alone", "name another one with --engine")
    if os.geteuid() != 0:
        problem = "the embedded engine does not run, and only root can start it"
        there = "" if origin == "--engine" else f" ({origin})"
        raise Denied("engine", problem + there, "use sudo, or name another engine with --engine")
    where.root.mkdir(mode=0o711, parents=True, exist_ok=True)
    with _starting(where):
        if answers(where.socket):
            return False
        _start(where, environ, (f"--idle-exit={IDLE_SECONDS}",) if options is None else options)
    return True


def answers(path: Path) -> bool:
    """Tell whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # busy, and there
        except OSError:
            return False
    return True


def running(where: Places) -> Running | None:
    """Give who serves a data root; None for nobody. Denied."""
    try:
        fd = os.open(where.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Denied(str(where.root), "cannot be read", "use sudo") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _described(os.pread(fd, 65536, 0))
    finally:
        os.close(fd)
    return None


def serving(where: Places) -> Running | None:
    """As `running`, once who serves has said so: it listens a moment before."""
    deadline = time.monotonic() + _SAID_SECONDS
    while (found := running(where)) is not None and not found.pid and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return found


def stop(where: Places) -> bool:
    """Ask the daemon to end and wait until it has; False where none runs. Containers go on. Raises Denied, Unavailable."""
    import signal

    found = serving(where)
    if found is None:
        return False
    if not found.pid:
        raise Conflict(str(where.root), "its daemon is starting or ending", "try again")
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise Denied("engine", f"you may not stop process {found.pid}", "use sudo") from error
    deadline = time.monotonic() + _STOP_SECONDS
    while (now := running(where)) is not None and now.pid in {found.pid, 0}:
        if time.monotonic() > deadline:
            raise Unavailable("engine", f"process {found.pid} does not end", f"see {where.log}")
        time.sleep(_POLL_SECONDS)
    return True


def probe(where: Places, environ: Mapping[str, str]) -> list[dict[str, object]]:
    """Ask the engine's own program whether this machine can run it. One finding that says so where it cannot be asked."""
    import subprocess

    if os.geteuid() != 0:
        problem = "only root can run the embedded engine, and see whether the machine can"
        return [{"name": "root", "problem": problem, "remedy": "use sudo", "needed": True}]
    argv, extra = command(["--probe", f"--root={where.root}"])
    ended = subprocess.run(argv, check=False, capture_output=True, text=True, env={**environ, **extra}, cwd="/")
    try:
        found = json.loads(ended.stdout)
    except ValueError:
        problem = f"the engine's program fails: {ended.stderr.strip()[-500:]}"
        return [{"name": "engine", "problem": problem, "remedy": "install declarative anew", "needed": True}]
    return list(found)


def _described(said: bytes) -> Running:
    try:
        document = json.loads(said)
        return Running(pid=int(document["pid"]), hosts=tuple(map(str, document["hosts"])))
    except (ValueError, KeyError, TypeError):
        return Running(pid=0, hosts=())


@contextlib.contextmanager
def _starting(where: Places) -> Iterator[None]:
    """Be the only one who starts a daemon here."""
    fd = os.open(where.root / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _start(where: Places, environ: Mapping[str, str], options: Sequence[str]) -> None:
    import subprocess

    argv, extra = command([f"--root={where.root}", f"--run={where.run}", *options])
    with contextlib.suppress(OSError):
        if where.log.stat().st_size > _LOG_BYTES:
            where.log.replace(where.log.with_name("engine.log.1"))
    with where.log.open("ab") as log:
        # A session of its own, and nothing of ours open: it outlives the command and the terminal.
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            env={**environ, **extra},
        )  # fmt: skip
    _await(where, process)


def _await(where: Places, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(where.socket):
        if process.poll() is not None and running(where) is None:
            raise Failed("engine", f"the embedded engine does not start: {_last_words(where.log)}", f"see {where.log}")
        if time.monotonic() > deadline:
            raise Failed("engine", f"the embedded engine does not answer ({_START_SECONDS:g} s)", f"see {where.log}")
        time.sleep(_POLL_SECONDS)
    process.returncode = process.returncode or 0  # it goes on without us: nobody waits for it


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "it says nothing"
    return "; ".join(line.strip() for line in lines[-_LOG_LINES:] if line.strip()) or "it says nothing"
