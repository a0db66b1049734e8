"""What a monitor is told and tells over its socket and its control pipe: output, input, the terminal's size, a new log.

The rule that keeps it simple: one call, one message. Who shares a connection is `hub`'s business.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from declarative.engine.runtime.spawn import CONTROL, MONITOR_FILE, SOCKET, read_pid
from declarative.errors import NotFound
from declarative.record import record

if TYPE_CHECKING:
    from types import TracebackType

STDIN, STDOUT, STDERR = 0, 1, 2
PACKET_MAX = 32 << 10  # conmon takes 32 KiB of input at once, and sends 8 KiB of output
_SOCKETS = 2  # of a monitor with one client: the one that listens, and the client's
_PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 0.0002
_KINDS = {2: STDOUT, 3: STDERR}  # conmon's own numbers; a terminal's output is stdout


@record
class Chunk:
    """What a process wrote to one stream."""

    stream: int
    data: bytes


class Attachment(Protocol):
    """One client of a process. Reading and writing may be done by two threads; `close` by any."""

    def fileno(self) -> int:
        """Give a descriptor for select and poll: readable when `read` does not block."""

    def read(self) -> Chunk | None:
        """Give the next output; None when there is no more. Blocks."""

    def write(self, data: bytes) -> None:
        """Give input to the process. Blocks while it does not read. Unavailable where it takes none any more."""

    def close_input(self) -> None:
        """End the input, where it is one that a client ends; output goes on."""

    def close(self) -> None:
        """Go; a `read` in another thread gives None."""

    def __enter__(self) -> Self:
        """Give itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""


class Connection(socket.socket):
    """A connection that closes with its last user, and not sooner.

    A user's thread may be writing to it, and the descriptor's number must not become another file's meanwhile.
    """

    def __del__(self) -> None:
        self.close()


def connect(folder: Path) -> Connection:
    """Connect to the monitor of a folder. NotFound where none listens: the process has ended."""
    connection = Connection(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
    return connection


def await_accept(folder: Path) -> None:
    """Wait until the monitor of a container that has not been started has its first connection, or has ended.

    A connection that is made is not yet one that the monitor knows of. conmon 2.1 leaves its loop at the end of its process: one
    that it sees after it has looked for connections, and before it looks again, takes what was written meanwhile into the log
    alone. That it waits for so long is rare, and the start waits with it, rather than somebody see nothing of a whole run.
    """
    pid = read_pid(folder / MONITOR_FILE)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _waits_for_client(pid) and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)


def _waits_for_client(monitor: int) -> bool:
    found = []
    with contextlib.suppress(OSError):  # it has ended
        for descriptor in Path(f"/proc/{monitor}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(descriptor.readlink().name)
    sockets = sum(name.startswith("socket:") for name in found)
    return bool(found) and sockets < _SOCKETS  # one that is not reaped has none


def parse_packet(packet: bytes) -> Chunk | None:
    """Read a monitor's packet: a letter for the stream, then what was written. None for one that says nothing."""
    stream = _KINDS.get(packet[0]) if packet else None
    return Chunk(stream=stream, data=packet[1:]) if stream is not None and len(packet) > 1 else None


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
