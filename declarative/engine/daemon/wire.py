"""A hijacked connection, as handlers of attach and exec see it: bytes both ways, over a socket or over TLS.

The rule that keeps it simple: bytes that came with the request come first, and are never lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Unavailable

if TYPE_CHECKING:
    from declarative.dockerapi.transport import Link

_RECEIVE = 128 * 1024


class RawWire:
    """The bytes of a hijacked connection, early ones first."""

    def __init__(self, link: Link, early: bytes) -> None:
        self._link = link
        self._early = early

    def receive(self) -> bytes:
        """Give the next bytes; b"" after the client closed its side, or is gone."""
        if self._early:
            early, self._early = self._early, b""
            return early
        try:
            return self._link.receive(_RECEIVE)
        except OSError:
            return b""

    def send(self, data: bytes) -> None:
        """Send all of it. Unavailable where the client has gone."""
        try:
            self._link.send(data)
        except OSError as error:
            raise Unavailable("client", "went away") from error

    def fileno(self) -> int:
        """Give the socket's."""
        return self._link.sock.fileno()
