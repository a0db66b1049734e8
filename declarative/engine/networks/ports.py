"""Ports of this machine that containers are reached through: found free, and held so that nobody else takes them.

The rule that keeps it simple: a published port is a socket of the daemon's, bound as a server's would be. The kernel tells of
every conflict, ours and others'. The rules that lead to the container do not need it: they work on while the daemon is away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from typing import TYPE_CHECKING

from declarative.engine.networks import namespaces
from declarative.engine.networks.records import PublishedPort
from declarative.errors import Conflict, Invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from declarative.engine.networks.records import PortRequest

PROTOCOLS = ("tcp", "udp", "sctp")
_RANGE = (32768, 60999)  # Linux, ip-sysctl, ip_local_port_range
_BACKLOG = 128
ANY4, ANY6 = "0.0.0.0", "::"  # noqa: S104 - what is asked for by naming no address


class HostPorts:
    """The ports held. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[PublishedPort, socket.socket | None] = {}
        self._last = 0

    def take(
        self, requests: Iterable[PortRequest], default_address: str = ""
    ) -> dict[PublishedPort, socket.socket | None]:
        """Take a port for each request, with its socket (None: the kernel has no such protocol). All or, after Conflict, none."""
        taken: dict[PublishedPort, socket.socket | None] = {}
        with self._lock:
            try:
                for request in requests:
                    found = self._take(request, default_address)
                    taken |= found
                    self._held |= found
            except BaseException:
                self._held = {port: held for port, held in self._held.items() if port not in taken}
                _close(taken)
                raise
        return taken

    def take_again(self, port: PublishedPort) -> socket.socket | None:
        """Hold a port that is recorded as published. Conflict where somebody took it while the daemon was away."""
        with self._lock:
            made = _bind(port, self._held)
            self._held[port] = made
            return made

    def release(self, ports: Iterable[PublishedPort]) -> None:
        """Let ports go."""
        with self._lock:
            _close({port: self._held.pop(port, None) for port in ports})

    def close(self) -> None:
        """Let all go."""
        self.release(tuple(self._held))

    def _take(self, request: PortRequest, default_address: str) -> dict[PublishedPort, socket.socket | None]:
        if request.protocol not in PROTOCOLS:
            raise Invalid("", f"invalid protocol {request.protocol[:80]!r}: it is none of {', '.join(PROTOCOLS)}")
        wanted = request.host_address or default_address
        hosts = [wanted] if wanted and wanted != ANY4 else [ANY4]
        if not request.host_address and hosts == [ANY4] and _has_ipv6():
            hosts.append(ANY6)
        first, last = request.host_ports
        if not first:
            return self._any(request, hosts)
        for number in range(first, last + 1):
            try:
                return _bind_all(request, hosts, number, self._held)
            except Conflict:
                if number == last and first == last:
                    raise
        raise Conflict("", f"Bind for {hosts[0]}:{first}-{last} failed: all ports are allocated")

    def _any(self, request: PortRequest, hosts: Sequence[str]) -> dict[PublishedPort, socket.socket | None]:
        """Take any free port, beginning after the one that was taken last: one just let go may be in somebody's memory."""
        first, last = _ephemeral()
        for step in range(last - first + 1):
            number = first + (self._last - first + 1 + step) % (last - first + 1) if self._last else first + step
            try:
                found = _bind_all(request, hosts, number, self._held)
            except Conflict:
                continue
            self._last = number
            return found
        raise Conflict("", f"Bind for {hosts[0]}:0 failed: all ports are allocated")


def _bind_all(
    request: PortRequest, hosts: Sequence[str], number: int, held: Collection[PublishedPort]
) -> dict[PublishedPort, socket.socket | None]:
    taken: dict[PublishedPort, socket.socket | None] = {}
    try:
        for host in hosts:
            port = PublishedPort(port=request.port, protocol=request.protocol, host_address=host, host_port=number)
            taken[port] = _bind(port, held)
    except BaseException:
        _close(taken)
        raise
    return taken


def _bind(port: PublishedPort, held: Collection[PublishedPort]) -> socket.socket | None:
    """Bind as a server would: two that listen are always in conflict, one that has ended does not block the next."""
    family = socket.AF_INET6 if ":" in port.host_address else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    try:
        made = socket.socket(family, kind, socket.IPPROTO_SCTP if port.protocol == "sctp" else 0)
    except OSError as error:
        if error.errno in {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}:
            return None
        raise
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((port.host_address, port.host_port))
        if kind == socket.SOCK_STREAM:
            made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        shown = f"[{port.host_address}]" if family == socket.AF_INET6 else port.host_address
        if error.errno == errno.EADDRINUSE:
            if any(_clash(port, other) for other in held):
                raise Conflict("", f"Bind for {shown}:{port.host_port} failed: port is already allocated") from None
            raise Conflict(
                "", f"listen {port.protocol} {shown}:{port.host_port}: bind: address already in use"
            ) from None
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        raise Invalid("", f"listen {port.protocol} {shown}:{port.host_port}: bind: {why}") from None
    return made


def _clash(one: PublishedPort, other: PublishedPort) -> bool:
    """Whether two published ports are the same to the kernel."""
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    return one.host_address == other.host_address or not {ANY4, ANY6}.isdisjoint((one.host_address, other.host_address))


def _close(taken: dict[PublishedPort, socket.socket | None]) -> None:
    for held in taken.values():
        if held is not None:
            with contextlib.suppress(OSError):  # a process that is just being made has a copy, and would listen
                held.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                held.close()


def _has_ipv6() -> bool:
    return namespaces.read_setting("ipv6/conf/all/disable_ipv6") == "0"


def _ephemeral() -> tuple[int, int]:
    words = namespaces.read_setting("ipv4/ip_local_port_range").split()
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[0]) <= int(words[1]):
        return int(words[0]), int(words[1])
    return _RANGE
