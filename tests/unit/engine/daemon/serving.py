"""A server of the daemon's kind around a handler of the test's own, on a unix socket or on TCP with TLS."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from typing import TYPE_CHECKING

from declarative.engine.daemon.listen import Listener, listen
from declarative.engine.daemon.server import Server
from declarative.engine.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.dockerapi.transport import TlsFiles
    from declarative.engine.daemon.connection import Handle


class Served:
    """The server under test, its log, and connections to it."""

    def __init__(self, server: Server, listener: Listener, log: io.StringIO) -> None:
        self.server = server
        self.listener = listener
        self.log = log

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.sock.getsockname()[:2]
        return host, port

    def connect(self) -> socket.socket:
        if self.listener.path is None:
            made = socket.create_connection(self.address, timeout=30)
        else:
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(30)
            try:
                made.connect(str(self.listener.path))
            except OSError:
                made.close()
                raise
        return made

    def ask(self, *pieces: bytes) -> bytes:
        """Send pieces one by one, and read until the server closes: the pieces have to ask for that."""
        with self.connect() as made:
            for piece in pieces:
                made.sendall(piece)
            return read_all(made)


@contextlib.contextmanager
def serving(handle: Handle, folder: Path, *, host: str = "", tls: TlsFiles | None = None) -> Iterator[Served]:
    log = io.StringIO()
    logger = Log(log, level="debug")
    listener = listen(host or f"unix://{folder}/s", tls)
    server = Server(handle, [listener], logger, {"Api-Version": "1.47"})
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield Served(server, listener, log)
    finally:
        server.stop()
        thread.join(30)
        server.drain(5)
        assert not thread.is_alive()


def read_all(made: socket.socket) -> bytes:
    found = []
    while piece := made.recv(65536):
        found.append(piece)
    return b"".join(found)


def read_head(made: socket.socket) -> bytes:
    """Read up to and with the blank line, and not a byte more."""
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        piece = made.recv(1)
        assert piece, found
        found += piece
    return found
