"""Ports of containers, published: held on this machine, led to where the container is now.

The rule that keeps it simple: what is held and where it leads are two things. A container that changes networks keeps its ports;
only the ways to it are laid anew.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.engine.networks.conntrack import forget_udp
from declarative.engine.networks.firewall import lead_to
from declarative.engine.networks.ports import HostPorts
from declarative.engine.networks.relay import Relay
from declarative.errors import Conflict, Invalid

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from declarative.engine.networks.firewall import Firewall, Lead
    from declarative.engine.networks.records import Address, PortRequest, PublishedPort


class Publishing:
    """The published ports of all containers. Safe to use from several threads."""

    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall
        self._ports = HostPorts()
        self._relay = Relay()
        self._lock = threading.RLock()
        self._sockets: dict[str, dict[PublishedPort, socket.socket | None]] = {}
        self._leads: dict[str, tuple[Lead, ...]] = {}

    def take(
        self, container_id: str, requests: Iterable[PortRequest], default: str, called: str
    ) -> tuple[PublishedPort, ...]:
        """Hold ports for a container, leading nowhere yet. Conflict, Invalid; then none is held.

        `default`: the address of a request that names none; `called`: what the container's place is called in errors.
        """
        try:
            taken = self._ports.take(requests, default)
        except Conflict as error:
            raise Conflict(
                "", f"driver failed programming external connectivity on {called}: {error.problem}"
            ) from None
        with self._lock:
            self._sockets.setdefault(container_id, {}).update(taken)
        return tuple(taken)

    def take_again(self, container_id: str, ports: Iterable[PublishedPort]) -> tuple[PublishedPort, ...]:
        """Hold what an earlier daemon held, and give those that somebody else has now; the rules lead on all the same."""
        lost = []
        with self._lock:
            held = self._sockets.setdefault(container_id, {})
            for port in ports:
                try:
                    held[port] = self._ports.take_again(port)
                except (Conflict, Invalid):
                    held[port] = None
                    lost.append(port)
        return tuple(lost)

    def lead(self, container_id: str, targets: tuple[Address, ...]) -> None:
        """Lead a container's ports to these addresses, one of each kind at most, instead of to any before. Failed."""
        with self._lock:
            held = self._sockets.get(container_id, {})
            leads = self.leads(held, targets)
            old = self._leads.pop(container_id, ())
            if old != leads:
                self._change(old, leads)
            if leads:
                self._leads[container_id] = leads
            for port, sock in held.items():
                if sock is not None and port.protocol != "sctp" and targets:
                    self._relay.add(port, sock, targets[0])

    def known(self, container_id: str, targets: tuple[Address, ...]) -> tuple[Lead, ...]:
        """Give the ways to a container as they are to be; the rules are written by who asks."""
        with self._lock:
            leads = self.leads(self._sockets.get(container_id, {}), targets)
            self._leads[container_id] = leads
            return leads

    def release(self, container_id: str) -> None:
        """Let a container's ports go."""
        with self._lock:
            held = self._sockets.pop(container_id, {})
            for port in held:
                self._relay.remove(port)
            leads = self._leads.pop(container_id, ())
            if leads:
                self._change(leads, ())
            self._ports.release(held)

    def close(self) -> None:
        """Let all sockets go; what the rules do they do on."""
        self._relay.close()
        self._ports.close()

    def _change(self, old: tuple[Lead, ...], new: tuple[Lead, ...]) -> None:
        self._firewall.change_leads(old, new)
        forget_udp({lead.host_port for lead in (*old, *new) if lead.protocol == "udp"})

    @staticmethod
    def leads(ports: Iterable[PublishedPort], targets: tuple[Address, ...]) -> tuple[Lead, ...]:
        """Give the ways in, for those ports and targets that go together."""
        found = [
            lead_to(port.host_address, port.protocol, port.host_port, target, port.port)
            for port in ports
            for target in targets
        ]
        return tuple(lead for lead in found if lead is not None)
