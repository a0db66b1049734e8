"""A real unix-socket proxy in front of an engine: it records every request, and can cut, delay or kill at any of them.

    with RecordingProxy(upstream, tmp_path / "proxy.sock") as proxy:
        … run the tool with --engine proxy.url …
        assert proxy.writes == []

Two hooks per request, each called in the thread of its connection and free to sleep or to kill a process:

- `before(call)`: the engine has seen nothing yet. `Verdict.CUT` closes the connection, and the engine never hears of it.
- `after(call)`: the engine has done it and its answer's head is here. `CUT` closes without passing it on; `HALF` passes the
  head and half of the first piece of the body on, then closes.

The rule that keeps it simple: bytes are passed on as they came; HTTP is read only as far as needed to tell requests apart.
Hijacked streams (attach, exec, BuildKit sessions) become bare pipes both ways, half-closes kept.
"""

from __future__ import annotations

import contextlib
import enum
import re
import select
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

_RECEIVE = 64 * 1024
_VERSION = re.compile(r"^/v\d+\.\d+(?=/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `number` counts from 1 over all connections; `path` is the target without version and query."""

    number: int
    method: str
    target: str

    @property
    def path(self) -> str:
        return _VERSION.sub("", self.target.partition("?")[0])

    @property
    def writes(self) -> bool:
        return self.method not in {"GET", "HEAD"}

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Verdict(enum.Enum):
    PASS = "pass"
    CUT = "cut"
    HALF = "half"


def let_pass(_: Call) -> Verdict:
    return Verdict.PASS


class _CutHere(Exception):
    """A hook said so, or a peer is gone: both sides are closed."""


class RecordingProxy:
    """Listens on `path` and speaks to the engine's socket at `upstream`. Hooks may be replaced while it runs."""

    def __init__(
        self,
        upstream: Path,
        path: Path,
        *,
        before: Callable[[Call], Verdict] = let_pass,
        after: Callable[[Call], Verdict] = let_pass,
    ) -> None:
        self.path = path
        self.before = before
        self.after = after
        self.calls: list[Call] = []
        self._upstream = upstream
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)

    @property
    def url(self) -> str:
        """The value for DOCKER_HOST and `--engine`."""
        return f"unix://{self.path}"

    @property
    def writes(self) -> list[Call]:
        """Every request so far that is neither GET nor HEAD."""
        return [call for call in self.calls if call.writes]

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen(256)
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept; closing alone would not
        self._listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join(10)
        self.path.unlink(missing_ok=True)

    def cut_all(self) -> None:
        """Close every connection there is, as a dying engine would."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _spawn(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        with self._lock:
            self._open |= {client, engine}
        try:
            with client, engine, contextlib.suppress(OSError, _CutHere):
                engine.connect(str(self._upstream))
                self._converse(_Side(client), _Side(engine, watched=client))
        finally:
            with self._lock:
                self._open -= {client, engine}

    def _converse(self, client: _Side, engine: _Side) -> None:
        while head := client.head():
            method, target, _ = head.decode("latin-1").split("\r\n", 1)[0].split(" ")
            call = self._record(method, target)
            self._obey(self.before(call))
            _forward_request(head, client, engine)
            if not self._answer(call, client, engine):
                return

    def _answer(self, call: Call, client: _Side, engine: _Side) -> bool:
        """Pass the answer on; whether another request may follow."""
        head = engine.head()
        status = int(head[9:12]) if head else 0
        verdict = self.after(call)
        if verdict is Verdict.CUT or not head:
            raise _CutHere
        client.sock.sendall(head)
        if status == 101 or (status == 200 and _field(head, b"content-type") == b"application/vnd.docker.raw-stream"):
            _pipe(client, engine)
            return False
        bodiless = call.method == "HEAD" or status in {204, 304}
        for piece in [] if bodiless else engine.body(head, until_close=True):
            if verdict is Verdict.HALF:
                client.sock.sendall(piece[: len(piece) // 2])
                raise _CutHere
            client.sock.sendall(piece)
        return _field(head, b"connection") != b"close"

    def _record(self, method: str, target: str) -> Call:
        with self._lock:
            call = Call(number=len(self.calls) + 1, method=method, target=target)
            self.calls.append(call)
        return call

    @staticmethod
    def _obey(verdict: Verdict) -> None:
        if verdict is not Verdict.PASS:
            raise _CutHere


class _Side:
    """One of the two sockets, with what was read from it and not yet passed on."""

    def __init__(self, sock: socket.socket, watched: socket.socket | None = None) -> None:
        self.sock = sock
        self.buffer = b""
        self._watched = watched

    def head(self) -> bytes:
        """Read up to and with the blank line; b"" where the peer is done. Interim answers (100) are skipped."""
        while True:
            while b"\r\n\r\n" not in self.buffer:
                if not self._fill():
                    return b""
            raw, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            if not raw.startswith(b"HTTP/1.1 100"):
                return raw + b"\r\n\r\n"

    def body(self, head: bytes, *, until_close: bool) -> Iterator[bytes]:
        """Yield the body's bytes with their chunk marks, as they come."""
        if _field(head, b"transfer-encoding") == b"chunked":
            yield from self._chunks()
        elif length := _field(head, b"content-length"):
            yield from self._exactly(int(length))
        elif until_close:
            while self.buffer or self._fill():
                piece, self.buffer = self.buffer, b""
                yield piece

    def _fill(self) -> bool:
        if self._watched is not None:
            self._wait_beside(self._watched)
        data = self.sock.recv(_RECEIVE)
        self.buffer += data
        return bool(data)

    def _wait_beside(self, watched: socket.socket) -> None:
        """Wait for bytes; a client that goes away meanwhile takes its call with it, as it would without a proxy."""
        ready, _, _ = select.select([self.sock, watched], [], [])
        if watched in ready and not watched.recv(1, socket.MSG_PEEK):
            raise _CutHere
        # Otherwise the client has sent its next request ahead (pipelining): from here on only the engine matters.

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self.buffer and not self._fill():
                raise _CutHere
            piece, self.buffer = self.buffer[:size], self.buffer[size:]
            size -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        size = 1
        while size:
            while b"\r\n" not in self.buffer:
                if not self._fill():
                    raise _CutHere
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            yield line + b"\r\n"
            yield from self._exactly(size + 2)


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().lower()
    return b""


def _forward_request(head: bytes, client: _Side, engine: _Side) -> None:
    """Pass a request on; an engine that refuses early closes its end, and then its answer is what counts."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        engine.sock.sendall(head)
        for piece in client.body(head, until_close=False):
            engine.sock.sendall(piece)


def _pipe(client: _Side, engine: _Side) -> None:
    back = threading.Thread(target=_pump, args=(engine, client), daemon=True)
    back.start()
    _pump(client, engine)
    back.join()


def _pump(source: _Side, sink: _Side) -> None:
    with contextlib.suppress(OSError):
        if source.buffer:
            sink.sock.sendall(source.buffer)
        while data := source.sock.recv(_RECEIVE):
            sink.sock.sendall(data)
    with contextlib.suppress(OSError):
        sink.sock.shutdown(socket.SHUT_WR)
