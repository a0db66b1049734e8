"""One keep-alive connection to an engine: a request out, a response back, again and again.

Owns patience (how long silence is borne) and staleness (a kept connection that died meanwhile).
The rule: one request at a time; a response that was not read to its end closes the connection.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from declarative.dockerapi import http11
from declarative.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from declarative.dockerapi.transport import Link
    from declarative.errors import DeclarativeError

MAX_DOCUMENT = 256 * 1024 * 1024
"""Bytes of a body that is read as a whole: 50,000 containers' list is a tenth of it; more is a peer gone mad."""


class Stale(Exception):
    """A kept connection was closed before a byte of the response came: a harmless request may be sent again.

    `fault` is what to raise where the request may not be repeated.
    """

    def __init__(self, fault: DeclarativeError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Connection:
    """A link with its HTTP reader. `probe` tells, by raising, that the engine is dead; it is asked after each silence."""

    def __init__(self, link: Link, probe: Callable[[], None]) -> None:
        self.link = link
        self.reader = http11.ResponseReader(self._receive)
        self._probe = probe
        self._patient = False
        self._seconds: float | None = None
        self._used = False
        self._answer: http11.Head | None = None

    def idle(self) -> bool:
        """Tell whether the kept connection is still open and quiet: one with anything to read was closed or confused."""
        poll = select.poll()
        poll.register(self.link.sock, select.POLLIN)
        return not poll.poll(0)

    def start(self, request: bytes, *, seconds: float | None, patient: bool) -> None:
        """Send a request's head and whole body. `seconds` of silence are borne (None: any), or probed when `patient`."""
        self._patient, self._seconds = patient, seconds
        self.link.sock.settimeout(seconds)
        self.send(request)

    def send(self, data: bytes) -> None:
        """Send more. Raises Stale, Unavailable and what the link explains."""
        try:
            self._transmit(data)
        except (http11.Cut, OSError) as error:
            raise self._early(error) from error

    def feed(self, pieces: Iterable[bytes], method: str) -> None:
        """Send a chunked body; ends early if the engine refuses before it is whole. Raises as `send` does."""
        self._answer = None
        try:
            for piece in pieces:
                if not self.idle() and self._refused(method):
                    return
                if piece:
                    self._transmit(http11.render_chunk(piece))
            self._transmit(http11.LAST_CHUNK)
        except (http11.Cut, OSError) as error:
            if isinstance(error, TimeoutError) or self.idle():
                raise self._lost(error) from error
            # Cut while sending, yet an answer lies there: it says why.

    def head(self, method: str) -> http11.Head:
        """Read the response's head. Raises Stale, Unavailable and what the link explains."""
        if self._answer is not None:
            head, self._answer = self._answer, None
            return head
        try:
            head = self.reader.head(method)
        except (http11.Cut, http11.Garbage, OSError) as error:
            raise self._early(error) from error
        self._used = True
        return head

    def body(self, head: http11.Head) -> Iterator[bytes]:
        """Yield the body's pieces. Raises Unavailable and what the link explains."""
        try:
            yield from self.reader.body(head)
        except (http11.Cut, http11.Garbage, OSError) as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Close the link."""
        self.link.close()

    def _refused(self, method: str) -> bool:
        """Something came while we still send: an engine's early progress is kept for later, a refusal ends the sending."""
        if self._answer is None:
            self._answer = self.head(method)
        else:
            self.reader.absorb()
        return self._answer.status >= 400

    def _transmit(self, data: bytes) -> None:
        """Send all of `data`, as patiently as the request is."""
        view = memoryview(data)
        while True:
            try:
                while view:
                    view = view[self.link.send_some(view) :]
                self.link.flush()
            except TimeoutError:
                if not self.idle():
                    self.reader.absorb()  # it waits for us to read before it reads on
                elif self._patient:
                    self._probe()
                else:
                    raise
            else:
                return

    def _receive(self, size: int) -> bytes:
        while True:
            try:
                return self.link.receive(size)
            except TimeoutError:
                if not self._patient:
                    raise
                self._probe()

    def _early(self, error: Exception) -> Exception:
        """Judge a failure before the response: on a kept connection that says nothing at all it is staleness."""
        fault = self._lost(error)
        answered = self.reader.begun or isinstance(error, TimeoutError | http11.Garbage)
        return Stale(fault) if self._used and not answered else fault

    def _lost(self, error: Exception) -> DeclarativeError:
        """Put a failure into words."""
        if isinstance(error, http11.Garbage):
            problem = f"what answers does not speak the Docker Engine API: {error}"
            return Unavailable(self.link.address, problem, "check the address given with --engine")
        if isinstance(error, TimeoutError):
            problem = f"the engine does not answer ({self._seconds:g} s)"
            return Unavailable(self.link.address, problem, "see whether it hangs, or give it more time with --timeout")
        return self.link.explain(error)


class Response:
    """A response whose body is still to be read. `done(reusable)` is called once, when it is over."""

    def __init__(self, connection: Connection, head: http11.Head, done: Callable[[Connection, bool], None]) -> None:
        self.head = head
        self.connection = connection
        self._done = done
        self._over = False

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes. Leaving early closes the connection, which makes an engine stop what it does."""
        try:
            yield from self.connection.body(self.head)
            # Bytes beyond the answer that nobody asked for: whatever they are, they are not the next answer.
            self._end(reusable=self.head.keep_alive and not self.connection.reader.begun)
        finally:
            self._end(reusable=False)

    def read(self) -> bytes:
        """Read the whole body, at most MAX_DOCUMENT bytes. Unavailable where there are more."""
        parts: list[bytes] = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            if size > MAX_DOCUMENT:
                self._end(reusable=False)
                raise Unavailable(self.connection.link.address, f"an answer of more than {MAX_DOCUMENT} bytes")
            parts.append(piece)
        return b"".join(parts)

    def close(self) -> None:
        """Give the response up."""
        self._end(reusable=False)

    def detach(self) -> Connection:
        """Take the connection over, for a stream that is no longer HTTP; it will not be reused."""
        self._over = True
        return self.connection

    def _end(self, *, reusable: bool) -> None:
        if not self._over:
            self._over = True
            self._done(self.connection, reusable)
