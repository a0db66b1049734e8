"""Networks over the API: list, create, inspect, connect, disconnect, remove, prune.

The rule that keeps it simple: documents here, networks in `engine.networks`. Which container is in which network is a part of the
container's configuration, so that `engine.containers` is told, and moves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers.config import EndpointConfig
from declarative.engine.containers.shapes import (
    FLAG,
    MAYBE_FLAG,
    PAIRS,
    TEXT,
    Json,
    Shape,
    many,
    one,
    read,
    shape,
)
from declarative.engine.daemon import filters as chosen
from declarative.engine.daemon.http import Answer, Empty, Request, Response, Route
from declarative.engine.daemon.times import parse_instant, rfc3339
from declarative.engine.daemon.volumes import like
from declarative.engine.networks.addresses import read_address, read_block
from declarative.engine.networks.records import BRIDGE, NetworkRequest, Pool
from declarative.errors import Denied, Invalid, NotFound, Unsupported
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.engine.engine import Engine
    from declarative.engine.networks.records import Endpoint, Network

_LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_PRUNE_FILTERS = ("label", "label!", "until")
_LISTED_WITH_CONTAINERS = (1, 28)  # before it, a list told what an inspect tells


@record
class _PoolDocument:
    """`IPAMConfig`."""

    subnet: str = ""
    span: str = ""
    gateway: str = ""
    reserved: Mapping[str, str] | None = field(default=None, hash=False)


@record
class _Ipam:
    """`IPAM`."""

    driver: str = ""
    options: Mapping[str, str] | None = field(default=None, hash=False)
    config: tuple[_PoolDocument, ...] | None = None


@record
class _Wanted:
    """`NetworkCreateRequest`."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    ipam: _Ipam | None = None
    ipv4: bool | None = None
    ipv6: bool | None = None
    options: Mapping[str, str] | None = field(default=None, hash=False)
    labels: Mapping[str, str] | None = field(default=None, hash=False)


@record
class _Move:
    """`NetworkConnectRequest` and `NetworkDisconnectRequest`."""

    container: str = ""
    config: EndpointConfig | None = None
    force: bool = False


shape(
    _PoolDocument,
    Shape("subnet", "Subnet", TEXT),
    Shape("span", "IPRange", TEXT),
    Shape("gateway", "Gateway", TEXT),
    Shape("reserved", "AuxiliaryAddresses", PAIRS),
)
shape(
    _Ipam,
    Shape("driver", "Driver", TEXT),
    Shape("options", "Options", PAIRS),
    Shape("config", "Config", many(_PoolDocument)),
)
shape(
    _Wanted,
    Shape("name", "Name", TEXT),
    Shape("driver", "Driver", TEXT),
    Shape("scope", "Scope", TEXT),
    Shape("internal", "Internal", FLAG),
    Shape("attachable", "Attachable", FLAG),
    Shape("ingress", "Ingress", FLAG),
    Shape("config_only", "ConfigOnly", FLAG),
    Shape("ipam", "IPAM", one(_Ipam)),
    Shape("ipv4", "EnableIPv4", MAYBE_FLAG),
    Shape("ipv6", "EnableIPv6", MAYBE_FLAG),
    Shape("options", "Options", PAIRS),
    Shape("labels", "Labels", PAIRS),
)
shape(
    _Move,
    Shape("container", "Container", TEXT),
    Shape("config", "EndpointConfig", one(EndpointConfig)),
    Shape("force", "Force", FLAG),
)


def list_networks(engine: Engine, request: Request) -> Response:
    """List, filtered."""
    wanted = request.query.filters()
    chosen.check_names(wanted, _LIST_FILTERS)
    full = request.version < _LISTED_WITH_CONTAINERS
    found = [network for network in engine.networks.list() if _matches(engine, network, wanted)]
    return Answer(document=[_document(network, _endpoints(engine, network) if full else ()) for network in found])


def inspect(engine: Engine, request: Request) -> Response:
    """Show one, with who is in it."""
    scope = request.query.text("scope")
    name = request.names["id"]
    if scope not in {"", "local"}:
        raise NotFound("", f"network {name} not found")
    network = engine.networks.get(name)
    document = _document(network, _endpoints(engine, network))
    if request.query.flag("verbose"):
        document["Services"] = {}
    return Answer(document=document)


def create(engine: Engine, request: Request) -> Response:
    """Make a network."""
    wanted = read(_Wanted, request.json())
    if wanted.scope not in {"", "local"} or wanted.ingress:
        raise Denied("", "This node is not a swarm manager: there is no swarm mode in this engine")
    if wanted.config_only:
        raise Unsupported("", "there are no config-only networks in this engine")
    if wanted.ipv4 is False:
        raise Unsupported("", "there are no networks without IPv4 in this engine")
    ipam = wanted.ipam or _Ipam()
    if ipam.driver not in {"", "default"}:
        raise NotFound("", f'plugin "{ipam.driver}" not found')
    ipv6 = bool(wanted.ipv6)
    pools = tuple(_pool(document) for document in ipam.config or () if document != _PoolDocument())
    network = engine.networks.create(
        NetworkRequest(
            name=wanted.name,
            driver=wanted.driver or BRIDGE,
            internal=wanted.internal,
            attachable=wanted.attachable,
            ipv6=ipv6,
            # as dockerd: what is given for a version that is not enabled is passed over
            pools=tuple(pool for pool in pools if ipv6 or pool.subnet.version == 4),
            options=wanted.options or {},
            ipam_options=ipam.options or {},
            labels=wanted.labels or {},
        )
    )
    return Answer(document={"Id": network.id, "Warning": ""}, status=201)


def remove(engine: Engine, request: Request) -> Response:
    """Remove one that nobody is in."""
    engine.networks.remove(request.names["id"])
    return Empty()


def connect(engine: Engine, request: Request) -> Response:
    """Bring a container in."""
    move = read(_Move, request.json())
    network = engine.networks.get(request.names["id"])
    engine.containers.connect(move.container, network, move.config or EndpointConfig())
    return Empty(status=200)


def disconnect(engine: Engine, request: Request) -> Response:
    """Take a container out."""
    move = read(_Move, request.json())
    network = engine.networks.get(request.names["id"])
    engine.containers.disconnect(move.container, network, force=move.force)
    return Empty(status=200)


def prune(engine: Engine, request: Request) -> Response:
    """Remove all that nobody is in."""
    wanted = request.query.filters()
    chosen.check_names(wanted, _PRUNE_FILTERS)
    until = [parse_instant(text, engine.clock(), "until") for text in wanted.get("until", ())]
    removed = []
    for network in engine.networks.list():
        if network.predefined or not chosen.labels_allow(wanted, network.labels):
            continue
        if any(network.created > instant for instant in until):
            continue
        try:
            engine.networks.remove(network.id)
        except (Denied, NotFound):  # somebody is in it, or was faster
            continue
        removed.append(network.name)
    engine.events.publish("network", "prune", "", {"reclaimed": "0"})
    return Answer(document={"NetworksDeleted": removed})


def _pool(document: _PoolDocument) -> Pool:
    if not document.subnet:
        raise Invalid("", "invalid subnet: every entry of IPAM.Config needs one")
    reserved = document.reserved or {}
    return Pool(
        subnet=read_block(document.subnet, "subnet"),
        gateway=read_address(document.gateway, "gateway") if document.gateway else None,
        span=read_block(document.span, "ip-range") if document.span else None,
        reserved={name: read_address(text, f"auxiliary address {name}") for name, text in reserved.items()},
    )


def _endpoints(engine: Engine, network: Network) -> tuple[Endpoint, ...]:
    return engine.networks.endpoints(network.id)


def _document(network: Network, endpoints: tuple[Endpoint, ...]) -> dict[str, Json]:
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.driver == BRIDGE,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None if network.predefined else dict(network.ipam_options),
            "Config": [_pool_document(pool) for pool in network.pools],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {endpoint.container_id: _endpoint_document(endpoint) for endpoint in endpoints},
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def _pool_document(pool: Pool) -> dict[str, Json]:
    """Tell what was asked for, and of a subnet that the engine picked its gateway too, as dockerd does."""
    document: dict[str, Json] = {"Subnet": str(pool.subnet)}
    if pool.span is not None:
        document["IPRange"] = str(pool.span)
    if pool.gateway is not None and (pool.gateway_asked or not pool.chosen):
        document["Gateway"] = str(pool.gateway)
    if pool.reserved:
        document["AuxiliaryAddresses"] = {name: str(address) for name, address in pool.reserved.items()}
    return document


def _endpoint_document(endpoint: Endpoint) -> dict[str, Json]:
    return {
        "Name": endpoint.names[0] if endpoint.names else endpoint.container_id[:12],
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.ipv4}/{endpoint.prefix}" if endpoint.ipv4 else "",
        "IPv6Address": f"{endpoint.ipv6}/{endpoint.prefix6}" if endpoint.ipv6 else "",
    }


def _matches(engine: Engine, network: Network, wanted: chosen.Filters) -> bool:
    kinds = set(wanted.get("type", ()))
    if not kinds <= {"custom", "builtin"}:
        raise Invalid("", f"invalid filter: 'type'='{(kinds - {'custom', 'builtin'}).pop()}'")
    tests = (
        "name" not in wanted or like(wanted["name"], network.name),
        "id" not in wanted or like(wanted["id"], network.id),
        "driver" not in wanted or network.driver in wanted["driver"],
        "scope" not in wanted or "local" in wanted["scope"],
        not kinds or ("builtin" if network.predefined else "custom") in kinds,
        chosen.labels_match(wanted.get("label", ()), network.labels),
    )
    if not all(tests) or "dangling" not in wanted:
        return all(tests)
    dangling = not network.predefined and not engine.networks.endpoints(network.id)
    return dangling == chosen.flag(wanted, "dangling", default=True)


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/networks", handler=list_networks),
    Route(method="POST", path="/networks/create", handler=create),
    Route(method="POST", path="/networks/prune", handler=prune, since=(1, 25)),
    Route(method="GET", path="/networks/{id}", handler=inspect),
    Route(method="DELETE", path="/networks/{id}", handler=remove),
    Route(method="POST", path="/networks/{id}/connect", handler=connect),
    Route(method="POST", path="/networks/{id}/disconnect", handler=disconnect),
)
