"""The engine's answers about networks and volumes, read into `NetworkState` and `VolumeState`.

The rule: an address range that the engine chose itself is reported too, for that is what is there; whether anybody asked for
it is the comparison's question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.resources import NetworkSpec, VolumeSpec
from declarative.core.state import NetworkState, VolumeState
from declarative.drivers.docker.labels import applied_of, owner_of, without_ours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.core.state import Canonical
    from declarative.dockerapi.wire import Json


def read_network(document: Json, attached: Iterable[str] = ()) -> NetworkState:
    """Read one network of `GET /networks`; `attached` are the names of the containers on it."""
    labels = document.get("Labels") or {}
    owner = owner_of(labels, ("Network",))
    applied = applied_of(labels) if owner else None
    pool = _pool(document, applied or {})
    return NetworkState(
        name=document["Name"],
        id=document["Id"],
        spec=NetworkSpec(
            driver=document.get("Driver") or None,
            internal=document.get("Internal") or None,
            subnet=pool.get("Subnet") or None,
            gateway=pool.get("Gateway") or None,
            ip_range=pool.get("IPRange") or None,
            ipv6=document.get("EnableIPv6") or None,
            options=document.get("Options") or {},
            labels=without_ours(labels),
        ),
        owner=owner,
        applied=applied,
        attached=tuple(sorted(attached)),
    )


def known_networks(documents: Iterable[Json]) -> set[str]:
    """Give what endpoints call these networks: their ids, and in Podman their names."""
    return {document[key] for document in documents for key in ("Id", "Name")}


def is_lost(endpoint: Json, known: set[str]) -> bool:
    """Tell whether a container has this endpoint on a network that is gone, be there another one of its name."""
    return bool(endpoint.get("NetworkID")) and endpoint["NetworkID"] not in known


def _pool(document: Json, applied: Canonical) -> dict[str, str]:
    """Choose the address range that was asked for; engines add one of IPv4 to a network that asked for IPv6 alone."""
    pools: list[dict[str, str]] = (document.get("IPAM") or {}).get("Config") or []
    asked = [pool for pool in pools if pool.get("Subnet") == applied.get("spec.subnet")]
    four = [pool for pool in pools if ":" not in pool.get("Subnet", "")]
    return next(iter([*asked, *four, *pools]), {})


def read_volume(document: Json) -> VolumeState:
    """Read one volume of `GET /volumes`."""
    labels = document.get("Labels") or {}
    owner = owner_of(labels, ("Volume",))
    return VolumeState(
        name=document["Name"],
        spec=VolumeSpec(
            driver=document.get("Driver") or None,
            options=document.get("Options") or {},
            labels=without_ours(labels),
        ),
        owner=owner,
        applied=applied_of(labels) if owner else None,
    )
