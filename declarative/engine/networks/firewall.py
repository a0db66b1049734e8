"""The rules of networks: one nftables table of our own, with sets and maps that say who is in and what is published.

The rule that keeps it simple: the rules never change. A network or a published port is an element of a set or map, put in and
taken out by itself; the whole table is written when the first network comes into use and goes with the last.

What the rules say: a connection to one of this machine's addresses whose port is published is led to its container; containers
that go out, or come back in through a published port, are seen as this machine; from one bridge into another, or from
outside into a container, only what was published gets through; nobody on a bridge reaches this machine's loopback, but for
Docker's address of a name server, which is led to the network's own.
"""

from __future__ import annotations

import contextlib
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from declarative.engine.networks.records import NAME_SERVER
from declarative.errors import Failed
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.networks.nftables import Nftables
    from declarative.engine.networks.records import Address, Block

_RULES = """
  set bridges { type ifname; }
  set same { type ifname . ifname; }
  set internal { type ifname; }
  set inside4 { type ipv4_addr; flags interval; }
  set inside6 { type ipv6_addr; flags interval; }
  set hidden4 { type ipv4_addr; flags interval; }
  set hidden6 { type ipv6_addr; flags interval; }
  map resolvers { type ipv4_addr : ipv4_addr . inet_service; }
  set asking { type ifname; }
  map asked { type ifname : ipv4_addr . inet_service; }
  map published4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map published6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map published_at4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map published_at6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
  chain publish {
    ip6 daddr ::1 return
    dnat ip to ip daddr . meta l4proto . th dport map @published_at4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @published_at6
    meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published4
    meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @published6
  }
  chain guard {
    type filter hook prerouting priority raw;
    iifname @asking ip daddr NAME_SERVER meta l4proto { tcp, udp } th dport 53 accept
    iifname @bridges ip daddr 127.0.0.0/8 drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname @bridges meta l4proto { tcp, udp } th dport 53 dnat ip to ip daddr map @resolvers
    ip daddr NAME_SERVER meta l4proto { tcp, udp } th dport 53 dnat ip to iifname map @asked
    fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100;
    fib daddr type local jump publish
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr 127.0.0.0/8 oifname @bridges masquerade
    ip saddr @inside4 ct status dnat oifname @bridges masquerade
    ip6 saddr @inside6 ct status dnat oifname @bridges masquerade
    ip saddr @hidden4 oifname != @bridges masquerade
    ip6 saddr @hidden6 oifname != @bridges masquerade
  }
  chain forward {
    type filter hook forward priority filter;
    ct state established,related accept
    iifname . oifname @same accept
    iifname @internal drop
    oifname @bridges ct status dnat accept
    oifname @bridges drop
  }
""".replace("NAME_SERVER", str(NAME_SERVER))


@record
class Zone:
    """What the rules know of a network: its bridge and subnets, whether it is cut off, and whether it hides behind this machine.

    `closed`: its containers do not reach each other. `resolver`: the gateway's address, and the port that answers what is asked
    there on port 53.
    """

    link: str
    subnets: tuple[Block, ...]
    internal: bool = False
    hidden: bool = True
    closed: bool = False
    resolver: tuple[IPv4Address, int] | None = None


@record
class Lead:
    """One way in: what comes to `address` (None: any of this machine's) and `host_port` goes to the target."""

    address: Address | None
    protocol: str
    host_port: int
    target: Address
    port: int


class Firewall:
    """The table named `table`, in the namespace of the daemon. Safe to use from several threads."""

    def __init__(self, nftables: Nftables, table: str) -> None:
        self._nftables = nftables
        self._name = f"inet {table}"
        self._lock = threading.Lock()
        self._zones: dict[str, Zone] = {}
        self._leads: set[Lead] = set()
        self._written = False

    @property
    def table(self) -> str:
        """The table's name, without its family."""
        return self._name.removeprefix("inet ")

    def add_zone(self, zone: Zone) -> None:
        """Let a network in; the table is written where it is the first. Failed, and then it is not in."""
        with self._lock:
            before = self._zones.get(zone.link)
            if before == zone:
                return
            script = "" if before else self._script("add", _of_zone(zone, "add"))
            self._change({**self._zones, zone.link: zone}, self._leads, script)

    def remove_zone(self, link: str) -> None:
        """Let a network go; the table goes with the last one. Failed."""
        with self._lock:
            left = {name: zone for name, zone in self._zones.items() if name != link}
            if not left:
                self._erase()
            elif link in self._zones:
                self._change(left, self._leads, self._script("delete", _of_zone(self._zones[link], "delete")))

    def change_leads(self, old: Iterable[Lead], new: Iterable[Lead]) -> None:
        """Publish `new` instead of `old`. Failed, and then nothing has changed."""
        with self._lock:
            gone, come = set(old) & self._leads - set(new), set(new) - self._leads
            script = self._script("delete", (_of_lead(lead, "delete") for lead in gone))
            script += self._script("add", (_of_lead(lead, "add") for lead in come))
            if gone or come:
                self._change(self._zones, self._leads - gone | come, script)

    def replace(self, zones: Iterable[Zone], leads: Iterable[Lead]) -> None:
        """Write the table anew with just these, in one transaction: connections do not notice. Without zones it goes."""
        with self._lock:
            self._zones = {zone.link: zone for zone in zones}
            self._leads = set(leads)
            if self._zones:
                self._write()
            else:
                self._written = True  # somebody's before us may be there
                self._erase()

    def mend(self) -> bool:
        """Write the table again where somebody removed it (`nft flush ruleset`); whether that was so."""
        with self._lock:
            if not self._written or f"table {self._name}" in self._nftables.run("list tables inet").splitlines():
                return False
            self._write()
            return True

    def _change(self, zones: dict[str, Zone], leads: set[Lead], script: str) -> None:
        """Come to this state by a script; where it is refused, since somebody touched our table, by writing all of it anew."""
        before = self._zones, self._leads
        self._zones, self._leads = zones, leads
        try:
            if self._written and script:
                with contextlib.suppress(Failed):
                    self._nftables.run(script)
                    return
            if zones:
                self._write()
        except BaseException:
            self._zones, self._leads = before
            raise

    def _write(self) -> None:
        elements = [element for zone in self._zones.values() for element in _of_zone(zone, "add")]
        elements += [_of_lead(lead, "add") for lead in self._leads]
        # `add` first, so that `delete` finds one; all three are one transaction
        head = f"add table {self._name}\ndelete table {self._name}\ntable {self._name} {{{_RULES}}}\n"
        self._nftables.run(head + self._script("add", elements))
        self._written = True

    def _erase(self) -> None:
        if self._written:
            self._nftables.run(f"add table {self._name}\ndelete table {self._name}\n")
        self._written = False
        self._zones, self._leads = {}, set()

    def _script(self, verb: str, elements: Iterable[str]) -> str:
        return "".join(f"{verb} element {self._name} {element}\n" for element in elements)


def _of_zone(zone: Zone, verb: str) -> list[str]:
    elements = [f'bridges {{ "{zone.link}" }}']
    if not zone.closed:
        elements.append(f'same {{ "{zone.link}" . "{zone.link}" }}')
    if zone.internal:
        elements.append(f'internal {{ "{zone.link}" }}')
    for subnet in zone.subnets:
        elements.append(f"inside{subnet.version} {{ {subnet} }}")
        if zone.hidden and not zone.internal:
            elements.append(f"hidden{subnet.version} {{ {subnet} }}")
    if zone.resolver is not None:
        gateway, port = zone.resolver
        to = f" : {gateway} . {port}" if verb == "add" else ""
        elements += [f"resolvers {{ {gateway}{to} }}", f'asking {{ "{zone.link}" }}', f'asked {{ "{zone.link}"{to} }}']
    return elements


def _of_lead(lead: Lead, verb: str) -> str:
    key = f"{lead.protocol} . {lead.host_port}"
    name = f"published{lead.target.version}"
    if lead.address is not None:
        key, name = f"{lead.address} . {key}", f"published_at{lead.target.version}"
    return f"{name} {{ {key}{f' : {lead.target} . {lead.port}' if verb == 'add' else ''} }}"


def lead_to(
    host_address: str, protocol: str, host_port: int, target: IPv4Address | IPv6Address, port: int
) -> Lead | None:
    """Give the way in for a published port, None where address and target are of different kinds: no rule can lead there."""
    at = ip_address(host_address)
    if at.version != target.version:
        return None
    address = None if at.is_unspecified else at
    return Lead(address=address, protocol=protocol, host_port=host_port, target=target, port=port)
