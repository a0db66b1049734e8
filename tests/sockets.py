"""Sockets of the tests' own: servers for the length of a block, HTTP over any socket, into network namespaces and between them.

The rule that keeps it simple: a socket belongs to the namespace it was made in, whoever uses it; so only the making is done
in a thread that has entered, and everything after that is ordinary.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

from tests import sandbox

if TYPE_CHECKING:
    import socketserver
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK = 65536


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Have a server answer in a thread, until the block ends, however it does; the caller closes the server."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def serving_folder(folder: Path) -> Iterator[str]:
    """Serve a folder's files until the block ends; give its address."""
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def connect_unix(path: str, *, seconds: float = 120) -> socket.socket:
    """Make a connection to a unix socket. OSError where nobody listens."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(seconds)
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made


def exchange(
    made: socket.socket, method: str, path: str, *, body: bytes = b"", kind: str = "text/plain"
) -> tuple[int, str]:
    """One HTTP request over a connected socket, which is closed after it: status and body as text."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = made
    try:
        connection.request(method, path, body=body or None, headers={"Content-Type": kind, "Connection": "close"})
        with connection.getresponse() as answer:
            return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def made_in_network(namespace: str, make: Callable[[], socket.socket]) -> socket.socket:
    """Call `make` in another network namespace, given by its path in /proc; raises what `make` raises."""
    made: list[socket.socket] = []
    failed: list[BaseException] = []

    def enter_and_make() -> None:
        try:
            descriptor = os.open(namespace, os.O_RDONLY)
            try:
                sandbox.setns(descriptor)
            finally:
                os.close(descriptor)
            made.append(make())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            failed.append(error)

    thread = threading.Thread(target=enter_and_make)  # a thread for this alone: it never comes back
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def relay(listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
    """Pass each connection of a listener on to the one that `connect` makes, until `stop_relay`."""
    threading.Thread(target=_accept, args=(listener, connect), daemon=True).start()


def stop_relay(listener: socket.socket) -> None:
    """End a relay; shutting down wakes the thread that waits in accept, closing alone would not."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def carry(inner: socket.socket, outer: socket.socket) -> None:
    """Pass bytes both ways until both sides have ended; both are closed then."""
    with inner, outer:
        back = threading.Thread(target=_pump, args=(outer, inner), daemon=True)
        back.start()
        _pump(inner, outer)
        back.join()


def _accept(listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
    while True:
        try:
            inner, _ = listener.accept()
        except OSError:
            return
        try:
            outer = connect()
            outer.settimeout(None)  # a quiet stream is not a dead one
        except OSError:
            inner.close()
            continue
        threading.Thread(target=carry, args=(inner, outer), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either side is gone
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
