"""Clients at a container's or a process's streams: raw bytes of a terminal, or frames that name their stream.

The rule that keeps it simple: a client is one connection, served by the thread that has it, and one more thread for what it
types. A client that goes changes nothing for the process.
"""

from __future__ import annotations

import os
import select
import threading
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from declarative.dockerapi.streams import encode_frame
from declarative.engine.containers.detach import Detector
from declarative.engine.containers.life import Status
from declarative.engine.runtime.streams import STDERR, STDOUT
from declarative.errors import Conflict, DeclarativeError, NotFound
from declarative.record import record

if TYPE_CHECKING:
    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.runtime.streams import Attachment, Chunk

_TICK = 1.0
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Wire(Protocol):
    """A client's connection: bytes both ways, each way ended on its own (the daemon's hijacked connections are such)."""

    def receive(self) -> bytes:
        """Give the next bytes; b"" after the client closed its side. Blocks."""

    def send(self, data: bytes) -> None:
        """Send. Unavailable where the client has gone."""

    def fileno(self) -> int:
        """Give the socket, for poll."""


@record
class Wanted:
    """What a client wants. `keys`: what lets it go, () for nothing; `end_input`: the process's input ends with the client's."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    terminal: bool = False
    keys: tuple[int, ...] = ()
    end_input: bool = True


class Parting(Enum):
    """Why a client is served no more."""

    ENDED = auto()  # there is no more output
    DETACHED = auto()  # it asked to be let go
    GONE = auto()


class Attacher:
    """Somebody who waits for a container to start, so that nothing of its output is missed."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._attachment: Attachment | None = None

    def connect(self, attachment: Attachment | None) -> None:
        """Hand over the connection; None: there will be none."""
        self._attachment = attachment
        self._ready.set()

    def let_go(self) -> None:
        """Want the connection no more, if it is there: nobody would read it, and the process would wait for that."""
        if self._attachment is not None:
            self._attachment.close()

    def wait(self, wire: Wire) -> Attachment | None:
        """Wait for the connection; None where there is none, or the client has gone."""
        poll = select.poll()
        poll.register(wire.fileno(), 0)
        while not self._ready.wait(_TICK):
            if any(event & _GONE for _, event in poll.poll(0)):
                return None
        return self._attachment


def begin(parts: Parts, container: Container, name: str) -> Attacher:
    """Attach to a container: at once where it is up, else when it starts. Conflict, in Docker's words, where it cannot be."""
    attacher = Attacher()
    with container.lock:
        if container.removed:
            raise NotFound("", f"No such container: {name}")
        if container.state.status is Status.PAUSED:
            raise Conflict("", f"container {name} is paused, unpause the container before attach")
        if container.state.status is Status.RESTARTING:
            raise Conflict("", f"container {name} is restarting, wait until the container is running")
        if container.state.is_up:
            try:
                attacher.connect(parts.runtime.attach(container.id))
            except NotFound:
                attacher.connect(None)  # it is just ending
        else:
            container.attachers.append(attacher)
    parts.tell(container, "attach")
    return attacher


def give_up(container: Container, attacher: Attacher) -> None:
    """Wait for a container's start no more."""
    with container.lock:
        if attacher in container.attachers:
            container.attachers.remove(attacher)
        attacher.let_go()  # it may have been started meanwhile


def serve(wire: Wire, attachment: Attachment, wanted: Wanted) -> Parting:
    """Carry bytes both ways until the process ends, or the client goes."""
    typing = _Typing(wire, attachment, wanted) if wanted.stdin else None
    poll = select.poll()
    poll.register(attachment.fileno(), select.POLLIN)
    poll.register(wire.fileno(), 0)  # its hanging up is told all the same
    if typing is not None:
        poll.register(typing.fileno(), select.POLLIN)
    try:
        while True:
            events = dict(poll.poll())
            if attachment.fileno() in events:
                chunk = attachment.read()
                if chunk is None:
                    return Parting.ENDED
                _pass_on(wire, chunk, wanted)
            elif typing is not None and typing.fileno() in events:
                return Parting.DETACHED
            elif events.get(wire.fileno(), 0) & _GONE:
                return Parting.GONE
    except DeclarativeError:
        return Parting.GONE
    finally:
        if typing is not None:
            typing.close()


def _pass_on(wire: Wire, chunk: Chunk, wanted: Wanted) -> None:
    if wanted.terminal:
        if wanted.stdout:
            wire.send(chunk.data)
    elif chunk.stream == STDOUT and wanted.stdout:
        wire.send(encode_frame("stdout", chunk.data))
    elif chunk.stream == STDERR and wanted.stderr:
        wire.send(encode_frame("stderr", chunk.data))


class _Typing:
    """Carries what a client sends to the process, in a thread of its own; its descriptor tells that the detach keys came."""

    def __init__(self, wire: Wire, attachment: Attachment, wanted: Wanted) -> None:
        self._wire = wire
        self._attachment = attachment
        self._wanted = wanted
        self._told, self._tells = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    def fileno(self) -> int:
        return self._told

    def close(self) -> None:
        """Let the pipe go; the thread ends with the client's connection."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._told)
                os.close(self._tells)

    def _run(self) -> None:
        detector = Detector(self._wanted.keys) if self._wanted.keys and self._wanted.terminal else None
        try:
            while data := self._wire.receive():
                passed, detached = detector.feed(data) if detector else (data, False)
                if passed:
                    self._attachment.write(passed)
                if detached:
                    with self._lock:
                        if not self._closed:
                            os.write(self._tells, b"\0")
                    return
            if (
                self._wanted.end_input and not self._wanted.terminal
            ):  # a terminal's client goes so, too: its keys detach
                self._attachment.close_input()
        except (DeclarativeError, OSError, ValueError):
            return  # either side is gone; the other thread sees it too
