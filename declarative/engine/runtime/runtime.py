"""The runtime: containers made, started, watched, signalled and removed, one monitor (`conmon`) each.

    absent --create--> created --start--> running <--> paused
                          |                  |            |
                          +-------------> stopped <-------+     stopped --delete--> absent

The rule that keeps it simple: what is known of a container is in its folder below the run root, written by its monitor, and in
the kernel. Nothing is remembered here but who waits, so a daemon that comes after this one knows as much.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Literal

from declarative.engine.runtime import cgroups, spawn, spec, streams
from declarative.engine.runtime.bundle import Bundle, Exit
from declarative.engine.runtime.grace import Grace
from declarative.engine.runtime.hub import Hub
from declarative.engine.runtime.limits import limits
from declarative.engine.runtime.oci import OciRuntime, find_runtimes
from declarative.engine.runtime.once import Ended, Once
from declarative.engine.runtime.oom import OomWatch
from declarative.engine.runtime.rooted import resolve_in_root
from declarative.engine.runtime.rotation import Policy, Rotation
from declarative.engine.runtime.seccomp import this_machine
from declarative.engine.runtime.sessions import Prepared, Session, start_session, sweep_sessions
from declarative.engine.runtime.usage import Usage, usage
from declarative.engine.runtime.watch import Watch
from declarative.errors import Failed, NotFound, Unsupported
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.engine.paths import Paths
    from declarative.engine.runtime.sandbox import Process, Resources, Sandbox
    from declarative.engine.runtime.streams import Attachment

Status = Literal["absent", "created", "running", "paused", "stopped"]
_PATIENCE_SECONDS = 10.0


@record
class State:
    """What a container is now; `pid` of its first process, 0 where there is none.

    `ran`: it has stopped, and its program ran to an end that is known.
    """

    id: str
    status: Status
    pid: int = 0
    exit: Exit | None = None
    ran: bool = False


class Runtime:
    """Every container of one run root. Safe to use from several threads; one container is changed by one thread at a time.

    `on_exit` is called once for each container that ends, and `on_oom` with the name of one that lost a process for want of
    memory, in the watching threads: they must not wait for anything.
    """

    def __init__(self, paths: Paths, *, only: str = "") -> None:
        """Open the runtime. `only`: the OCI runtime to be used ("runc", "crun"), "" for the best that is here."""
        self._paths = paths
        self.cgroups = cgroups.detect()
        self._runtimes = tuple(found for found in find_runtimes(paths.run, self.cgroups) if only in {"", found.kind})
        if not self._runtimes:
            raise Unsupported("engine", f"{only} is not here, or does not run with the control groups of this machine")
        self.oci = self._runtimes[0]
        self.on_exit: Callable[[Exit], None] | None = None
        self.on_oom: Callable[[str], None] | None = None
        self._host = spec.Host(machine=this_machine(), unified=self.cgroups.unified)
        self._grace = Grace(self.cgroups)
        self._watch = Watch()
        self._oom = OomWatch(self._starves)
        self._hub = Hub(paths.root / "streams")
        self.rotation = Rotation()
        self._once = Once(self._runtimes, self.cgroups, self.document, paths.run / "once")
        self._ended = threading.Condition()
        self._watched: set[str] = set()
        self._sessions = paths.run / "exec"
        for folder in (paths.bundles, *(found.root for found in self._runtimes)):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)

    def close(self) -> None:
        """Stop watching. Containers go on, and so do their logs; what `run_once` runs ends."""
        self._grace.close()
        self._watch.close()
        self._oom.close()
        self._hub.close()
        self.rotation.close()
        self._once.close()
        closing, self._runtimes = self._runtimes, ()
        for found in closing:
            found.close()

    def folder(self, name: str) -> Path:
        """Give the folder of a container's bundle and monitor."""
        return self._paths.bundles / name

    def _bundle(self, name: str) -> Bundle:
        return Bundle(name=name, folder=self.folder(name), cgroups=self.cgroups)

    def expect_process(self, seconds: float) -> None:
        """Be ready for processes that may be made within so many seconds; returns at once. See `grace`."""
        self._grace.expect(seconds)

    def create(self, sandbox: Sandbox, *, log: Path | None, stdin: bool = False, leave_stdin_open: bool = False) -> int:
        """Make the container's first process, which waits for `start`; give its id.

        `log`: where the monitor writes output (k8s-file format). `leave_stdin_open`: the input does not end when a client goes.
        StartRefused where the program cannot be run (its text is Docker's), Conflict where there is such a container.
        """
        oci = self._oci_for(sandbox, stdin=stdin)
        document = self._document(oci, sandbox)
        bundle = self._bundle(sandbox.id)
        bundle.make()
        try:
            bundle.fill(document, sandbox.cgroup, "none" if not stdin else "open" if leave_stdin_open else "once")
            monitor = spawn.Monitor(
                name=sandbox.id,
                folder=bundle.folder,
                log=log,
                stdin=stdin,
                leave_stdin_open=leave_stdin_open,
                terminal=sandbox.terminal,
                owner=sandbox.owner,
            )
            pid = spawn.start_monitor(oci, monitor, sandbox.args)
            self._observe(sandbox.id)
        except BaseException:
            with contextlib.suppress(Failed):
                self.delete(sandbox.id)
            raise
        return pid

    def document(self, sandbox: Sandbox) -> str:
        """Give the OCI runtime configuration of a sandbox. Invalid where it contradicts itself."""
        return self._document(self.oci, sandbox)

    def _document(self, oci: OciRuntime, sandbox: Sandbox) -> str:
        return json.dumps(oci.prepare(spec.runtime_spec(_with_targets(sandbox), self._host)))

    def start(self, name: str) -> None:
        """Let a created container run its program. NotFound where none waits."""
        bundle = self._bundle(name)
        self._hub.settle(bundle.folder)
        self._runtime_of(name).let_go(name, lambda: bundle.has_monitor() and bundle.exit() is None)

    def attach(self, name: str) -> Attachment:
        """Connect to a container's streams; before `start`, nothing is missed. NotFound where it has ended."""
        bundle = self._bundle(name)
        return self._hub.attach(bundle.folder, bundle.input())

    def resize(self, name: str, rows: int, columns: int) -> None:
        """Set the size of a container's terminal."""
        streams.resize(self.folder(name), rows, columns)

    def rotate_log(self, name: str, path: Path, policy: Policy) -> None:
        """Rotate the log of a running container from now on, until `delete`; to be said again by a daemon that takes it over."""
        self.rotation.add(name, path, policy, lambda: self.reopen_log(name))

    def reopen_log(self, name: str) -> None:
        """Have the monitor write to a new log file, after the old one was renamed."""
        streams.reopen_log(self.folder(name))

    def state(self, name: str) -> State:
        """Give what the container is now."""
        bundle = self._bundle(name)
        if not bundle.exists():
            return State(id=name, status="absent")
        ended = bundle.exit()
        if ended is not None or not bundle.has_monitor():
            ended = ended or bundle.exit() or bundle.lose()
            ran = not ended.lost and bool(bundle.pid()) and not self._runtime_of(name).is_waiting(name)
            return State(id=name, status="stopped", exit=ended, ran=ran)
        pid = bundle.pid()
        if self._runtime_of(name).is_waiting(name):
            return State(id=name, status="created", pid=pid)
        paused = self.cgroups.is_frozen(bundle.group())
        return State(id=name, status="paused" if paused else "running", pid=pid)

    def adopt(self) -> tuple[State, ...]:
        """Take over what another daemon left: every container is watched from now on. Give their states.

        Sessions and runs of its do not go on. To be called once, before any other call, when that daemon is known to have ended.
        For one that ended meanwhile `on_exit` is not called: its exit is in the state.
        """
        sweep_sessions(self._sessions)
        self._once.sweep()
        found = []
        for folder in sorted(self._paths.bundles.iterdir()):
            self._observe(folder.name)
            found.append(self.state(folder.name))
        return tuple(found)

    def wait(self, name: str, timeout: float | None = None) -> Exit | None:
        """Wait until a container has ended; None after `timeout` seconds. NotFound where there is none."""
        if not self._wait(name, timeout):
            return None
        state = self.state(name)
        if state.status == "absent":
            raise NotFound(name, "the runtime has no such container")
        return state.exit

    def _wait(self, name: str, timeout: float | None) -> bool:
        """Wait until a container is watched no more, or never was; False after `timeout` seconds."""
        with self._ended:
            return self._ended.wait_for(lambda: name not in self._watched, timeout)

    def kill(self, name: str, number: int = signal.SIGKILL, *, everyone: bool = False) -> None:
        """Send a signal to a container's first process, or to every process in it. NotFound where it does not run."""
        if everyone:
            self.cgroups.kill(self._bundle(name).group(), number)
            return
        descriptor = self._bundle(name).open_process()
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            raise NotFound(name, "its process has ended") from None
        finally:
            os.close(descriptor)

    def pause(self, name: str) -> None:
        """Stop every process of a container where it is."""
        self.cgroups.freeze(self._bundle(name).group(), frozen=True)

    def resume(self, name: str) -> None:
        """Let a paused container go on."""
        self.cgroups.freeze(self._bundle(name).group(), frozen=False)

    def update(self, name: str, resources: Resources) -> None:
        """Change a container's limits; what is 0 or "" stays as it is. Failed, in the runtime's words, where they are refused."""
        document = json.dumps(limits(resources, unified=self.cgroups.unified))
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with self._runtime_of(name).start_beside("update", "--resources", "-", name, **pipes) as done:
            complaint = done.communicate(document.encode())[1]
        if done.returncode != 0:
            reason = complaint.decode("utf-8", "replace").strip()
            raise Failed("", f"Cannot update container {name}: {reason}")
        if resources.pids < 0:  # crun does not know it
            self.cgroups.let_fork(self._bundle(name).group())

    def pids(self, name: str) -> tuple[int, ...]:
        """Give the machine's ids of every process in a container."""
        return self.cgroups.pids(self._bundle(name).group())

    def usage(self, name: str) -> Usage:
        """Give what a container uses now."""
        return usage(self.cgroups, self._bundle(name).group())

    def prepare_exec(self, name: str, session: str) -> Prepared | None:
        """Prepare for one more process without a terminal in a running container; None where nothing can be prepared."""
        oci = self._runtime_of(name)
        return Prepared(oci, name, self._sessions / session) if oci.kind == "crun" else None

    def exec(self, name: str, session: str, process: Process, *, stdin: bool) -> Session:
        """Start one more process in a running container; `session` is its id. StartRefused where it cannot be run."""
        folder = self._sessions / session
        return start_session(self._runtime_of(name), self._hub, name, folder, process, stdin=stdin)

    def run_once(
        self,
        sandbox: Sandbox,
        output: Callable[[int, bytes], None],
        *,
        stdin: int | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Ended:
        """Run a sandbox to its end, without a monitor: `Once.run`."""
        return self._once.run(sandbox, output, stdin=stdin, cancelled=cancelled)

    def delete(self, name: str) -> None:
        """End whatever is left of a container and remove all that the runtime has of it. Nothing where there is nothing."""
        bundle = self._bundle(name)
        if not bundle.exists():
            return
        self.rotation.remove(name)
        with contextlib.suppress(NotFound):  # it came so far as to have a group
            group = bundle.group()
            if bundle.has_monitor() or self.cgroups.pids(group):
                self._end(bundle, group)
            self.cgroups.remove(group)
        self._wait(name, _PATIENCE_SECONDS)  # else its end would be taken for that of the next one of this name
        self._hub.forget(bundle.folder)
        self._runtime_of(name).forget(name)
        bundle.remove()

    def _oci_for(self, sandbox: Sandbox, *, stdin: bool) -> OciRuntime:
        """Give the runtime for a new container. Unsupported where none will do."""
        reason = self._needs_runc(sandbox, stdin=stdin) if self.oci.kind == "crun" else ""
        found = next((one for one in self._runtimes if not reason or one.kind == "runc"), None)
        if found is None:
            raise Unsupported("", f"crun is not to be trusted with {reason}", "install runc: apt-get install runc")
        return found

    def _needs_runc(self, sandbox: Sandbox, *, stdin: bool) -> str:
        """Tell what it is that crun should not do; "" where there is nothing.

        It gives its standard streams to the container's user, and where they are the machine's own /dev/null, that: the user may
        then close it to everybody (containers/crun#1845, mended in August 2025). On hybrid machines it is in a mount namespace of
        ours, and what a container mounts would be seen there, not on the machine.
        """
        if sandbox.uid_maps:
            return "a user namespace"
        if spec.propagation(sandbox.mounts) == "shared" and not self.oci.shares_mounts:
            return "shared mounts"
        is_root = (sandbox.user.uid, sandbox.user.gid) == (0, 0)
        return "" if is_root or stdin or sandbox.terminal else "a user that is not root"

    def _end(self, bundle: Bundle, group: str) -> None:
        self._observe(bundle.name)
        self.cgroups.kill(group)
        with contextlib.suppress(NotFound):
            self.kill(bundle.name)
        if not self._wait(bundle.name, _PATIENCE_SECONDS) or bundle.has_monitor():
            raise Failed(bundle.name, "its monitor does not end")

    def _observe(self, name: str) -> None:
        """Watch a container's monitor, if it is there."""
        folder = self.folder(name)
        descriptor = spawn.open_monitor(folder)
        if descriptor < 0:
            return
        with self._ended:
            if name in self._watched:
                os.close(descriptor)
                return
            self._watched.add(name)
        self._watch.add(descriptor, lambda: self._over(name))
        # where it has just gone, or there are no watches left, it is told of at the end
        with contextlib.suppress(OSError):
            self._oom.add(name, folder)

    def starved(self, name: str) -> bool:
        """Tell whether the kernel killed a process of this run of a container for want of memory."""
        return self._bundle(name).starved()

    def _starves(self, name: str) -> None:
        if self.on_oom is not None:
            self.on_oom(name)

    def _over(self, name: str) -> None:
        bundle = self._bundle(name)
        ended = bundle.exit() or bundle.lose()
        with self._ended:
            self._watched.discard(name)
            self._ended.notify_all()
        if self.on_exit is not None:
            self.on_exit(ended)

    def _runtime_of(self, name: str) -> OciRuntime:
        """Give the OCI runtime that has made a container: a daemon before this one may have had another."""
        return next((found for found in self._runtimes if found.state(name).exists()), self.oci)


def _with_targets(sandbox: Sandbox) -> Sandbox:
    """Give the sandbox with the targets of mounts as they are in its root: an image may have a link there, even to nothing."""
    return replace(
        sandbox,
        mounts=tuple(replace(mount, target=resolve_in_root(sandbox.rootfs, mount.target)) for mount in sandbox.mounts),
    )
