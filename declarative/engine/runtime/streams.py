"""A process's streams through its monitor: output as it comes, input with an end, the terminal's size.

The rule that keeps it simple: an `Attachment` is one connection to one monitor, and every client has its own. The monitor sends
what is written after one attached, as packets of one letter for the stream and at most 8 KiB.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Self

from declarative.engine.runtime.spawn import CONTROL, SOCKET
from declarative.errors import NotFound, Unavailable
from declarative.record import record

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

STDIN, STDOUT, STDERR = 0, 1, 2
_PACKET_MAX = 32 << 10  # conmon reads 8 KiB (STDIO_BUF_SIZE) from the container at once
_KINDS = {2: STDOUT, 3: STDERR}  # conmon's own numbers; a terminal's output is stdout


@record
class Chunk:
    """What a process wrote to one stream."""

    stream: int
    data: bytes


class Attachment:
    """One connection to a monitor. Reading and writing may be done by two threads; `close` by any."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """Give the socket, for select and poll: readable when `read` does not block."""
        return self._connection.fileno()

    def read(self) -> Chunk | None:
        """Give the next output; None when there is no more. Blocks."""
        while True:
            try:
                packet = self._connection.recv(_PACKET_MAX)
            except OSError:  # closed by another thread, or reset by a monitor that ended
                return None
            if not packet:
                return None
            stream = _KINDS.get(packet[0])
            if stream is not None and len(packet) > 1:
                return Chunk(stream=stream, data=packet[1:])

    def write(self, data: bytes) -> None:
        """Give input to the process. Blocks while it does not read. Unavailable where it has ended."""
        for start in range(0, len(data), _PACKET_MAX):
            try:
                self._connection.sendall(data[start : start + _PACKET_MAX])
            except OSError as error:
                raise Unavailable("attach", f"the process takes no input any more: {error.strerror}") from error

    def close_input(self) -> None:
        """End the input; output goes on."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let the connection go; a `read` in another thread gives None."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attach(folder: Path) -> Attachment:
    """Connect to the monitor of a folder. NotFound where none listens: the process has ended."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # by descriptor: a path may be longer than a socket's name
        directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{SOCKET}")
        finally:
            os.close(directory)
    except OSError as error:
        connection.close()
        raise NotFound("attach", "no process listens") from error
    return Attachment(connection)


def resize(folder: Path, rows: int, columns: int) -> None:
    """Set the size of a process's terminal. NotFound where the process has ended."""
    _control(folder, f"1 {rows} {columns}\n")


def reopen_log(folder: Path) -> None:
    """Have the monitor open its log again, by name: it was renamed. NotFound where the process has ended."""
    _control(folder, "2 0 0\n")


def _control(folder: Path, line: str) -> None:
    try:
        pipe = os.open(folder / CONTROL, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound("monitor", "no process listens") from error
    try:
        os.write(pipe, line.encode())
    except OSError as error:
        raise NotFound("monitor", "no process listens") from error
    finally:
        os.close(pipe)
