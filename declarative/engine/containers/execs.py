"""Further processes in containers, as clients know them: made first, started once, asked for their exit code later.

The rule that keeps it simple: they live in memory only; a process that outlived the engine is ended by the next one. Those that
have ended are kept for some minutes, for clients that ask late.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from declarative.engine.containers.attaching import Parting, serve
from declarative.engine.containers.life import Call, allowed
from declarative.engine.containers.processes import process_of
from declarative.engine.runtime import grace
from declarative.engine.runtime.oci import StartRefused
from declarative.errors import Conflict, DeclarativeError, Failed, Invalid, NotFound
from declarative.record import field, record

if TYPE_CHECKING:
    from declarative.engine.containers.attaching import Wanted, Wire
    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.runtime.sessions import Prepared, Session

_KEPT = 300_000_000_000
"""Nanoseconds that an ended one is remembered."""
_CANNOT_RUN = 126
_PREPARED_SECONDS = 5.0
"""How long a process is prepared for: clients start at once what they have made."""
_PREPARED = 8
"""Processes that are prepared for at once."""


@record
class ExecConfig:
    """What is asked for (`ExecConfig` of the API)."""

    args: tuple[str, ...]
    user: str = ""
    privileged: bool = False
    terminal: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: str = ""
    env: tuple[str, ...] = ()
    cwd: str = ""
    size: tuple[int, int] = field(default=(0, 0))


class Exec:
    """One further process. `code`: None until it has ended."""

    __slots__ = (
        *("code", "config", "container", "ended", "id", "lock", "pid", "prepared", "prepared_for"),
        *("ready", "session", "started"),
    )

    def __init__(self, id: str, container: Container, config: ExecConfig) -> None:  # noqa: A002 - Docker's word
        self.id = id
        self.container = container
        self.config = config
        self.lock = threading.Lock()
        self.started = False
        self.ready = threading.Event()
        self.session: Session | None = None
        self.prepared: Prepared | None = None
        self.prepared_for = 0  # the first process of the container then
        self.pid = 0
        self.code: int | None = None
        self.ended = 0

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.session is not None and self.code is None


class Execs:
    """All of them, by id. Safe to use from several threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._execs: dict[str, Exec] = {}
        self._prepared: set[str] = set()  # those that are, or are just being

    def create(self, container: Container, name: str, config: ExecConfig) -> Exec:
        """Make one. Conflict, in Docker's words, where the container does not run."""
        allowed(Call.EXEC, container.state.status, id=container.id, name=name)
        if not config.args:
            raise Invalid("", "No exec command specified")
        made = Exec(self._parts.new_id(), container, config)
        now = self._parts.clock()
        with self._lock:
            old = [exec_.id for exec_ in self._execs.values() if _is_old(exec_, now)]
            for id_ in old:
                del self._execs[id_]
            self._execs[made.id] = made
        self._tell(made, "exec_create")
        self._parts.runtime.expect_process(grace.AGAIN)
        if not config.terminal:
            self._parts.schedule.soon(lambda: self._prepare(made))
        return made

    def _prepare(self, exec_: Exec) -> None:
        """Have the runtime come as far as it can while the client makes its next call."""
        with exec_.lock:
            with self._lock:
                if exec_.started or len(self._prepared) >= _PREPARED:
                    return
                self._prepared.add(exec_.id)
            exec_.prepared_for = exec_.container.state.pid
            with contextlib.suppress(DeclarativeError, OSError):  # if it is worth a word, starting fails too
                exec_.prepared = self._parts.runtime.prepare_exec(exec_.container.id, exec_.id)
        self._parts.schedule.after(_PREPARED_SECONDS, lambda: self._discard(exec_))

    def _take_prepared(self, exec_: Exec) -> Prepared | None:
        """Give what was prepared for a process, once."""
        with exec_.lock:
            prepared, exec_.prepared = exec_.prepared, None
        with self._lock:
            self._prepared.discard(exec_.id)
        return prepared

    def _discard(self, exec_: Exec) -> None:
        prepared = self._take_prepared(exec_)
        if prepared is not None:
            prepared.discard()

    def close(self) -> None:
        """Let go of what was prepared for nothing. Processes go on."""
        for exec_ in list(self._execs.values()):
            self._discard(exec_)

    def get(self, name: str) -> Exec:
        """Give one by its id or the beginning of it. NotFound, in Docker's words."""
        with self._lock:
            found = self._execs.get(name)
            if found is None and name:
                matches = [exec_ for id_, exec_ in self._execs.items() if id_.startswith(name)]
                found = matches[0] if len(matches) == 1 else None
        if found is None or found.container.removed:
            raise NotFound("", f"No such exec instance: {name}")
        return found

    def ids_of(self, container: Container) -> tuple[str, ...]:
        """Give those of a container that run."""
        with self._lock:
            return tuple(exec_.id for exec_ in self._execs.values() if exec_.container is container and exec_.running)

    def claim(self, exec_: Exec) -> None:
        """Take the right to start one. Conflict, in Docker's words, where it was started before or its container cannot."""
        container = exec_.container
        allowed(Call.EXEC, container.state.status, id=container.id, name=container.name)
        with exec_.lock:
            if exec_.started:
                what = "is already running" if exec_.running else "has already run"
                raise Conflict("", f"Error: Exec command {exec_.id} {what}")
            exec_.started = True

    def start(self, exec_: Exec, *, size: tuple[int, int] = (0, 0)) -> Session:
        """Start one that is claimed. Failed, in Docker's words; its exit code says so too then."""
        try:
            return self._start(exec_, size)
        finally:
            exec_.ready.set()

    def _start(self, exec_: Exec, size: tuple[int, int]) -> Session:
        config, container = exec_.config, exec_.container
        self._tell(exec_, "exec_start")
        if exec_.prepared_for != container.state.pid:
            self._discard(exec_)  # for another run of the container
        try:
            process = process_of(
                self._parts,
                container,
                config.args,
                user=config.user,
                cwd=config.cwd,
                env=config.env,
                terminal=config.terminal,
                privileged=config.privileged,
            )
            prepared = self._take_prepared(exec_)
            if prepared is not None:
                session = prepared.run(process, stdin=config.stdin)
            else:
                session = self._parts.runtime.exec(container.id, exec_.id, process, stdin=config.stdin)
        except StartRefused as error:
            self._ended(exec_, _CANNOT_RUN)
            raise Failed("", _words(error)) from error
        except (DeclarativeError, OSError) as error:
            self._ended(exec_, _CANNOT_RUN)
            raise Failed("", str(error)) from error
        finally:
            self._discard(exec_)
        exec_.session, exec_.pid = session, session.pid
        rows, columns = size if any(size) else config.size
        if config.terminal and rows and columns:
            with contextlib.suppress(NotFound):  # it may have ended by now: what it said is there all the same
                session.resize(rows, columns)
        return session

    def run_attached(self, exec_: Exec, session: Session, wire: Wire, wanted: Wanted) -> None:
        """Serve a client until the process ends; where the client goes first, the process goes on without."""
        parting = serve(wire, session.attachment, wanted)
        if parting is Parting.DETACHED:
            self._tell(exec_, "exec_detach")
        if parting is Parting.ENDED:  # its client asks for the code next, and takes one that is not known yet for 0
            self._finish(exec_, session, session.wait())
        else:
            self.run_detached(exec_, session)

    def run_detached(self, exec_: Exec, session: Session) -> None:
        """Let the process run without a client."""
        threading.Thread(target=self._see_off, args=(exec_, session), name="exec", daemon=True).start()

    def _see_off(self, exec_: Exec, session: Session) -> None:
        while session.attachment.read() is not None:
            pass  # nobody wants it, and the process must not wait
        self._finish(exec_, session, session.wait())

    def _finish(self, exec_: Exec, session: Session, code: int | None) -> None:
        self._ended(exec_, 137 if code is None else code)
        exec_.session = None  # it is remembered for minutes, and its descriptors close with the last who has it
        self._tell(exec_, "exec_die", exitCode=str(exec_.code))
        self._parts.schedule.soon(session.close)  # its client need not wait for that

    def _ended(self, exec_: Exec, code: int) -> None:
        exec_.code = code
        exec_.ended = self._parts.clock()

    def _tell(self, exec_: Exec, action: str, **attributes: str) -> None:
        words = " ".join(exec_.config.args)
        named = f"{action}: {exec_.config.args[0]} {words[len(exec_.config.args[0]) + 1 :]}"
        action = named if action in {"exec_create", "exec_start"} else action
        self._parts.tell(exec_.container, action, execID=exec_.id, **attributes)


def _is_old(exec_: Exec, now: int) -> bool:
    return exec_.container.removed or (exec_.ended != 0 and now - exec_.ended > _KEPT)


def _words(error: StartRefused) -> str:
    """Give the runtime's refusal as dockerd words it for an exec."""
    detail = error.problem.rpartition("runc create failed: ")[2].removeprefix("exec failed: ")
    return f"OCI runtime exec failed: exec failed: {detail}"


def inspect(exec_: Exec) -> dict[str, Any]:
    """Give `GET /exec/ID/json`."""
    config = exec_.config
    process: dict[str, Any] = {
        "tty": config.terminal,
        "entrypoint": config.args[0],
        "arguments": list(config.args[1:]),
        "privileged": config.privileged,
    }
    if config.user:
        process["user"] = config.user
    return {
        "ID": exec_.id,
        "Running": exec_.running,
        "ExitCode": exec_.code,
        "ProcessConfig": process,
        "OpenStdin": config.stdin,
        "OpenStderr": config.stderr,
        "OpenStdout": config.stdout,
        "CanRemove": False,
        "ContainerID": exec_.container.id,
        "DetachKeys": config.detach_keys,
        "Pid": exec_.pid,
    }
