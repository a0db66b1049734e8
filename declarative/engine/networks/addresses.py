"""Which subnet a network gets, and which address a container gets in it.

The rule that keeps it simple: pure functions over what is taken. Sentences are Docker's where its clients know them.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from declarative.errors import Denied, Failed, Invalid
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from declarative.engine.networks.records import Address, Block, Pool

_REMEMBERED = 64
"""Addresses of one network that are kept from being given again while others are free: peers hold them in caches for a minute."""


@record
class Supply:
    """Where subnets for networks are cut from, each with a prefix of `size` bits."""

    block: Block
    size: int


DEFAULT_SUPPLIES = (
    # what dockerd has without `default-address-pools`, 172.16.0.0/16 left out as there
    *(Supply(block=IPv4Network(f"172.{second}.0.0/16"), size=16) for second in range(17, 32)),
    Supply(block=IPv4Network("192.168.0.0/16"), size=20),
)


def pick_subnet(supplies: Iterable[Supply], taken: Collection[Block]) -> Block:
    """Give the first subnet that overlaps nothing taken. Failed where there is none."""
    for supply in supplies:
        same = [block for block in taken if block.version == supply.block.version and block.overlaps(supply.block)]
        for subnet in _cuts(supply):
            if not any(subnet.overlaps(block) for block in same):
                return subnet
    raise Failed(
        "",
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
        "remove networks that nobody uses, or give this one a subnet",
    )


def _cuts(supply: Supply) -> Iterator[Block]:
    return iter(supply.block.subnets(new_prefix=supply.size))


def check_pool(pool: Pool, taken: Collection[Block]) -> Pool:
    """Give the pool with its gateway. Invalid where its parts do not fit each other, Denied where it overlaps something."""
    subnet = pool.subnet
    if any(subnet.version == block.version and subnet.overlaps(block) for block in taken):
        raise Denied("", "Pool overlaps with other one on this address space")
    if pool.span is not None and not _within(pool.span, subnet):
        raise Invalid("", f"invalid ip-range {pool.span}: it is no part of the subnet {subnet}")
    for name, address in pool.reserved.items():
        if address not in subnet:
            raise Invalid("", f"invalid auxiliary address {name}: {address} is not in the subnet {subnet}")
    if pool.gateway is not None:
        if pool.gateway not in subnet:
            raise Invalid("", f"invalid gateway {pool.gateway}: it is not in the subnet {subnet}")
        return replace(pool, gateway_asked=True)
    return replace(pool, gateway=_first_free(pool, set(pool.reserved.values()), ()))


def _within(part: Block, whole: Block) -> bool:
    if isinstance(part, IPv4Network) and isinstance(whole, IPv4Network):
        return part.subnet_of(whole)
    return isinstance(part, IPv6Network) and isinstance(whole, IPv6Network) and part.subnet_of(whole)


def mac_of(address: IPv4Address) -> str:
    """Give the hardware address that goes with an address: 02:42 and its four bytes, as Docker has it."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + address.packed)


class Leases:
    """Which addresses of one network's pools were given back lately, and by whom."""

    def __init__(self) -> None:
        self._recent: OrderedDict[Address, str] = OrderedDict()

    def give(self, pool: Pool, used: Collection[Address], holder: str) -> Address:
        """Give a free address: the one this holder had last, else the lowest nobody had lately. Failed."""
        taken = {*used, *pool.reserved.values(), *([pool.gateway] if pool.gateway else [])}
        for address, had in self._recent.items():
            if had == holder and address in pool.subnet and address not in taken:
                return self._out(address)
        return self._out(_first_free(pool, taken, tuple(self._recent)))

    def take(self, pool: Pool, used: Collection[Address], address: Address) -> Address:
        """Give this very address. Denied where it is taken, Invalid where the network has no such one."""
        subnet = pool.subnet
        edges = (
            {subnet.network_address, subnet.broadcast_address}
            if subnet.prefixlen <= subnet.max_prefixlen - 2
            else set()
        )
        if address not in subnet or address in edges:
            raise Invalid("", f"invalid address {address}: it does not belong to the subnet {subnet}")
        if address in used or address == pool.gateway or address in pool.reserved.values():
            raise Denied("", "Address already in use")
        return self._out(address)

    def release(self, address: Address, holder: str) -> None:
        """Take an address back."""
        self._recent.pop(address, None)
        self._recent[address] = holder
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)

    def _out(self, address: Address) -> Address:
        self._recent.pop(address, None)
        return address


def _first_free(pool: Pool, taken: Collection[Address], recent: Sequence[Address]) -> Address:
    avoided = set(recent)
    for address in _candidates(pool):
        if address not in taken and address not in avoided:
            return address
    span = pool.span or pool.subnet
    for address in recent:  # the one that was given back longest ago
        if address in span and address not in taken:
            return address
    raise Failed("", f"no available IPv{pool.subnet.version} addresses on this network's address pools: {pool.subnet}")


def _candidates(pool: Pool) -> Iterator[Address]:
    """Go through the addresses that may be given, lowest first; not the subnet's first and last, which mean all of it."""
    subnet, span = pool.subnet, pool.span or pool.subnet
    first, last = int(span.network_address), int(span.broadcast_address)
    if subnet.prefixlen <= subnet.max_prefixlen - 2:
        first = max(first, int(subnet.network_address) + 1)
        last = min(last, int(subnet.broadcast_address) - (1 if subnet.version == 4 else 0))
    kind = IPv4Address if subnet.version == 4 else IPv6Address
    return (kind(value) for value in range(first, last + 1))


def read_block(text: str, what: str) -> Block:
    """Read a subnet. Invalid, with Docker's words where bits beyond the prefix are set."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise Invalid("", f"invalid {what} {text[:80]}: it is no address block such as 172.20.0.0/16") from None
    raise Invalid("", f"invalid {what} {text}: it should be {meant}")


def read_address(text: str, what: str) -> Address:
    """Read an address. Invalid."""
    try:
        return ip_address(text)
    except ValueError:
        raise Invalid("", f"invalid {what} {text[:80]!r}: it is no IP address") from None
