"""Networks: what the rest of the engine asks of them. Defined once; containers come into them when they start, and leave.

The rule that keeps it simple: one lock over the records. A record is written before the kernel is told and taken away after, so
that whatever is in the kernel has an owner, and what a crash left half done is found by `restore`.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from declarative.dockerapi.places import DATA_ROOT
from declarative.engine.networks import endpoints as places
from declarative.engine.networks import namespaces
from declarative.engine.networks.addresses import DEFAULT_SUPPLIES
from declarative.engine.networks.catalog import Catalog
from declarative.engine.networks.firewall import Firewall
from declarative.engine.networks.in_use import BRIDGE_PREFIX, InUse
from declarative.engine.networks.later import Later
from declarative.engine.networks.members import Members
from declarative.engine.networks.names import Names
from declarative.engine.networks.nftables import Nftables
from declarative.engine.networks.publishing import Publishing
from declarative.engine.networks.records import (
    OPTION_HOST_ADDRESS,
    ContainerNetwork,
    Endpoint,
    EndpointRequest,
    Network,
    NetworkRequest,
    PortRequest,
    PublishedPort,
)
from declarative.engine.networks.resolver import Resolver
from declarative.engine.networks.store import SCHEMA, Attachments, Definitions, boot_id, open_attachments
from declarative.engine.networks.upstream import Upstream
from declarative.engine.networks.wiring import Wiring
from declarative.errors import Conflict, Denied, Failed, NotFound
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from declarative.engine.db import Database
    from declarative.engine.events import Events
    from declarative.engine.networks.addresses import Supply
    from declarative.engine.paths import Paths

__all__ = ["SCHEMA", "Networks"]

UNREADABLE = "its record cannot be read ({}): remove it, and create it again"

_LINK_SECONDS = 1.0  # what the kernel takes to remove a pair whose namespace is gone


class Networks:
    """All networking of one engine, in the network namespace of the thread that makes it. Safe to use from several threads.

    `nameservers`: asked instead of the machine's. `warn` is told of what goes wrong where nobody waits for it.
    """

    def __init__(
        self,
        paths: Paths,
        db: Database,
        events: Events,
        *,
        supplies: Sequence[Supply] = DEFAULT_SUPPLIES,
        nameservers: tuple[str, ...] = (),
        warn: Callable[[str, Exception], None] = lambda _, __: None,
        clock: Callable[[], int] = time.time_ns,
        new_id: Callable[[], str] = lambda: secrets.token_hex(32),
        boot: str | None = None,
    ) -> None:
        self._paths = paths
        self._events = events
        self._new_id = new_id
        self._warn = warn
        tag = _tag(paths)
        self._lock = threading.RLock()
        self._db = open_attachments(paths.run, boot or boot_id())
        self._members = Members(Attachments(self._db))
        self._retired: dict[tuple[str, str], str] = {}  # network and address → the end that may still be there
        self._later = Later(warn)
        self._wiring = Wiring(tag)
        self._nftables = Nftables()
        self._firewall = Firewall(self._nftables, tag)
        self._publishing = Publishing(self._firewall)
        self._names = Names()
        self._upstream = Upstream(nameservers)
        self._resolver = Resolver(self._names, self._upstream)
        self._in_use = InUse(self._wiring, self._firewall, self._nftables, self._resolver, self._later, warn)
        definitions = Definitions(db)
        self._catalog = Catalog(definitions, self._load(definitions), supplies, clock, new_id)
        self._catalog.define_predefined(self._wiring.taken(), lambda: self._wiring.free_bridge(BRIDGE_PREFIX))
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
        """Make a network and its bridge. Conflict, Denied, Invalid, NotFound, Failed."""
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
            self._in_use.end(network, at_once=True)
            self._wiring.remove_bridge(network)
            self._catalog.forget(network)
            self._members.forget(network.id)
        self._events.publish("network", "destroy", network.id, {"name": network.name, "type": network.driver})
        return network

    def endpoints(self, network_id: str) -> tuple[Endpoint, ...]:
        """Give who is in a network."""
        with self._lock:
            return self._members.endpoints(network_id)

    # ---- containers

    def container(self, container_id: str) -> ContainerNetwork:
        """Give what a container has now: its endpoints in the order they came, and its ports. Empty for one that has nothing."""
        with self._lock:
            return self._members.get(container_id)

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

    def take_namespace(self, container_id: str, pid: int, *, given: Iterable[str] = ()) -> Path:
        """Take the namespace that a process was made in as a container's; else as `open_namespace`. `given`: sysctls it has."""
        path = self.namespace(container_id)
        namespaces.remove(path)
        namespaces.take(path, pid, given)
        return path

    def close_namespace(self, container_id: str) -> None:
        """Take a container out of all networks, its ports back, and let its namespace go; nothing where there is none."""
        with self._lock:
            self.unpublish(container_id)
            left = self.container(container_id).endpoints
            for endpoint in left:
                self._names.remove(container_id, endpoint.network_id)
            namespaces.remove(self.namespace(container_id))
            for endpoint in left:
                self._forget(endpoint)
                if endpoint.link:  # it goes with the namespace, in a while, unless somebody keeps that
                    self._retired[endpoint.network_id, str(endpoint.ipv4)] = endpoint.link
                    self._later.put(endpoint.link, _LINK_SECONDS, partial(self._wiring.unplug, endpoint.link))
            networks = [self._catalog.get(endpoint.network_id) for endpoint in left]
        for endpoint, network in zip(left, networks, strict=True):
            self._tell("disconnect", endpoint, network)

    def connect(self, container_id: str, name: str, request: EndpointRequest | None = None) -> Endpoint:
        """Bring a container into a network, its namespace being open. Denied, Invalid, NotFound, Failed; then nothing is left."""
        wanted = request or EndpointRequest()
        with self._lock:
            network = self._in_use.fit(self._sound(name), self._catalog.move)
            before = self.container(container_id).endpoints
            if any(endpoint.network_id == network.id for endpoint in before):
                called = wanted.names[0] if wanted.names else container_id[:12]
                raise Denied("", f"endpoint with name {called} already exists in network {network.name}")
            endpoint = places.new_endpoint(
                network,
                container_id,
                wanted,
                id=self._new_id(),
                leases=self._members.leases(network.id),
                others=self.endpoints(network.id),
                own=before,
            )
            self._members.put(container_id, (*before, endpoint))
            try:
                if endpoint.link:
                    self._plug(network, endpoint, before)
            except BaseException:
                self._names.remove(container_id, network.id)
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
            self._names.remove(container_id, network.id)
            if endpoint.link:
                self._wiring.unplug(endpoint.link)
            self._forget(endpoint)
            self._lead(container_id, before)
            if places.ways_out(self.container(container_id).endpoints)[0] is None:
                self.unpublish(container_id)
        self._tell("disconnect", endpoint, network)

    def rename(self, container_id: str, names: tuple[str, ...]) -> None:
        """Call a container otherwise in all its networks."""
        with self._lock:
            renamed = tuple(replace(endpoint, names=names) for endpoint in self.container(container_id).endpoints)
            if renamed:
                self._members.put(container_id, renamed)
            for endpoint in renamed:
                self._name(endpoint)

    def resolv_conf(
        self, container_id: str, dns: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()
    ) -> str:
        """Give the text of a container's /etc/resolv.conf, for the networks it is in now; the rest is what its user asked for."""
        with self._lock:
            networks = [self._catalog.get(endpoint.network_id) for endpoint in self.container(container_id).endpoints]
        return str(self._upstream.for_container(networks, dns, search, options))

    # ---- ports

    def publish(self, container_id: str, requests: Iterable[PortRequest]) -> tuple[PublishedPort, ...]:
        """Publish ports of a container that is in its networks. Conflict where one is taken: then none is published.

        Nothing is published of a container that has no way out, as with Docker.
        """
        wanted = tuple(requests)
        with self._lock:
            endpoints = self.container(container_id).endpoints
            endpoint, _ = places.ways_out(endpoints)
            if not wanted or endpoint is None:
                return ()
            called = endpoint.names[0] if endpoint.names else container_id[:12]
            default = self._catalog.get(endpoint.network_id).options.get(OPTION_HOST_ADDRESS, "")
            taken = self._publishing.take(container_id, wanted, default, f"endpoint {called} ({endpoint.id})")
            try:
                self._members.put_ports(container_id, (*self.container(container_id).ports, *taken))
                self._publishing.lead(container_id, places.targets(endpoints))
            except BaseException:
                self.unpublish(container_id)
                raise
            return taken

    def unpublish(self, container_id: str) -> None:
        """Take a container's ports back."""
        with self._lock:
            self._publishing.release(container_id)
            if self.container(container_id).ports:
                self._members.put_ports(container_id, ())

    # ---- the daemon's life

    def restore(self, running: Mapping[str, int]) -> None:
        """Take up after an earlier daemon: what runs is kept as it is, what is missing made again, what nobody owns removed.

        `running`: the containers that run, each with a process in its namespace.
        """
        with self._lock:
            self._members.keep(running.keys())
            for path in self._paths.namespaces.iterdir():
                if path.name not in running:
                    namespaces.remove(path)
            alive = [endpoint for row in self._members.all() for endpoint in row.endpoints if endpoint.link]
            known = {network.id: network for network in self._catalog.all()}
            self._wiring.sweep(
                [network.link for network in known.values() if network.link], [endpoint.link for endpoint in alive]
            )
            used = {endpoint.network_id: known[endpoint.network_id] for endpoint in alive}
            for row in self._members.all():
                for port in self._publishing.take_again(row.container_id, row.ports):
                    self._warn(
                        "a published port is held by another program",
                        Conflict(row.container_id, f"{port.host_address}:{port.host_port}/{port.protocol}"),
                    )
            leads = [
                lead
                for row in self._members.all()
                for lead in self._publishing.known(row.container_id, places.targets(row.endpoints))
            ]
            self._in_use.take_up(used.values(), leads)
            self._mend(alive, running)
            for row in self._members.all():
                if row.ports:
                    self._publishing.lead(row.container_id, places.targets(row.endpoints))

    def close(self) -> None:
        """End with the daemon. What running containers need stays; where none runs, nothing stays."""
        with self._lock:
            self._later.close()
            empty = not self._members.all()
            self._in_use.close(erase=empty)
            self._resolver.close()
            self._publishing.close()
            if empty:
                for network in self._catalog.all():
                    if network.link:
                        self._wiring.remove_bridge(network)
                namespaces.abandon(self._paths.namespaces)
            self._wiring.close()
            self._nftables.close()
            self._db.close()

    # ---- inside

    def _load(self, definitions: Definitions) -> Iterator[Network]:
        for network in definitions.load():
            if network.broken:
                self._warn("a network's record cannot be read", Failed(network.name, network.broken))
                yield places.salvage(network, self.endpoints(network.id), self._wiring.plugged())
            else:
                yield network

    def _sound(self, name: str) -> Network:
        network = self._catalog.get(name)
        if network.broken:
            raise Failed("", f"network {network.name}: {UNREADABLE.format(network.broken)}")
        return network

    def _plug(self, network: Network, endpoint: Endpoint, before: tuple[Endpoint, ...]) -> None:
        retired = self._retired.pop((network.id, str(endpoint.ipv4)), "")
        if retired and self._later.cancel(retired):
            self._wiring.unplug(retired)  # two on one bridge with the same address do not get on
        self._in_use.begin(network)
        ways = places.ways_out(before), places.ways_out((*before, endpoint))
        self._wiring.plug(network, endpoint, self.namespace(endpoint.container_id), *ways)
        if ways[0] != ways[1]:
            self._publishing.lead(endpoint.container_id, places.targets((*before, endpoint)))
        self._name(endpoint)

    def _lead(self, container_id: str, before: tuple[Endpoint, ...]) -> None:
        """Lay the ways out of and in to a container anew, where they have changed."""
        now = self.container(container_id).endpoints
        old, new = places.ways_out(before), places.ways_out(now)
        if old != new:
            self._wiring.set_ways_out(self.namespace(container_id), old, new)
            self._publishing.lead(container_id, places.targets(now))

    def _name(self, endpoint: Endpoint) -> None:
        if endpoint.link:
            network = self._catalog.get(endpoint.network_id)
            self._names.add(endpoint, way_out=not network.internal, named=network.resolves)

    def _mend(self, alive: Iterable[Endpoint], running: Mapping[str, int]) -> None:
        """See to it that the kernel has what the records say of containers that run."""
        there = self._wiring.plugged()
        for endpoint in alive:
            container_id = endpoint.container_id
            network, path = self._catalog.get(endpoint.network_id), self.namespace(container_id)
            try:
                if not namespaces.is_kept(path):
                    namespaces.keep(path, running[container_id])
                if there.get(endpoint.link) != network.link:
                    ways = places.ways_out(self.container(container_id).endpoints)
                    self._wiring.plug_again(network, endpoint, path, ways, there=endpoint.link in there)
            except Exception as error:  # noqa: BLE001 - one that cannot be mended must not keep the daemon from the others
                self._warn("the network of a container cannot be restored", error)
            self._name(endpoint)

    def _forget(self, endpoint: Endpoint) -> None:
        """Give up the record of an endpoint whose link is gone or about to go."""
        self._members.remove(endpoint)
        network = self._catalog.get(endpoint.network_id)
        if endpoint.link and not self.endpoints(network.id):
            self._in_use.end(network)

    def _tell(self, action: str, endpoint: Endpoint, network: Network) -> None:
        attributes = {"container": endpoint.container_id, "name": network.name, "type": network.driver}
        self._events.publish("network", action, network.id, attributes)


def _tag(paths: Paths) -> str:
    """Give what marks this engine's table and links: another engine, on another data root, has another."""
    if paths.root == DATA_ROOT:
        return "declarative"
    return f"declarative_{hashlib.sha256(str(paths.root).encode()).hexdigest()[:8]}"
