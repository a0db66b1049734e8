"""Which networks a container wants to be in, and how: from a request's `NetworkMode` and `NetworkingConfig`.

The rule that keeps it simple: networks are named by name, where they are known; one that is not there yet is an error at the
start, as in Docker, not before.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from declarative.engine.containers import modes
from declarative.engine.containers.config import EndpointConfig
from declarative.errors import Invalid, NotFound
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.engine.containers.config import Config, NetworkingConfig
    from declarative.engine.containers.host import HostConfig
    from declarative.engine.containers.parts import Parts
    from declarative.engine.networks.records import Network


def networks_of(
    parts: Parts, config: Config, host: HostConfig, networking: NetworkingConfig
) -> dict[str, EndpointConfig]:
    """Give the networks by name, that of the network mode first. Invalid, in Docker's words."""
    main = modes.network_of(host.network_mode)
    if not main or config.network_disabled:
        return {}
    found: dict[str, EndpointConfig] = {}
    asked = {
        _BRIDGE.get(name, name): endpoint or EndpointConfig() for name, endpoint in (networking.endpoints or {}).items()
    }
    for name in dict.fromkeys((main, *asked)):
        network = find(parts, name)
        endpoint = asked.get(name, EndpointConfig())
        if name == main and config.mac_address and not endpoint.mac_address:
            endpoint = replace(endpoint, mac_address=config.mac_address)
        check_endpoint(name, endpoint, network)
        found[network.name if network else name] = endpoint
    return found


_BRIDGE = {"default": modes.BRIDGE}


def find(parts: Parts, name: str) -> Network | None:
    """Give a network by name or id, None where there is none."""
    try:
        return parts.networks.get(name)
    except NotFound:
        return None


def check_endpoint(name: str, endpoint: EndpointConfig, network: Network | None) -> None:
    """Check what is asked for of one network. Invalid, in Docker's words."""
    own = modes.is_user_defined(network.name if network else name)
    problems: list[str] = []
    addresses = endpoint.addresses
    asked = [] if addresses is None else [(addresses.ipv4, 4), (addresses.ipv6, 6)]
    asked = [(text, version) for text, version in asked if text]
    if asked and not own:
        problems.append("user specified IP address is supported on user defined networks only")
    if endpoint.aliases and not own:
        problems.append("network-scoped alias is supported only for containers in user defined networks")
    for text, version in asked:
        problems += _address_problems(text, version, network)
    for text in (addresses.link_local if addresses else None) or ():
        if read_address(text) is None:
            problems.append(f"invalid link-local IP address: {text}")
    if problems:
        text = problems[0] if len(problems) == 1 else "\n".join(f"* {problem}" for problem in problems)
        raise Invalid("", f"invalid config for network {name}: invalid endpoint settings:\n{text}")


def _address_problems(text: str, version: int, network: Network | None) -> list[str]:
    problems = []
    address = read_address(text)
    if address is None or address.version != version:
        problems.append(f"invalid IPv{version} address: {text}")
    if network is None:
        return problems
    pool = network.pool4 if version == 4 else network.pool6
    if pool is None or not pool.chosen:
        problems.append(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )
    elif address is not None and address not in pool.subnet:
        problems.append(f"no configured subnet contains IP address {text}")
    return problems


def read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address; None for what is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
