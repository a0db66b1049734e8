"""What no rule can lead to a container is carried there: from ::1, and from IPv6 to a container that has IPv4 alone.

The kernel does not let a packet for ::1 leave the machine's loopback, whatever rules say; dockerd has its docker-proxy for this.
The rule that keeps it simple: it serves the sockets that hold published ports; a connection that the rules lead to a container
never comes here. It works only while the daemon does.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.networks.records import Address, PublishedPort

_CONNECTIONS_MAX = 512
_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 90.0  # of a UDP conversation, as docker-proxy has it
_CONVERSATIONS_MAX = 1024
_PIECE = 1 << 16
_PKTINFO = struct.Struct("=16sI")  # in6_pktinfo: address, interface


@record
class _Door:
    """A socket that holds a published port, and where it leads."""

    port: PublishedPort
    sock: socket.socket
    target: tuple[str, int]


class _Talk:
    """One UDP client's conversation with a container."""

    __slots__ = ("client", "door", "info", "sock", "used")

    def __init__(self, door: _Door, client: tuple[str, int], info: list[tuple[int, int, bytes]]) -> None:
        self.door = door
        self.client = client
        self.info = info
        self.used = 0.0
        self.sock = socket.socket(socket.AF_INET6 if ":" in door.target[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(door.target)


class Relay:
    """Carries what arrives at held ports. `clock` gives seconds. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._doors: dict[PublishedPort, _Door] = {}
        self._talks: dict[tuple[PublishedPort, tuple[str, int]], _Talk] = {}
        self._slots = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        self._selector: selectors.BaseSelector | None = None
        self._wake: socket.socket | None = None

    def add(self, port: PublishedPort, sock: socket.socket, target: Address) -> None:
        """Serve a held port, or lead it elsewhere than before."""
        self.remove(port)
        if port.protocol == "udp" and sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        door = _Door(port=port, sock=sock, target=(str(target), port.port))
        with self._lock:
            self._doors[port] = door
            self._started().register(sock, selectors.EVENT_READ, door)

    def remove(self, port: PublishedPort) -> None:
        """Serve a port no longer; to be called before its socket is closed."""
        with self._lock:
            door = self._doors.pop(port, None)
            if door is not None and self._selector is not None:
                self._selector.unregister(door.sock)
            for key in [key for key in self._talks if key[0] == port]:
                self._hang_up(key)

    def close(self) -> None:
        """Serve nothing any more; connections end by themselves."""
        for port in tuple(self._doors):
            self.remove(port)
        with self._lock:
            if self._wake is not None:
                self._wake.close()
                self._wake = None

    def _started(self) -> selectors.BaseSelector:
        if self._selector is None or self._wake is None:
            self._selector = selectors.DefaultSelector()
            ours, self._wake = socket.socketpair()
            self._selector.register(ours, selectors.EVENT_READ, None)
            thread = threading.Thread(target=self._serve, args=(self._selector, ours), name="relay", daemon=True)
            thread.start()
        return self._selector

    def _serve(self, selector: selectors.BaseSelector, wake: socket.socket) -> None:
        while True:
            for key, _ in selector.select(_IDLE_SECONDS if self._talks else None):
                if key.data is None:  # the other end was closed: it is over
                    selector.close()
                    wake.close()
                    return
                with contextlib.suppress(OSError):  # closed meanwhile, or the other side has gone
                    if isinstance(key.data, _Talk):
                        self._carry_back(key.data)
                    elif key.data.port.protocol == "udp":
                        self._carry(key.data)
                    else:
                        self._connect(key.data)
            self._hang_up_idle()

    # ---- UDP

    def _carry(self, door: _Door) -> None:
        data, info, _, client = door.sock.recvmsg(_PIECE, 256)
        with self._lock:
            if self._doors.get(door.port) is not door:
                return
            key = (door.port, client[:2])
            talk = self._talks.get(key)
            if talk is None:
                if len(self._talks) >= _CONVERSATIONS_MAX:
                    return
                talk = self._talks[key] = _Talk(door, client, _from_there(info))
                self._started().register(talk.sock, selectors.EVENT_READ, talk)
            talk.used = self._clock()
        talk.sock.send(data)

    def _carry_back(self, talk: _Talk) -> None:
        data = talk.sock.recv(_PIECE)
        talk.used = self._clock()
        talk.door.sock.sendmsg([data], talk.info, 0, talk.client)

    def _hang_up_idle(self) -> None:
        with self._lock:
            late = self._clock() - _IDLE_SECONDS
            for key in [key for key, talk in self._talks.items() if talk.used < late]:
                self._hang_up(key)

    def _hang_up(self, key: tuple[PublishedPort, tuple[str, int]]) -> None:
        talk = self._talks.pop(key)
        if self._selector is not None:
            self._selector.unregister(talk.sock)
        talk.sock.close()

    # ---- TCP

    def _connect(self, door: _Door) -> None:
        sock, _ = door.sock.accept()
        if not self._slots.acquire(blocking=False):
            sock.close()
            return
        threading.Thread(target=self._join, args=(sock, door.target), name="relay, TCP", daemon=True).start()

    def _join(self, client: socket.socket, target: tuple[str, int]) -> None:
        try:
            with client, contextlib.suppress(OSError), socket.create_connection(target, _CONNECT_SECONDS) as server:
                client.settimeout(None)
                server.settimeout(None)
                back = threading.Thread(target=_pour, args=(server, client), name="relay, TCP back", daemon=True)
                back.start()
                _pour(client, server)
                back.join()
        finally:
            self._slots.release()


def _pour(source: socket.socket, target: socket.socket) -> None:
    """Carry one way until its end, and tell the other side of it."""
    try:
        while piece := source.recv(_PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one side broke off: so does the other
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _from_there(info: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Give what makes an answer come from the address that was asked: of the message's control data the address alone."""
    found = []
    for level, kind, data in info:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= _PKTINFO.size:
            address, _ = _PKTINFO.unpack_from(data)
            found.append((level, kind, _PKTINFO.pack(address, 0)))
    return found
