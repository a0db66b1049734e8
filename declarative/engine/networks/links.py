"""Links of the kernel's: bridges, veth pairs, their addresses and routes, as requests to netlink.

The rule that keeps it simple: each function packs and sends what belongs together as one, and holds nothing. Whoever calls it
decides in which network namespace the socket is. Numbers are those of linux/if_link.h, if_addr.h, rtnetlink.h and if_bridge.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from declarative.engine.networks import netlink
from declarative.engine.networks.netlink import (
    Message,
    Netlink,
    NetlinkError,
    attribute,
    attributes,
    byte,
    number,
    text,
)
from declarative.record import record

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from declarative.engine.networks.records import Address, Block

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR = 20
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, which flags
_ADDRESS = struct.Struct("=BBBBi")  # ifaddrmsg: family, prefix, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, to, from, tos, table, protocol, scope, type, flags
_UP = 0x1
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_ALIAS, _IFLA_AF_SPEC, _IFLA_NETNS_FD = 20, 26, 28
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_PEER = 1
_INET6_ADDR_GEN_MODE, _GEN_NONE = 8, 1
_BRPORT_MODE, _BRPORT_ISOLATED = 4, 33
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_POINT_TO_POINT = 31  # bits of a prefix from which on there is no broadcast address (RFC 3021)
_NO_DAD, _PERMANENT = 0x02, 0x80
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE = 1, 4, 5, 6, 15
_NEWRULE, _DELRULE = 32, 33
_RULE = struct.Struct("=BBBBBxxBI")  # fib_rule_hdr: family, to, from, tos, table, action, flags
_FRA_DST, _FRA_IIFNAME, _FRA_PRIORITY = 1, 3, 6
_TO_TABLE, _BLACKHOLE = 1, 6
_LOOPBACK = IPv4Network("127.0.0.0/8")
_MAIN, _LOCAL, _BOOT, _UNICAST, _UNIVERSE = 254, 255, 3, 1, 0


@record
class Link:
    """A link as the kernel has it. `alias`: a free text that the administrator sees; `master`: index of its bridge, or 0."""

    index: int
    name: str
    kind: str = ""
    alias: str = ""
    master: int = 0


@record
class Pair:
    """A veth pair to be made: one end on a bridge, the other inside a namespace. `ipv6`: whether the kernel knows that."""

    link: str
    bridge: int
    namespace: int
    interface: str
    mac: str
    mtu: int = 0
    isolated: bool = False
    hairpin: bool = False
    ipv6: bool = True


def find(kernel: Netlink, name: str) -> Link | None:
    """Give the link of this name, None where there is none."""
    try:
        answers = kernel.ask(Message(kind=_GETLINK, body=_LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_NAME, name)))
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return _link(answers[0])


def all_links(kernel: Netlink) -> tuple[Link, ...]:
    """Give every link of the namespace."""
    answers = kernel.ask(Message(kind=_GETLINK, flags=netlink.DUMP, body=_LINK.pack(0, 0, 0, 0, 0)))
    return tuple(_link(answer) for answer in answers)


def remove(kernel: Netlink, name: str) -> bool:
    """Remove a link, a pair with both ends; False where there was none."""
    try:
        kernel.run(Message(kind=_DELLINK, body=_LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_NAME, name)))
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return False
        raise
    return True


def add_bridge(kernel: Netlink, name: str, *, alias: str, mac: str, mtu: int = 0) -> None:
    """Make a bridge, not up yet. FileExistsError where the name is taken."""
    body = text(_IFLA_NAME, name) + attribute(_IFLA_ADDRESS, _mac(mac)) + _kind("bridge")
    body += number(_IFLA_MTU, mtu) if mtu else b""
    kernel.run(
        Message(kind=_NEWLINK, flags=netlink.CREATE | netlink.EXCLUSIVE, body=_LINK.pack(0, 0, 0, 0, 0) + body),
        Message(kind=_NEWLINK, body=_LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_NAME, name) + text(_IFLA_ALIAS, alias)),
    )


def raise_bridge(kernel: Netlink, index: int, addresses: tuple[tuple[Address, int], ...]) -> None:
    """Give a bridge its addresses, each with the prefix of its subnet, and put it up; what it has already stays."""
    kernel.run(up(index), *(_add_address(index, address, prefix) for address, prefix in addresses))


def add_pair(kernel: Netlink, pair: Pair) -> None:
    """Make a veth pair at once where it belongs, its outer end up. FileExistsError where a name is taken."""
    mtu = number(_IFLA_MTU, pair.mtu) if pair.mtu else b""
    inner = _LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_NAME, pair.interface) + mtu
    inner += attribute(_IFLA_ADDRESS, _mac(pair.mac)) + number(_IFLA_NETNS_FD, pair.namespace)
    outer = text(_IFLA_NAME, pair.link) + number(_IFLA_MASTER, pair.bridge) + mtu
    outer += _kind("veth", attribute(_VETH_PEER, inner))
    # a port of a bridge wants no address of its own: without this it gets one, and tells everybody
    quiet = attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET6, byte(_INET6_ADDR_GEN_MODE, _GEN_NONE)))
    port = (byte(_BRPORT_ISOLATED, 1) if pair.isolated else b"") + (byte(_BRPORT_MODE, 1) if pair.hairpin else b"")
    slave = text(_INFO_SLAVE_KIND, "bridge") + attribute(_INFO_SLAVE_DATA | netlink.NESTED, port)
    named = _LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_NAME, pair.link)
    kernel.run(
        Message(kind=_NEWLINK, flags=netlink.CREATE | netlink.EXCLUSIVE, body=_LINK.pack(0, 0, 0, 0, 0) + outer),
        *([Message(kind=_NEWLINK, body=named + quiet)] if pair.ipv6 else []),
        *([Message(kind=_NEWLINK, body=named + attribute(_IFLA_LINKINFO, slave))] if port else []),
        Message(kind=_NEWLINK, body=_LINK.pack(0, 0, 0, _UP, _UP) + text(_IFLA_NAME, pair.link)),
    )


def attach(kernel: Netlink, name: str, bridge: int) -> None:
    """Put a link onto a bridge, and up."""
    body = _LINK.pack(0, 0, 0, _UP, _UP) + text(_IFLA_NAME, name) + number(_IFLA_MASTER, bridge)
    kernel.run(Message(kind=_NEWLINK, body=body))


def up(index: int) -> Message:
    """Put a link up."""
    return Message(kind=_NEWLINK, body=_LINK.pack(0, 0, index, _UP, _UP))


def set_addresses(kernel: Netlink, index: int, addresses: tuple[tuple[Address, int], ...]) -> None:
    """Put a container's interface up with its addresses."""
    kernel.run(up(index), *(_add_address(index, address, prefix) for address, prefix in addresses))


def set_gateway(kernel: Netlink, index: int, gateway: Address) -> None:
    """Let everything that is not nearer go through this gateway, instead of whatever it went through."""
    kernel.run(Message(kind=_NEWROUTE, flags=netlink.CREATE | netlink.REPLACE, body=_default(gateway, index)))


def lead_out(kernel: Netlink, index: int, address: IPv4Address, gateway: IPv4Address) -> None:
    """Let an address of the loopback's own go through this gateway; of several interfaces the first one counts."""
    head = _ROUTE.pack(socket.AF_INET, address.max_prefixlen, 0, 0, _LOCAL, _BOOT, _UNIVERSE, _UNICAST, 0)
    body = attribute(_RTA_DST, address.packed) + attribute(_RTA_GATEWAY, gateway.packed)
    body += number(_RTA_OIF, index) + number(_RTA_PRIORITY, index)
    kernel.run(Message(kind=_NEWROUTE, flags=netlink.CREATE | netlink.REPLACE, body=head + body))


def shut_loopback(kernel: Netlink) -> bool:
    """Let nobody but the namespace itself come at its loopback's addresses, whatever its interfaces let in.

    False where this kernel cannot be told (it has no CONFIG_IP_MULTIPLE_TABLES). May be done again.
    """
    wanted = (
        _rule(1, _TO_TABLE, text(_FRA_IIFNAME, "lo")),  # what it sends itself, too, comes from there
        _rule(2, _BLACKHOLE, attribute(_FRA_DST, _LOOPBACK.network_address.packed), _LOOPBACK.prefixlen),
        _rule(3, _TO_TABLE),
    )
    for body in wanted:
        try:
            kernel.run(Message(kind=_NEWRULE, flags=netlink.CREATE | netlink.EXCLUSIVE, body=body))
        except NetlinkError as error:
            if error.errno in {errno.EOPNOTSUPP, errno.EAFNOSUPPORT}:
                return False
            if error.errno != errno.EEXIST:
                raise
    try:
        kernel.run(Message(kind=_DELRULE, body=_rule(0, _TO_TABLE)))
    except NetlinkError as error:
        if error.errno != errno.ENOENT:
            raise
    return True


def drop_gateway(kernel: Netlink, version: int) -> None:
    """Take the way out away, if there is one."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, 0, 0, 0, _MAIN, 0, _UNIVERSE, 0, 0)
    try:
        kernel.run(Message(kind=_DELROUTE, body=body))
    except NetlinkError as error:
        # ENOENT is IPv6's: where no default route is left, it finds its table's own placeholder, which it keeps
        if error.errno not in {errno.ESRCH, errno.ENODEV, errno.ENOENT}:
            raise


def routes(kernel: Netlink, *, ipv6: bool = True) -> tuple[tuple[Block, int], ...]:
    """Give what the machine's main table leads to, default routes left out, each with the index of the link it goes by."""
    found: list[tuple[Block, int]] = []
    families = (socket.AF_INET, IPv4Network), (socket.AF_INET6, IPv6Network)
    for family, block in families if ipv6 else families[:1]:
        request = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for answer in kernel.ask(Message(kind=_GETROUTE, flags=netlink.DUMP, body=request)):
            _, prefix, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(answer)
            values = attributes(answer, _ROUTE.size)
            table = struct.unpack("=I", values[_RTA_TABLE])[0] if _RTA_TABLE in values else table
            if table != _MAIN or kind != _UNICAST or _RTA_DST not in values or not prefix:
                continue
            link = struct.unpack("=i", values[_RTA_OIF])[0] if _RTA_OIF in values else 0
            found.append((block((values[_RTA_DST], prefix)), link))
    return tuple(found)


def _link(answer: bytes) -> Link:
    _, _, index, _, _ = _LINK.unpack_from(answer)
    values = attributes(answer, _LINK.size)
    info = attributes(values.get(_IFLA_LINKINFO, b""), 0)
    return Link(
        index=index,
        name=_words(values.get(_IFLA_NAME, b"")),
        kind=_words(info.get(_INFO_KIND, b"")),
        alias=_words(values.get(_IFLA_ALIAS, b"")),
        master=struct.unpack("=i", values[_IFLA_MASTER])[0] if _IFLA_MASTER in values else 0,
    )


def _kind(name: str, data: bytes = b"") -> bytes:
    return attribute(_IFLA_LINKINFO, text(_INFO_KIND, name) + (attribute(_INFO_DATA, data) if data else b""))


def _add_address(index: int, address: Address, prefix: int) -> Message:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    flags = _PERMANENT | (_NO_DAD if family == socket.AF_INET6 else 0)  # nobody else can have it: it was given by us
    body = _ADDRESS.pack(family, prefix, flags, 0, index)
    body += attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
    if isinstance(address, IPv4Address) and prefix < _POINT_TO_POINT:
        body += attribute(_IFA_BROADCAST, IPv4Interface((address, prefix)).network.broadcast_address.packed)
    return Message(kind=_NEWADDR, flags=netlink.CREATE | netlink.REPLACE, body=body)


def _default(gateway: IPv4Address | IPv6Address, index: int) -> bytes:
    family = socket.AF_INET if isinstance(gateway, IPv4Address) else socket.AF_INET6
    head = _ROUTE.pack(family, 0, 0, 0, _MAIN, _BOOT, _UNIVERSE, _UNICAST, 0)
    return head + attribute(_RTA_GATEWAY, gateway.packed) + number(_RTA_OIF, index)


def _rule(priority: int, action: int, what: bytes = b"", bits: int = 0) -> bytes:
    """Pack a rule about the table of local addresses."""
    table = _LOCAL if action == _TO_TABLE else 0
    head = _RULE.pack(socket.AF_INET, bits, 0, 0, table, action, 0)
    return head + number(_FRA_PRIORITY, priority) + what


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _words(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
