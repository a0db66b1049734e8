"""Who is in which network: what is told of it, and that a daemon that comes after this one is told the same."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING

import pytest

from declarative.engine.networks.members import Members
from declarative.engine.networks.records import ContainerNetwork, Endpoint, Pool, PublishedPort
from declarative.engine.networks.store import Attachments, open_attachments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.engine.db import Database

PORT = PublishedPort(port=80, protocol="tcp", host_address="127.0.0.1", host_port=8080)
POOL = Pool(subnet=ip_network("10.1.0.0/24"), gateway=IPv4Address("10.1.0.1"))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = open_attachments(tmp_path, "boot")
    yield made
    made.close()


@pytest.fixture
def members(db: Database) -> Members:
    return Members(Attachments(db))


def _endpoint(container: str, network: str, last: int = 2) -> Endpoint:
    return Endpoint(
        id=f"{container}-{network}",
        network_id=network,
        network_name=network,
        container_id=container,
        names=(container, "alias"),
        link=f"veth-{container}",
        ipv4=IPv4Address(f"10.1.0.{last}"),
        ipv6=IPv6Address(f"fd00::{last}"),
    )


def test_who_was_never_seen_has_nothing(members: Members) -> None:
    assert members.get("a") == ContainerNetwork(container_id="a")
    assert members.all() == ()


def test_what_is_recorded_is_told_and_read_again(members: Members, db: Database) -> None:
    front, back = _endpoint("a", "front"), _endpoint("a", "back")
    members.put("a", (front, back))
    members.put_ports("a", (PORT,))
    members.put("b", (_endpoint("b", "back", 3),))

    assert members.get("a") == ContainerNetwork(container_id="a", endpoints=(front, back), ports=(PORT,))
    assert {row.container_id for row in members.endpoints("back")} == {"a", "b"}
    again = Members(Attachments(db))
    assert {row.container_id: row for row in again.all()} == {row.container_id: row for row in members.all()}


def test_who_has_left_all_networks_is_forgotten_once_no_port_is_published(members: Members, db: Database) -> None:
    endpoint = _endpoint("a", "front")
    members.put("a", (endpoint,))
    members.put_ports("a", (PORT,))

    members.remove(endpoint)
    assert members.get("a") == ContainerNetwork(container_id="a", ports=(PORT,))

    members.put_ports("a", ())
    assert members.all() == Members(Attachments(db)).all() == ()


def test_who_comes_back_gets_the_address_it_had_until_the_network_is_forgotten(members: Members) -> None:
    endpoint = _endpoint("a", "front", 7)
    members.put("a", (endpoint,))
    members.remove(endpoint)

    assert members.leases("front").give(POOL, (), "b") == IPv4Address("10.1.0.2"), "nobody had it lately"
    assert members.leases("front").give(POOL, (), "a") == endpoint.ipv4

    members.remove(endpoint)
    members.forget("front")
    assert members.leases("front").give(POOL, (), "a") == IPv4Address("10.1.0.2")


def test_only_those_that_run_are_kept(members: Members, db: Database) -> None:
    for name, last in (("a", 2), ("b", 3)):
        members.put(name, (_endpoint(name, "front", last),))
        members.put_ports(name, (PORT,))
    members.keep({"b", "unknown"})

    assert [row.container_id for row in members.all()] == ["b"]
    assert Members(Attachments(db)).all() == members.all()
