"""One connection of a client: requests in, answers out, and the change to a raw stream where a handler asks for it.

Parsing is h11's: it takes nothing that RFC 9112 does not allow, and keeps the bytes that came too early. The rule that keeps it
simple: one thread has a connection at a time; between two requests none has, and the connection costs a file descriptor.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import h11

from declarative.engine.daemon.http import Answer, Empty, Feed, Hijack, Response, Stream
from declarative.engine.daemon.wire import RawWire
from declarative.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from declarative.dockerapi.transport import Link
    from declarative.engine.daemon.http import Body
    from declarative.engine.log import Log

    Handle = Callable[[str, str, Mapping[str, str], Body, Callable[[], bool]], Response]
    """Method, target, headers (names in lower case), body, "has the client gone?" → response. Never raises."""

MAX_HEAD = 64 * 1024
"""Bytes of a request's head: what Go's server takes is a megabyte, what clients send a kilobyte, or some with X-Registry-Auth."""

HEAD_SECONDS = 30.0
"""A head that has begun has to be whole after this long."""

_RECEIVE = 128 * 1024
_LINGER_SECONDS = 0.1  # a client that runs several calls makes the next one within this; then the thread is given back
_DRAIN_BYTES = 1 << 20  # of a body nobody read: less is read and forgotten, so that the connection lives on
_DRAIN_SECONDS = 5.0
_CLOSE_SECONDS = 1.0  # how long the other side may take to read what was sent last
_POLL_EDGE = select.POLLIN | select.POLLHUP | select.POLLERR


_REASONS = {
    200: b"OK", 201: b"Created", 204: b"No Content", 304: b"Not Modified", 400: b"Bad Request", 401: b"Unauthorized",
    403: b"Forbidden", 404: b"Not Found", 409: b"Conflict", 500: b"Internal Server Error", 501: b"Not Implemented",
}  # fmt: skip


class Gone(Exception):
    """The client has closed: its own business, and nobody is told."""


class Connection:
    """One client. `stopping` tells whether the daemon ends: then nothing waits any longer."""

    def __init__(
        self, link: Link, handle: Handle, log: Log, stopping: Callable[[], bool], common: Mapping[str, str]
    ) -> None:
        self.link = link
        self._handle = handle
        self._log = log
        self._stopping = stopping
        self._common = [(name.encode(), value.encode("latin-1")) for name, value in common.items()]
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._poll = select.poll()
        self._poll.register(link.sock.fileno(), _POLL_EDGE)

    def fileno(self) -> int:
        """Give the socket's, for the selector that watches idle connections."""
        return self.link.sock.fileno()

    # ---- requests

    def serve(self) -> bool:
        """Answer requests until none comes for a moment. True: the client may ask again later; False: it is over."""
        try:
            while True:
                if not self._exchange():
                    return False
                if self._stopping():
                    return False
                if not self._more_soon():
                    return True
        except (Gone, OSError):
            return False
        except h11.LocalProtocolError as error:  # we broke the protocol: that is a fault of this daemon
            self._log.fault("response not sent", error)
            return False

    def close(self) -> None:
        """Close; what was sent last is given time to arrive. Wakes every thread that waits on the connection."""
        with contextlib.suppress(OSError):
            self.link.half_close()
            self._wait_for_end(_CLOSE_SECONDS)
        self.link.abort()
        self.link.close()

    def abort(self) -> None:
        """Wake the thread that waits on this connection, from any other; it then closes it."""
        self.link.abort()

    def _exchange(self) -> bool:
        """Answer one request; whether another may follow."""
        try:
            event = self.next_event(time.monotonic() + HEAD_SECONDS)
        except h11.RemoteProtocolError as error:
            self._refuse(error)
            return False
        if not isinstance(event, h11.Request):
            return False  # it closed between two requests, as clients do
        method, target = event.method.decode("ascii"), event.target.decode("latin-1")
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        body = _Body(self)
        response = self._handle(method, target, headers, body, self.gone)
        if isinstance(response, Hijack):
            self._hijack(response, body, upgrade=_asks_to_upgrade(headers))
            return False
        waits = self._http.they_are_waiting_for_100_continue  # for leave to send a body that nobody wants
        self._respond(response, method)
        return not waits and self._finish(body)

    def gone(self) -> bool:
        """Tell whether the client has closed its side and nothing more of it is to be read, or the daemon ends."""
        if self._stopping():
            return True
        try:
            if self._pending():
                return False
            return not self.link.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def next_event(self, deadline: float | None = None) -> Any:
        """Give the next event of the body. Raises Gone, h11.RemoteProtocolError."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if deadline is not None and not self._readable(deadline - time.monotonic()):
                raise Gone
            data = self._receive()
            if not data:
                raise Gone
            self._http.receive_data(data)

    def continue_body(self) -> None:
        """Tell a client that waits for it to go on with its body (RFC 9110 section 10.1.1)."""
        if self._http.they_are_waiting_for_100_continue:
            go_on: Any = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._send(self._http.send(go_on))

    def _more_soon(self) -> bool:
        return bool(self._http.trailing_data[0]) or self._readable(_LINGER_SECONDS)

    def _pending(self) -> bool:
        return bool(getattr(self.link, "pending", False))

    def _readable(self, seconds: float) -> bool:
        return self._pending() or bool(self._poll.poll(max(seconds, 0) * 1000))

    def _receive(self) -> bytes:
        try:
            return self.link.receive(_RECEIVE)
        except OSError as error:
            raise Gone from error

    def _send(self, data: bytes | None) -> None:
        if data:
            self.link.send(data)

    # ---- answers

    def _respond(self, response: Answer | Empty | Stream | Feed, method: str) -> None:
        if isinstance(response, Stream):
            self._stream(response, method)
            return
        if isinstance(response, Feed):
            self._feed(response, method)
            return
        headers = self._headers(response.headers)
        content = b""
        if isinstance(response, Answer):
            text = json.dumps(response.document, ensure_ascii=False, separators=(",", ":"))
            content = text.encode(errors="replace") + b"\n"  # one bad text of a record does not take the list with it
            headers.append((b"Content-Type", b"application/json"))
        if response.status not in {204, 304}:
            headers.append((b"Content-Length", str(len(content)).encode()))
        parts = [self._http.send(_head(response.status, headers))]
        if content and method != "HEAD":
            parts.append(self._http.send(h11.Data(data=content)))
        parts.append(self._http.send(h11.EndOfMessage()))
        self._send(b"".join(part for part in parts if part))

    def _stream(self, stream: Stream, method: str) -> None:
        chunks = iter(stream.chunks)
        try:
            self._send(self._http.send(_head(stream.status, self._stream_headers(stream))))
            for chunk in chunks if method != "HEAD" else ():
                if chunk:
                    self._send_pieces(self._http.send_with_data_passthrough(h11.Data(data=chunk)))
        except (Gone, OSError):
            raise Gone from None
        except Exception as error:  # the head is out: all that is left to say is that this is not whole
            if self.gone():
                raise Gone from error
            self._log.fault("stream broke off", error)
            raise Gone from error
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        self._send(self._http.send(h11.EndOfMessage()))

    def _feed(self, feed: Feed, method: str) -> None:
        stream = Stream(chunks=(), content_type=feed.content_type)
        begun = False

        def send(data: bytes) -> None:
            nonlocal begun
            try:
                if not begun:
                    self._send(self._http.send(_head(200, self._stream_headers(stream))))
                    begun = True
                if data and method != "HEAD":
                    self._send_pieces(self._http.send_with_data_passthrough(h11.Data(data=data)))
            except (Gone, OSError):
                raise Unavailable("client", "went away") from None

        try:
            feed.write(send)
        except Exception as error:
            if self.gone() and not self._stopping():
                raise Gone from error
            answer = (
                feed.failed(error) if feed.failed is not None else Answer(document={"message": str(error)}, status=500)
            )
            if not begun:
                self._respond(answer, method)
                return
            with contextlib.suppress(Unavailable):
                message = answer.document["message"]
                send(json.dumps({"errorDetail": {"message": message}, "error": message}).encode() + b"\r\n")
        send(b"")
        self._send(self._http.send(h11.EndOfMessage()))

    def _stream_headers(self, stream: Stream) -> list[tuple[bytes, bytes]]:
        headers = self._headers(stream.headers)
        headers.append((b"Content-Type", stream.content_type.encode("latin-1")))
        if not any(name.lower() == b"content-length" for name, _ in headers):
            headers.append((b"Transfer-Encoding", b"chunked"))
        return headers

    def _send_pieces(self, pieces: list[bytes] | None) -> None:
        self.link.send(b"".join(pieces or ()))

    def _headers(self, more: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        date = formatdate(time.time(), usegmt=True).encode()
        extra = [(name.encode("latin-1"), _sendable(value)) for name, value in more.items()]
        return [*self._common, (b"Date", date), *extra]

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no HTTP; h11 says which status fits."""
        status = error.error_status_hint or 400
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            with contextlib.suppress(OSError, Gone, h11.LocalProtocolError):
                self._respond(Answer(document={"message": f"no valid request: {error}"}, status=status), "GET")

    def _finish(self, body: _Body) -> bool:
        """Bring both sides to the end of this exchange; False where the connection has to go."""
        if self._http.our_state is h11.MUST_CLOSE or not body.drain(_DRAIN_BYTES):
            return False
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def _wait_for_end(self, seconds: float) -> None:
        """Read and forget until the other side closes: closing on unread bytes would take away what it has not read yet."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._readable(left):
            if not self.link.receive(_RECEIVE):
                return

    # ---- raw streams

    def _hijack(self, hijack: Hijack, body: _Body, *, upgrade: bool) -> None:
        try:
            wire = self._raw(hijack, body, upgrade=upgrade)
        except (Gone, OSError):
            hijack.lost()
            raise
        try:
            hijack.serve(wire)
        except (Gone, OSError, Unavailable):
            return  # the client has gone
        except Exception as error:  # noqa: BLE001 - the connection is raw: nothing can be told but to the log
            self._log.fault("raw stream broke off", error)

    def _raw(self, hijack: Hijack, body: _Body, *, upgrade: bool) -> RawWire:
        """Answer, and give what the connection is from now on."""
        if not body.drain(_DRAIN_BYTES):
            raise Gone
        lines = ["HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK", f"Content-Type: {hijack.content_type}"]
        lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
        head = ("\r\n".join(lines) + "\r\n").encode("latin-1")
        head += b"".join(b"%b: %b\r\n" % pair for pair in self._common) + b"\r\n"
        early = bytes(self._http.trailing_data[0])
        wire = RawWire(self.link, early)
        self._send(head)
        return wire


class _Body:
    """A request's body as it comes in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        if not self._ended:
            self._connection.continue_body()
        while (piece := self._next()) is not None:
            yield piece

    def drain(self, limit: int) -> bool:
        """Read and forget what nobody read; whether that reached the end, within `limit` bytes and some seconds."""
        left, deadline = limit, time.monotonic() + _DRAIN_SECONDS
        try:
            while left > 0:
                piece = self._next(deadline)
                if piece is None:
                    return True
                left -= len(piece)
        except (Unavailable, Invalid):
            pass
        return False

    def _next(self, deadline: float | None = None) -> bytes | None:
        if self._ended:
            return None
        try:
            event = self._connection.next_event(deadline)
        except h11.RemoteProtocolError as error:
            raise Invalid("request", f"the body is broken: {error}") from error
        except Gone as error:
            raise Unavailable("client", "went away in the middle of its request") from error
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self._ended = True
        if not isinstance(event, h11.EndOfMessage):
            raise Unavailable("client", "went away in the middle of its request")
        return None


def _asks_to_upgrade(headers: Mapping[str, str]) -> bool:
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    return "upgrade" in tokens and bool(headers.get("upgrade"))


def _head(status: int, headers: list[tuple[bytes, bytes]]) -> h11.Response:
    return h11.Response(status_code=status, headers=headers, reason=_REASONS.get(status, b""))


def _sendable(value: str) -> bytes:
    """Give a header's value as bytes; what would break out of its line is left out."""
    return value.replace("\r", " ").replace("\n", " ").encode("utf-8")
