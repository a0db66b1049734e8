"""Published ports: from the machine, from containers, from outside; TCP and UDP, IPv4 and IPv6; taken, held, let go."""

from __future__ import annotations

import contextlib
import socket
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.engine.networks.ports import ANY4, ANY6
from declarative.engine.networks.records import PortRequest
from declarative.errors import Conflict, Invalid
from tests import sockets
from tests.contract.engine import netlab
from tests.contract.engine.test_networks import make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.engine.netlab import Lab

_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@pytest.fixture(params=["bridged packets pass the rules", "they do not"])
def _either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a test with and without br_netfilter's detour, which decides about packets that never leave a bridge."""
    before = _BRIDGED.read_text()
    _BRIDGED.write_text("1" if request.param.startswith("bridged") else "0")
    yield
    _BRIDGED.write_text(before)


@pytest.mark.usefixtures("_either_way")
def test_a_published_port_is_reached_from_everywhere(lab: Lab) -> None:
    make(lab, "yard")
    port = netlab.free_port()
    with netlab.outside() as (machine, near, _):
        web = lab.box("web").serve(80)
        neighbour, stranger = lab.box("neighbour"), lab.box("stranger", "yard")
        gateway = str(web.endpoints[0].gateway)
        told = lab.publish(web, 80, port)
        assert {(row.host_address, row.host_port, row.port, row.protocol) for row in told} == {
            (ANY4, port, 80, "tcp"),
            (ANY6, port, 80, "tcp"),
        }
        assert netlab.ask("127.0.0.1", port) == f"web {gateway}"
        assert netlab.ask("127.0.0.5", port) == f"web {gateway}"
        assert netlab.ask(near, port).startswith("web ")
        assert netlab.ask(gateway, port).startswith("web ")
        assert machine.ask(near, port) == f"web {near[:-1]}2", "who asks from outside is seen as who it is"
        for box in (neighbour, stranger, web):
            for address in (near, gateway):
                assert box.ask(address, port).startswith("web "), (box.name, address)
        assert not machine.reaches(near, port + 1 if port < 65535 else port - 1)
        lab.networks.unpublish(web.id)
        assert not machine.reaches(near, port)
        with pytest.raises(ConnectionRefusedError):
            netlab.ask("127.0.0.1", port)


@pytest.mark.usefixtures("_either_way")
def test_udp(lab: Lab) -> None:
    port = netlab.free_port(udp=True)
    with netlab.outside() as (machine, near, _):
        web, neighbour = lab.box("web").serve(53, udp=True), lab.box("neighbour")
        lab.publish(web, 53, port, protocol="udp")
        assert netlab.ask("127.0.0.1", port, udp=True).startswith("web ")
        assert machine.ask(near, port, udp=True) == f"web {near[:-1]}2"
        for box in (neighbour, web):
            assert box.ask(near, port, udp=True).startswith("web ")


@pytest.mark.usefixtures("_either_way")
def test_without_icc_a_published_port_is_reached(lab: Lab) -> None:
    make(lab, "shop", options={"com.docker.network.bridge.enable_icc": "false"})
    web, client = lab.box("web", "shop").serve(80), lab.box("client", "shop")
    port = netlab.free_port()
    lab.publish(web, 80, port)
    assert not client.reaches(web.ip, 80)
    assert client.ask(str(client.endpoints[0].gateway), port).startswith("web ")


def test_a_udp_flow_goes_to_who_has_the_port_now(lab: Lab) -> None:
    """A client that never stops asking keeps its flow alive in the kernel, which led to the container before."""
    port = netlab.free_port(udp=True)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.settimeout(netlab.REFUSED_SECONDS)
        client.connect(("127.0.0.1", port))

        def told() -> str:
            client.send(b"who")
            with contextlib.suppress(OSError):
                return client.recv(1000).decode().split()[0]
            return ""

        for name in ("first", "second"):
            box = lab.box(name).serve(53, udp=True)
            lab.publish(box, 53, port, protocol="udp")
            netlab.settled(lambda: told() == name, lambda: "the flow goes elsewhere")  # noqa: B023 - called at once
            lab.stop(box)
            assert told() == ""


# ---- addresses and numbers


def test_one_address_of_the_machine_alone(lab: Lab) -> None:
    port = netlab.free_port()
    with netlab.outside() as (machine, near, _):
        web, other = lab.box("web").serve(80), lab.box("other").serve(80)
        assert [row.host_address for row in lab.publish(web, 80, port, address="127.0.0.1")] == ["127.0.0.1"]
        assert netlab.ask("127.0.0.1", port).startswith("web ")
        assert not machine.reaches(near, port)
        lab.publish(other, 80, port, address=near)
        assert machine.ask(near, port).startswith("other ")
        assert netlab.ask("127.0.0.1", port).startswith("web ")
        with pytest.raises(Invalid, match="cannot assign requested address"):
            lab.publish(web, 80, port, address="10.1.2.3")


def test_a_loopback_port_is_not_reached_by_a_neighbour_on_the_cable(lab: Lab) -> None:
    """A machine on the same cable can send us packets for 127.0.0.1: they are dropped, whatever we allow on bridges."""
    port = netlab.free_port()
    with netlab.outside() as (machine, near, _):
        web = lab.box("web").serve(80)
        lab.publish(web, 80, port, address="127.0.0.1")
        machine.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1", "net.ipv4.conf.eth0.route_localnet=1")
        machine.run("ip", "route", "add", "table", "7", "127.0.0.0/8", "via", near)
        machine.run("ip", "rule", "add", "pref", "1", "lookup", "7")
        machine.run("ip", "rule", "del", "pref", "0")
        assert not machine.reaches("127.0.0.1", port)


def test_free_ports_are_found_and_not_given_twice(lab: Lab) -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    web = lab.box("web").serve(80).serve(81)
    numbers = [lab.publish(web, port)[0].host_port for port in (80, 81, 80)]
    assert len(set(numbers)) == 3
    assert all(first <= number <= last for number in numbers)
    assert netlab.ask("127.0.0.1", numbers[1]).startswith("web ")


def test_a_range_gives_its_first_free_port(lab: Lab) -> None:
    base = 21000
    web = lab.box("web")
    with contextlib.closing(socket.create_server(("", base))):
        assert lab.publish(web, 80, (base, base + 2))[0].host_port == base + 1
        assert lab.publish(web, 80, (base, base + 2))[0].host_port == base + 2
        with pytest.raises(Conflict, match="all ports are allocated"):
            lab.publish(web, 80, (base, base + 2))


def test_an_option_of_the_network_says_which_address(lab: Lab) -> None:
    make(lab, "shop", options={"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"})
    assert [row.host_address for row in lab.publish(lab.box("web", "shop"), 80)] == ["127.0.0.1"]


# ---- conflicts


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_a_container_has_is_refused(lab: Lab, protocol: str) -> None:
    port = netlab.free_port(udp=protocol == "udp")
    web, other = lab.box("web").serve(80), lab.box("other")
    lab.publish(web, 80, port, protocol=protocol)
    for address in ("", "127.0.0.1"):
        with pytest.raises(Conflict) as refused:
            lab.publish(other, 80, port, address, protocol)
        shown = address or ANY4
        assert str(refused.value) == (
            f"driver failed programming external connectivity on endpoint other ({other.endpoints[0].id}): "
            f"Bind for {shown}:{port} failed: port is already allocated"
        )
    lab.stop(web)
    lab.publish(other, 80, port, protocol=protocol)


def test_a_port_that_a_program_has_is_refused_and_nothing_is_left(lab: Lab) -> None:
    web = lab.box("web").serve(80)
    free = netlab.free_port()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        requests = (
            PortRequest(port=80, host_ports=(free, free)),
            PortRequest(port=80, host_ports=(taken.getsockname()[1],) * 2),
        )
        with pytest.raises(Conflict, match="bind: address already in use"):
            lab.networks.publish(web.id, requests)
    assert lab.networks.container(web.id).ports == ()
    with contextlib.closing(socket.create_server(("", free))), pytest.raises(OSError, match=r"refused|timed out"):
        netlab.ask("127.0.0.1", free + 1 if free < 65535 else free - 1)


def test_a_port_that_is_asked_for_twice_is_refused(lab: Lab) -> None:
    web, free = lab.box("web"), netlab.free_port()
    with pytest.raises(Conflict, match="port is already allocated"):
        lab.networks.publish(
            web.id, (PortRequest(port=80, host_ports=(free, free)), PortRequest(port=81, host_ports=(free, free)))
        )
    assert lab.publish(web, 80, free)[0].host_port == free


def test_a_program_cannot_take_a_published_port(lab: Lab) -> None:
    port = netlab.free_port()
    lab.publish(lab.box("web"), 80, port)
    for address in ("", "127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with pytest.raises(OSError, match="Address already in use"):
            socket.create_server((address, port), family=family)


def test_a_port_is_published_again_at_once(lab: Lab) -> None:
    """The connections of before are still remembered by the kernel for a minute."""
    port = netlab.free_port()
    for name in ("first", "second", "third"):
        box = lab.box(name).serve(80)
        lab.publish(box, 80, port)
        assert netlab.ask("127.0.0.1", port).startswith(name)
        lab.stop(box)


def test_many_at_once(lab: Lab) -> None:
    boxes = [lab.box(f"box{count}").serve(80) for count in range(8)]
    found: list[tuple[str, int]] = []

    def publish(box: netlab.Box) -> None:
        found.append((box.name, lab.publish(box, 80)[0].host_port))

    threads = [threading.Thread(target=publish, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({port for _, port in found}) == len(boxes)
    assert all(netlab.ask("127.0.0.1", port).startswith(f"{name} ") for name, port in found)


def test_a_wrong_protocol_is_refused(lab: Lab) -> None:
    with pytest.raises(Invalid, match="invalid protocol"):
        lab.publish(lab.box("web"), 80, protocol="icmp")


def test_a_name_server_can_be_published_beside_ours(lab: Lab) -> None:
    """Ours answers the containers of a network on port 53 of its gateway; a container may have port 53 of the whole machine."""
    make(lab, "shop")
    server, client = lab.box("dns", "shop").serve(53, udp=True), lab.box("client", "shop")
    lab.publish(server, 53, 53, protocol="udp")
    assert netlab.ask("127.0.0.1", 53, udp=True).startswith("dns ")
    found = client.run("busybox", "nslookup", "-type=a", "dns", str(client.endpoints[0].gateway))
    assert server.ip in found


# ---- IPv6


def test_ipv6_leads_to_a_container_that_has_it(lab: Lab) -> None:
    make(lab, "six", "10.79.0.0/24", "fd00:79::/64", ipv6=True)
    port = netlab.free_port()
    with netlab.outside() as (machine, near, near6):
        web = lab.box("web", "six").serve(80).serve(80, family=socket.AF_INET6)
        neighbour = lab.box("neighbour", "six")
        lab.publish(web, 80, port)
        assert machine.ask(near6, port) == f"web {near6[:-1]}2"
        assert machine.ask(near, port) == f"web {near[:-1]}2"
        assert neighbour.ask(near6, port).startswith("web ")
        assert netlab.ask("::1", port).startswith("web ")
        assert netlab.ask(near6, port).startswith("web ")


@pytest.mark.parametrize("udp", [False, True])
def test_ipv6_is_carried_to_a_container_that_has_none(lab: Lab, *, udp: bool) -> None:
    port = netlab.free_port(udp=udp)
    with netlab.outside() as (machine, _, near6):
        web = lab.box("web").serve(80, udp=udp)
        lab.publish(web, 80, port, protocol="udp" if udp else "tcp")
        gateway = str(web.endpoints[0].gateway)
        for _ in range(3):
            assert machine.ask(near6, port, udp=udp) == f"web {gateway}"
            assert netlab.ask("::1", port, udp=udp) == f"web {gateway}"
        lab.networks.unpublish(web.id)
        assert not machine.reaches(near6, port, udp=udp)


def test_what_is_carried_is_carried_whole_and_its_end_too(lab: Lab) -> None:
    port = netlab.free_port()
    web = lab.box("web")
    server = sockets.made_in_network(web.namespace, partial(socket.create_server, ("", 80)))
    web.opened.append(server)

    def echo() -> None:
        with server.accept()[0] as client:
            content = b"".join(iter(partial(client.recv, 1 << 16), b""))
            client.sendall(content[::-1])

    thread = threading.Thread(target=echo)
    thread.start()
    lab.publish(web, 80, port)
    content = bytes(range(256)) * 40_000
    with socket.create_connection(("::1", port), timeout=20) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(partial(client.recv, 1 << 16), b"")) == content[::-1]
    thread.join()


# ---- networks that change


def test_a_port_follows_the_container_to_another_network(lab: Lab) -> None:
    make(lab, "alpha")
    make(lab, "omega")
    port = netlab.free_port()
    web = lab.box("web", "omega").serve(80)
    lab.publish(web, 80, port)
    assert netlab.ask("127.0.0.1", port).startswith("web ")
    lab.networks.connect(web.id, "alpha")
    assert netlab.ask("127.0.0.1", port).startswith("web ")
    lab.networks.disconnect(web.id, "omega")
    assert netlab.ask("127.0.0.1", port).startswith("web ")
    assert len(lab.networks.container(web.id).ports) == 2


def test_a_container_in_two_networks_answers_each_the_way_it_came(lab: Lab) -> None:
    """It has a way to the asker's network of its own: without masquerading, the answer would come from a stranger."""
    make(lab, "alpha")
    make(lab, "omega")
    port = netlab.free_port()
    web, asker = lab.box("web", "alpha", "omega").serve(80), lab.box("asker", "omega")
    lab.publish(web, 80, port)
    assert asker.ask(str(asker.endpoints[0].gateway), port).startswith("web ")


# ---- rules that others touch


def test_our_rules_come_back_after_somebody_flushed_them(lab: Lab) -> None:
    port = netlab.free_port()
    web = lab.box("web").serve(80)
    lab.publish(web, 80, port)
    netlab._run("nft", "flush", "ruleset")
    other = lab.box("other").serve(80)
    lab.publish(other, 80)  # at once, before anybody noticed
    assert netlab.ask("127.0.0.1", port).startswith("web ")
    netlab._run("nft", "flush", "ruleset")
    gateway = str(web.endpoints[0].gateway)
    netlab.settled(lambda: _told("127.0.0.1", port) == f"web {gateway}", lambda: "the rules stay away")
    assert lab.warnings == []


def _told(host: str, port: int) -> str:
    with contextlib.suppress(OSError):
        return netlab.ask(host, port, seconds=netlab.REFUSED_SECONDS)
    return ""


def test_what_drops_by_policy_is_passed(lab: Lab) -> None:
    """Neighbours such as dockerd and ufw let the chains FORWARD and INPUT drop what no rule of theirs decides on."""
    make(lab, "shop", "10.86.0.0/24")
    port = netlab.free_port()
    try:
        for program in ("iptables", "ip6tables"):
            netlab._run(program, "-P", "FORWARD", "DROP")
        netlab._run("iptables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
        netlab._run("iptables", "-P", "INPUT", "DROP")
        with netlab.outside() as (machine, near, _):
            machine.serve(80)
            web = lab.box("web", "shop").serve(80)
            client = lab.box("client", "shop")
            lab.publish(web, 80, port)
            assert machine.ask(near, port).startswith("web ")
            assert web.ask(near[:-1] + "2", 80).startswith("outside ")
            assert client.ask(web.ip, 80).startswith("web ")
            assert web.ip in client.run("busybox", "nslookup", "-type=a", "web", "10.86.0.1")
            # one that comes later, as a dockerd that is started, is noticed
            netlab._run("iptables", "-F")
            netlab.settled(lambda: web.reaches(near[:-1] + "2", 80), lambda: "nobody noticed")
        assert any("DECLARATIVE" in line for line in netlab.traces())
    finally:
        for program in ("iptables", "ip6tables"):
            netlab._run(program, "-P", "FORWARD", "ACCEPT")
        netlab._run("iptables", "-P", "INPUT", "ACCEPT")
        netlab._run("iptables", "-D", "INPUT", "-i", "lo", "-j", "ACCEPT") if "-i lo" in netlab._run(
            "iptables", "-S"
        ) else None


def test_firewalld_is_asked_to_let_containers_through(lab: Lab) -> None:
    """It ends its chains in a refusal, which no rule of ours can change: our bridges have to be in a zone of its own."""
    link = lab.networks.get(make(lab, "shop", "10.86.0.0/24")).link
    port = netlab.free_port()
    with netlab.firewalld() as firewall_cmd, netlab.outside() as (machine, near, _):
        machine.serve(80)
        web, client = lab.box("web", "shop").serve(80), lab.box("client", "shop")
        lab.publish(web, 80, port)
        assert machine.ask(near, port).startswith("web ")
        assert web.ask(near[:-1] + "2", 80).startswith("outside ")
        assert client.ask(web.ip, 80).startswith("web ")
        assert web.ip in client.run("busybox", "nslookup", "-type=a", "web", "10.86.0.1")
        assert firewall_cmd("--zone=trusted", "--list-interfaces").split() == [link]
        firewall_cmd("--complete-reload")  # it forgets what it was told, and says nothing
        netlab.settled(lambda: web.reaches(near[:-1] + "2", 80), lambda: "nobody noticed")
        for box in (web, client):
            lab.stop(box)
        netlab.settled(
            lambda: firewall_cmd("--zone=trusted", "--list-interfaces").split() == [], lambda: "it is trusted for ever"
        )
        assert lab.warnings == []


def test_an_administrator_s_zone_is_left_alone(lab: Lab) -> None:
    link = lab.networks.get(make(lab, "shop", "10.86.0.0/24")).link
    with netlab.firewalld() as firewall_cmd:
        firewall_cmd("--zone=drop", f"--add-interface={link}")
        lab.box("web", "shop")
        assert firewall_cmd(f"--get-zone-of-interface={link}").strip() == "drop"
        assert lab.warnings == []


def test_a_firewalld_that_does_not_answer_is_told_of(lab: Lab) -> None:
    netlab._run("nft", "add", "table", "inet", "firewalld")  # without a daemon
    try:
        lab.box("web")
        assert any("firewalld: does not answer" in warning for warning in lab.warnings)
    finally:
        netlab._run("nft", "delete", "table", "inet", "firewalld")


def test_a_chain_that_cannot_be_passed_is_told_of_once(lab: Lab) -> None:
    netlab._run(
        "nft", "add table inet site; add chain inet site mine { type filter hook forward priority 0; policy drop; }"
    )
    try:
        lab.stop(lab.box("one"))
        lab.box("two")
        assert [
            warning for warning in lab.warnings if "chain mine of table inet site: drops by policy" in warning
        ] == lab.warnings
        assert len(lab.warnings) == 1
    finally:
        netlab._run("nft", "delete", "table", "inet", "site")


def test_nothing_is_said_of_what_firewalld_drops_while_it_reloads(lab: Lab) -> None:
    name = "inet firewalld_policy_drop"
    chain = f"add chain {name} filter_forward {{ type filter hook forward priority 9; policy drop; }}"
    netlab._run("nft", f"add table {name}; {chain}")
    try:
        lab.box("web")
        assert lab.warnings == []
    finally:
        netlab._run("nft", f"delete table {name}")


def test_a_container_starts_though_other_firewalls_are_broken(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("declarative.engine.networks.neighbours._program", lambda name, _: f"/nonexistent/{name}")
    netlab._run("iptables", "-P", "FORWARD", "DROP")
    try:
        web, client = lab.box("web").serve(80), lab.box("client")
        assert web.ip != client.ip
        assert any("another firewall cannot be passed" in warning for warning in lab.warnings)
    finally:
        netlab._run("iptables", "-P", "FORWARD", "ACCEPT")
