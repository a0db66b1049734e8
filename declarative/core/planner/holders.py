"""Who holds host ports and fixed addresses now, and what a container that is to come takes of them.

The rule that keeps it simple: only who runs holds anything. What a step frees is named by `freed`, so that planners and the order
of handovers mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.state import LIVING
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from declarative.core.resources import ContainerSpec
    from declarative.core.state import Actual

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


NAME = "the name"
"""How a thing that is taken is called where it is a container's name."""


def meet(one: str, other: str) -> bool:
    """Whether two addresses of the host, "" for all of them, have one in common."""
    return one == other or one in _EVERYWHERE or other in _EVERYWHERE


def freed(container: str) -> str:
    """Name the end of what a running container holds."""
    return f"freed:{container}"


def replaced_by(container: str) -> str:
    """Name the end of a container that another one takes the place of."""
    return f"replaced:{container}"


def with_name(taken: dict[str, tuple[str, ...]], name: str) -> dict[str, tuple[str, ...]]:
    """Add to what is taken the name that another container has."""
    return {**taken, name: (f"{NAME} {name}", *taken.get(name, ()))}


def is_name(what: str) -> bool:
    """Whether a thing that is taken is a container's name."""
    return what.startswith(f"{NAME} ")


@record
class Holders:
    """Who holds what: (number, protocol) → addresses of the host, each with its container; (network, address) → containers."""

    ports: dict[tuple[int, str], list[tuple[str, str]]] = field(default_factory=dict)
    addresses: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, actual: Actual) -> Holders:
        """Look at all containers that run. By name: engines list in any order."""
        found = cls()
        for name, state in sorted(actual.containers.items()):
            if state.state not in LIVING:
                continue
            for port in state.spec.ports:
                if port.published:
                    found.ports.setdefault((port.published, port.protocol), []).append((port.host_ip, name))
            for place in _addresses(state.spec):
                found.addresses.setdefault(place, []).append(name)
        return found

    def taken(self, spec: ContainerSpec, own: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Give the containers, save `own`, that hold what `spec` asks for; each with all of that: "port 80/tcp"."""
        found: dict[str, list[str]] = {}
        for port in spec.ports:
            for address, name in self.ports.get((port.published, port.protocol), ()):
                if name not in own and meet(address, port.host_ip):
                    found.setdefault(name, []).append(f"port {port.published}/{port.protocol}")
        for network, address in _addresses(spec):
            for name in self.addresses.get((network, address), ()):
                if name not in own:
                    found.setdefault(name, []).append(f"address {address} on {network}")
        return {name: tuple(things) for name, things in found.items()}


def _addresses(spec: ContainerSpec) -> Iterator[tuple[str, str]]:
    for network, attachment in spec.networks.items():
        for address in (attachment.ipv4_address, attachment.ipv6_address):
            if address:
                yield network, address
