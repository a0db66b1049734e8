"""A hijacked connection: after the handshake a bare stream both ways (attach, exec).

The rule: early bytes are never lost, and the end of our side is told apart from the end of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from declarative.dockerapi.streams import Frame, FrameDecoder, StreamError
from declarative.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from declarative.dockerapi.transport import Link

_RECEIVE = 64 * 1024


class Duplex:
    """Standard input, output and error of something that runs. One thread may read while another writes.

    With `framed` False (a terminal) everything comes as standard output.
    """

    def __init__(self, link: Link, early: bytes, *, framed: bool, done: Callable[[], None]) -> None:
        self._link = link
        self._done = done
        self._early = early
        self._decoder = FrameDecoder() if framed else None

    def frames(self) -> Iterator[Frame]:
        """Yield output until the other side ends. Raises Unavailable when it is cut."""
        try:
            while data := self._read():
                if self._decoder is None:
                    yield Frame(stream="stdout", data=data)
                else:
                    yield from self._decoder.feed(data)
            if self._decoder is not None:
                self._decoder.end()
        except OSError as error:
            raise self._link.explain(error) from error
        except StreamError as error:
            raise Unavailable(self._link.address, f"the engine's stream is broken: {error}") from error

    def write(self, data: bytes) -> None:
        """Send standard input. Raises Unavailable when the other side is gone."""
        try:
            self._link.send(data)
        except OSError as error:
            raise self._link.explain(error) from error

    def close_write(self) -> None:
        """End standard input; output goes on."""
        try:
            self._link.half_close()
        except OSError as error:
            raise self._link.explain(error) from error

    def abort(self) -> None:
        """Wake a thread that reads, from another one."""
        self._link.abort()

    def close(self) -> None:
        """Close for good; the client forgets the connection."""
        self._done()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> bytes:
        if self._early:
            data, self._early = self._early, b""
            return data
        return self._link.receive(_RECEIVE)
