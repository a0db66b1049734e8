"""Bringing a container into its networks, and telling it of them: namespaces, endpoints, ports, hosts, resolv.conf.

The rule that keeps it simple: the networks know who is where; here a container's wishes become their requests, and their answers
the container's files.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.containers import check, files, modes
from declarative.engine.containers.network_view import port_key
from declarative.engine.networks.records import EndpointRequest, PortRequest
from declarative.errors import Conflict, Failed, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.engine.containers.config import EndpointConfig
    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts

_HOST_GATEWAY = "host-gateway"
_MACHINE_HOSTS = Path("/etc/hosts")


def owns_namespace(container: Container) -> bool:
    """Tell whether a container has a network namespace of its own."""
    return container.network_mode != "host" and not container.shares_network_of


def donor(parts: Parts, container: Container) -> Container | None:
    """Give the container whose network this one has, None for none. NotFound; Conflict where it does not run."""
    other = container.shares_network_of
    if not other:
        return None
    found = parts.index.get(other)
    if not found.state.is_up:
        raise Conflict("", f"cannot join network of a non running container: {found.id}")
    return found


def join(parts: Parts, container: Container) -> None:
    """Bring a container into its networks and publish its ports. Its namespace, if it has its own, is open."""
    for name, wish in container.networks.items():
        parts.networks.connect(container.id, name, endpoint_request(parts, container, wish))
    publish(parts, container)


def connect(parts: Parts, container: Container, name: str, wish: EndpointConfig) -> None:
    """Bring a container that runs into one more network, which may be the first that leads out: then its ports are published."""
    parts.networks.connect(container.id, name, endpoint_request(parts, container, wish))
    try:
        publish(parts, container)
    except BaseException:
        parts.networks.disconnect(container.id, name)
        raise


def publish(parts: Parts, container: Container) -> None:
    """Publish a container's ports, if they are not."""
    if owns_namespace(container) and not parts.networks.container(container.id).ports:
        parts.networks.publish(container.id, tuple(port_requests(container)))


def endpoint_request(parts: Parts, container: Container, wish: EndpointConfig) -> EndpointRequest:
    """Give what the networks are asked for."""
    ipv4 = ipaddress.IPv4Address(wish.addresses.ipv4) if wish.addresses and wish.addresses.ipv4 else None
    ipv6 = ipaddress.IPv6Address(wish.addresses.ipv6) if wish.addresses and wish.addresses.ipv6 else None
    links = {}
    for text in wish.links or ():
        target, alias = check.read_link(text)
        links[alias] = parts.index.get(target).id
    return EndpointRequest(
        names=names_of(container),
        aliases=tuple(wish.aliases or ()),
        ipv4=ipv4,
        ipv6=ipv6,
        link_local=tuple(map(ipaddress.ip_address, (wish.addresses.link_local if wish.addresses else None) or ())),
        mac=wish.mac_address,
        links=links,
        dns=tuple(container.host.dns or ()),
    )


def names_of(container: Container) -> tuple[str, ...]:
    """Give what a container is called in its networks, its name first."""
    return tuple(dict.fromkeys((container.name, container.id[:12], container.config.hostname)))


def port_requests(container: Container) -> Iterator[PortRequest]:
    """Give what a container wants to have published. Invalid."""
    bound = container.host.port_bindings or {}
    for key, bindings in bound.items():
        port, protocol = _split(key)
        for binding in bindings or ():
            first, _, last = binding.host_port.partition("-")
            span = (int(first), int(last or first)) if first else (0, 0)
            yield PortRequest(port=port, protocol=protocol, host_address=binding.host_ip, host_ports=span)
    if container.host.publish_all_ports:
        taken = {port_key(key) for key, bindings in bound.items() if bindings}
        for key in container.config.exposed_ports or ():
            if port_key(key) not in taken:
                port, protocol = _split(key)
                yield PortRequest(port=port, protocol=protocol)


def _split(key: str) -> tuple[int, str]:
    port, _, protocol = port_key(key).partition("/")
    if not port.isdigit():
        raise Invalid("", f'invalid port specification: "{port}"')
    return int(port), protocol


# ---- files


def files_folder(parts: Parts, container: Container) -> Path:
    """Give where a container's three files are: another's folder where it shares that one's network."""
    other = container.shares_network_of
    found = parts.index.find(other) if other else None
    return parts.folder(found or container)


def prepare_files(parts: Parts, container: Container, owner: tuple[int, int]) -> None:
    """Make the three files, for the container to have mounted; `write_files` says what is in them.

    `owner`: the machine's (uid, gid) of the container's root, who may write to them.
    """
    folder = parts.folder(container)
    for name in (files.HOSTS, files.HOSTNAME, files.RESOLV):
        (folder / name).touch(mode=0o644)
        os.chown(folder / name, *owner)


def write_files(parts: Parts, container: Container) -> None:
    """Write hosts, hostname and resolv.conf, now that its networks are known."""
    if container.shares_network_of:
        return
    folder = parts.folder(container)
    files.write_in_place(folder / files.HOSTNAME, f"{container.config.hostname}\n")
    write_hosts(parts, container)
    write_resolv(parts, container)


def write_resolv(parts: Parts, container: Container) -> None:
    """Write resolv.conf for the networks that the container is in now."""
    host = container.host
    text = parts.networks.resolv_conf(container.id, host.dns or (), host.dns_search or (), host.dns_options or ())
    files.write_in_place(parts.folder(container) / files.RESOLV, text)


def write_hosts(parts: Parts, container: Container) -> None:
    """Write hosts for the networks that the container is in now."""
    path = parts.folder(container) / files.HOSTS
    extra = [_extra(parts, entry) for entry in container.host.extra_hosts or ()]
    if container.network_mode == "host":
        if _MACHINE_HOSTS.exists():
            shutil.copyfile(_MACHINE_HOSTS, path)
        text = path.read_text("utf-8", "replace")
        files.write_in_place(path, text + "".join(f"{address}\t{name}\n" for name, address in extra))
        return
    endpoints = parts.networks.container(container.id).endpoints
    addresses = [str(found) for endpoint in endpoints for found in (endpoint.ipv4, endpoint.ipv6) if found is not None]
    text = files.hosts_text(
        extra=extra,
        links=_link_lines(parts, container),
        addresses=addresses,
        hostname=container.config.hostname,
        domain=container.config.domainname,
    )
    files.write_in_place(path, text)


def _extra(parts: Parts, entry: str) -> tuple[str, str]:
    name, address = check.check_extra_host(entry)
    if address != _HOST_GATEWAY:
        return name, address
    pool = parts.networks.get(modes.BRIDGE).pool4
    if pool is None or pool.gateway is None:
        raise Failed("", "unable to derive the IP value for host-gateway")
    return name, str(pool.gateway)


# ---- links of the default bridge


def _linked(parts: Parts, container: Container) -> Iterator[tuple[str, Container, str]]:
    """Give alias, container and address of each legacy link. Conflict, in Docker's words, where one does not run."""
    if not container.host.links or container.network_mode != modes.BRIDGE:
        return
    for text in container.host.links:
        target, alias = check.read_link(text)
        found = parts.index.find(target)
        if found is None:
            raise NotFound("", f"No such container: {target}")
        if not found.state.is_up:
            raise Conflict("", f"Cannot link to a non running container: /{found.name} AS /{container.name}/{alias}")
        endpoints = parts.networks.container(found.id).endpoints
        address = next((str(end.ipv4) for end in endpoints if end.network_name == modes.BRIDGE and end.ipv4), "")
        yield alias, found, address


def _link_lines(parts: Parts, container: Container) -> Iterator[tuple[str, str]]:
    for alias, found, address in _linked(parts, container):
        if address:
            names = dict.fromkeys((alias, found.config.hostname, found.name))
            yield " ".join(names), address


def link_environment(parts: Parts, container: Container) -> tuple[str, ...]:
    """Give the variables that Docker makes of legacy links: `DB_PORT_80_TCP_ADDR=…`."""
    found: list[str] = []
    for alias, other, address in _linked(parts, container):
        prefix = alias.upper().replace("-", "_")
        ports = sorted(map(_split, other.config.exposed_ports or ()))
        if ports:
            port, protocol = ports[0]
            found.append(f"{prefix}_PORT={protocol}://{address}:{port}")
        for port, protocol in ports:
            name = f"{prefix}_PORT_{port}_{protocol.upper()}"
            found += [f"{name}={protocol}://{address}:{port}", f"{name}_ADDR={address}"]
            found += [f"{name}_PORT={port}", f"{name}_PROTO={protocol}"]
        found.append(f"{prefix}_NAME=/{container.name}/{alias}")
        skipped = ("HOME=", "PATH=")
        found += [f"{prefix}_ENV_{entry}" for entry in other.config.env or () if not entry.startswith(skipped)]
    return tuple(found)
