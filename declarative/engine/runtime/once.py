"""Running one process to its end, for the builder and for jobs of the engine itself: no monitor, no log, no life of its own.

The rule that keeps it simple: it lives no longer than the daemon. A keeper, one small shell for all of a daemon's runs, waits for
the daemon's end and then ends theirs; what even that misses, the next daemon sweeps.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

from declarative.engine.runtime.oci import refusal
from declarative.engine.runtime.streams import STDERR, STDOUT
from declarative.errors import Conflict, Failed
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from declarative.engine.runtime.cgroups import Cgroups
    from declarative.engine.runtime.oci import OciRuntime
    from declarative.engine.runtime.sandbox import Sandbox

_READ = 64 << 10
_TICK_SECONDS = 0.25  # how long a cancelled run may go on
_HELD_SECONDS = 0.01
# waits for the end of its input, which the daemon alone holds open; then, for five seconds at most, kills what is in the groups
_KEEPER = """read -r _
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  left=
  for group in "$0"/*/procs; do
    [ -e "$group" ] || continue
    left=1
    while read -r pid; do [ "$pid" = 0 ] || kill -9 "$pid"; done < "$group"
  done
  [ "$left" ] || exit 0
  sleep 0.25
done"""


@record
class Ended:
    """How a run ended: the exit code (128 + the signal where one ended it), and whether the caller gave it up."""

    code: int
    cancelled: bool = False


class Once:
    """The runs of one daemon. Safe to use from several threads."""

    def __init__(
        self, runtimes: Sequence[OciRuntime], groups: Cgroups, document: Callable[[Sandbox], str], folder: Path
    ) -> None:
        self._oci = runtimes[0]
        self._runtimes = runtimes
        self._groups = groups
        self._document = document
        self._all = folder
        self._folder = folder / f"{os.getpid()}-{os.urandom(4).hex()}"
        self._lock = threading.Lock()
        self._keeper: subprocess.Popen[bytes] | None = None

    def run(
        self,
        sandbox: Sandbox,
        output: Callable[[int, bytes], None],
        *,
        stdin: int | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Ended:
        """Run the sandbox's program to its end. `output` gets (stream, bytes) in this thread; `stdin` is a descriptor to read.

        `cancelled` is asked a few times a second; once true, everything in the container is killed. An error that `output` raises
        ends it too, and goes on. StartRefused where the program cannot be run.
        """
        self._keep()
        bundle = self._folder / sandbox.id
        try:
            bundle.mkdir(mode=0o700)
        except FileExistsError:
            raise Conflict(sandbox.id, "such a run is going on") from None
        try:
            (bundle / "config.json").write_text(self._document(sandbox))
            (bundle / "cgroup").write_text(sandbox.cgroup)
            (bundle / "procs").symlink_to(self._groups.counting(sandbox.cgroup) / "cgroup.procs")
            return self._run(sandbox, bundle, output, stdin, cancelled)
        finally:
            self._clean(sandbox.id, sandbox.cgroup, bundle)

    def sweep(self) -> None:
        """End and remove what daemons before this one left. To be called when none of them lives."""
        for owner in self._all.iterdir() if self._all.exists() else ():
            if owner == self._folder:
                continue
            for bundle in owner.iterdir():
                with contextlib.suppress(OSError, Failed):
                    group = (bundle / "cgroup").read_text()
                    self._groups.kill(group)
                    self._clean(bundle.name, group, bundle)
            shutil.rmtree(owner, ignore_errors=True)

    def close(self) -> None:
        """End the keeper, and with it whatever still runs."""
        with self._lock:
            keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.stdin is not None:
            keeper.stdin.close()
            keeper.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self) -> None:
        with self._lock:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._keeper is not None and self._keeper.poll() is None:
                return
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _run(
        self,
        sandbox: Sandbox,
        bundle: Path,
        output: Callable[[int, bytes], None],
        stdin: int | None,
        cancelled: Callable[[], bool] | None,
    ) -> Ended:
        options = ["--log", str(bundle / "log"), "--log-format", "json"]
        command = self._oci.command(
            *options, "run", "--pid-file", str(bundle / "pid"), "--bundle", str(bundle), sandbox.id
        )
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE
            if stdin is None
            else stdin,  # not /dev/null: crun would give it to the sandbox's user
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if child.stdin is not None:
            child.stdin.close()
        gave_up, complete = False, False
        try:
            complaint, gave_up = self._pump(child, bundle / "pid", sandbox.cgroup, output, cancelled)
            complete = True
        finally:
            if not complete:
                self._stop(child, sandbox.cgroup)
            for pipe in (child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()
            code = child.wait()
        if not (bundle / "pid").exists():
            raise refusal(_logged(bundle / "log") or complaint.decode("utf-8", "replace"), sandbox.args)
        if complaint:
            output(STDERR, complaint)
        return Ended(code=128 - code if code < 0 else code, cancelled=gave_up)

    def _pump(
        self,
        child: subprocess.Popen[bytes],
        started: Path,
        group: str,
        output: Callable[[int, bytes], None],
        cancelled: Callable[[], bool] | None,
    ) -> tuple[bytes, bool]:
        """Pass on what the process writes until it has closed both streams.

        Give what came on stderr before the process was known to run, which is the runtime's own where it never does.
        """
        held, gave_up = b"", False
        with selectors.DefaultSelector() as selector:
            for pipe, stream in ((child.stdout, STDOUT), (child.stderr, STDERR)):
                if pipe is not None:
                    selector.register(pipe, selectors.EVENT_READ, stream)
            while selector.get_map():
                ready = selector.select(_HELD_SECONDS if held else _TICK_SECONDS)
                if held and started.exists():
                    output(STDERR, held)
                    held = b""
                for key, _ in ready:
                    data = os.read(key.fd, _READ)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.data == STDERR and not started.exists():
                        held += data
                    else:
                        output(key.data, data)
                if not gave_up and cancelled is not None and cancelled():
                    gave_up = True
                    self._stop(child, group)
        return held, gave_up

    def _stop(self, child: subprocess.Popen[bytes], group: str) -> None:
        """Kill everything. Where the runtime has not come so far as to make the group, it has to go itself."""
        for _ in range(200):
            self._groups.kill(group)
            try:
                child.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
            return
        child.kill()

    def _clean(self, name: str, group: str, bundle: Path) -> None:
        """Remove what the runtime did not: usually nothing, it has done so when it ended by itself."""
        states = [oci for oci in self._runtimes if oci.state(name).exists()]
        if states or any(folder.exists() for folder in self._groups.folders(group)):
            self._groups.kill(group)
            self._groups.remove(group)
            for oci in states:
                oci.forget(name)
        shutil.rmtree(bundle, ignore_errors=True)


def _logged(path: Path) -> str:
    """Give the last error of a runtime's log, "" where there is none."""
    found = ""
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text("utf-8", "replace").splitlines():
            entry = json.loads(line)
            if entry.get("level") == "error":
                found = str(entry.get("msg") or "")
    return found
