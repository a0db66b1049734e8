"""Shapes of what a container has on networks: published ports, attachments, names of hosts.

The rule that keeps it simple: one text form is one expression, taken apart once; ranges become single ports here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from declarative.core.resources import Attachment, Port
from declarative.errors import Invalid
from declarative.manifest.decode import BAD, Field, Record, Schema, Shape
from declarative.manifest.decode_collections import ByShape, ListOf, MapOf
from declarative.manifest.decode_process import NAME
from declarative.manifest.decode_scalars import Enum, Integer, Text
from declarative.manifest.suggest import did_you_mean
from declarative.manifest.yaml_nodes import Scalar, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping as AbstractMapping

    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Node

PROTOCOLS = ("tcp", "udp", "sctp")
_HIGHEST = 65535
_FORM = "write [[ADDRESS:]HOST_PORT:]CONTAINER_PORT[/PROTOCOL], as in 8080:80 or 127.0.0.1:53:53/udp"
_PORT = (
    r"(?:(?:(?P<ip>[0-9.]+|\[[0-9a-fA-F:.]+\]):)?(?P<host>[0-9]+(?:-[0-9]+)?)?:)?"
    r"(?P<target>[0-9]+(?:-[0-9]+)?)(?:/(?P<protocol>[A-Za-z]+))?"
)


def _address(text: str) -> str:
    """Give an IP address in its canonical form; raises Invalid."""
    import socket  # loaded by every driver anyway; `ipaddress` is not, and costs 5 ms

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, text))
        except OSError:
            continue
    raise Invalid(f"`{text[:60]}`", "is not an IP address", "write one such as 10.0.0.5 or fd00::5")


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    if len(first) > 5 or len(last) > 5:
        raise Invalid(f"port {text[:20]}", "is out of range", "ports are 1 to 65535")
    ports = range(int(first), int(last or first) + 1)
    if not ports:
        raise Invalid(f"port range {text}", "ends before it begins", "swap its ends")
    if not 1 <= ports[0] <= ports[-1] <= _HIGHEST:
        raise Invalid(f"port {text}", "is out of range", "ports are 1 to 65535")
    return ports


def _protocol(text: str) -> str:
    if text.lower() not in PROTOCOLS:
        raise Invalid(f"`{text[:20]}`", "is not a protocol", did_you_mean(text, PROTOCOLS) or "write tcp, udp or sctp")
    return text.lower()


@lru_cache(maxsize=1024)
def parse_ports(text: str) -> tuple[Port, ...]:
    """Parse the short form of Compose; raises Invalid. A range of n gives n ports."""
    found = re.fullmatch(_PORT, text, re.ASCII)
    if found is None:
        raise Invalid(f"`{text[:60]}`", "is not a port", _FORM)
    targets = _range(found["target"])
    protocol = _protocol(found["protocol"] or "tcp")
    ip = _address(found["ip"].strip("[]")) if found["ip"] else ""
    if not found["host"]:
        return tuple(Port(target=target, protocol=protocol, host_ip=ip) for target in targets)
    published = _range(found["host"])
    if len(published) != len(targets):
        problem = f"has {len(published)} host ports for {len(targets)} container ports"
        raise Invalid(f"`{text}`", problem, "make both ranges of one length, or name one host port")
    return tuple(
        Port(target=target, protocol=protocol, published=host, host_ip=ip)
        for target, host in zip(targets, published, strict=True)
    )


class _PortText(Shape):
    """The short form of a port, or of a range of them: a list of ports."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give a list of ports."""
        if type(node) is not Scalar or type(node.value) not in {str, int}:
            return reading.wrong(node, "a port", "put it in quotes" if kind_of(node) == "a number" else "")
        try:
            return list(parse_ports(node.text if type(node.value) is int else str(node.value)))
        except Invalid as error:
            return reading.refuse(node, error)

    def schema(self) -> Schema:
        """Text in the short form, or a container's port."""
        number = {"type": "integer", "minimum": 1, "maximum": _HIGHEST}
        pattern = re.sub(r"\?P<[a-z]+>", "?:", _PORT)
        return {"anyOf": [{"type": "string", "pattern": f"^{pattern}$"}, number]}

    def words(self) -> str:
        """Say how it is written."""
        return "[[ADDRESS:]HOST_PORT:]CONTAINER_PORT[/PROTOCOL]"


class _PublishedPort(Shape):
    """A host port, as a number or its text. 0 lets the engine choose."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the number."""
        if type(node) is Scalar and type(node.value) in {str, int} and re.fullmatch(r"[0-9]{1,5}", str(node.value)):
            port = int(node.value)  # type: ignore[arg-type]
            if port <= _HIGHEST:
                return port
        if type(node) is Scalar and node.value is not None:
            return reading.complain(node, f"`{node.text[:20]}` is not a port", "write one port, 0 to 65535")
        return reading.wrong(node, "a port")

    def schema(self) -> Schema:
        """Give a number or its text."""
        number = {"type": "integer", "minimum": 0, "maximum": _HIGHEST}
        return {"anyOf": [number, {"type": "string", "pattern": "^[0-9]{1,5}$"}]}

    def words(self) -> str:
        """Say what it is."""
        return "a port"


ADDRESS = Text("an IP address", clean=_address)

PORT = ByShape(
    "a port, as 8080:80 or {target, published}",
    scalar=_PortText(),
    mapping=Record(
        "a port",
        (
            Field(
                name="target",
                type=Integer("a port", smallest=1, largest=_HIGHEST),
                doc="Port in the container.",
                example=80,
                required=True,
            ),
            Field(
                name="published",
                type=_PublishedPort(),
                doc="Port on the host.",
                example=8080,
                default="the engine chooses",
            ),
            Field(name="protocol", type=Enum(*PROTOCOLS), doc="Protocol.", example="udp", default="tcp"),
            Field(
                name="host_ip",
                type=ADDRESS,
                doc="Address of the host to listen on.",
                example="127.0.0.1",
                default="every address",
            ),
        ),
        lambda values, _node, _reading: Port(**values),
    ),
)
PORTS = ListOf(PORT, "a list of ports", sort=True)


def _exposed(text: str) -> list[str]:
    numbers, _, protocol = text.partition("/")
    if not re.fullmatch(r"[0-9]+(?:-[0-9]+)?", numbers):
        raise Invalid(f"`{text[:40]}`", "is not a port", "write PORT or PORT/PROTOCOL, as in 53/udp")
    kind = _protocol(protocol or "tcp")
    return [f"{port}/{kind}" for port in _range(numbers)]


EXPOSE = ListOf(Text("a port", number=True, clean=_exposed), "a list of ports", sort=True)

ATTACHMENT = Record(
    "how the container hangs on the network",
    (
        Field(
            name="aliases",
            type=ListOf(
                Text("a host name", pattern=r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"), "a list of names"
            ),
            doc="Further names on this network; the resource's own name is always one.",
            example=["db"],
        ),
        Field(name="ipv4_address", type=ADDRESS, doc="Fixed IPv4 address.", example="172.28.0.5"),
        Field(name="ipv6_address", type=ADDRESS, doc="Fixed IPv6 address.", example="fd00:28::5"),
    ),
    lambda values, _node, _reading: Attachment(**values),
)


class _NetworkNames(ListOf):
    """The list form: names alone."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give name → attachment."""
        names = super().decode(node, reading)
        return BAD if names is BAD else {name: Attachment() for name in names}


NETWORKS = ByShape(
    "a list of networks, or a map of attachments",
    sequence=_NetworkNames(Text("a network's name", pattern=NAME), "a list of networks"),
    mapping=MapOf(ATTACHMENT, "a map of attachments", keys=NAME, says="name a Network resource", null=Attachment),
)

_HOST = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_GATEWAY = "host-gateway"


def _host_address(text: str) -> str:
    return text if text == _GATEWAY else _address(text.removeprefix("[").removesuffix("]"))


def _host_line(text: str) -> str:
    name, mark, address = text.partition("=") if "=" in text else text.partition(":")
    if not mark or not re.fullmatch(_HOST, name):
        raise Invalid(f"`{text[:60]}`", "is not a host entry", "write NAME:ADDRESS, as in db.local:10.0.0.5")
    return f"{name}:{_host_address(address)}"


class _HostMap(MapOf):
    """The map form: name → address or addresses."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give "name:address" lines."""
        values: AbstractMapping[str, tuple[str, ...]] | Any = super().decode(node, reading)
        if values is BAD:
            return BAD
        return tuple(sorted(f"{name}:{address}" for name, addresses in values.items() for address in addresses))


EXTRA_HOSTS = ByShape(
    "NAME:ADDRESS entries, as a list or a map",
    sequence=ListOf(Text("NAME:ADDRESS", clean=_host_line), "a list of NAME:ADDRESS", sort=True),
    mapping=_HostMap(
        ListOf(Text("an IP address or host-gateway", clean=_host_address), "a list of addresses", single=True),
        "a map of names to addresses",
        keys=_HOST,
        says="write a host name",
    ),
)


def subnet(text: str) -> str:
    """Give a network in CIDR form, host bits cleared; raises Invalid."""
    import ipaddress  # only manifests with subnets pay for it

    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise Invalid(f"`{text[:60]}`", "is not a network", "write ADDRESS/BITS, as in 172.28.0.0/16") from None
