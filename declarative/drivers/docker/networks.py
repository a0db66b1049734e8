"""What is done to networks and volumes.

The rule: both are named, made once and never changed; over one that is there already, only its own maker succeeds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from declarative.dockerapi.wire import quote_name
from declarative.drivers.docker.containers import disconnect
from declarative.drivers.docker.labels import owned_labels, same_spec
from declarative.errors import Conflict, DeclarativeError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.core.actions import CreateNetwork, CreateVolume
    from declarative.core.resources import NetworkSpec
    from declarative.dockerapi.client import EngineClient

_ENDPOINTS = "has active endpoints"  # libnetwork's word, whatever status it comes with
_PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 0.0)  # seconds between tries; 0 ends them


def create_network(client: EngineClient, action: CreateNetwork, salt: Callable[[], str]) -> None:
    """Create a network. Names of networks are not unique to the engine, so we look first. Conflict."""
    there = _network(client, action.name)
    if there is None:
        body = {**_network_body(action.spec), "Name": action.name, "CheckDuplicate": True}
        body["Labels"] = {**action.spec.labels, **owned_labels(action.owner, action.applied, salt())}
        client.post_json("/networks/create", None, body)
    elif not same_spec(there.get("Labels") or {}, action.owner, action.applied):
        raise Conflict(f"network {action.name}", "another network has this name", "remove it, or choose another name")


def _network(client: EngineClient, name: str) -> Any:
    """Inspect a network by name; None where there is none. By id or its beginning does not count."""
    try:
        document = client.get_json(f"/networks/{quote_name(name)}")
    except NotFound:
        return None
    return document if document["Name"] == name else None


def _network_body(spec: NetworkSpec) -> dict[str, Any]:
    pool = {"Subnet": spec.subnet, "Gateway": spec.gateway, "IPRange": spec.ip_range}
    pool = {name: value for name, value in pool.items() if value}
    body = {
        "Driver": spec.driver or "bridge",
        "Internal": spec.internal,
        "EnableIPv6": spec.ipv6,
        "Options": dict(spec.options) or None,
        "IPAM": {"Config": [pool]} if pool else None,
    }
    return {name: value for name, value in body.items() if value is not None}


def remove_network(client: EngineClient, name: str) -> None:
    """Remove a network; running containers on it are detached first.

    A busy engine may still be taking down the endpoint of a container that it has already called removed.
    """
    for pause in _PATIENCE:
        there = _network(client, name)
        if there is None:
            return
        for identity in there.get("Containers") or ():
            disconnect(client, identity, name)
        try:
            client.delete(f"/networks/{quote_name(name)}")
        except NotFound:
            return
        except DeclarativeError as error:
            if _ENDPOINTS not in error.problem:
                raise
            if not pause:
                raise _miscounted(name, error) from error
            time.sleep(pause)
        else:
            return


def _miscounted(name: str, error: DeclarativeError) -> DeclarativeError:
    """Explain a network that nobody is on and that the engine holds on to: starved dockerds lose count of endpoints."""
    remedy = "if `docker network inspect` shows nobody on it, the engine has lost count: restart it, then try again"
    return Conflict(f"network {name}", error.problem, remedy)


def create_volume(client: EngineClient, action: CreateVolume, salt: Callable[[], str]) -> None:
    """Create a volume. The engine answers with the one that is there, if there is one: its labels tell whose it is. Conflict."""
    labels = {**action.spec.labels, **owned_labels(action.owner, action.applied, salt())}
    body = {"Name": action.name, "Driver": action.spec.driver or "local", "Labels": labels}
    if action.spec.options:
        body["DriverOpts"] = dict(action.spec.options)
    document = created_volume(client, body)
    if not same_spec(document.get("Labels") or {}, action.owner, action.applied):
        raise Conflict(f"volume {action.name}", "another volume has this name", "remove it, or choose another name")


def created_volume(client: EngineClient, body: dict[str, Any]) -> Any:
    """Create a volume, or find the one that is there; its document.

    Of a volume that is there already an engine that was started since tells no labels here; a look at it does.
    """
    document = client.post_json("/volumes/create", None, body)
    if document.get("Labels"):
        return document
    try:
        return client.get_json(f"/volumes/{quote_name(body['Name'])}")
    except NotFound:  # removed in between: whoever asks again makes it
        return document


def remove_volume(client: EngineClient, name: str) -> None:
    """Remove a volume with its data; Conflict while a container has it."""
    try:
        client.delete(f"/volumes/{quote_name(name)}")
    except NotFound:
        return
