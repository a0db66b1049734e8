"""Clients at the streams of processes: each sees all output from when it came, and several may see one process.

The rule that keeps it simple: a process has one connection to its monitor however many clients it has, and one thread reads all
connections at once into the clients' backlogs. So a client that does not read holds up neither the process nor another client.
There is another reason for sharing: a monitor ends the input when any connection of its closes, and a client that only looks on
must not do that.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from typing import TYPE_CHECKING, Literal, Self

from declarative.engine.runtime import streams
from declarative.engine.runtime.backlog import Backlog
from declarative.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from declarative.engine.runtime.streams import Chunk

Input = Literal["none", "once", "open"]
"""A process's input: it has none; it ends when a client ends it; it goes on when clients go."""
_PACKETS_AT_ONCE = 64


class _Line:
    """One connection to a monitor, and the clients that share it. Guarded by the hub's lock."""

    def __init__(self, folder: Path, connection: streams.Connection, kind: Input) -> None:
        self.folder = folder
        self.connection = connection
        self.kind = kind
        self.clients: list[SharingClient] = []
        self.paused = False
        self.over = False
        self.input_ended = kind == "none"


class Hub:
    """Every connection to monitors. `spill` is a folder on the disk for what slow clients have not taken."""

    def __init__(self, spill: Path) -> None:
        self._spill = spill
        self._lock = threading.Lock()
        self._lines: dict[Path, _Line] = {}
        self._by_number: dict[int, _Line] = {}
        self._poll = select.epoll()
        self._thread: threading.Thread | None = None
        self._ends, self._ended = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll.register(self._ends, select.EPOLLIN)

    def attach(self, folder: Path, kind: Input) -> SharingClient:
        """Give a client of the process that has this folder. NotFound where it has ended."""
        with self._lock:
            line = self._lines.get(folder)
            if line is None:
                line = _Line(folder, streams.connect(folder), kind)
                self._lines[folder] = line
                self._by_number[line.connection.fileno()] = line
                self._poll.register(line.connection, select.EPOLLIN)
                self._start()
            client = SharingClient(self, line, Backlog(self._spill))
            line.clients.append(client)
            return client

    def settle(self, folder: Path) -> None:
        """Have whoever is attached to what has not been started miss nothing from now on."""
        with self._lock:
            attached = folder in self._lines
        if attached:
            streams.await_accept(folder)

    def close(self) -> None:
        """Let every connection go; clients see an end."""
        os.write(self._ended, b"\0")
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for line in list(self._lines.values()):
                self._drop(line)
        self._poll.close()
        os.close(self._ends)
        os.close(self._ended)

    def forget(self, folder: Path) -> None:
        """Read what a monitor that has ended left, and let its connection go: its folder is another's next."""
        with self._lock:
            line = self._lines.get(folder)
            if line is None:
                return
            with contextlib.suppress(BlockingIOError):
                while not line.over:
                    self._receive(line)
            if not line.over:
                self._drop(line)

    def make_room(self, line: _Line) -> None:
        """Note that a client has room again, or has gone."""
        with self._lock:
            if line.paused and not line.over and not any(other.is_full for other in line.clients):
                line.paused = False
                self._poll.register(line.connection, select.EPOLLIN)

    def end_input(self, line: _Line) -> None:
        """End the input, if a client may."""
        with self._lock:
            if line.kind == "once" and not line.input_ended and not line.over:
                line.input_ended = True
                with contextlib.suppress(OSError):
                    line.connection.shutdown(socket.SHUT_WR)

    def leave(self, client: SharingClient, line: _Line) -> None:
        """Let a client go, and the connection with the last one; but not where that would end the input."""
        with self._lock:
            if client in line.clients:
                line.clients.remove(client)
            if not line.clients and not line.over and (line.kind != "once" or line.input_ended):
                self._drop(line)
        self.make_room(line)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            for number, _ in self._poll.poll():
                if number == self._ends:
                    return
                with self._lock:
                    line = self._by_number.get(number)
                    if line is not None:
                        self._read(line)

    def _read(self, line: _Line) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(_PACKETS_AT_ONCE):
                self._receive(line)
                if line.over:
                    return
        if any(client.is_full for client in line.clients):
            line.paused = True
            self._poll.unregister(line.connection)

    def _receive(self, line: _Line) -> None:
        """Pass on one packet, or the end. BlockingIOError where there is none."""
        try:
            packet = line.connection.recv(streams.PACKET_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise
        except OSError:
            packet = b""
        if not packet:
            self._drop(line)
            return
        chunk = streams.parse_packet(packet)
        for client in line.clients if chunk is not None else ():
            client.put(chunk)

    def _drop(self, line: _Line) -> None:
        line.over = True
        self._lines.pop(line.folder, None)
        self._by_number.pop(line.connection.fileno(), None)
        if not line.paused:
            self._poll.unregister(line.connection)
        with contextlib.suppress(OSError):
            line.connection.shutdown(socket.SHUT_RDWR)
        for client in line.clients:
            client.put(None)
        line.clients.clear()  # no circle is left, and the connection closes with the last client


class SharingClient:
    """One of the clients of a monitor. See `streams.Attachment`."""

    def __init__(self, hub: Hub, line: _Line, backlog: Backlog) -> None:
        self._hub = hub
        self._line = line
        self._backlog = backlog
        self._lock = threading.Lock()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._told = False
        self._over = False

    def __del__(self) -> None:
        os.close(self._event)  # not in `close`: another thread may be waiting for it

    def fileno(self) -> int:
        """Give a descriptor for select and poll: readable when `read` does not block."""
        return self._event

    def read(self) -> Chunk | None:
        """Give the next output; None when there is no more. Blocks."""
        while True:
            with self._lock:
                was_full = self._backlog.is_full
                chunk = self._backlog.take()
                if self._told and self._backlog.size == 0 and not self._over:
                    self._told = False
                    os.eventfd_read(self._event)
                room = was_full and not self._backlog.is_full
                if chunk is None and self._over:
                    return None
            if room:
                self._hub.make_room(self._line)
            if chunk is not None:
                return chunk
            self._wait()

    def _wait(self) -> None:
        poll = select.poll()  # select(2) knows no descriptor above 1023
        poll.register(self._event, select.POLLIN)
        poll.poll()

    def write(self, data: bytes) -> None:
        """Give input to the process. Blocks while it does not read. Unavailable where it has ended."""
        for start in range(0, len(data), streams.PACKET_MAX):
            try:
                self._line.connection.sendall(data[start : start + streams.PACKET_MAX])
            except OSError as error:
                raise Unavailable("attach", f"the process takes no input any more: {error.strerror}") from error

    def close_input(self) -> None:
        """End the input, where it is one that a client ends; output goes on."""
        self._hub.end_input(self._line)

    def close(self) -> None:
        """Go; a `read` in another thread gives None."""
        self._hub.leave(self, self._line)
        with self._lock:
            self._over = True
            self._tell()
            self._backlog.close()

    @property
    def is_full(self) -> bool:
        """Whether this client is so far behind that nothing more is kept for it."""
        return self._backlog.is_full

    def put(self, chunk: Chunk | None) -> None:
        """Take output for the client; None: there is no more. For the hub."""
        with self._lock:
            if chunk is None:
                self._over = True
            elif not self._over:
                self._backlog.put(chunk)
            self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            os.eventfd_write(self._event, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
