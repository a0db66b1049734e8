"""What inspect and list tell of a container's networks: what was asked for, and what came of it.

The rule that keeps it simple: pure. The wish is the container's, the outcome comes from the networks; a network that it is not
in now has the wish alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.containers import modes
from declarative.engine.containers.shapes import write
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.containers.config import EndpointConfig
    from declarative.engine.containers.container import Container
    from declarative.engine.networks.records import ContainerNetwork, Endpoint, PublishedPort

Json = dict[str, Any]
_LEGACY = (
    "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway", "MacAddress",
)  # fmt: skip
"""Fields of the default bridge's endpoint that are told once more, above all networks."""


@record
class Wiring:
    """What the networks know of one container: its endpoints and ports, None where it is in none; where its namespace is.

    `id_of` gives a network's id by its name, "" where there is none.
    """

    found: ContainerNetwork | None
    sandbox_key: str
    id_of: Callable[[str], str]


def network_settings(container: Container, wiring: Wiring, version: tuple[int, int]) -> Json:
    """Give `NetworkSettings` of inspect."""
    networks = endpoints(container, wiring, version)
    bridge = networks.get(modes.BRIDGE, {})
    key = wiring.sandbox_key
    return {
        "Bridge": "",
        "SandboxID": container.id if key else "",
        "SandboxKey": key,
        "Ports": _port_map(container, wiring.found) if container.state.is_up else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{name: bridge.get(name, 0 if name.endswith("Len") else "") for name in _LEGACY},
        "Networks": networks,
    }


def endpoints(container: Container, wiring: Wiring, version: tuple[int, int]) -> dict[str, Json]:
    """Give `NetworkSettings.Networks`, by name."""
    live = {endpoint.network_name: endpoint for endpoint in wiring.found.endpoints} if wiring.found else {}
    ever = container.state.started > 0
    found = {}
    for name, wish in container.networks.items():
        endpoint = live.get(name)
        network_id = endpoint.network_id if endpoint else (wiring.id_of(name) if ever else "")
        found[name] = _endpoint(container, name, wish, endpoint, network_id, version)
    return found


def _endpoint(
    container: Container,
    name: str,
    wish: EndpointConfig,
    endpoint: Endpoint | None,
    network_id: str,
    version: tuple[int, int],
) -> Json:
    aliases = list(wish.aliases) if wish.aliases is not None else None
    user_defined = modes.is_user_defined(name)
    if version < (1, 45) and user_defined:
        aliases = list(dict.fromkeys((*(aliases or ()), container.id[:12], container.config.hostname)))
    document: Json = {
        "IPAMConfig": None if wish.addresses is None else write(wish.addresses),
        "Links": None if wish.links is None else list(wish.links),
        "Aliases": aliases,
        "MacAddress": (endpoint.mac if endpoint else "") or wish.mac_address,
        "DriverOpts": None if wish.driver_opts is None else dict(wish.driver_opts),
        "NetworkID": network_id,
        "EndpointID": endpoint.id if endpoint else "",
        "Gateway": _text(endpoint.gateway) if endpoint else "",
        "IPAddress": _text(endpoint.ipv4) if endpoint else "",
        "IPPrefixLen": endpoint.prefix if endpoint else 0,
        "IPv6Gateway": _text(endpoint.gateway6) if endpoint else "",
        "GlobalIPv6Address": _text(endpoint.ipv6) if endpoint else "",
        "GlobalIPv6PrefixLen": endpoint.prefix6 if endpoint else 0,
        "DNSNames": dns_names(container, wish) if user_defined and container.state.started else None,
    }
    return document


def dns_names(container: Container, wish: EndpointConfig) -> list[str]:
    """Give the names that a container answers to in a network of one's own."""
    named = (container.name, *(wish.aliases or ()), container.id[:12], container.config.hostname)
    return list(dict.fromkeys(name for name in named if name))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _port_map(container: Container, found: ContainerNetwork | None) -> Json:
    ports: Json = dict.fromkeys(_exposed(container, found))
    for port in found.ports if found else ():
        key = f"{port.port}/{port.protocol}"
        binding = {"HostIp": port.host_address, "HostPort": str(port.host_port)}
        ports[key] = [*(ports.get(key) or ()), binding]
    return ports


def _exposed(container: Container, found: ContainerNetwork | None) -> tuple[str, ...]:
    """Give the ports that are exposed in a network: none in the machine's own, and none outside of all, as with dockerd."""
    if found is None or not any(endpoint.interface for endpoint in found.endpoints):
        return ()
    return tuple(map(port_key, container.config.exposed_ports or ()))


def port_key(text: str) -> str:
    """Give `80/tcp` for what may be `80`."""
    port, _, protocol = text.partition("/")
    return f"{port}/{protocol or 'tcp'}"


def port_list(container: Container, found: ContainerNetwork | None) -> list[Json]:
    """Give `Ports` of a list's entry."""
    if not container.state.is_up:
        return []
    lists: dict[str, list[PublishedPort]] = {}
    for port in found.ports if found else ():
        lists.setdefault(f"{port.port}/{port.protocol}", []).append(port)
    listed: list[Json] = []
    for key in dict.fromkeys((*_exposed(container, found), *lists)):
        number, _, protocol = key.partition("/")
        if not number.isdigit():
            continue
        own = {"PrivatePort": int(number), "Type": protocol}
        listed += [
            {"IP": port.host_address, "PrivatePort": port.port, "PublicPort": port.host_port, "Type": protocol}
            for port in lists.get(key, ())
        ] or [own]
    return listed
