"""Networks on the kernel: addresses, ways between containers and out, what is refused, and that nothing is left."""

from __future__ import annotations

import socket
import struct
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from declarative.engine.networks.records import EndpointRequest, NetworkRequest, Pool
from declarative.errors import Conflict, DeclarativeError, Denied, Failed, Invalid, NotFound
from tests import sockets
from tests.contract.engine import netlab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.engine.networks.records import Address
    from tests.contract.engine.netlab import Lab


def pool(subnet: str, **more: object) -> Pool:
    return Pool(subnet=ip_network(subnet), **more)  # type: ignore[arg-type]


def make(lab: Lab, name: str, *subnets: str, **more: object) -> str:
    request = NetworkRequest(name=name, pools=tuple(pool(subnet) for subnet in subnets), **more)  # type: ignore[arg-type]
    return lab.networks.create(request).id


# ---- inside a container


def test_a_namespace_is_as_docker_makes_it(lab: Lab) -> None:
    box = lab.box("one")
    assert "127.0.0.1/8" in box.run("ip", "addr", "show", "up", "dev", "lo")
    assert "::1/128" in box.run("ip", "addr", "show", "dev", "lo")
    read = ["sh", "-c", "cd /proc/sys/net/ipv4; cat ping_group_range ip_unprivileged_port_start"]
    assert box.run(*read).split() == ["0", "2147483647", "0"]
    endpoint = box.endpoints[0]
    shown = box.run("ip", "addr", "show", "dev", "eth0")
    assert f"inet {endpoint.ipv4}/16 " in shown
    assert f"link/ether {endpoint.mac} " in shown
    assert "inet6" not in shown, "a network without IPv6 has no link-local addresses"
    assert endpoint.mac == "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(box.ip).packed)
    assert box.run("ip", "route").splitlines()[0] == f"default via {endpoint.gateway} dev eth0 "


def test_the_default_network_gives_the_lowest_addresses(lab: Lab) -> None:
    network = lab.networks.get("bridge")
    first, second = lab.box("one"), lab.box("two")
    subnet = network.pools[0].subnet
    assert [first.ip, second.ip] == [str(subnet[2]), str(subnet[3])]
    assert str(network.pools[0].gateway) == str(subnet[1])


def test_an_address_is_not_given_again_at_once_but_to_whom_had_it(lab: Lab) -> None:
    first = lab.box("one")
    lab.stop(first)
    assert lab.box("two").ip != first.ip
    lab.networks.open_namespace(first.id)
    assert str(lab.networks.connect(first.id, "bridge").ipv4) == first.ip
    lab.networks.close_namespace(first.id)


def test_one_that_starts_again_at_once_is_reached_at_its_address(lab: Lab) -> None:
    make(lab, "shop", "10.77.0.0/24")
    other = lab.box("other", "shop")
    for _ in range(3):
        box = lab.box("web", "shop", ipv4=IPv4Address("10.77.0.9")).serve(80)
        assert other.ask("10.77.0.9", 80) == f"web {other.ip}"
        assert netlab.ask("10.77.0.9", 80) == "web 10.77.0.1"
        lab.stop(box)


# ---- between containers


def test_containers_of_one_network_reach_each_other_and_the_machine_reaches_them(lab: Lab) -> None:
    make(lab, "shop")
    web = lab.box("web", "shop").serve(80).serve(53, udp=True)
    client = lab.box("client", "shop")
    assert client.ask(web.ip, 80) == f"web {client.ip}"
    assert client.ask(web.ip, 53, udp=True) == f"web {client.ip}"
    assert netlab.ask(web.ip, 80).startswith("web ")


def test_containers_of_different_networks_do_not_reach_each_other(lab: Lab) -> None:
    make(lab, "shop")
    make(lab, "yard")
    web = lab.box("web", "shop").serve(80)
    plain = lab.box("plain").serve(80)
    stranger = lab.box("stranger", "yard").serve(80)
    for asker in (stranger, plain):
        assert not asker.reaches(web.ip, 80)
    assert not web.reaches(plain.ip, 80)
    both = lab.box("both", "shop", "yard")
    assert both.ask(web.ip, 80).startswith("web ")
    assert both.ask(stranger.ip, 80).startswith("stranger ")


def test_without_icc_containers_reach_the_machine_alone(lab: Lab) -> None:
    make(lab, "shop", options={"com.docker.network.bridge.enable_icc": "false"})
    web, client = lab.box("web", "shop").serve(80), lab.box("client", "shop")
    assert not client.reaches(web.ip, 80)
    assert netlab.ask(web.ip, 80).startswith("web ")
    port = netlab.free_port()
    lab.publish(web, 80, port)
    assert client.ask(str(client.endpoints[0].gateway), port).startswith("web ")


def test_a_container_reaches_the_outside_as_this_machine(lab: Lab) -> None:
    with netlab.outside() as (machine, near, _):
        machine.serve(80).serve(90, udp=True)
        box = lab.box("one")
        far = near[:-1] + "2"
        assert box.ask(far, 80) == f"outside {near}"
        assert box.ask(far, 90, udp=True) == f"outside {near}"


def test_without_masquerading_it_is_seen_as_itself(lab: Lab) -> None:
    make(lab, "shop", options={"com.docker.network.bridge.enable_ip_masquerade": "false"})
    with netlab.outside() as (machine, near, _):
        machine.serve(80)
        box = lab.box("one", "shop")
        machine.run("ip", "route", "add", f"{box.ip}/32", "via", near)
        assert box.ask(near[:-1] + "2", 80) == f"outside {box.ip}"


def test_nobody_outside_comes_in_uninvited(lab: Lab) -> None:
    with netlab.outside() as (machine, near, _):
        web = lab.box("web").serve(80)
        machine.run("ip", "route", "add", f"{web.ip}/32", "via", near)
        assert not machine.reaches(web.ip, 80)


def test_an_internal_network_has_no_way_out_or_in(lab: Lab) -> None:
    make(lab, "vault", internal=True)
    with netlab.outside() as (machine, near, _):
        machine.serve(80)
        web, client = lab.box("web", "vault").serve(80), lab.box("client", "vault")
        assert client.ask(web.ip, 80).startswith("web ")
        assert "default" not in client.run("ip", "route")
        client.run("ip", "route", "add", "default", "via", str(lab.networks.get("vault").pools[0].gateway))
        assert not client.reaches(near[:-1] + "2", 80)
        machine.run("ip", "route", "add", f"{web.ip}/32", "via", near)
        assert not machine.reaches(web.ip, 80)
        assert lab.publish(web, 80, netlab.free_port()) == ()
        plain = lab.box("plain").serve(80)
        port = netlab.free_port()
        lab.publish(plain, 80, port)
        assert not client.reaches(str(lab.networks.get("vault").pools[0].gateway), port)


def test_nobody_on_a_bridge_reaches_the_machines_loopback(lab: Lab) -> None:
    with sockets.made_in_network("/proc/self/ns/net", lambda: socket.create_server(("127.0.0.1", 0))) as here:
        port = here.getsockname()[1]
        box = lab.box("one")
        box.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1", "net.ipv4.conf.eth0.route_localnet=1")
        box.run("ip", "route", "add", "table", "7", "127.0.0.0/8", "via", str(box.endpoints[0].gateway))
        box.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
        box.run("ip", "rule", "add", "pref", "1", "lookup", "7")
        box.run("ip", "rule", "del", "pref", "0")
        assert not box.reaches("127.0.0.1", port)


def test_nobody_on_a_bridge_reaches_a_neighbours_loopback(lab: Lab) -> None:
    make(lab, "shop")
    victim = lab.box("victim", "shop")
    endpoint = victim.endpoints[0]
    assert endpoint.gateway is not None
    neighbour = endpoint.gateway

    def hears(address: str) -> bool:
        """Send a datagram as a neighbour on the cable would, past every rule of the machine's."""
        with (
            sockets.made_in_network(
                victim.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ) as server,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as cable,
        ):
            server.bind((address, 0))
            server.settimeout(netlab.REFUSED_SECONDS)
            cable.bind((endpoint.link, 0))
            to = bytes.fromhex(endpoint.mac.replace(":", "")), ip_address(address), server.getsockname()[1]
            cable.send(_datagram(neighbour, *to))
            try:
                return server.recv(100) == b"in"
            except TimeoutError:
                return False

    assert hears(victim.ip)
    assert not hears("127.0.0.1")
    assert not hears("127.0.0.5")
    victim.run("ip", "rule", "del", "pref", "2")
    assert hears("127.0.0.1"), "it is this rule that keeps them off"


def _datagram(source: Address, mac: bytes, target: Address, port: int) -> bytes:
    """Write a frame with an IPv4 header (RFC 791) and a UDP one (RFC 768) without a checksum."""
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 30, 0, 0, 64, socket.IPPROTO_UDP, 0, source.packed, target.packed)
    total = sum(struct.unpack("!10H", header))
    header = header[:10] + (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big") + header[12:]
    udp = struct.pack("!HHHH", 5000, port, 10, 0) + b"in"
    return b"".join((mac, b"\x06\x42aaaa", b"\x08\0", header, udp))


# ---- several networks


def test_a_running_container_comes_into_a_network_and_leaves_it(lab: Lab) -> None:
    make(lab, "shop")
    web = lab.box("web", "shop").serve(80)
    box = lab.box("one")
    assert not box.reaches(web.ip, 80)
    added = lab.networks.connect(box.id, "shop", EndpointRequest(names=("one",)))
    assert added.interface == "eth1"
    assert box.ask(web.ip, 80) == f"web {added.ipv4}"
    lab.networks.disconnect(box.id, "shop")
    assert not box.reaches(web.ip, 80)
    assert "eth1" not in box.run("ip", "link")
    assert "default via" in box.run("ip", "route")


def test_the_way_out_is_the_first_network_by_name_and_moves_with_it(lab: Lab) -> None:
    make(lab, "alpha", "10.78.1.0/24")
    make(lab, "omega", "10.78.2.0/24")
    make(lab, "aaa-internal", "10.78.3.0/24", internal=True)
    box = lab.box("one", "omega", "aaa-internal")

    def way() -> str:
        return box.run("ip", "route", "show", "default").split()[2]

    assert way() == "10.78.2.1"
    lab.networks.connect(box.id, "alpha")
    assert way() == "10.78.1.1"
    lab.networks.disconnect(box.id, "alpha")
    assert way() == "10.78.2.1"
    lab.networks.disconnect(box.id, "omega")
    assert "default" not in box.run("ip", "route")


def test_host_and_none_have_no_interface(lab: Lab) -> None:
    for name in ("host", "none"):
        box = lab.box(name, name)
        assert box.endpoints[0].interface == ""
        assert [endpoint.container_id for endpoint in lab.networks.endpoints(lab.networks.get(name).id)] == [box.id]
        assert box.run("ip", "-o", "link").count("\n") == 1


# ---- IPv6


def test_ipv6(lab: Lab) -> None:
    make(lab, "six", "10.79.0.0/24", "fd00:79::/64", ipv6=True)
    with netlab.outside() as (machine, _, near6):
        machine.serve(80, family=socket.AF_INET6)
        web = lab.box("web", "six").serve(80, family=socket.AF_INET6)
        client = lab.box("client", "six", ipv6=IPv6Address("fd00:79::99"))
        assert (web.ip6, client.ip6) == ("fd00:79::2", "fd00:79::99")
        assert client.ask(web.ip6, 80) == "web fd00:79::99"
        assert client.ask(near6[:-1] + "2", 80) == f"outside {near6}"
        assert "fe80" in web.run("ip", "-6", "addr", "show", "dev", "eth0"), (
            "neighbours are found with link-local addresses"
        )


def test_ipv6_gets_a_subnet_of_the_engines_own(lab: Lab) -> None:
    make(lab, "six", ipv6=True)
    make(lab, "seven", ipv6=True)
    subnets = [lab.networks.get(name).pools[1].subnet for name in ("six", "seven")]
    assert subnets[0] != subnets[1]
    assert all(subnet.is_private and subnet.prefixlen == 64 and str(subnet).startswith("fd") for subnet in subnets)


# ---- what is asked for


def test_what_is_asked_for_is_given(lab: Lab) -> None:
    asked = pool(
        "10.80.0.0/16",
        span=ip_network("10.80.5.0/24"),
        gateway=IPv4Address("10.80.9.9"),
        reserved={"printer": IPv4Address("10.80.5.1")},
    )
    options = {"com.docker.network.bridge.name": "shop0", "com.docker.network.driver.mtu": "1400"}
    lab.networks.create(NetworkRequest(name="shop", pools=(asked,), options=options, labels={"a": "b"}))
    assert [lab.box(name, "shop").ip for name in ("one", "two")] == ["10.80.5.0", "10.80.5.2"]
    fixed = lab.box("three", "shop", ipv4=IPv4Address("10.80.200.1"), mac="02:00:00:00:00:07")
    assert "mtu 1400" in fixed.run("ip", "link", "show", "dev", "eth0")
    assert "02:00:00:00:00:07" in fixed.run("ip", "link", "show", "dev", "eth0")
    assert "10.80.9.9/16" in netlab._run("ip", "addr", "show", "dev", "shop0")
    assert "mtu 1400" in netlab._run("ip", "link", "show", "dev", "shop0")


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (NetworkRequest(name="shop"), Conflict, "network with name shop already exists"),
        (NetworkRequest(name="bridge"), Denied, "operation is not permitted on predefined bridge network "),
        (
            NetworkRequest(name="x", pools=(pool("10.81.5.0/24"),)),
            Denied,
            "Pool overlaps with other one on this address space",
        ),
        (NetworkRequest(name="x", driver="overlay"), NotFound, 'plugin "overlay" not found'),
        (NetworkRequest(name="x", driver="host"), Denied, 'only one instance of "host" network is allowed'),
        (NetworkRequest(name=""), Invalid, "invalid network name"),
        (NetworkRequest(name=" \t"), Invalid, "invalid network name"),
        (
            NetworkRequest(name="x", options={"com.docker.network.bridge.name": "much-too-long-name"}),
            Invalid,
            "invalid bridge name",
        ),
        (
            NetworkRequest(name="x", options={"com.docker.network.bridge.name": "lo"}),
            Conflict,
            "existing interface lo is not a bridge",
        ),
        (NetworkRequest(name="x", options={"com.docker.network.driver.mtu": "many"}), Invalid, "invalid MTU"),
        (
            NetworkRequest(name="x", pools=(pool("10.82.0.0/24", gateway=IPv4Address("10.83.0.1")),)),
            Invalid,
            "invalid gateway",
        ),
        (
            NetworkRequest(name="x", pools=(pool("10.82.0.0/24", span=ip_network("10.83.0.0/25")),)),
            Invalid,
            "invalid ip-range",
        ),
    ],
)
def test_what_is_refused(lab: Lab, request_: NetworkRequest, kind: type[DeclarativeError], words: str) -> None:
    make(lab, "shop", "10.81.0.0/16")
    before = netlab.traces(), lab.networks.list()
    with pytest.raises(kind, match=words.replace("(", r"\(")):
        lab.networks.create(request_)
    assert (netlab.traces(), lab.networks.list()) == before


def test_addresses_that_are_refused(lab: Lab) -> None:
    make(lab, "shop", "10.81.0.0/24")
    make(lab, "chosen-by-us")
    lab.box("one", "shop", ipv4=IPv4Address("10.81.0.7"))
    box = lab.box("two", "none")
    refused = [
        ("shop", IPv4Address("10.81.0.7"), Denied, "Address already in use"),
        ("shop", IPv4Address("10.81.0.1"), Denied, "Address already in use"),
        ("shop", IPv4Address("10.81.1.1"), Invalid, "does not belong to the subnet"),
        ("shop", IPv4Address("10.81.0.255"), Invalid, "does not belong to the subnet"),
        (
            "chosen-by-us",
            IPv4Address("172.18.0.9"),
            Invalid,
            "only when connecting to networks with user configured subnets",
        ),
        (
            "bridge",
            IPv4Address("172.17.0.9"),
            Invalid,
            "user specified IP address is supported on user defined networks only",
        ),
    ]
    before = netlab.traces()
    for network, address, kind, words in refused:
        with pytest.raises(kind, match=words):
            lab.networks.connect(box.id, network, EndpointRequest(ipv4=address))
    with pytest.raises(Invalid, match="network-scoped alias is supported only for containers in user defined networks"):
        lab.networks.connect(box.id, "bridge", EndpointRequest(aliases=("web",)))
    assert len(lab.networks.container(box.id).endpoints) == 1
    assert netlab.traces() - before == set()


def test_a_subnet_that_is_full_is_refused(lab: Lab) -> None:
    make(lab, "tiny", "10.84.0.0/30")
    lab.box("one", "tiny")
    before = netlab.traces()
    box = lab.box("two", "none")
    with pytest.raises(Failed, match="no available IPv4 addresses on this network's address pools"):
        lab.networks.connect(box.id, "tiny")
    assert {line for line in netlab.traces() - before if "mount" not in line} == set()


def test_a_network_that_somebody_is_in_stays(lab: Lab) -> None:
    id_ = make(lab, "shop")
    box = lab.box("one", "shop")
    with pytest.raises(Denied, match=f"error while removing network: network shop id {id_} has active endpoints"):
        lab.networks.remove("shop")
    with pytest.raises(Denied, match=r"endpoint with name one already exists in network shop"):
        lab.networks.connect(box.id, id_[:10], EndpointRequest(names=("one",)))
    with pytest.raises(NotFound, match="is not connected to network bridge"):
        lab.networks.disconnect(box.id, "bridge")
    with pytest.raises(NotFound, match="network nosuch not found"):
        lab.networks.get("nosuch")
    with pytest.raises(Denied, match="bridge is a pre-defined network and cannot be removed"):
        lab.networks.remove("bridge")
    lab.stop(box)
    assert lab.networks.remove(id_[:10]).name == "shop"
    with pytest.raises(NotFound):
        lab.networks.get("shop")


# ---- subnets


def test_subnets_avoid_what_the_machine_has_and_each_other(scratch: Path) -> None:
    netlab._run("ip", "link", "add", "taken0", "type", "bridge")
    try:
        netlab._run("ip", "addr", "add", "172.17.3.1/24", "dev", "taken0")
        netlab._run("ip", "addr", "add", "172.19.0.1/16", "dev", "taken0")
        netlab._run("ip", "link", "set", "taken0", "up")
        with netlab.lab(scratch) as lab:
            make(lab, "one")
            make(lab, "two")
            chosen = [str(lab.networks.get(name).pools[0].subnet) for name in ("bridge", "one", "two")]
            assert chosen == ["172.18.0.0/16", "172.20.0.0/16", "172.21.0.0/16"]
    finally:
        netlab._run("ip", "link", "del", "taken0")


def test_the_default_network_gives_way_to_who_took_its_place(lab: Lab) -> None:
    before = lab.networks.get("bridge")
    netlab._run("ip", "link", "add", before.link, "type", "bridge")
    try:
        netlab._run("ip", "addr", "add", f"{before.pools[0].gateway}/16", "dev", before.link)
        netlab._run("ip", "link", "set", before.link, "up")
        web, client = lab.box("web").serve(80), lab.box("client")
        assert client.ask(web.ip, 80).startswith("web ")
        after = lab.networks.get("bridge")
        assert after.id == before.id
        assert after.link != before.link
        assert not after.pools[0].overlaps(before.pools[0].subnet)
    finally:
        netlab._run("ip", "link", "del", before.link)


def test_an_administrators_bridge_can_be_used_and_stays(lab: Lab) -> None:
    netlab._run("ip", "link", "add", "office0", "type", "bridge")
    try:
        make(lab, "office", "10.85.0.0/24", options={"com.docker.network.bridge.name": "office0"})
        web, client = lab.box("web", "office").serve(80), lab.box("client", "office")
        assert client.ask(web.ip, 80).startswith("web ")
        lab.stop(web)
        lab.stop(client)
        lab.networks.remove("office")
        assert "link office0" in netlab.traces()
    finally:
        netlab._run("ip", "link", "del", "office0")


# ---- what is told, and what is left


def test_events_tell_what_happened(lab: Lab) -> None:
    id_ = make(lab, "shop")
    box = lab.box("one", "shop")
    lab.stop(box)
    lab.networks.remove("shop")
    told = [(event.action, event.id, event.attributes.get("container")) for event in lab.told()]
    assert told == [
        ("create", id_, None),
        ("connect", id_, box.id),
        ("disconnect", id_, box.id),
        ("destroy", id_, None),
    ]
    assert all(
        (event.kind, event.attributes["type"], event.attributes["name"]) == ("network", "bridge", "shop")
        for event in lab.told()
    )


def test_a_failure_half_way_leaves_nothing(lab: Lab) -> None:
    lab.box("first")
    before = netlab.traces()
    id_ = "ab" * 32
    with pytest.raises(Failed, match="No such file"):
        lab.networks.connect(id_, "bridge")  # nobody opened its namespace
    path = lab.networks.open_namespace(id_)
    netlab._run("nsenter", f"--net={path}", "ip", "link", "add", "eth0", "type", "bridge")
    with pytest.raises(Failed, match="File exists"):
        lab.networks.connect(id_, "bridge")
    assert lab.networks.container(id_).endpoints == ()
    lab.networks.close_namespace(id_)
    netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() ^ before))


def test_rules_go_with_the_last_container(lab: Lab) -> None:
    def rules() -> set[str]:
        return {line for line in netlab.traces() if not line.startswith("link")}

    before = rules()  # with those of an engine that other tests have beside this
    box = lab.box("one")
    assert any(line.startswith("table") for line in rules() - before)
    lab.stop(box)
    netlab.settled(lambda: rules() <= before, lambda: f"stays: {rules() - before}")


def test_a_namespace_that_somebody_keeps_loses_its_link_all_the_same(lab: Lab) -> None:
    """A container that joined another's network outlives it: the address is given to somebody else, so it must not answer."""
    box = lab.box("owner")
    with sockets.made_in_network(box.namespace, socket.socket):
        link = f"link {box.endpoints[0].link}"
        assert link in netlab.traces()
        lab.stop(box)
        netlab.settled(lambda: link not in netlab.traces(), lambda: "the pair stays")


def test_one_that_comes_while_the_rules_are_about_to_go_has_them(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last container's network rests for a moment; taking it down must not race with who comes."""
    due: list[Callable[[], None]] = []
    first = lab.box("first")
    with monkeypatch.context() as patched:
        patched.setattr(lab.networks._later, "put", lambda _name, _seconds, work: due.append(work))
        lab.stop(first)
    web = lab.box("web").serve(80)
    port = netlab.free_port()
    lab.publish(web, 80, port)
    for work in due:  # the thread had begun with it when `web` came
        work()
    assert netlab.ask("127.0.0.1", port).startswith("web ")


def test_many_come_and_go_at_once(lab: Lab) -> None:
    make(lab, "shop")
    problems: list[str] = []

    def churn(number: int) -> None:
        for turn in range(6):
            try:
                box = lab.box(f"box{number}", *(("shop", "bridge") if turn % 2 else ("bridge",))).serve(80)
                port = lab.publish(box, 80)[0].host_port
                if not netlab.ask("127.0.0.1", port).startswith(f"box{number} "):
                    problems.append("somebody else answered")
                if turn % 2:
                    lab.networks.disconnect(box.id, "shop")
                lab.stop(box)
            except (DeclarativeError, OSError) as error:
                problems.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert lab.warnings == []
    assert all(lab.networks.endpoints(network.id) == () for network in lab.networks.list())
