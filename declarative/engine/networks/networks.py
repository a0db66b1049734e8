"""Networks: what the rest of the engine asks of them. Defined once; containers come into them when they start, and leave.

The rule that keeps it simple: one lock over the records; a record is written before the kernel is told, and taken away after, so
that whatever is in the kernel has an owner, and what a crash left half done is found by `restore`.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from typing import TYPE_CHECKING

from declarative.engine.db import Database
from declarative.engine.networks import addresses, namespaces
from declarative.engine.networks.addresses import DEFAULT_SUPPLIES, Leases
from declarative.engine.networks.catalog import Catalog
from declarative.engine.networks.firewall import Firewall, Zone, lead_to
from declarative.engine.networks.names import Names
from declarative.engine.networks.nftables import Nftables
from declarative.engine.networks.ports import HostPorts
from declarative.engine.networks.records import (
    BRIDGE,
    OPTION_HOST_ADDRESS,
    OPTION_MASQUERADE,
    ContainerNetwork,
    Endpoint,
    EndpointRequest,
    Network,
    NetworkRequest,
    PortRequest,
    PublishedPort,
)
from declarative.engine.networks.store import RUN_SCHEMA, SCHEMA, Attachments, Definitions
from declarative.engine.networks.wiring import Wiring
from declarative.engine.paths import DATA_ROOT
from declarative.errors import Conflict, Denied, Invalid, NotFound
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

    from declarative.engine.events import Events
    from declarative.engine.networks.addresses import Supply
    from declarative.engine.networks.firewall import Lead
    from declarative.engine.networks.records import Address
    from declarative.engine.paths import Paths

__all__ = ["SCHEMA", "Networks"]

_BRIDGE_PREFIX = "decl"  # not docker0, so that a dockerd may be beside us


class Networks:
    """All networking of one engine, in the network namespace of the thread that makes it. Safe to use from several threads."""

    def __init__(
        self,
        paths: Paths,
        db: Database,
        events: Events,
        *,
        supplies: Sequence[Supply] = DEFAULT_SUPPLIES,
        clock: Callable[[], int] = time.time_ns,
        new_id: Callable[[], str] = lambda: secrets.token_hex(32),
    ) -> None:
        self._paths = paths
        self._events = events
        self._new_id = new_id
        tag = _tag(paths)
        self._lock = threading.RLock()
        self._db = Database(paths.run / "networks.db", (RUN_SCHEMA,))
        self._attachments = Attachments(self._db)
        self._containers = self._attachments.load()
        self._leases: dict[str, Leases] = {}
        self._wiring = Wiring(tag)
        self._nftables = Nftables()
        self._firewall = Firewall(self._nftables, tag)
        self._ports = HostPorts()
        self._leads: dict[str, tuple[Lead, ...]] = {}
        self._names = Names()
        self._catalog = Catalog(Definitions(db), supplies, clock, new_id)
        self._catalog.define_predefined(self._wiring.taken(), lambda: self._wiring.free_bridge(_BRIDGE_PREFIX))
        namespaces.prepare(paths.namespaces)

    # ---- networks

    def list(self) -> tuple[Network, ...]:
        """Give every network, oldest first."""
        with self._lock:
            return self._catalog.all()

    def get(self, name: str) -> Network:
        """Give the network of this id, name or beginning of an id. NotFound, Invalid."""
        with self._lock:
            return self._catalog.get(name)

    def create(self, request: NetworkRequest) -> Network:
        """Make a network and its bridge. Conflict, Denied, Invalid, Failed."""
        with self._lock:
            network = self._catalog.define(request, self._wiring.taken())
            try:
                self._wiring.raise_bridge(network)
            except BaseException:
                self._wiring.remove_bridge(network)
                self._catalog.forget(network)
                raise
        self._events.publish("network", "create", network.id, {"name": network.name, "type": network.driver})
        return network

    def remove(self, name: str) -> Network:
        """Remove a network that nobody is in, and give it. NotFound; Denied where somebody is, or it is a predefined one."""
        with self._lock:
            network = self._catalog.get(name)
            if network.predefined:
                raise Denied("", f"{network.name} is a pre-defined network and cannot be removed")
            if self.endpoints(network.id):
                raise Denied(
                    "", f"error while removing network: network {network.name} id {network.id} has active endpoints"
                )
            self._wiring.remove_bridge(network)
            self._catalog.forget(network)
            self._leases.pop(network.id, None)
        self._events.publish("network", "destroy", network.id, {"name": network.name, "type": network.driver})
        return network

    def endpoints(self, network_id: str) -> tuple[Endpoint, ...]:
        """Give who is in a network."""
        with self._lock:
            return tuple(
                endpoint
                for container in self._containers.values()
                for endpoint in container.endpoints
                if endpoint.network_id == network_id
            )

    # ---- containers

    def container(self, container_id: str) -> ContainerNetwork:
        """Give what a container has now: its endpoints in the order they came, and its ports. Empty for one that has nothing."""
        with self._lock:
            return self._containers.get(container_id) or ContainerNetwork(container_id=container_id)

    def namespace(self, container_id: str) -> Path:
        """Give where a container's namespace is kept, whether or not it is open."""
        return self._paths.namespaces / container_id

    def open_namespace(self, container_id: str) -> Path:
        """Make a container's namespace, with its loopback up; whatever was left of one before is cleared. OSError."""
        path = self.namespace(container_id)
        try:
            namespaces.create(path)
        except FileExistsError:
            self.close_namespace(container_id)
            namespaces.create(path)
        return path

    def close_namespace(self, container_id: str) -> None:
        """Take a container out of all networks, its ports back, and let its namespace go. Nothing happens where nothing is there."""
        self.unpublish(container_id)
        with self._lock:
            for endpoint in self.container(container_id).endpoints:
                self._leave(endpoint)
            namespaces.remove(self.namespace(container_id))
            for endpoint in self.container(container_id).endpoints:
                self._forget(endpoint)

    def connect(self, container_id: str, name: str, request: EndpointRequest | None = None) -> Endpoint:
        """Bring a container into a network, its namespace being open. Denied, Invalid, NotFound, Failed; then nothing is left of it."""
        wanted = request or EndpointRequest()
        with self._lock:
            network = self._catalog.get(name)
            before = self.container(container_id).endpoints
            if any(endpoint.network_id == network.id for endpoint in before):
                called = wanted.names[0] if wanted.names else container_id[:12]
                raise Denied("", f"endpoint with name {called} already exists in network {network.name}")
            network = self._ready(network)
            endpoint = self._new_endpoint(network, container_id, wanted, before)
            self._record(container_id, (*before, endpoint))
            try:
                if endpoint.link:
                    self._firewall.add_zone(_zone(network))
                    self._wiring.plug(network, endpoint, self.namespace(container_id))
                    self._lead_out(container_id, before)
                    self._names.add(endpoint, way_out=not network.internal)
            except BaseException:
                self._leave(endpoint)
                self._forget(endpoint)
                raise
        self._tell("connect", endpoint, network)
        return endpoint

    def disconnect(self, container_id: str, name: str) -> None:
        """Take a container out of a network. NotFound where it is not in it."""
        with self._lock:
            network = self._catalog.get(name)
            before = self.container(container_id).endpoints
            endpoint = next((found for found in before if found.network_id == network.id), None)
            if endpoint is None:
                raise NotFound("", f"container {container_id} is not connected to network {network.name}")
            self._leave(endpoint)
            self._wiring.unplug(endpoint.link) if endpoint.link else None
            self._forget(endpoint)
            self._lead_out(container_id, before)

    def rename(self, container_id: str, names: tuple[str, ...]) -> None:
        """Call a container otherwise in all its networks."""
        with self._lock:
            renamed = tuple(replace(endpoint, names=names) for endpoint in self.container(container_id).endpoints)
            if renamed:
                self._record(container_id, renamed)
            for endpoint in renamed:
                if endpoint.link:
                    self._names.add(endpoint, way_out=not self._catalog.get(endpoint.network_id).internal)

    # ---- ports

    def publish(self, container_id: str, requests: Iterable[PortRequest]) -> tuple[PublishedPort, ...]:
        """Publish ports of a container that is in its networks. Conflict where one is taken: then none is published.

        Nothing is published of a container that has no way out, as with Docker.
        """
        wanted = tuple(requests)
        with self._lock:
            endpoint, _ = self._ways(self.container(container_id).endpoints)
            if not wanted or endpoint is None:
                return ()
            network = self._catalog.get(endpoint.network_id)
            try:
                taken = tuple(self._ports.take(wanted, network.options.get(OPTION_HOST_ADDRESS, "")))
            except Conflict as error:
                called = endpoint.names[0] if endpoint.names else container_id[:12]
                raise Conflict(
                    "",
                    f"driver failed programming external connectivity on endpoint {called} ({endpoint.id}): {error.problem}",
                ) from None
            self._record_ports(container_id, taken)
            try:
                self._aim(container_id)
            except BaseException:
                self.unpublish(container_id)
                raise
            return taken

    def unpublish(self, container_id: str) -> None:
        """Take a container's ports back."""
        with self._lock:
            ports = self.container(container_id).ports
            self._firewall.remove_leads(self._leads.pop(container_id, ()))
            self._ports.release(ports)
            if ports:
                self._record_ports(container_id, ())

    # ---- inside

    def _ready(self, network: Network) -> Network:
        """Give the network fit for use: the default one goes elsewhere where its bridge or subnet has become another's."""
        if network.name != BRIDGE or self.endpoints(network.id):
            return network
        taken = self._wiring.taken()
        foreign = self._wiring.is_foreign(network)
        if not foreign and not any(_overlap(network, block) for block in taken):
            return network
        self._wiring.remove_bridge(network)
        link = self._wiring.free_bridge(_BRIDGE_PREFIX) if foreign else network.link
        return self._catalog.move(network, taken, link)

    def _new_endpoint(
        self, network: Network, container_id: str, request: EndpointRequest, before: tuple[Endpoint, ...]
    ) -> Endpoint:
        known = Endpoint(
            id=self._new_id(),
            network_id=network.id,
            network_name=network.name,
            container_id=container_id,
            names=request.names,
            aliases=request.aliases,
            links=dict(request.links),
            dns=request.dns,
        )
        if network.driver != "bridge":
            return known
        _check(network, request)
        ipv4 = self._address(network, 4, request.ipv4, container_id)
        ipv6 = self._address(network, 6, request.ipv6, container_id) if network.pool6 else None
        pool4, pool6 = network.pool4, network.pool6
        taken = {endpoint.interface for endpoint in before}
        return replace(
            known,
            interface=next(f"eth{count}" for count in range(len(taken) + 1) if f"eth{count}" not in taken),
            link=f"veth{known.id[:7]}",
            mac=request.mac or addresses.mac_of(ipv4),  # type: ignore[arg-type]
            ipv4=ipv4,
            prefix=pool4.subnet.prefixlen if pool4 else 0,
            gateway=pool4.gateway if pool4 and not network.internal else None,
            ipv6=ipv6,
            prefix6=pool6.subnet.prefixlen if pool6 and ipv6 else 0,
            gateway6=pool6.gateway if pool6 and ipv6 and not network.internal else None,
        )

    def _address(self, network: Network, version: int, wanted: Address | None, holder: str) -> Address:
        pool = network.pool4 if version == 4 else network.pool6
        if pool is None:
            raise Invalid("", f"network {network.name} has no IPv{version} subnet")
        rows = self.endpoints(network.id)
        used = {address for row in rows if (address := row.ipv4 if version == 4 else row.ipv6) is not None}
        leases = self._leases.setdefault(network.id, Leases())
        return leases.give(pool, used, holder) if wanted is None else leases.take(pool, used, wanted)

    def _record(self, container_id: str, endpoints: tuple[Endpoint, ...]) -> None:
        for position, endpoint in enumerate(endpoints):
            self._attachments.put(endpoint, position)
        self._containers[container_id] = replace(self.container(container_id), endpoints=endpoints)

    def _record_ports(self, container_id: str, ports: tuple[PublishedPort, ...]) -> None:
        self._attachments.put_ports(container_id, ports)
        self._containers[container_id] = replace(self.container(container_id), ports=ports)

    def _leave(self, endpoint: Endpoint) -> None:
        """Let nobody find the endpoint any more."""
        self._names.remove(endpoint.container_id, endpoint.network_id)

    def _forget(self, endpoint: Endpoint) -> None:
        """Give up the record of an endpoint whose link is gone or about to go."""
        container_id = endpoint.container_id
        self._attachments.remove(container_id, endpoint.network_id)
        left = tuple(
            other for other in self.container(container_id).endpoints if other.network_id != endpoint.network_id
        )
        self._containers[container_id] = replace(self.container(container_id), endpoints=left)
        if not left and not self._containers[container_id].ports:
            del self._containers[container_id]
        leases = self._leases.setdefault(endpoint.network_id, Leases())
        for address in (endpoint.ipv4, endpoint.ipv6):
            if address is not None:
                leases.release(address, container_id)
        network = self._catalog.get(endpoint.network_id)
        if not self.endpoints(network.id) and network.link:
            self._firewall.remove_zone(network.link)
        self._tell("disconnect", endpoint, network)

    def _ways(self, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint | None, Endpoint | None]:
        """Give the endpoints that lead out, for IPv4 and IPv6: of those that can, the first by network name, as Docker does."""
        ordered = sorted(endpoints, key=lambda endpoint: endpoint.network_name)
        return (
            next((endpoint for endpoint in ordered if endpoint.gateway is not None), None),
            next((endpoint for endpoint in ordered if endpoint.gateway6 is not None), None),
        )

    def _lead_out(self, container_id: str, before: tuple[Endpoint, ...]) -> None:
        old, new = self._ways(before), self._ways(self.container(container_id).endpoints)
        if old != new:
            self._wiring.set_ways_out(self.namespace(container_id), old, new)
            self._aim(container_id)

    def _aim(self, container_id: str) -> None:
        """Have the rules lead to where a container is now."""
        container = self.container(container_id)
        way4, way6 = self._ways(container.endpoints)
        targets: list[IPv4Address | IPv6Address] = []
        if way4 is not None and way4.ipv4 is not None:
            targets.append(way4.ipv4)
        if way6 is not None and way6.ipv6 is not None:
            targets.append(way6.ipv6)
        found = [
            lead_to(port.host_address, port.protocol, port.host_port, target, port.port)
            for port in container.ports
            for target in targets
        ]
        leads = tuple(lead for lead in found if lead is not None)
        self._firewall.remove_leads(self._leads.pop(container_id, ()))
        self._leads[container_id] = leads
        self._firewall.add_leads(leads)

    def _tell(self, action: str, endpoint: Endpoint, network: Network) -> None:
        attributes = {"container": endpoint.container_id, "name": network.name, "type": network.driver}
        self._events.publish("network", action, network.id, attributes)


def _tag(paths: Paths) -> str:
    """Give what marks this engine's table and links: another engine, on another data root, has another."""
    if paths.root == DATA_ROOT:
        return "declarative"
    return f"declarative_{hashlib.sha256(str(paths.root).encode()).hexdigest()[:8]}"


def _zone(network: Network) -> Zone:
    return Zone(
        link=network.link,
        subnets=tuple(pool.subnet for pool in network.pools),
        internal=network.internal,
        hidden=network.flag(OPTION_MASQUERADE, default=True),
    )


def _overlap(network: Network, block: object) -> bool:
    with contextlib.suppress(TypeError):
        return any(pool.subnet.overlaps(block) for pool in network.pools)  # type: ignore[arg-type]
    return False


def _check(network: Network, request: EndpointRequest) -> None:
    """Refuse what a network cannot give."""
    if request.ipv4 is not None or request.ipv6 is not None:
        if network.name == BRIDGE:
            raise Invalid("", "user specified IP address is supported on user defined networks only")
        for address in (request.ipv4, request.ipv6):
            pool = None if address is None else network.pool4 if address.version == 4 else network.pool6
            if address is not None and (pool is None or not pool.chosen):
                raise Invalid(
                    "",
                    "user specified IP address is supported only when connecting to networks with user configured subnets",
                )
    if request.aliases and network.name == BRIDGE:
        raise Invalid("", "network-scoped alias is supported only for containers in user defined networks")
