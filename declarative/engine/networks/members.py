"""Who is in which network now, with which addresses and published ports.

The rule that keeps it simple: nothing of the kernel's is touched here. What is recorded is written down at once (`store`),
so that a daemon that comes after this one knows as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.networks.addresses import Leases
from declarative.engine.networks.records import ContainerNetwork
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Collection

    from declarative.engine.networks.records import Endpoint, PublishedPort
    from declarative.engine.networks.store import Attachments


class Members:
    """The containers that are in networks. Guarded by its owner's lock."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments
        self._containers = attachments.load()
        self._leases: dict[str, Leases] = {}

    def all(self) -> tuple[ContainerNetwork, ...]:
        """Give every container that has something."""
        return tuple(self._containers.values())

    def get(self, container_id: str) -> ContainerNetwork:
        """Give what a container has. Empty for one that has nothing."""
        return self._containers.get(container_id) or ContainerNetwork(container_id=container_id)

    def endpoints(self, network_id: str) -> tuple[Endpoint, ...]:
        """Give who is in a network."""
        rows = [endpoint for container in self._containers.values() for endpoint in container.endpoints]
        return tuple(endpoint for endpoint in rows if endpoint.network_id == network_id)

    def leases(self, network_id: str) -> Leases:
        """Give the addresses of a network that were let go of lately."""
        return self._leases.setdefault(network_id, Leases())

    def put(self, container_id: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Record all endpoints of a container, in the order they came."""
        self._attachments.put_all(endpoints)
        self._note(replace(self.get(container_id), endpoints=endpoints))

    def put_ports(self, container_id: str, ports: tuple[PublishedPort, ...]) -> None:
        """Record what a container publishes."""
        self._attachments.put_ports(container_id, ports)
        self._note(replace(self.get(container_id), ports=ports))

    def remove(self, endpoint: Endpoint) -> None:
        """Forget an endpoint; its addresses are free."""
        container_id, network_id = endpoint.container_id, endpoint.network_id
        self._attachments.remove(container_id, network_id)
        left = tuple(other for other in self.get(container_id).endpoints if other.network_id != network_id)
        self._note(replace(self.get(container_id), endpoints=left))
        for address in (endpoint.ipv4, endpoint.ipv6):
            if address is not None:
                self.leases(network_id).release(address, container_id)

    def keep(self, container_ids: Collection[str]) -> None:
        """Forget all containers but these."""
        for container_id in tuple(self._containers.keys() - container_ids):
            self._attachments.clear(container_id)
            del self._containers[container_id]

    def forget(self, network_id: str) -> None:
        """Forget a network that nobody is in."""
        self._leases.pop(network_id, None)

    def _note(self, row: ContainerNetwork) -> None:
        """Keep what a container has now; one that has nothing is not kept."""
        if row.endpoints or row.ports:
            self._containers[row.container_id] = row
        else:
            self._containers.pop(row.container_id, None)
