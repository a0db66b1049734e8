"""Records of networks: those that are defined, for ever; who is in them now, until the machine goes down.

The rule that keeps it simple: a definition is in the engine's one file of records. What describes the kernel's state of this
very moment (endpoints, published ports) is in a file of the run root, which a reboot empties as it does the kernel. Each record
is one JSON text, read into its type here.
"""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.engine.db import Database
from declarative.engine.networks.records import (
    BRIDGE,
    HOST,
    NONE,
    ContainerNetwork,
    Endpoint,
    Network,
    Pool,
    PublishedPort,
)

if TYPE_CHECKING:
    from sqlite3 import Row

SCHEMA = """
CREATE TABLE IF NOT EXISTS networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document TEXT NOT NULL);
"""
RUN_SCHEMA = """
CREATE TABLE IF NOT EXISTS endpoints (
    container TEXT NOT NULL, network TEXT NOT NULL, position INTEGER NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (container, network)
);
CREATE TABLE IF NOT EXISTS ports (container TEXT PRIMARY KEY, document TEXT NOT NULL);
"""


def boot_id() -> str:
    """Give what is another after each reboot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def open_attachments(run: Path, boot: str) -> Database:
    """Open the records of who is in which network; those of an earlier boot are worth nothing, wherever the run root is."""
    name = f"networks-{boot[:8]}.db"
    for old in run.glob("networks-*.db*"):
        if not old.name.startswith(name):
            old.unlink(missing_ok=True)
    db = Database(run / name, (RUN_SCHEMA,))
    db.rows("PRAGMA synchronous=OFF")  # a power cut is a reboot
    return db


class Definitions:
    """The networks that are defined."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def load(self) -> tuple[Network, ...]:
        """Give all; one whose record cannot be read is `broken`, and has what its name and its id tell."""
        return tuple(_read(row) for row in self._db.rows("SELECT id, name, document FROM networks"))

    def put(self, network: Network) -> None:
        """Record a network, in place of what was recorded of it."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO networks (id, name, document) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET name = excluded.name, document = excluded.document",
                (network.id, network.name, json.dumps(_of_network(network))),
            )

    def remove(self, id: str) -> None:  # noqa: A002 - Docker's word
        """Forget a network."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM networks WHERE id = ?", (id,))


class Attachments:
    """Who is in which network now, and what is published.

    What cannot be read is as good as not there: the kernel's part of it goes as nobody's, and the container is connected anew.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def load(self) -> dict[str, ContainerNetwork]:
        """Give all, by container."""
        endpoints: dict[str, list[Endpoint]] = {}
        for row in self._db.rows("SELECT container, document FROM endpoints ORDER BY container, position"):
            with suppress(*_UNREADABLE):
                endpoints.setdefault(row["container"], []).append(_endpoint(json.loads(row["document"])))
        ports = {}
        for row in self._db.rows("SELECT container, document FROM ports"):
            with suppress(*_UNREADABLE):
                ports[row["container"]] = tuple(PublishedPort(**port) for port in json.loads(row["document"]))
        return {
            key: ContainerNetwork(container_id=key, endpoints=tuple(endpoints.get(key, ())), ports=ports.get(key, ()))
            for key in endpoints.keys() | ports.keys()
        }

    def put_all(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Record all endpoints of one container, in their order, in place of the last of each network."""
        rows = [
            (endpoint.container_id, endpoint.network_id, position, json.dumps(_of_endpoint(endpoint)))
            for position, endpoint in enumerate(endpoints)
        ]
        with self._db.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO endpoints (container, network, position, document) VALUES (?, ?, ?, ?)", rows
            )

    def remove(self, container_id: str, network_id: str) -> None:
        """Forget an endpoint."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM endpoints WHERE container = ? AND network = ?", (container_id, network_id))

    def put_ports(self, container_id: str, ports: tuple[PublishedPort, ...]) -> None:
        """Record what a container publishes; nothing for ()."""
        document = [{name: getattr(port, name) for name in _PORT_FIELDS} for port in ports]
        with self._db.transaction() as connection:
            if ports:
                connection.execute(
                    "INSERT OR REPLACE INTO ports (container, document) VALUES (?, ?)",
                    (container_id, json.dumps(document)),
                )
            else:
                connection.execute("DELETE FROM ports WHERE container = ?", (container_id,))

    def clear(self, container_id: str) -> None:
        """Forget all of a container."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))
            connection.execute("DELETE FROM ports WHERE container = ?", (container_id,))


# as many ways as there are to be no such document
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
_PORT_FIELDS = ("port", "protocol", "host_address", "host_port")
_NETWORK_FIELDS = ("id", "name", "driver", "created", "internal", "attachable", "ipv6", "link")
_MAPS = ("options", "ipam_options", "labels")
_ENDPOINT_TEXTS = ("id", "network_id", "network_name", "container_id", "interface", "link", "mac", "prefix", "prefix6")
_ENDPOINT_ADDRESSES = ("ipv4", "gateway", "ipv6", "gateway6")
_ENDPOINT_LISTS = ("names", "aliases", "dns")


def _of_network(network: Network) -> dict[str, Any]:
    document = {name: getattr(network, name) for name in _NETWORK_FIELDS}
    document |= {name: dict(getattr(network, name)) for name in _MAPS}
    document["pools"] = [
        {
            "subnet": str(pool.subnet),
            "gateway": str(pool.gateway) if pool.gateway else None,
            "span": str(pool.span) if pool.span else None,
            "reserved": {name: str(address) for name, address in pool.reserved.items()},
            "chosen": pool.chosen,
            "gateway_asked": pool.gateway_asked,
        }
        for pool in network.pools
    ]
    return document


def _read(row: Row) -> Network:
    try:
        return _network(json.loads(row["document"]))
    except _UNREADABLE as error:
        id_, name = str(row["id"]), str(row["name"])
        driver = {HOST: HOST, NONE: "null"}.get(name, BRIDGE)
        link = bridge_of(id_) if driver == BRIDGE else ""
        broken = f"{type(error).__name__}: {error}"
        return Network(id=id_, name=name, driver=driver, created=0, link=link, broken=broken)


def bridge_of(network_id: str) -> str:
    """Give the name of a network's bridge where nobody asked for another."""
    return f"br-{network_id[:12]}"


def _network(document: dict[str, Any]) -> Network:
    pools = tuple(
        Pool(
            subnet=ip_network(row["subnet"]),
            gateway=ip_address(row["gateway"]) if row["gateway"] else None,
            span=ip_network(row["span"]) if row["span"] else None,
            reserved={name: ip_address(address) for name, address in row["reserved"].items()},
            chosen=row["chosen"],
            gateway_asked=row["gateway_asked"],
        )
        for row in document["pools"]
    )
    return Network(**(document | {"pools": pools}))


def _of_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    document = {name: getattr(endpoint, name) for name in _ENDPOINT_TEXTS}
    document |= {name: str(getattr(endpoint, name) or "") for name in _ENDPOINT_ADDRESSES}
    document |= {name: list(getattr(endpoint, name)) for name in _ENDPOINT_LISTS}
    document["link_local"] = [str(address) for address in endpoint.link_local]
    document["links"] = dict(endpoint.links)
    return document


def _endpoint(document: dict[str, Any]) -> Endpoint:
    values = dict(document)
    for name in _ENDPOINT_ADDRESSES:
        kind = IPv6Address if name.endswith("6") else IPv4Address
        values[name] = kind(document[name]) if document[name] else None
    for name in _ENDPOINT_LISTS:
        values[name] = tuple(document[name])
    # none in what an older daemon recorded, whose containers still run
    values["link_local"] = tuple(map(ip_address, document.get("link_local", ())))
    return Endpoint(**values)
