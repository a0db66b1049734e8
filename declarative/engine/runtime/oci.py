"""The OCI runtimes that can be driven: runc and crun. How each is called, lets a created container go, and words its refusals.

The rule that keeps it simple: this is the only file that knows which of them runs. Starting needs no third process: a created
container waits at a named pipe in the runtime's state, and whoever opens it lets it go.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from declarative.engine.runtime.bpf import compile_profile
from declarative.engine.runtime.hybrid import Backstage, entry
from declarative.errors import Invalid, NotFound, Unsupported
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.engine.runtime.cgroups import Cgroups

_LOOK_MILLISECONDS = 20
_INITS = ("tini-static", "docker-init", "catatonit")
_INIT_FOLDERS = ("/usr/libexec/declarative", "/usr/libexec/podman", "/usr/libexec/docker", "/usr/lib/podman")
_NOT_FOUND = re.compile(r"not found in \$PATH|no such file or directory")
_NOT_EXECUTABLE = re.compile(r"permission denied|is a directory|exec format error|not a directory")


HANDOVER = b"""#!/bin/sh
"$@" || exit
for word; do
  [ "$before" = --console-socket ] && break
  before=$word
done
while [ -S "$word" ] && [ "$((turns += 1))" -lt 3000 ]; do sleep 0.01; done
"""
"""A script that does as it is told, and ends when conmon, which removes its `--console-socket` then, has heard from that."""


class StartRefused(Invalid):
    """The OCI runtime could not make the process. `code` is the exit code that Docker gives such a container."""

    def __init__(self, problem: str, code: int) -> None:
        super().__init__("", problem)
        self.code = code


@record
class OciRuntime:
    """One runtime: its program, and the folder of its states. `copy`: a descriptor of a sealed copy of the program, or -1.

    `entry`, a script's descriptor, and `backstage`: how it is run where it cannot be run as it is (`hybrid`). `handover`: of a
    script, too, or -1.
    """

    kind: Literal["runc", "crun"]
    program: Path
    root: Path
    copy: int = -1
    entry: int = -1
    handover: int = -1
    backstage: Backstage | None = None

    @property
    def executable(self) -> str:
        """What to run for making a container, now: with us, the copy is gone."""
        return _path_of(self.entry) if self.entry >= 0 else self._program

    @property
    def executable_for_terminal(self) -> tuple[str, ...]:
        """What to run for one more process with a terminal: it ends when its caller has taken that.

        The process runs before crun hands its terminal over. Where it ends at once, conmon 2.1 may see both ends before the
        terminal: it gives up then, and with it the output and the code.
        """
        return (_path_of(self.handover), self.executable) if self.handover >= 0 else (self.executable,)

    @property
    def _program(self) -> str:
        return _path_of(self.copy) if self.copy >= 0 else str(self.program)

    def command(self, *arguments: str) -> list[str]:
        """Give a command line that makes a container."""
        return [self.executable, "--root", str(self.root), *arguments]

    def start_beside(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start it for a container that is there, with the options of `subprocess.Popen`."""
        argv = [self._program, "--root", str(self.root), *arguments]
        return self.backstage.start(argv, **options) if self.backstage else subprocess.Popen(argv, **options)

    @property
    def shares_mounts(self) -> bool:
        """Whether what is mounted in a container can be seen on the machine, where the container wants that."""
        return self.entry < 0

    def prepare(self, document: dict[str, Any]) -> dict[str, Any]:
        """Put into a runtime configuration what makes this runtime faster."""
        profile = document["linux"].get("seccomp")
        if self.kind == "crun" and profile is not None:
            program = compile_profile(profile)
            if program is not None:
                return document | {"annotations": {"run.oci.seccomp_bpf_data": program}}
        return document

    def state(self, name: str) -> Path:
        """Give the folder of a container's state."""
        return self.root / name

    def is_waiting(self, name: str) -> bool:
        """Tell whether the container is created and not let go."""
        return (self.root / name / "exec.fifo").exists()

    def let_go(self, name: str, lives: Callable[[], bool]) -> None:
        """Let a created container run its program. NotFound where there is none that waits, or it ends meanwhile.

        runc's first process waits until it can write a byte, crun's until it can read one; neither goes on before. `lives` tells
        whether it is there: a pipe does not.
        """
        pipe = self.root / name / "exec.fifo"
        way = os.O_RDONLY if self.kind == "runc" else os.O_WRONLY
        try:
            descriptor = os.open(pipe, way | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENXIO}:
                raise
            raise NotFound(name, "no container waits to be started") from None
        try:
            if self.kind == "crun":
                os.write(descriptor, b"\0")
            else:
                _read_one(descriptor, name, lives)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            pipe.unlink()

    def close(self) -> None:
        """Let the copy go."""
        if self.backstage is not None:
            self.backstage.close()
        for descriptor in (self.copy, self.entry, self.handover):
            if descriptor >= 0:
                os.close(descriptor)

    def forget(self, name: str) -> None:
        """Remove the state of a container whose processes are known to be gone."""
        shutil.rmtree(self.root / name, ignore_errors=True)


def _read_one(descriptor: int, name: str, lives: Callable[[], bool]) -> None:
    """Read a byte from a pipe that somebody is to open and write to."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if poll.poll(_LOOK_MILLISECONDS):
            with contextlib.suppress(BlockingIOError):
                if os.read(descriptor, 1):
                    return
        if not lives():
            raise NotFound(name, "no container waits to be started")


def find_runtimes(run: Path, groups: Cgroups) -> tuple[OciRuntime, ...]:
    """Give the runtimes of this machine, the best one first, their states below `run`. Unsupported where none is installed.

    crun starts a process in a container in a fifth of runc's time.
    """
    found = []
    program = find_program("crun")
    if program is not None and (crun := _crun(program, run / "crun", groups)) is not None:
        found.append(crun)
    program = find_program("runc")
    if program is not None:
        found.append(OciRuntime(kind="runc", program=program, root=run / "runc"))
    if not found:
        raise Unsupported("engine", "there is no OCI runtime here", "install one: apt-get install crun")
    return tuple(found)


def _crun(program: Path, root: Path, groups: Cgroups) -> OciRuntime | None:
    """Give crun; None where it does not run on this machine."""
    copy, handover = _sealed(program.name, program.read_bytes()), _sealed("crun-handover", HANDOVER, "true")
    made = OciRuntime(kind="crun", program=program, root=root, copy=copy, handover=handover)
    if not groups.hybrid or groups.second is None:
        return made
    unshare, mount = find_program("unshare"), find_program("mount")
    if unshare is not None and mount is not None:
        script = entry(made.executable, groups.second, unshare, mount)
        made = replace(made, entry=_sealed("crun-entry", script))  # no file: /run may be mounted noexec
    if made.entry >= 0:
        with contextlib.suppress(OSError):  # no namespaces for us
            return replace(made, backstage=Backstage(groups.second, (root, program.resolve())))
    made.close()
    return None


def _path_of(descriptor: int) -> str:
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _sealed(name: str, program: bytes, trial: str = "--version") -> int:
    """Give a copy of a program in memory that nobody can change, -1 where the kernel makes none, or it does not run a `trial`.

    A runtime that is not such a copy makes one of itself first, lest a container changes it through /proc (CVE-2019-5736), and
    starts anew. crun has half a megabyte; runc's ten are not worth it.
    """
    try:
        copy = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return -1
    try:
        with open(copy, "wb", closefd=False) as file:
            file.write(program)
        os.fchmod(copy, 0o500)
        fcntl.fcntl(
            copy, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        )
        subprocess.run([_path_of(copy), trial], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # vm.memfd_noexec, or a disk that does not read
        os.close(copy)
        return -1
    return copy


@cache
def find_program(name: str) -> Path | None:
    """Give a program of the machine's, None where there is none. Administrators' folders are looked through too."""
    from pathlib import Path

    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"))
    found = shutil.which(name, path=path)
    return Path(found) if found else None


def find_init() -> Path:
    """Give the static init program for `--init`. Unsupported where the machine has none."""
    from pathlib import Path

    for name in _INITS:
        found = find_program(name)
        if found is not None:
            return found.resolve()
        for folder in _INIT_FOLDERS:
            if (Path(folder) / name).exists():
                return Path(folder) / name
    raise Unsupported("init", "there is no init program here", "install one: apt-get install tini")


def refusal(message: str, args: tuple[str, ...]) -> StartRefused:
    """Give what a runtime said on its standard error, in the words that clients of Docker look for, with Docker's exit code."""
    text = _in_runcs_words(_last_line(message), args[0] if args else "")
    code = 127 if _NOT_FOUND.search(text) else 126 if _NOT_EXECUTABLE.search(text) else 128
    return StartRefused(f"{_HEAD}: {text}: unknown", code)


_HEAD = "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed"
_START = "unable to start container process"


def _in_runcs_words(text: str, program: str) -> str:
    for head in ("runc create failed: ", "runc exec failed: "):
        text = text.removeprefix(head)
    if re.search(r"executable file .*not found in \$PATH", text) or (not program and "open executable" in text):
        # crun says so of a path too, and of a program without a name that it is not permitted
        where = f"stat {program}: no such file or directory" if "/" in program else "executable file not found in $PATH"
        return f'{_START}: exec: "{program}": {where}'
    if text.startswith("open executable: "):
        return f'{_START}: exec: "{program}": permission denied'
    found = re.fullmatch(r"chdir `(.*)`: (.*)", text)
    if found:
        text = f'{_START}: chdir to cwd ("{found[1]}") set in config.json failed: {found[2]}'
    for words in ("No such file or directory", "Permission denied", "Not a directory", "Is a directory"):
        text = text.replace(words, words.lower())
    return text


def _last_line(message: str) -> str:
    """Give the words of runc's `time="…" level=error msg="…"`, or the last line of anything else."""
    lines = [line for line in message.strip().splitlines() if line.strip()]
    if not lines:
        return "the runtime gave no reason"
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', lines[-1])
    if found:
        return found[1].replace('\\"', '"').replace("\\\\", "\\").replace("\\n", " ")
    return lines[-1].strip()
