"""Subnets and addresses: laws."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.networks.addresses import (
    DEFAULT_SUPPLIES,
    Leases,
    Supply,
    check_pool,
    mac_of,
    pick_subnet,
    read_address,
    read_block,
)
from declarative.engine.networks.records import Address, Pool
from declarative.errors import Denied, Failed, Invalid

BLOCKS = st.builds(
    lambda value, prefix: ip_network((value, prefix), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(8, 30),
)


@given(st.lists(BLOCKS, max_size=20))
def test_a_subnet_overlaps_nothing_that_is_taken(taken: list[IPv4Network]) -> None:
    try:
        subnet = pick_subnet(DEFAULT_SUPPLIES, taken)
    except Failed:
        assert all(any(block.overlaps(supply.block) for block in taken) for supply in DEFAULT_SUPPLIES)
        return
    assert not any(subnet.overlaps(block) for block in taken)
    assert any(subnet.subnet_of(supply.block) and subnet.prefixlen == supply.size for supply in DEFAULT_SUPPLIES)  # type: ignore[arg-type]


def test_subnets_are_dockers_in_dockers_order() -> None:
    taken: list[object] = []
    for _ in range(31):
        taken.append(pick_subnet(DEFAULT_SUPPLIES, taken))  # type: ignore[arg-type]
    assert [str(block) for block in taken] == [
        *(f"172.{second}.0.0/16" for second in range(17, 32)),
        *(f"192.168.{third}.0/20" for third in range(0, 256, 16)),
    ]
    with pytest.raises(Failed, match="could not find an available, non-overlapping IPv4 address pool"):
        pick_subnet(DEFAULT_SUPPLIES, taken)  # type: ignore[arg-type]


def test_supplies_can_be_chosen() -> None:
    supplies = (Supply(block=IPv4Network("10.9.0.0/23"), size=24), Supply(block=IPv6Network("fd00::/63"), size=64))
    first = pick_subnet(supplies, ())
    assert [str(first), str(pick_subnet(supplies, [first])), str(pick_subnet(supplies[1:], ()))] == [
        "10.9.0.0/24",
        "10.9.1.0/24",
        "fd00::/64",
    ]


POOLS = st.builds(
    lambda prefix, gateway: check_pool(
        Pool(subnet=ip_network(f"10.5.0.0/{prefix}"), gateway=IPv4Address(f"10.5.0.{gateway}") if gateway else None), ()
    ),
    st.integers(26, 29),
    st.integers(0, 5),
)


@given(POOLS, st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=200))
def test_nobody_gets_an_address_that_somebody_has(pool: Pool, steps: list[tuple[bool, int]]) -> None:
    leases = Leases()
    held: dict[str, Address] = {}
    for comes, who in steps:
        holder = f"container{who}"
        if comes and holder not in held:
            try:
                address = leases.give(pool, set(held.values()), holder)
            except Failed:
                assert len(held) == pool.subnet.num_addresses - 3, "refused though there is a free one"
                continue
            assert address not in held.values()
            assert address in pool.subnet
            assert address not in {pool.gateway, pool.subnet.network_address, pool.subnet.broadcast_address}
            held[holder] = address
        elif not comes and holder in held:
            leases.release(held.pop(holder), holder)


def test_addresses_come_lowest_first_and_rest_after_use() -> None:
    pool = check_pool(Pool(subnet=ip_network("10.5.0.0/24")), ())
    leases = Leases()
    first, second = leases.give(pool, (), "a"), leases.give(pool, {IPv4Address("10.5.0.2")}, "b")
    assert [str(first), str(second)] == ["10.5.0.2", "10.5.0.3"]
    leases.release(first, "a")
    assert str(leases.give(pool, {second}, "c")) == "10.5.0.4"
    assert leases.give(pool, {second}, "a") == first, "who had it last gets it again"
    leases.release(first, "a")
    full = {IPv4Address(f"10.5.0.{last}") for last in range(3, 255)}
    assert leases.give(pool, full, "z") == first, "better one that was used lately than none"


@pytest.mark.parametrize(
    ("subnet", "span", "gateway"),
    [
        ("10.5.0.0/24", None, "10.5.0.1"),
        ("10.5.0.0/16", "10.5.7.0/24", "10.5.7.0"),
        ("10.5.0.0/16", "10.5.0.0/24", "10.5.0.1"),
        ("10.5.0.0/31", None, "10.5.0.0"),
        ("10.5.0.9/32", None, "10.5.0.9"),
        ("fd00::/64", None, "fd00::1"),
    ],
)
def test_the_gateway_is_the_first_address(subnet: str, span: str | None, gateway: str) -> None:
    pool = Pool(subnet=ip_network(subnet), span=ip_network(span) if span else None)
    assert str(check_pool(pool, ()).gateway) == gateway


def test_the_last_address_of_an_ipv6_subnet_is_one_like_others() -> None:
    pool = check_pool(Pool(subnet=ip_network("fd00::/126")), ())
    assert [str(Leases().give(pool, {ip_network("fd00::2/128")[0]}, "a"))] == ["fd00::3"]


def test_pools_that_are_refused() -> None:
    with pytest.raises(Denied, match="Pool overlaps with other one on this address space"):
        check_pool(Pool(subnet=ip_network("10.5.0.0/24")), [ip_network("10.0.0.0/8")])
    check_pool(Pool(subnet=ip_network("10.5.0.0/24")), [ip_network("fd00::/8")])
    with pytest.raises(Invalid, match="auxiliary address x"):
        check_pool(Pool(subnet=ip_network("10.5.0.0/24"), reserved={"x": IPv4Address("10.6.0.1")}), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.5.0.1/24", "invalid subnet 10.5.0.1/24: it should be 10.5.0.0/24"),
        ("nonsense", "it is no address block"),
        ("10.5.0.0/40", "it is no address block"),
        ("", "it is no address block"),
    ],
)
def test_texts_that_are_no_subnets(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read_block(text, "subnet")


def test_texts_that_are_no_addresses() -> None:
    assert str(read_address("fd00::1", "gateway")) == "fd00::1"
    with pytest.raises(Invalid, match=r"invalid gateway '1.2.3': it is no IP address"):
        read_address("1.2.3", "gateway")


@given(st.ip_addresses(v=4))
def test_hardware_addresses_are_dockers(address: IPv4Address) -> None:
    digits = mac_of(address).split(":")
    assert digits[:2] == ["02", "42"]
    assert bytes.fromhex("".join(digits[2:])) == address.packed
