"""The networks that are defined: found by name or id, made with subnets that overlap nothing, forgotten.

The rule that keeps it simple: nothing of the kernel's is touched here; what the machine's routes take is passed in. A network is
recorded before anything is made for it, and forgotten after it is gone, so that nothing is ever without an owner.
"""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from declarative.engine.networks import addresses
from declarative.engine.networks.records import (
    BRIDGE,
    HOST,
    NONE,
    OPTION_DEFAULT,
    OPTION_HOST_ADDRESS,
    OPTION_ICC,
    OPTION_LINK,
    OPTION_MASQUERADE,
    OPTION_MTU,
    PREDEFINED,
    Network,
    NetworkRequest,
    Pool,
)
from declarative.engine.networks.store import bridge_of
from declarative.errors import Conflict, Denied, Invalid, NotFound
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from declarative.engine.networks.addresses import Supply
    from declarative.engine.networks.records import Block
    from declarative.engine.networks.store import Definitions

_LINK_NAME_MAX = 15  # IFNAMSIZ without its zero
_NAME_MAX = 255  # more than anybody types; dockerd has no limit
_MTU_MIN, _MTU_MAX = 68, 65535  # RFC 791; what the kernel takes for a bridge


class Catalog:
    """The defined networks, at first `networks`. Guarded by its owner's lock.

    `clock` gives nanoseconds since 1970, `new_id` 64 hexadecimal digits.
    """

    def __init__(
        self,
        definitions: Definitions,
        networks: Iterable[Network],
        supplies: Sequence[Supply],
        clock: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._definitions = definitions
        self._supplies = tuple(supplies)
        self._clock = clock
        self._new_id = new_id
        self._networks = {network.id: network for network in networks}

    def all(self) -> tuple[Network, ...]:
        """Give every network, oldest first."""
        return tuple(sorted(self._networks.values(), key=lambda network: (network.created, network.name)))

    def get(self, name: str) -> Network:
        """Give the network of this id, name, or beginning of an id. NotFound; Invalid where several ids begin so."""
        if name in self._networks:
            return self._networks[name]
        for network in self._networks.values():
            if network.name == name:
                return network
        found = [network for id_, network in self._networks.items() if name and id_.startswith(name)]
        if len(found) > 1:
            raise Invalid("", f"network {name} is ambiguous ({len(found)} matches found on ID prefix)")
        if not found:
            raise NotFound("", f"network {name} not found")
        return found[0]

    def define_predefined(self, taken: Collection[Block], free_link: Callable[[], str]) -> None:
        """Define the three networks that are always there, those that are not yet; one with a broken record is defined anew."""
        there = {network.name for network in self._networks.values() if not network.broken}
        broken = {network.name: network for network in self._networks.values() if network.broken}
        old = broken.get(BRIDGE)
        if BRIDGE not in there:
            link = old.link if old and old.pools else free_link()
            options = {
                OPTION_DEFAULT: "true",
                OPTION_ICC: "true",
                OPTION_MASQUERADE: "true",
                OPTION_HOST_ADDRESS: "0.0.0.0",  # noqa: S104 - the option's default, told to whoever inspects
                OPTION_LINK: link,
                OPTION_MTU: "1500",
            }
            pools = (old.pools if old else ()) or self._complete((), self._blocks(taken), ipv6=False)
            new = self._new(NetworkRequest(name=BRIDGE, options=options), pools, link)
            self._put(replace(new, id=old.id) if old else new)
        for name, driver in ((HOST, HOST), (NONE, "null")):
            if name not in there:
                new = self._new(NetworkRequest(name=name, driver=driver), (), "")
                self._put(replace(new, id=broken[name].id) if name in broken else new)

    def define(self, request: NetworkRequest, taken: Collection[Block]) -> Network:
        """Define a network. Conflict where the name is taken, Denied where a subnet is, Invalid where the request is wrong."""
        self._check(request)
        if request.name in PREDEFINED:
            raise Denied("", f"operation is not permitted on predefined {request.name} network ")
        if any(network.name == request.name for network in self._networks.values()):
            raise Conflict("", f"network with name {request.name} already exists")
        pools = self._complete(request.pools, self._blocks(taken), ipv6=request.ipv6)
        network = self._new(request, pools, request.options.get(OPTION_LINK, ""))
        if not network.link:
            network = replace(network, link=bridge_of(network.id))
        holder = next((other for other in self._networks.values() if other.link == network.link), None)
        if holder is not None:
            raise Denied(
                "", f"network {network.name} cannot be created: bridge {network.link} is that of network {holder.name}"
            )
        self._put(network)
        return network

    def move(self, network: Network, taken: Collection[Block], link: str) -> Network:
        """Give the default network another bridge or another subnet, because somebody else has come to use its own."""
        pools = network.pools
        if any(
            pool.subnet.overlaps(block) for pool in pools for block in taken if block.version == pool.subnet.version
        ):
            pools = self._complete((), [*taken, *self._blocks((), but=network)], ipv6=network.ipv6)
        moved = replace(network, pools=pools, link=link, options=dict(network.options) | {OPTION_LINK: link})
        self._put(moved)
        return moved

    def forget(self, network: Network) -> None:
        """Forget a network."""
        self._definitions.remove(network.id)
        self._networks.pop(network.id, None)

    def _put(self, network: Network) -> None:
        self._definitions.put(network)
        self._networks[network.id] = network

    def _new(self, request: NetworkRequest, pools: tuple[Pool, ...], link: str) -> Network:
        return Network(
            id=self._new_id(),
            name=request.name,
            driver=request.driver,
            created=self._clock(),
            internal=request.internal,
            attachable=request.attachable,
            ipv6=request.ipv6,
            pools=pools,
            options=dict(request.options),
            ipam_options=dict(request.ipam_options),
            labels=dict(request.labels),
            link=link,
        )

    def _blocks(self, taken: Iterable[Block], but: Network | None = None) -> list[Block]:
        own = [pool.subnet for network in self._networks.values() if network is not but for pool in network.pools]
        return [*taken, *own]

    def _complete(self, pools: tuple[Pool, ...], taken: list[Block], *, ipv6: bool) -> tuple[Pool, ...]:
        """Check the pools asked for, and add those that are missing. What the routes have is no obstacle to what is asked for."""
        own = self._blocks(())
        found: list[Pool] = []
        for pool in pools:
            found.append(addresses.check_pool(pool, [*own, *(other.subnet for other in found)]))
        versions = {pool.subnet.version for pool in found}
        wanted = [(4, self._supplies)] + ([(6, (self._supply6(),))] if ipv6 else [])
        for version, supplies in wanted:
            if version not in versions:
                subnet = addresses.pick_subnet(supplies, [*taken, *(pool.subnet for pool in found)])
                found.append(addresses.check_pool(Pool(subnet=subnet, chosen=False), ()))
        return tuple(sorted(found, key=lambda pool: pool.subnet.version))

    def _supply6(self) -> Supply:
        """Give the engine's own share of the private IPv6 addresses: 40 random bits after fd (RFC 4193, section 3.2.2)."""
        digits = self.get(BRIDGE).id
        return addresses.Supply(block=IPv6Network(f"fd{digits[:2]}:{digits[2:6]}:{digits[6:10]}::/48"), size=64)

    @staticmethod
    def _check(request: NetworkRequest) -> None:
        name = request.name
        if not name.strip() or len(name) > _NAME_MAX or not name.isprintable():
            raise Invalid("", f"invalid network name {name[:80]!r}: it is empty, too long, or has control characters")
        if request.driver in {HOST, "null"}:
            raise Denied("", f'only one instance of "{request.driver}" network is allowed')
        if request.driver != BRIDGE:
            raise NotFound("", f'plugin "{request.driver}" not found')
        link = request.options.get(OPTION_LINK, "")
        if len(link.encode()) > _LINK_NAME_MAX or not set(link).isdisjoint("/ \t\n\"'") or link in {".", ".."}:
            raise Invalid(
                "", f"invalid bridge name {link[:80]!r}: an interface has a name of 1 to {_LINK_NAME_MAX} characters"
            )
        mtu = request.options.get(OPTION_MTU, "")
        if mtu and not (mtu.isdigit() and (int(mtu) == 0 or _MTU_MIN <= int(mtu) <= _MTU_MAX)):
            raise Invalid("", f"invalid MTU {mtu[:80]!r}: it is no number from {_MTU_MIN} to {_MTU_MAX}")
        for version in (4, 6):
            if sum(pool.subnet.version == version for pool in request.pools) > 1:
                raise Invalid("", f"a network of driver bridge has one IPv{version} subnet at most")
        if any(pool.subnet.version == 6 for pool in request.pools) and not request.ipv6:
            raise Invalid("", "an IPv6 subnet was given, but IPv6 is not enabled: set EnableIPv6")
