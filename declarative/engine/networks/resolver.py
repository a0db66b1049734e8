"""The name server of networks: answers for names of containers, asks the machine's name servers for the rest.

The rule that keeps it simple: one thread, one selector. A query that is passed on is a socket of its own, with a time until it is
given up; a TCP client, which is rare, gets a thread of its own.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING

from declarative.engine.networks import dns
from declarative.errors import Failed
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

    from declarative.engine.networks.dns import Question
    from declarative.engine.networks.names import Asker, Names
    from declarative.engine.networks.upstream import Upstream

_PORT = 53
_PATIENCE = 2.0  # seconds for one server; a client asks again after five (resolv.conf(5), timeout)
_PENDING_MAX = 1000  # queries under way: a container that floods us gets no answers
_TCP_MAX = 64
_TCP_SECONDS = 10.0
_BATCH = 64
_READ = 65535


@record
class _Listener:
    """Where one network's containers ask."""

    network_id: str
    udp: socket.socket
    tcp: socket.socket


class _Pending:
    """A query that another server was asked."""

    __slots__ = ("client", "index", "limit", "listener", "query", "servers", "sock")

    def __init__(
        self, listener: _Listener, client: tuple[str, int], query: bytes, servers: tuple[str, ...], limit: int
    ) -> None:
        self.listener = listener
        self.client = client
        self.query = query
        self.servers = servers
        self.limit = limit
        self.index = 0
        self.sock: socket.socket | None = None


class Resolver:
    """Answers on the gateways of networks. `clock` gives seconds. Safe to use from several threads."""

    def __init__(self, names: Names, upstream: Upstream, clock: Callable[[], float] = time.monotonic) -> None:
        self._names = names
        self._upstream = upstream
        self._clock = clock
        self._lock = threading.Lock()
        self._selector: selectors.BaseSelector | None = None
        self._listeners: dict[str, _Listener] = {}
        self._pending: dict[socket.socket, _Pending] = {}
        self._times: list[tuple[float, int, socket.socket]] = []
        self._count = 0
        self._tcp_slots = threading.BoundedSemaphore(_TCP_MAX)
        self._wake: tuple[socket.socket, socket.socket] | None = None

    # ---- from other threads

    def listen(self, network_id: str, address: IPv4Address) -> int:
        """Answer on an address of this machine's, and give the port, the same for UDP and TCP. Failed."""
        with self._lock:
            if network_id in self._listeners:
                return int(self._listeners[network_id].udp.getsockname()[1])
            listener = _bind(network_id, str(address))
            self._listeners[network_id] = listener
            self._start()
            assert self._selector is not None  # noqa: S101 - _start made it
            self._selector.register(listener.udp, selectors.EVENT_READ, listener)
            self._selector.register(listener.tcp, selectors.EVENT_READ, listener)
            self._nudge()
            return int(listener.udp.getsockname()[1])

    def leave(self, network_id: str) -> None:
        """Answer a network no longer."""
        with self._lock:
            listener = self._listeners.pop(network_id, None)
            if listener is not None and self._selector is not None:
                for sock in (listener.udp, listener.tcp):
                    self._selector.unregister(sock)
                    sock.close()
                self._nudge()

    def close(self) -> None:
        """Answer nobody any more."""
        for network_id in tuple(self._listeners):
            self.leave(network_id)
        with self._lock:
            if self._wake is not None:
                self._wake[1].send(b"x")

    def _start(self) -> None:
        if self._selector is not None:
            return
        self._selector = selectors.DefaultSelector()
        self._wake = socket.socketpair()
        for end in self._wake:
            end.setblocking(False)
        self._selector.register(self._wake[0], selectors.EVENT_READ, None)
        threading.Thread(target=self._serve, name="resolver", daemon=True).start()

    def _nudge(self) -> None:
        if self._wake is not None:
            with contextlib.suppress(BlockingIOError):
                self._wake[1].send(b".")

    # ---- in its own thread

    def _serve(self) -> None:
        assert self._selector is not None  # noqa: S101 - the thread is started after it
        assert self._wake is not None  # noqa: S101
        while True:
            wait = max(0.0, self._times[0][0] - self._clock()) if self._times else None
            for key, _ in self._selector.select(wait):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)  # noqa: S101 - nothing else is registered
                if sock is self._wake[0]:
                    if b"x" in sock.recv(4096):
                        return self._end()
                elif isinstance(key.data, _Pending):
                    self._take_answer(key.data)
                elif sock.type == socket.SOCK_DGRAM:
                    self._take_queries(key.data)
                else:
                    self._accept(key.data)
            self._give_up_late()

    def _end(self) -> None:
        for pending in tuple(self._pending.values()):
            self._drop(pending)
        with self._lock:
            assert self._selector is not None  # noqa: S101
            self._selector.close()
            self._selector = None
            for end in self._wake or ():
                end.close()
            self._wake = None

    def _take_queries(self, listener: _Listener) -> None:
        for _ in range(_BATCH):
            try:
                query, client = listener.udp.recvfrom(_READ)
            except OSError:  # nothing more, or closed meanwhile
                return
            answer, servers = self._decide(listener.network_id, client[0], query)
            limit = dns.udp_limit(query, dns.read_question(query))
            if answer is not None:
                with contextlib.suppress(OSError):
                    listener.udp.sendto(dns.fit(answer, limit), client)
            elif servers:
                self._ask(_Pending(listener, client, query, servers, limit))

    def _decide(self, network_id: str, source: str, query: bytes) -> tuple[bytes | None, tuple[str, ...]]:
        """Give the answer, or whom to ask; neither for somebody whom we do not know."""
        from ipaddress import ip_address

        asker = self._names.asker(network_id, ip_address(source))
        if asker is None or len(query) < dns.MIN_BYTES:
            return None, ()
        question = dns.read_question(query)
        known = self._known(asker, query, question) if question is not None else None
        if known is not None:
            return known, ()
        if not asker.way_out:  # as dockerd: what is cut off learns nothing from outside either
            return dns.refuse(query, question, dns.SERVER_FAILURE), ()
        return None, asker.dns or self._upstream.servers()

    def _known(self, asker: Asker, query: bytes, question: Question) -> bytes | None:
        if question.kind == dns.PTR:
            address = dns.address_of(question.name)
            name = self._names.name(asker, address) if address is not None else None
            return None if name is None else dns.answer_name(query, question, name)
        addresses = self._names.addresses(asker, question.name)
        return None if addresses is None else dns.answer(query, question, addresses)

    def _ask(self, pending: _Pending) -> None:
        """Ask the next server, and tell the client that it failed where there is none."""
        while pending.index < len(pending.servers) and len(self._pending) < _PENDING_MAX:
            server = pending.servers[pending.index]
            pending.index += 1
            try:
                sock = _datagram_to(server)
            except OSError:
                continue
            try:
                sock.send(pending.query)
            except OSError:
                sock.close()
                continue
            self._count += 1
            pending.sock = sock
            self._pending[sock] = pending
            heapq.heappush(self._times, (self._clock() + _PATIENCE, self._count, sock))
            with self._lock:
                if self._selector is not None:
                    self._selector.register(sock, selectors.EVENT_READ, pending)
            return
        self._reply(pending, dns.refuse(pending.query, dns.read_question(pending.query), dns.SERVER_FAILURE))

    def _take_answer(self, pending: _Pending) -> None:
        sock = pending.sock
        if sock is None:
            return
        try:
            response = sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._drop(pending)
            self._ask(pending)
            return
        if not dns.belongs(response, pending.query):
            return
        self._drop(pending)
        failed = dns.code_of(response) in {dns.SERVER_FAILURE, dns.REFUSED}
        if failed and pending.index < len(pending.servers):
            self._ask(pending)
        else:
            self._reply(pending, dns.fit(response, pending.limit))

    def _give_up_late(self) -> None:
        while self._times and self._times[0][0] <= self._clock():
            _, _, sock = heapq.heappop(self._times)
            pending = self._pending.get(sock)
            if pending is not None:
                self._drop(pending)
                self._ask(pending)

    def _drop(self, pending: _Pending) -> None:
        sock, pending.sock = pending.sock, None
        if sock is not None and self._pending.pop(sock, None) is not None:
            with self._lock:
                if self._selector is not None:
                    self._selector.unregister(sock)
            sock.close()

    def _reply(self, pending: _Pending, response: bytes) -> None:
        with contextlib.suppress(OSError):
            pending.listener.udp.sendto(response, pending.client)

    # ---- TCP

    def _accept(self, listener: _Listener) -> None:
        try:
            sock, client = listener.tcp.accept()
        except OSError:
            return
        if not self._tcp_slots.acquire(blocking=False):
            sock.close()
            return
        arguments = (listener.network_id, client[0], sock)
        threading.Thread(target=self._converse, args=arguments, name="resolver, TCP", daemon=True).start()

    def _converse(self, network_id: str, source: str, sock: socket.socket) -> None:
        try:
            with sock, contextlib.suppress(OSError):
                sock.settimeout(_TCP_SECONDS)
                while (query := _read_message(sock)) is not None:
                    answer, servers = self._decide(network_id, source, query)
                    if answer is None:
                        answer = _ask_by_tcp(query, servers)
                    sock.sendall(len(answer).to_bytes(2, "big") + answer)
        finally:
            self._tcp_slots.release()


def _bind(network_id: str, address: str) -> _Listener:
    """Bind a port of both protocols. Not 53 itself: a container, or a server of the machine's, may have that on every address."""
    problem: OSError | None = None
    for _ in range(20):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            udp.bind((address, 0))
            tcp.bind((address, udp.getsockname()[1]))
            tcp.listen(_TCP_MAX)
        except OSError as error:
            udp.close()
            tcp.close()
            problem = error
            continue
        udp.setblocking(False)
        tcp.setblocking(False)
        return _Listener(network_id=network_id, udp=udp, tcp=tcp)
    raise Failed("the name server of networks", f"it cannot listen on {address}: {problem}")


def _datagram_to(server: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        address = socket.getaddrinfo(server, _PORT, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4]
        sock.connect(address)  # so that the kernel drops what comes from others
    except OSError:
        sock.close()
        raise
    return sock


def _read_message(sock: socket.socket) -> bytes | None:
    head = _read_exactly(sock, 2)
    return None if head is None else _read_exactly(sock, int.from_bytes(head, "big"))


def _read_exactly(sock: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            return None
        data += more
    return data


def _ask_by_tcp(query: bytes, servers: tuple[str, ...]) -> bytes:
    for server in servers:
        with contextlib.suppress(OSError), socket.create_connection((server, _PORT), timeout=_PATIENCE * 2) as sock:
            sock.sendall(len(query).to_bytes(2, "big") + query)
            response = _read_message(sock)
            if response is not None and dns.belongs(response, query):
                return response
    return dns.refuse(query, dns.read_question(query), dns.SERVER_FAILURE)
