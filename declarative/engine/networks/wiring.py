"""What networks have the kernel do: bridges for networks, pairs into namespaces, ways out.

The rule that keeps it simple: it is told records and makes the kernel agree; it remembers nothing but bridges that are up. Our
links carry the engine's tag as their alias, so that another's are never taken for ours.
"""

from __future__ import annotations

import errno
import os
import threading
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.networks import links, namespaces
from declarative.engine.networks.links import Link, Pair
from declarative.engine.networks.netlink import Netlink, NetlinkError
from declarative.engine.networks.records import NAME_SERVER, OPTION_ICC, OPTION_LINK
from declarative.errors import Conflict, Failed

if TYPE_CHECKING:
    from collections.abc import Collection

    from declarative.engine.networks.records import Address, Block, Endpoint, Network

_FORWARDING = "ipv4/ip_forward"
_FORWARDING6 = "ipv6/conf/all/forwarding"
_BRIDGED_PACKETS = "bridge/bridge-nf-call-iptables"
_LINK_LOCAL = {4: 16, 6: 64}  # bits of the prefix by version (RFC 3927, RFC 4291 section 2.5.6)


class Wiring:
    """The kernel's links, in the namespace of the thread that makes it. `tag` marks ours. Safe to use from several threads."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._lock = threading.Lock()
        self._kernel = Netlink()
        self._up: dict[str, int] = {}

    def close(self) -> None:
        """Close the socket to the kernel."""
        self._kernel.close()

    def taken(self) -> tuple[Block, ...]:
        """Give what the machine's routes lead to, our own bridges' left out."""
        with self._lock:
            own = {link.index for link in links.all_links(self._kernel) if link.alias == self._tag}
            return tuple(
                block for block, index in links.routes(self._kernel, ipv6=namespaces.has_ipv6()) if index not in own
            )

    def free_bridge(self, prefix: str) -> str:
        """Give the first name, of the prefix and a number, that no link has."""
        with self._lock:
            names = {link.name for link in links.all_links(self._kernel)}
        return next(f"{prefix}{count}" for count in range(len(names) + 1) if f"{prefix}{count}" not in names)

    def is_foreign(self, network: Network) -> bool:
        """Whether somebody else has a link of the name that this network's bridge shall have."""
        with self._lock:
            link = links.find(self._kernel, network.link) if network.link not in self._up else None
        return link is not None and link.alias != self._tag

    def raise_bridge(self, network: Network) -> int:
        """Have the network's bridge up with its addresses, and give its index. Conflict where its name is taken; Failed."""
        with self._lock:
            if (index := self._up.get(network.link)) is not None:
                return index
            try:
                index = self._raise(network)
            except OSError as error:
                raise _failed(f"bridge {network.link} of network {network.name}", error) from error
            self._up[network.link] = index
            return index

    def remove_bridge(self, network: Network) -> None:
        """Remove the network's bridge, if it is ours. Failed."""
        with self._lock:
            self._up.pop(network.link, None)
            try:
                link = links.find(self._kernel, network.link)
                if link is not None and link.alias == self._tag:
                    links.remove(self._kernel, network.link)
            except OSError as error:
                raise _failed(f"bridge {network.link} of network {network.name}", error) from error

    def plug(self, network: Network, endpoint: Endpoint, namespace: Path, before: Ways, after: Ways) -> None:
        """Make the endpoint's pair, with addresses and the ways out inside. Failed, and then nothing is left of it."""
        try:
            self._plug(network, endpoint, namespace, before, after)
        except BaseException as error:
            self.unplug(endpoint.link)
            if isinstance(error, OSError):
                raise _failed(f"network {network.name}", error) from error
            raise

    def plugged(self) -> dict[str, str]:
        """Give the ends that are there, each with the name of its bridge, "" for none."""
        with self._lock:
            there = links.all_links(self._kernel)
        names = {link.index: link.name for link in there}
        return {link.name: names.get(link.master, "") for link in there if link.kind == "veth"}

    def plug_again(self, network: Network, endpoint: Endpoint, namespace: Path, ways: Ways, *, there: bool) -> None:
        """Put an end that lost its bridge onto it again, or make the pair where it is not `there`. Failed."""
        if not there:
            self.plug(network, endpoint, namespace, (None, None), ways)
            return
        try:
            index = self.raise_bridge(network)
            with self._lock:
                links.attach(self._kernel, endpoint.link, index)
        except OSError as error:
            raise _failed(f"network {network.name}", error) from error

    def unplug(self, link: str) -> None:
        """Remove a pair, if it is there."""
        with self._lock:
            links.remove(self._kernel, link)

    def set_ways_out(self, namespace: Path, before: Ways, after: Ways) -> None:
        """Lead what is not nearer through these endpoints instead: IPv4's and IPv6's, None for no way out. Failed."""

        def inside() -> None:
            with Netlink() as kernel:
                _lead(kernel, before, after)

        try:
            namespaces.enter(namespace, inside)
        except OSError as error:
            raise _failed("the container's way out", error) from error

    def sweep(self, bridges: Collection[str], ends: Collection[str]) -> tuple[str, ...]:
        """Remove bridges of ours and ends on them that are none of these, and give their names."""
        with self._lock:
            there = links.all_links(self._kernel)
            own = {
                link.index
                for link in there
                if link.kind == "bridge" and (link.alias == self._tag or link.name in bridges)
            }
            lost = [link.name for link in there if link.master in own and link.kind == "veth" and link.name not in ends]
            lost += [link.name for link in there if link.alias == self._tag and link.name not in bridges]
            self._up = {name: index for name, index in self._up.items() if name not in lost}
            return tuple(name for name in lost if links.remove(self._kernel, name))

    def _raise(self, network: Network) -> int:
        link = links.find(self._kernel, network.link)
        if link is not None and link.kind != "bridge":
            raise Conflict("", f"existing interface {network.link} is not a bridge")
        if link is not None and link.alias != self._tag and OPTION_LINK not in network.options:
            raise Conflict(
                f"network {network.name}", f"bridge {network.link} is not the engine's", "remove or rename it"
            )
        gateways = [(pool.gateway, pool.subnet.prefixlen) for pool in network.pools if pool.gateway is not None]
        if link is None:
            first = next((gateway for gateway, _ in gateways if isinstance(gateway, IPv4Address)), IPv4Address(0))
            # locally administered, and of its own: a container may have any address derived from its IPv4 address
            mac = ":".join(f"{byte:02x}" for byte in b"\x06\x42" + first.packed)
            links.add_bridge(self._kernel, network.link, alias=self._tag, mac=mac, mtu=network.mtu)
            link = links.find(self._kernel, network.link)
        index = link.index if link is not None else 0
        namespaces.write_setting(f"ipv4/conf/{network.link}/route_localnet", "1")  # 127.0.0.1:PORT is led to containers
        namespaces.write_setting(f"ipv6/conf/{network.link}/accept_ra", "0")
        namespaces.write_setting(f"ipv6/conf/{network.link}/disable_ipv6", "0" if network.pool6 else "1")
        links.raise_bridge(self._kernel, index, tuple(gateways))
        _forward(ipv6=network.pool6 is not None)
        return index

    def _plug(self, network: Network, endpoint: Endpoint, namespace: Path, before: Ways, after: Ways) -> None:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            bridged = namespaces.read_setting(_BRIDGED_PACKETS) == "1"
            for again in (False, True):
                pair = Pair(
                    link=endpoint.link,
                    bridge=self.raise_bridge(network),
                    namespace=descriptor,
                    interface=endpoint.interface,
                    mac=endpoint.mac,
                    mtu=network.mtu,
                    # where bridged packets pass the rules, those keep containers apart, and let published ports through;
                    # and a packet to the container's own published port goes back the way it came
                    isolated=not bridged and not network.flag(OPTION_ICC, default=True),
                    hairpin=bridged,
                    ipv6=namespaces.has_ipv6(),
                )
                try:
                    with self._lock:
                        links.add_pair(self._kernel, pair)
                    break
                except NetlinkError as error:
                    if (
                        again
                        or error.errno not in {errno.ENODEV, errno.EINVAL}
                        or links.find(self._kernel, network.link)
                    ):
                        raise
                    self._up.pop(network.link, None)  # somebody removed the bridge: make it again, once
        finally:
            os.close(descriptor)
        server = network.pool4.gateway if network.resolves and network.pool4 is not None else None
        namespaces.enter(namespace, lambda: _settle(endpoint, server, before, after))


Ways = tuple["Endpoint | None", "Endpoint | None"]
"""The endpoints that lead out, for IPv4 and for IPv6."""


def _settle(endpoint: Endpoint, server: Address | None, before: Ways, after: Ways) -> None:
    """Put a container's interface up with its addresses, and lay the ways out; in its namespace.

    `server`: the network's name server, which is to be had at Docker's address too.
    """
    found: list[tuple[Address, int]] = [(endpoint.ipv4, endpoint.prefix)] if endpoint.ipv4 is not None else []
    found += [(address, _LINK_LOCAL[address.version]) for address in endpoint.link_local]
    if any(address.version == 6 for address in (endpoint.ipv6, *endpoint.link_local) if address is not None):
        namespaces.write_setting(f"ipv6/conf/{endpoint.interface}/disable_ipv6", "0")
    if endpoint.ipv6 is not None:
        found.append((endpoint.ipv6, endpoint.prefix6))
    with Netlink() as kernel:
        index = _index(kernel, endpoint.interface)
        links.set_addresses(kernel, index, tuple(found))
        if isinstance(server, IPv4Address) and links.shut_loopback(kernel):
            namespaces.write_setting(f"ipv4/conf/{endpoint.interface}/route_localnet", "1")
            links.lead_out(kernel, index, NAME_SERVER, server)
        if before != after:
            _lead(kernel, before, after)


def _lead(kernel: Netlink, before: Ways, after: Ways) -> None:
    for version, (old, new) in zip((4, 6), zip(before, after, strict=True), strict=True):
        gateway = None if new is None else new.gateway if version == 4 else new.gateway6
        if new is not None and gateway is not None:
            links.set_gateway(kernel, _index(kernel, new.interface), gateway)
        elif old is not None:
            links.drop_gateway(kernel, version)


def _index(kernel: Netlink, interface: str) -> int:
    link: Link | None = links.find(kernel, interface)
    if link is None:
        raise OSError(errno.ENODEV, f"{os.strerror(errno.ENODEV)}: {interface}")
    return link.index


def _forward(*, ipv6: bool) -> None:
    """Let the machine pass packets on, which containers need to reach anything."""
    if namespaces.read_setting(_FORWARDING) != "1":
        namespaces.write_setting(_FORWARDING, "1")
    if ipv6 and namespaces.read_setting(_FORWARDING6) != "1":
        # a machine that passes packets on stops listening to its router, unless told otherwise: Linux, ip-sysctl, accept_ra
        for name in [path.name for path in Path("/proc/sys/net/ipv6/conf").iterdir()]:
            if name not in {"all", "lo"} and namespaces.read_setting(f"ipv6/conf/{name}/accept_ra") == "1":
                namespaces.write_setting(f"ipv6/conf/{name}/accept_ra", "2")
        namespaces.write_setting(_FORWARDING6, "1")


def _failed(subject: str, error: OSError) -> Failed:
    return Failed(subject, f"the kernel refuses it: {error.strerror or error}")
