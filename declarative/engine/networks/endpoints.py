"""A container's place in a network, worked out: its addresses, its interface, and which of its networks leads out.

The rule that keeps it simple: functions over records; what is taken is passed in, and nothing is told to the kernel.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import TYPE_CHECKING

from declarative.engine.networks import addresses
from declarative.engine.networks.records import BRIDGE, OPTION_LINK, Endpoint, EndpointRequest, Network, Pool
from declarative.errors import Invalid
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from declarative.engine.networks.addresses import Leases
    from declarative.engine.networks.records import Address
    from declarative.engine.networks.wiring import Ways


def new_endpoint(
    network: Network,
    container_id: str,
    request: EndpointRequest,
    *,
    id: str,  # noqa: A002 - Docker's word
    leases: Leases,
    others: Collection[Endpoint],
    own: Collection[Endpoint],
) -> Endpoint:
    """Give a container its place. `others`: who is in the network; `own`: its other places. Invalid, Denied, Failed."""
    known = Endpoint(
        id=id,
        network_id=network.id,
        network_name=network.name,
        container_id=container_id,
        names=request.names,
        aliases=request.aliases,
        links=dict(request.links),
        dns=request.dns,
    )
    pool4, pool6 = network.pool4, network.pool6
    if network.driver != BRIDGE or pool4 is None:
        return known
    _check(network, request)
    ipv4 = _lease(leases, pool4, {row.ipv4 for row in others if row.ipv4 is not None}, request.ipv4, container_id)
    ipv6 = None
    if pool6 is not None:
        ipv6 = _lease(leases, pool6, {row.ipv6 for row in others if row.ipv6 is not None}, request.ipv6, container_id)
    assert isinstance(ipv4, IPv4Address)  # noqa: S101 - an IPv4 pool gives no others
    taken = {endpoint.interface for endpoint in own}
    made = replace(
        known,
        interface=next(f"eth{count}" for count in range(len(taken) + 1) if f"eth{count}" not in taken),
        link=f"veth{id[:11]}",  # fifteen characters, as many as a link's name may have
        mac=request.mac or addresses.mac_of(ipv4),
        link_local=request.link_local,
        ipv4=ipv4,
        prefix=pool4.subnet.prefixlen,
        gateway=None if network.internal or not isinstance(pool4.gateway, IPv4Address) else pool4.gateway,
    )
    if pool6 is None or not isinstance(ipv6, IPv6Address):
        return made
    gateway6 = None if network.internal or not isinstance(pool6.gateway, IPv6Address) else pool6.gateway
    return replace(made, ipv6=ipv6, prefix6=pool6.subnet.prefixlen, gateway6=gateway6)


def rank(endpoint: Endpoint) -> tuple[int, str]:
    """Put a container's networks in order, as Docker does: they lead out by IPv4 and IPv6, by one, or not; then by name."""
    return (endpoint.gateway is None) + (endpoint.gateway6 is None), endpoint.network_name


def ways_out(endpoints: Sequence[Endpoint]) -> Ways:
    """Give the endpoints that lead out, for IPv4 and IPv6: of those that can, the first."""
    ordered = sorted(endpoints, key=rank)
    return (
        next((endpoint for endpoint in ordered if endpoint.gateway is not None), None),
        next((endpoint for endpoint in ordered if endpoint.gateway6 is not None), None),
    )


def targets(endpoints: Sequence[Endpoint]) -> tuple[Address, ...]:
    """Give the addresses that published ports lead to."""
    way4, way6 = ways_out(endpoints)
    found = (way4.ipv4 if way4 else None, way6.ipv6 if way6 else None)
    return tuple(address for address in found if address is not None)


def salvage(network: Network, there: Sequence[Endpoint], plugged: Mapping[str, str]) -> Network:
    """Give a network whose record is broken what those who are in it tell of it, so that they are served on.

    `plugged`: the bridge of each end of a pair.
    """
    endpoint = next((found for found in there if found.link), None)
    if endpoint is None:
        return network
    places = ((endpoint.ipv4, endpoint.prefix, endpoint.gateway), (endpoint.ipv6, endpoint.prefix6, endpoint.gateway6))
    pools = tuple(
        Pool(subnet=ip_interface(f"{address}/{prefix}").network, gateway=gateway, chosen=False)
        for address, prefix, gateway in places
        if address is not None
    )
    link = plugged.get(endpoint.link) or network.link
    options = {} if link == network.link else {OPTION_LINK: link}  # somebody asked for it, and may have made it
    internal, ipv6 = endpoint.gateway is None, endpoint.ipv6 is not None
    return replace(network, pools=pools, link=link, options=options, internal=internal, ipv6=ipv6)


def _lease(leases: Leases, pool: Pool, used: Collection[Address], wanted: Address | None, container_id: str) -> Address:
    return leases.give(pool, used, container_id) if wanted is None else leases.take(pool, used, wanted)


def _check(network: Network, request: EndpointRequest) -> None:
    """Refuse what a network cannot give."""
    for address, pool in ((request.ipv4, network.pool4), (request.ipv6, network.pool6)):
        if address is None:
            continue
        if network.name == BRIDGE:
            raise Invalid("", "user specified IP address is supported on user defined networks only")
        if pool is None or not pool.chosen:
            raise Invalid(
                "",
                "user specified IP address is supported only when connecting to networks with user configured subnets",
            )
    if request.aliases and network.name == BRIDGE:
        raise Invalid("", "network-scoped alias is supported only for containers in user defined networks")
