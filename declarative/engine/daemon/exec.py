"""Further processes in containers (`docker exec`).

The rule that keeps it simple: what goes wrong before the connection is a raw one is an answer, what goes wrong after is told in
the stream, as dockerd does, and by the exit code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.dockerapi.streams import encode_frame
from declarative.engine.containers import attaching, detach
from declarative.engine.containers.execs import ExecConfig, inspect
from declarative.engine.containers.shapes import ARGV, FLAG, NUMBERS, TEXT, TEXTS, Shape, read, shape
from declarative.engine.daemon.container_streams import read_size, stream_type
from declarative.engine.daemon.http import Answer, Empty, Hijack, Request, Response, Route
from declarative.errors import Failed, Invalid, NotFound
from declarative.record import record

if TYPE_CHECKING:
    from declarative.engine.daemon.http import Wire
    from declarative.engine.engine import Engine

_READY_SECONDS = 10.0
"""How long a start may take before nobody waits for it (dockerd's)."""


@record
class _Asked:
    """The body of POST /containers/NAME/exec."""

    cmd: tuple[str, ...] | None = None
    user: str = ""
    privileged: bool = False
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: str = ""
    env: tuple[str, ...] | None = None
    cwd: str = ""
    size: tuple[int, ...] = ()


shape(
    _Asked,
    Shape("cmd", "Cmd", ARGV),
    Shape("user", "User", TEXT),
    Shape("privileged", "Privileged", FLAG),
    Shape("tty", "Tty", FLAG),
    Shape("stdin", "AttachStdin", FLAG),
    Shape("stdout", "AttachStdout", FLAG),
    Shape("stderr", "AttachStderr", FLAG),
    Shape("detach_keys", "DetachKeys", TEXT),
    Shape("env", "Env", TEXTS),
    Shape("cwd", "WorkingDir", TEXT),
    Shape("size", "ConsoleSize", NUMBERS),
)


@record
class _Start:
    """The body of POST /exec/ID/start."""

    detach: bool = False
    tty: bool = False
    size: tuple[int, ...] = ()


shape(_Start, Shape("detach", "Detach", FLAG), Shape("tty", "Tty", FLAG), Shape("size", "ConsoleSize", NUMBERS))


def _pair(size: tuple[int, ...]) -> tuple[int, int]:
    return (size[0], size[1]) if len(size) == 2 else (0, 0)


def create(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/exec."""
    name = request.names["name"]
    container = engine.containers.get(name)
    asked = read(_Asked, request.json())
    try:
        detach.read_keys(asked.detach_keys)
    except Invalid:
        raise Invalid("", f"Invalid escape keys ({asked.detach_keys}) provided") from None
    made = engine.containers.execs.create(
        container,
        name,
        ExecConfig(
            args=asked.cmd or (),
            user=asked.user,
            privileged=asked.privileged,
            terminal=asked.tty,
            stdin=asked.stdin,
            stdout=asked.stdout,
            stderr=asked.stderr,
            detach_keys=asked.detach_keys,
            env=asked.env or (),
            cwd=asked.cwd,
            size=_pair(asked.size),
        ),
    )
    return Answer(document={"Id": made.id}, status=201)


def start(engine: Engine, request: Request) -> Response:
    """POST /exec/ID/start."""
    execs = engine.containers.execs
    exec_ = execs.get(request.names["name"])
    asked = read(_Start, request.json())
    execs.claim(exec_)
    size = _pair(asked.size)
    if asked.detach:
        execs.run_detached(exec_, execs.start(exec_, size=size))
        return Empty(status=200)
    config = exec_.config
    wanted = attaching.Wanted(
        stdin=config.stdin,
        stdout=config.stdout,
        stderr=config.stderr,
        terminal=config.terminal,
        keys=detach.read_keys(config.detach_keys),
    )

    def serve(wire: Wire) -> None:
        try:
            session = execs.start(exec_, size=size)
        except Failed as error:
            text = f"{error}\r\n".encode()
            wire.send(text if config.terminal else encode_frame("stdout", text))
            return
        execs.run_attached(exec_, session, wire, wanted)

    return Hijack(serve=serve, content_type=stream_type(request, terminal=config.terminal))


def resize(engine: Engine, request: Request) -> Response:
    """POST /exec/ID/resize."""
    exec_ = engine.containers.execs.get(request.names["name"])
    rows, columns = read_size(request)
    if exec_.started:  # its client sizes the terminal at once, and the process takes a moment
        exec_.ready.wait(_READY_SECONDS)
    session = exec_.session
    if session is None and exec_.code is None:
        raise Invalid("", "exec process is not started")
    ended = NotFound("", f"process does not exist {exec_.id}: not found")
    if session is None:
        raise ended
    try:
        session.resize(rows, columns)
    except NotFound:
        raise ended from None
    return Empty(status=200)


def inspect_exec(engine: Engine, request: Request) -> Response:
    """GET /exec/ID/json."""
    return Answer(document=inspect(engine.containers.execs.get(request.names["name"])))


ROUTES: tuple[Route, ...] = (
    Route(method="POST", path="/containers/{name}/exec", handler=create),
    Route(method="POST", path="/exec/{name}/start", handler=start),
    Route(method="POST", path="/exec/{name}/resize", handler=resize),
    Route(method="GET", path="/exec/{name}/json", handler=inspect_exec),
)
