"""What networks are made of: the types that callers pass in and get back.

The rule that keeps it simple: these are values. Text of the API is read into them at the edge; an address is an `ipaddress`
object everywhere inside, and a container is known by its full id alone.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
)
from typing import TYPE_CHECKING

from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network

BRIDGE = "bridge"
HOST = "host"
NONE = "none"
PREDEFINED = (BRIDGE, HOST, NONE)
"""Networks that every engine has, by name."""

NAME_SERVER = IPv4Address("127.0.0.11")
"""Where Docker's containers find their name server, and configurations look for it (`resolver` of nginx)."""

OPTION_LINK = "com.docker.network.bridge.name"
OPTION_ICC = "com.docker.network.bridge.enable_icc"
OPTION_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
OPTION_HOST_ADDRESS = "com.docker.network.bridge.host_binding_ipv4"
OPTION_DEFAULT = "com.docker.network.bridge.default_bridge"
OPTION_MTU = "com.docker.network.driver.mtu"


@record
class Pool:
    """One subnet of a network. `span`: the part that addresses are given from (Docker's `IPRange`); `reserved`: name → address.

    `chosen`: the subnet was asked for, not picked by the engine; only then may an endpoint ask for an address of its own.
    `gateway_asked`: so was the gateway.
    """

    subnet: Block
    gateway: Address | None = None
    span: Block | None = None
    reserved: Mapping[str, Address] = field(default_factory=dict, hash=False)
    chosen: bool = True
    gateway_asked: bool = False

    def overlaps(self, block: Block) -> bool:
        """Whether the subnet and a block have an address in common."""
        subnet = self.subnet
        if isinstance(subnet, IPv4Network):
            return isinstance(block, IPv4Network) and subnet.overlaps(block)
        return isinstance(block, IPv6Network) and subnet.overlaps(block)


@record
class NetworkRequest:
    """A network to be made. Without an IPv4 pool the engine picks one, and an IPv6 one where `ipv6`."""

    name: str
    driver: str = BRIDGE
    internal: bool = False
    attachable: bool = False
    ipv6: bool = False
    pools: tuple[Pool, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    ipam_options: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@record
class Network:
    """A network that there is. `created`: nanoseconds since 1970; `link`: the bridge's name, "" for `host` and `none`.

    `broken`: what cannot be read of its record. Who is in it stays, and nobody comes.
    """

    id: str
    name: str
    driver: str
    created: int
    internal: bool = False
    attachable: bool = False
    ipv6: bool = False
    pools: tuple[Pool, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    ipam_options: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    link: str = ""
    broken: str = ""

    @property
    def predefined(self) -> bool:
        """Whether it is one of the three that are always there."""
        return self.name in PREDEFINED

    @property
    def resolves(self) -> bool:
        """Whether names of its containers are answered: on every bridge but the default one, as Docker does."""
        return self.driver == BRIDGE and self.name != BRIDGE

    def flag(self, option: str, *, default: bool) -> bool:
        """Read a boolean option as Go's ParseBool does; a text that is none counts as the default."""
        text = self.options.get(option, "").lower()
        return default if text not in {"1", "t", "true", "0", "f", "false"} else text in {"1", "t", "true"}

    @property
    def mtu(self) -> int:
        """Bytes of a packet on its links, 0 for the kernel's default."""
        text = self.options.get(OPTION_MTU, "")
        return int(text) if text.isdigit() else 0

    @property
    def pool4(self) -> Pool | None:
        """Its IPv4 subnet."""
        return next((pool for pool in self.pools if pool.subnet.version == 4), None)

    @property
    def pool6(self) -> Pool | None:
        """Its IPv6 subnet."""
        return next((pool for pool in self.pools if pool.subnet.version == 6), None)


@record
class EndpointRequest:
    """How a container wants to be in a network.

    `names`: what it is called, the container's name first. `aliases`: names in this network alone. `links`: alias → container id,
    known to this container alone. `link_local`: addresses beside those of the network.
    `dns`: servers to ask for all other names instead of the host's.
    """

    names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    link_local: tuple[Address, ...] = ()
    mac: str = ""
    links: Mapping[str, str] = field(default_factory=dict, hash=False)
    dns: tuple[str, ...] = ()


@record
class Endpoint:
    """A container's place in a network. For `host` and `none` there is no interface and there are no addresses.

    `gateway` and `gateway6`: None on an internal network, which has no way out. `link`: the host's end of the pair.
    """

    id: str
    network_id: str
    network_name: str
    container_id: str
    interface: str = ""
    link: str = ""
    mac: str = ""
    ipv4: IPv4Address | None = None
    prefix: int = 0
    gateway: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    prefix6: int = 0
    gateway6: IPv6Address | None = None
    link_local: tuple[Address, ...] = ()
    names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict, hash=False)
    dns: tuple[str, ...] = ()


@record
class PortRequest:
    """A port of the container's to be reached from outside.

    `host_address`: "" for all of the machine's. `host_ports`: first and last of a range to pick from; (0, 0) for any free one.
    """

    port: int
    protocol: str = "tcp"
    host_address: str = ""
    host_ports: tuple[int, int] = (0, 0)


@record
class PublishedPort:
    """A port of the machine's that leads to a port of a container's. `host_address`: such as 0.0.0.0, :: or 127.0.0.1."""

    port: int
    protocol: str
    host_address: str
    host_port: int


@record
class ContainerNetwork:
    """All of one running container's networking, as it is recorded."""

    container_id: str
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
