"""What comes out of containers, and goes in: attach, logs, wait, resize, top, stats.

The rule that keeps it simple: whatever follows asks once a second whether anybody still wants it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.engine.containers import attaching, detach, log_options, measuring, moments
from declarative.engine.containers.life import Call, allowed
from declarative.engine.containers.parts import LOG
from declarative.engine.daemon.http import Answer, Empty, Hijack, Request, Response, Route, Stream
from declarative.engine.runtime.logformat import Wanted as WantedLog
from declarative.engine.runtime.logs import read_log
from declarative.errors import Invalid, NotFound, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.engine.containers.container import Container
    from declarative.engine.daemon.http import Wire
    from declarative.engine.engine import Engine
    from declarative.engine.runtime.streams import Attachment

_TICK = 1.0
_RAW = "application/vnd.docker.raw-stream"
_MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_CONDITIONS = ("", "not-running", "next-exit", "removed")


def stream_type(request: Request, *, terminal: bool) -> str:
    """Give the content type of a container's or a process's streams."""
    return _MULTIPLEXED if not terminal and request.version >= (1, 42) else _RAW


def attach(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/attach."""
    name, query = request.names["name"], request.query
    container = engine.containers.get(name)
    try:
        keys = detach.read_keys(query.text("detachKeys"))
    except Invalid as error:
        raise Invalid("", error.problem) from None
    terminal = container.config.tty
    wanted = attaching.Wanted(
        stdin=query.flag("stdin") and container.config.open_stdin,
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        terminal=terminal,
        keys=keys,
        end_input=container.config.stdin_once,
    )
    follows, shows = query.flag("stream"), query.flag("logs")
    parts = engine.containers.parts
    attacher = attaching.begin(parts, container, name) if follows else None
    if attacher is None:
        parts.tell(container, "attach")

    def leave() -> None:
        if attacher is not None:
            attaching.give_up(container, attacher)

    def begin(wire: Wire) -> Attachment | None:
        if shows and (wanted.stdout or wanted.stderr):
            for block in _log(
                engine, container, WantedLog(stdout=wanted.stdout, stderr=wanted.stderr, framed=not terminal)
            ):
                wire.send(block)
        return attacher.wait(wire) if attacher is not None else None

    def serve(wire: Wire) -> None:
        attachment = None
        try:
            attachment = begin(wire)
        finally:
            if attachment is None:
                leave()
        if attachment is None:
            return
        try:
            if attaching.serve(wire, attachment, wanted) is attaching.Parting.DETACHED:
                parts.tell(container, "detach")
        finally:
            attachment.close()

    return Hijack(serve=serve, lost=leave, content_type=stream_type(request, terminal=terminal))


def _log(
    engine: Engine, container: Container, wanted: WantedLog, tail: int | None = None, request: Request | None = None
) -> Iterator[bytes]:
    """Give a container's log; followed while it runs, for a `request` that asks for it."""
    follow = request is not None and request.query.flag("follow")
    path = engine.containers.parts.folder(container) / LOG
    return read_log(
        path,
        wanted,
        tail=tail,
        ended=(lambda: not container.state.is_up) if follow else None,
        gone=request.gone if request is not None else lambda: False,
    )


def logs(engine: Engine, request: Request) -> Response:
    """GET /containers/NAME/logs."""
    query = request.query
    container = engine.containers.get(request.names["name"])
    stdout, stderr = query.flag("stdout"), query.flag("stderr")
    if not stdout and not stderr:
        raise Invalid("", "Bad parameters: you must choose at least one stream")
    if container.host.log_config.type == log_options.NONE:
        raise Unsupported("", "configured logging driver does not support reading")
    terminal = container.config.tty
    config = container.config
    details = log_options.details(container.host.log_config, config.labels or {}, config.env or ())
    wanted = WantedLog(
        stdout=stdout,
        stderr=stderr,
        since=moments.read_stamp(query.text("since")) or None,
        until=moments.read_stamp(query.text("until")) or None,
        timestamps=query.flag("timestamps"),
        details=f"{details} ".encode() if query.flag("details") else b"",
        framed=not terminal,
    )
    tail = query.text("tail", "all")
    lines = int(tail) if tail.isascii() and tail.isdigit() else None
    return Stream(
        chunks=_log(engine, container, wanted, lines, request), content_type=stream_type(request, terminal=terminal)
    )


def wait(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/wait: its head goes out at once, for `docker run` starts the container only then."""
    condition = request.query.text("condition")
    if condition not in _CONDITIONS:
        raise Invalid("", f'invalid condition: "{condition}"')
    container = engine.containers.get(request.names["name"])
    seen = container.falls

    def over() -> bool:
        if condition == "removed":
            return container.removed
        fell = container.falls != seen  # its policy may start it again: the client hears of this end all the same
        return fell or container.removed or (condition != "next-exit" and not container.state.is_active)

    def answer() -> Iterator[bytes]:
        while not container.wait_until(over, _TICK):
            if request.gone():
                return
        code = container.fall_code if container.falls != seen else container.state.exit_code
        yield json.dumps({"StatusCode": code}).encode() + b"\n"

    return Stream(chunks=answer())


def resize(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/resize."""
    name = request.names["name"]
    container = engine.containers.get(name)
    rows, columns = read_size(request)
    allowed(Call.RESIZE, container.state.status, id=container.id, name=name)
    parts = engine.containers.parts
    try:
        parts.runtime.resize(container.id, rows, columns)
    except NotFound:
        allowed(Call.RESIZE, container.state.status, id=container.id, name=name)  # it has just ended
    parts.tell(container, "resize", height=str(rows), width=str(columns))
    return Empty(status=200)


def read_size(request: Request) -> tuple[int, int]:
    """Read rows and columns of a terminal. Invalid, in Docker's words."""
    found = []
    for name in ("h", "w"):
        text = request.query.text(name)
        if not text.isascii() or not text.isdigit() or int(text) > 0xFFFF:
            raise Invalid("", f'strconv.Atoi: parsing "{text}": invalid syntax')
        found.append(int(text))
    return found[0], found[1]


def top(engine: Engine, request: Request) -> Response:
    """GET /containers/NAME/top."""
    name = request.names["name"]
    container = engine.containers.get(name)
    return Answer(
        document=measuring.top(engine.containers.parts, container, name, request.query.text("ps_args", "-ef"))
    )


def stats(engine: Engine, request: Request) -> Response:
    """GET /containers/NAME/stats: one reading, two a second apart to compare, or one every second."""
    parts, query = engine.containers.parts, request.query
    container = engine.containers.get(request.names["name"])

    def line(now: measuring.Reading, before: measuring.Reading | None) -> bytes:
        document: dict[str, Any] = measuring.document(parts, container, now, before)
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    def readings() -> Iterator[bytes]:
        before: measuring.Reading | None = None
        while not request.gone() and not container.removed:
            now = measuring.take(parts, container)
            yield line(now, before)
            before = now if now.used else None
            container.wait_until(lambda: container.removed, _TICK)

    if query.flag("stream", default=True):
        return Stream(chunks=readings())
    before = None
    if not query.flag("one-shot") and container.state.is_up:
        before = measuring.take(parts, container)
        container.wait_until(lambda: container.removed or not container.state.is_up, _TICK)
    return Answer(document=measuring.document(parts, container, measuring.take(parts, container), before))


ROUTES: tuple[Route, ...] = (
    Route(method="POST", path="/containers/{name}/attach", handler=attach),
    Route(method="GET", path="/containers/{name}/logs", handler=logs),
    Route(method="POST", path="/containers/{name}/wait", handler=wait),
    Route(method="POST", path="/containers/{name}/resize", handler=resize),
    Route(method="GET", path="/containers/{name}/top", handler=top),
    Route(method="GET", path="/containers/{name}/stats", handler=stats),
)
