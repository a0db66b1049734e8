"""The HTTP server: accepts connections, watches idle ones, and gives those that speak a thread.

One thread waits on a selector for new connections and for idle ones to speak; a connection with a request has a worker thread
until it falls silent. So ten thousand idle clients cost file descriptors, and a stream that lasts hours costs one thread.

The rule that keeps it simple: only the selector's thread touches the selector; others fill a queue and wake it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from declarative.engine.daemon.connection import Connection
from declarative.engine.daemon.workers import Workers

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from declarative.engine.daemon.connection import Handle
    from declarative.engine.daemon.listen import Listener
    from declarative.engine.log import Log

_BUSY_BODY = b'{"message":"the daemon has too many requests under way"}\n'
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b"
) % (len(_BUSY_BODY), _BUSY_BODY)
_TICK_SECONDS = 1.0
_NO_DESCRIPTORS_SECONDS = 0.2


class Server:
    """Serves `handle` at `listeners`. `common`: headers of every answer; `accepted` is called for every client that comes."""

    def __init__(
        self,
        handle: Handle,
        listeners: Sequence[Listener],
        log: Log,
        common: Mapping[str, str] | None = None,
        accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self._handle = handle
        self._listeners = tuple(listeners)
        self._log = log
        self._common = dict(common or {})
        self._accepted = accepted
        self._workers = Workers()
        self._selector = selectors.DefaultSelector()
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._wakes, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[Connection] = set()
        self._quiet_since = time.monotonic()

    # ---- from other threads

    def stop(self) -> None:
        """Ask `serve` to return. Safe in a signal handler, and to call twice."""
        self._stopping.set()
        self._wake()

    @property
    def busy(self) -> int:
        """How many connections have a request under way."""
        return len(self._busy)

    def quiet_for(self) -> float:
        """Give for how many seconds no request has been under way."""
        return 0.0 if self._busy else time.monotonic() - self._quiet_since

    # ---- the selector's thread

    def serve(self, tick: Callable[[], None] = lambda: None) -> None:
        """Accept and serve until `stop`; then idle connections are closed, and busy ones are left to `drain`.

        `tick` is called about once a second.
        """
        self._selector.register(self._wakes, selectors.EVENT_READ)
        for listener in self._listeners:
            listener.sock.setblocking(False)
            self._selector.register(listener.sock, selectors.EVENT_READ, listener)
        due = time.monotonic() + _TICK_SECONDS
        while not self._stopping.is_set():
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                if isinstance(key.data, Connection):
                    self._selector.unregister(key.fileobj)
                    self._submit(partial(self._run, key.data), key.data.link.sock)
                elif key.data is not None:
                    self._accept(key.data)
            self._take_idle()
            if time.monotonic() >= due:
                tick()
                due = time.monotonic() + _TICK_SECONDS
        self._end()

    def retire(self) -> bool:
        """End because nobody asks for anything: `serve` returns, unless somebody has come at this very moment.

        Called in the selector's thread. A client that could connect is answered; one that comes later finds no socket, and
        knows that it has to start a daemon.
        """
        for listener in self._listeners:
            listener.hide()
        accepted = [self._accept(listener) for listener in self._listeners]
        if any(accepted) or self._busy:
            for listener in self._listeners:
                listener.show()
            return False
        self._stopping.set()
        return True

    def drain(self, seconds: float) -> bool:
        """After `serve`: wait for requests under way, then cut what is left. Whether all ended by themselves."""
        deadline = time.monotonic() + seconds
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._lock:
            left = list(self._busy)
        for connection in left:
            connection.abort()
        ends = time.monotonic() + 1.0
        while self._busy and time.monotonic() < ends:
            time.sleep(0.01)
        return not left

    def _accept(self, listener: Listener) -> int:
        """Accept whoever waits; how many."""
        count = 0
        while True:
            try:
                sock, _ = listener.sock.accept()
            except BlockingIOError:
                return count
            except OSError as error:  # out of descriptors, most likely: those that serve go on
                self._log.warning("connection not accepted", address=listener.address, reason=error)
                time.sleep(_NO_DESCRIPTORS_SECONDS)
                return count
            count += 1
            self._accepted()
            sock.setblocking(True)
            self._submit(partial(self._greet, listener, sock), sock)

    def _greet(self, listener: Listener, sock: socket.socket) -> None:
        """Start a connection, in a worker's thread: a handshake takes its time."""
        try:
            link = listener.link(sock)
        except OSError as error:
            self._log.debug("handshake failed", address=listener.address, reason=error)
            sock.close()
            return
        connection = Connection(link, self._handle, self._log, self._stopping.is_set, self._common)
        self._run(connection)

    def _submit(self, job: Callable[[], None], sock: socket.socket) -> None:
        """Run a job for a connection, or say that there are too many and close it."""
        if not self._workers.submit(job):
            self._log.warning("too many requests at once")
            with contextlib.suppress(OSError):
                sock.setblocking(False)
                sock.send(_BUSY)
            sock.close()

    def _run(self, connection: Connection) -> None:
        with self._lock:
            self._busy.add(connection)
        stays = False
        try:
            stays = connection.serve()
        except Exception as error:  # noqa: BLE001 - whatever happens to one connection, the daemon lives
            self._log.fault("connection broke off", error)
        finally:
            with self._lock:
                self._busy.discard(connection)
                self._quiet_since = time.monotonic()
        if stays and not self._stopping.is_set():
            self._idle.put(connection)
            self._wake()
        else:
            connection.close()

    def _take_idle(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakes, 4096)
        while not self._idle.empty():
            connection = self._idle.get()
            self._selector.register(connection.link.sock, selectors.EVENT_READ, connection)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._waker, b".")

    def _end(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._take_idle()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Connection):
                key.data.link.close()
        self._selector.close()
