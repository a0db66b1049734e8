"""Who is called what, and who may know: names, aliases and links of the containers in each network.

The rule that keeps it simple: a name is looked up for somebody, in the networks that somebody is in. On the default bridge nobody
has a name, as with Docker.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.engine.networks.endpoints import rank
from declarative.record import record

if TYPE_CHECKING:
    from declarative.engine.networks.records import Address, Endpoint

_SHORT_ID = 12


@record
class Asker:
    """Who asks: a container, the servers that it wants asked for what is not known here, and whether it has a way out at all."""

    container_id: str
    dns: tuple[str, ...] = ()
    way_out: bool = True


@record
class _Row:
    endpoint: Endpoint
    way_out: bool
    named: bool


class Names:
    """The names of all networks. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_container: dict[str, dict[str, _Row]] = {}  # and by network
        self._by_address: dict[tuple[str, Address], Endpoint] = {}
        self._by_name: dict[tuple[str, str], list[Endpoint]] = {}
        self._turn = 0

    def add(self, endpoint: Endpoint, *, way_out: bool, named: bool = True) -> None:
        """Make an endpoint known, in place of the one that the container had in that network.

        `way_out`: it leads outside; `named`: others in the network may know it by its names.
        """
        with self._lock:
            self._remove(endpoint.container_id, endpoint.network_id)
            self._by_container.setdefault(endpoint.container_id, {})[endpoint.network_id] = _Row(
                endpoint=endpoint, way_out=way_out, named=named
            )
            for address in _addresses(endpoint):
                self._by_address[endpoint.network_id, address] = endpoint
            for name in _names(endpoint) if named else ():
                self._by_name.setdefault((endpoint.network_id, name), []).append(endpoint)

    def remove(self, container_id: str, network_id: str) -> None:
        """Forget an endpoint."""
        with self._lock:
            self._remove(container_id, network_id)

    def asker(self, network_id: str, address: Address) -> Asker | None:
        """Tell whose address this is in a network, None where it is nobody's."""
        with self._lock:
            endpoint = self._by_address.get((network_id, address))
            if endpoint is None:
                return None
            rows = self._by_container[endpoint.container_id].values()
            return Asker(container_id=endpoint.container_id, dns=endpoint.dns, way_out=any(row.way_out for row in rows))

    def addresses(self, asker: Asker, name: str) -> tuple[Address, ...] | None:
        """Give what a name means to somebody: addresses of both kinds, in turn; None where it means nothing here.

        The first that knows it counts alone, a link before a name, and one network before the next: elsewhere it may be the name
        of another program.
        """
        wanted = name.rstrip(".").lower()
        with self._lock:
            rows = sorted(self._by_container.get(asker.container_id, {}).values(), key=lambda row: rank(row.endpoint))
            ways = (self._linked, self._named, self._named_in_full)
            found = next(filter(None, (way(row.endpoint, wanted) for way in ways for row in rows)), None)
            if found is None:
                return None
            self._turn += 1
            turn = self._turn % len(found)
        ordered = found[turn:] + found[:turn]
        return tuple(dict.fromkeys(address for endpoint in ordered for address in _addresses(endpoint)))

    def name(self, asker: Asker, address: Address) -> str | None:
        """Give the name of an address in a network of somebody's, such as `web.shop`; None where it is nobody's."""
        with self._lock:
            for network_id in self._by_container.get(asker.container_id, {}):
                endpoint = self._by_address.get((network_id, address))
                if endpoint is not None and self._by_container[endpoint.container_id][network_id].named:
                    first = endpoint.names[0] if endpoint.names else endpoint.container_id[:_SHORT_ID]
                    return f"{first}.{endpoint.network_name}"
        return None

    def _linked(self, own: Endpoint, wanted: str) -> list[Endpoint]:
        linked = (container_id for alias, container_id in own.links.items() if alias.lower() == wanted)
        rows = (self._by_container.get(container_id, {}).get(own.network_id) for container_id in linked)
        return [row.endpoint for row in rows if row is not None]

    def _named(self, own: Endpoint, wanted: str) -> list[Endpoint]:
        return list(self._by_name.get((own.network_id, wanted), ()))

    def _named_in_full(self, own: Endpoint, wanted: str) -> list[Endpoint]:
        suffix = f".{own.network_name.lower()}"
        return self._named(own, wanted.removesuffix(suffix)) if wanted.endswith(suffix) else []

    def _remove(self, container_id: str, network_id: str) -> None:
        rows = self._by_container.get(container_id, {})
        row = rows.pop(network_id, None)
        if not rows:
            self._by_container.pop(container_id, None)
        if row is None:
            return
        endpoint = row.endpoint
        for address in _addresses(endpoint):
            self._by_address.pop((network_id, address), None)
        for name in _names(endpoint) if row.named else ():
            left = [other for other in self._by_name.get((network_id, name), ()) if other.container_id != container_id]
            if left:
                self._by_name[network_id, name] = left
            else:
                self._by_name.pop((network_id, name), None)


def _addresses(endpoint: Endpoint) -> tuple[Address, ...]:
    return tuple(address for address in (endpoint.ipv4, endpoint.ipv6) if address is not None)


def _names(endpoint: Endpoint) -> tuple[str, ...]:
    short = endpoint.container_id[:_SHORT_ID]
    return tuple(dict.fromkeys(name.lower() for name in (*endpoint.names, *endpoint.aliases, short) if name))
