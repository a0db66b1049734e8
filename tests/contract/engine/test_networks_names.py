"""The name server of networks: what containers are called, by whom, and what is asked of others."""

from __future__ import annotations

import contextlib
import socket
import threading
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from dnslib import AAAA, PTR, QTYPE, RCODE, RR, TXT, A, DNSRecord  # type: ignore[import-untyped]

from declarative.engine.networks.records import Endpoint, EndpointRequest
from tests import sockets
from tests.contract.engine import netlab
from tests.contract.engine.test_networks import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.contract.engine.netlab import Box, Lab


NAME_SERVER = "127.0.0.11"


def query(
    box: Box, name: str, kind: str = "A", *, tcp: bool = False, server: str = "", seconds: float = 10
) -> DNSRecord:
    """Ask as a container does, its first network's gateway unless told otherwise."""
    to = server or str(box.endpoints[0].gateway)
    request = DNSRecord.question(name, kind)

    def made() -> socket.socket:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        client.settimeout(seconds)
        client.connect((to, 53))
        return client

    with sockets.made_in_network(box.namespace, made) as client:
        content = request.pack()
        client.sendall(len(content).to_bytes(2, "big") + content if tcp else content)
        if tcp:
            with client.makefile("rb") as stream:
                answer = DNSRecord.parse(stream.read(int.from_bytes(stream.read(2), "big")))
        else:
            answer = DNSRecord.parse(client.recv(65535))
    assert answer.header.id == request.header.id
    assert answer.header.qr == 1
    return answer


def found(answer: DNSRecord) -> list[str]:
    return [str(row.rdata) for row in answer.rr]


def code(answer: DNSRecord) -> str:
    return str(RCODE[answer.header.rcode])


@contextlib.contextmanager
def server(address: str, answer: Callable[[DNSRecord], DNSRecord | None], *, udp: bool = True) -> Iterator[list[str]]:
    """Serve names on port 53 of an address of this machine's loopback, over both protocols; gives what was asked, in order."""
    asked: list[str] = []
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, 53))
    streams = socket.create_server((address, 53))

    def by_udp() -> None:
        while True:
            try:
                content, client = datagrams.recvfrom(65535)
            except OSError:
                return
            if not content:
                return
            asked.append(f"udp {DNSRecord.parse(content).q.qname}")
            said = answer(DNSRecord.parse(content)) if udp else None
            if said is not None:
                packed = said.pack()
                datagrams.sendto(packed if len(packed) <= 512 else _cut(said), client)

    def by_tcp() -> None:
        while True:
            try:
                client, _ = streams.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                content = stream.read(int.from_bytes(stream.read(2), "big"))
                asked.append(f"tcp {DNSRecord.parse(content).q.qname}")
                said = answer(DNSRecord.parse(content))
                if said is not None:
                    packed = said.pack()
                    client.sendall(len(packed).to_bytes(2, "big") + packed)

    threads = [threading.Thread(target=by_udp), threading.Thread(target=by_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        for made in (datagrams, streams):
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
            made.close()
        for thread in threads:
            thread.join()


def _cut(said: DNSRecord) -> bytes:
    short = DNSRecord(said.header, said.questions)
    short.header.tc = 1
    return bytes(short.pack())


def says(text: str, request: DNSRecord) -> DNSRecord:
    answer = request.reply()
    answer.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(text)))
    return answer


# ---- what is known


def test_names_aliases_and_ids_are_answered_in_their_network_alone(lab: Lab) -> None:
    make(lab, "shop")
    make(lab, "yard")
    web = lab.box("web", "shop", aliases=("www", "Frontend"))
    client, stranger = lab.box("client", "shop"), lab.box("stranger", "yard")
    for name in ("web", "WEB", "www", "frontend", web.id[:12], "web.shop", "www.shop"):
        assert found(query(client, name)) == [web.ip], name
    assert found(query(web, "web")) == [web.ip]
    assert found(query(client, "client")) == [client.ip]
    answer = query(client, "wEb")
    assert str(answer.rr[0].rname) == "wEb.", "the name comes back as it was asked"
    with server("127.0.0.1", lambda request: request.reply()):
        lab.networks._upstream._told = ("127.0.0.1",)
        assert found(query(stranger, "web")) == []
        assert found(query(stranger, "web.shop")) == []


def test_a_name_is_known_as_long_as_its_container_is_there(lab: Lab) -> None:
    make(lab, "shop")
    client, web = lab.box("client", "shop"), lab.box("web", "shop")
    lab.networks.rename(web.id, ("shop-front",))
    assert found(query(client, "shop-front")) == [web.ip]
    with server("127.0.0.1", lambda request: request.reply()):
        lab.networks._upstream._told = ("127.0.0.1",)
        assert found(query(client, "web")) == []
        lab.stop(web)
        assert found(query(client, "shop-front")) == []
    again = lab.box("web", "shop")
    assert found(query(client, "web")) == [again.ip]


def test_a_shared_alias_gives_all_in_turn(lab: Lab) -> None:
    make(lab, "shop")
    client = lab.box("client", "shop")
    boxes = [lab.box(f"web{count}", "shop", aliases=("web",)) for count in range(3)]
    answers = [found(query(client, "web")) for _ in range(3)]
    assert all(sorted(answer) == sorted(box.ip for box in boxes) for answer in answers)
    assert len({answer[0] for answer in answers}) == 3


def test_links_are_known_to_who_has_them(lab: Lab) -> None:
    make(lab, "shop")
    database = lab.box("postgres-15", "shop")
    client, other = lab.box("client", "shop", links={"db": database.id}), lab.box("other", "shop")
    assert found(query(client, "db")) == [database.ip]
    with server("127.0.0.1", lambda request: request.reply()):
        lab.networks._upstream._told = ("127.0.0.1",)
        assert found(query(other, "db")) == []


def test_kinds_of_questions(lab: Lab) -> None:
    make(lab, "six", "10.79.0.0/24", "fd00:79::/64", ipv6=True)
    make(lab, "shop")
    web, client = lab.box("web", "six"), lab.box("client", "six")
    assert found(query(client, "web", "A")) == [web.ip]
    assert found(query(client, "web", "AAAA")) == [web.ip6]
    assert found(query(client, "web", "ANY")) == [web.ip, web.ip6]
    assert found(query(client, "web", "A", tcp=True)) == [web.ip]
    for address in (web.ip, web.ip6):
        assert found(query(client, ip_address(address).reverse_pointer, "PTR")) == ["web.six."]
    plain = lab.box("plain", "shop")
    for kind in ("AAAA", "MX", "TXT", "SRV", "HTTPS"):
        answer = query(plain, "plain", kind)
        assert (code(answer), found(answer)) == ("NOERROR", []), "the name is there, without such an address"


def test_a_container_in_several_networks_asks_one_and_hears_of_all(lab: Lab) -> None:
    make(lab, "alpha")
    make(lab, "omega")
    here, there = lab.box("here", "alpha"), lab.box("there", "omega")
    both = lab.box("both", "alpha", "omega")
    assert found(query(both, "here")) == [here.ip]
    assert found(query(both, "there")) == [there.ip]
    assert str(lab.networks.resolv_conf(both.id)).splitlines()[0] == f"nameserver {both.endpoints[0].gateway}"


def test_dockers_address_of_a_name_server_answers_too(lab: Lab) -> None:
    make(lab, "alpha")
    make(lab, "vault", internal=True)
    here, there = lab.box("here", "alpha"), lab.box("there", "vault")
    both = lab.box("both", "alpha", "vault")
    for box in (here, both):
        assert found(query(box, "here", server=NAME_SERVER)) == [here.ip]
        assert found(query(box, "here", server=NAME_SERVER, tcp=True)) == [here.ip]
    assert found(query(there, "both", server=NAME_SERVER)) == [str(both.endpoints[1].ipv4)]
    lab.networks.disconnect(both.id, "alpha")
    assert found(query(both, "here", server=NAME_SERVER)) == []
    assert found(query(both, "there", server=NAME_SERVER)) == [there.ip]
    lab.networks.disconnect(both.id, "vault")
    lab.networks.connect(both.id, "alpha")
    assert found(query(both, "here", server=NAME_SERVER)) == [here.ip]
    assert both.run("ip", "rule").split("\n")[:3] == [
        "1:\tfrom all iif lo lookup local",
        "2:\tfrom all to 127.0.0.0/8 blackhole",
        "3:\tfrom all lookup local",
    ]


def test_what_listens_on_the_loopback_is_reached_as_ever(lab: Lab) -> None:
    make(lab, "alpha")
    box = lab.box("here", "alpha").serve(80).serve(53).serve(53, udp=True)
    for host in ("127.0.0.1", box.ip, "localhost"):
        assert box.ask(host, 80).startswith("here ")
        assert box.ask(host, 53, udp=True).startswith("here "), "a name server of its own"
    box.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    assert found(query(box, "here", server=NAME_SERVER)) == [box.ip]
    with pytest.raises(TimeoutError):
        box.ask(NAME_SERVER, 80, seconds=netlab.REFUSED_SECONDS)


def test_the_default_bridge_has_no_names_at_dockers_address(lab: Lab) -> None:
    box = lab.box("plain")
    with pytest.raises(ConnectionRefusedError):
        query(box, "plain", server=NAME_SERVER)
    assert box.run("ip", "rule").startswith("0:\tfrom all lookup local\n")


def test_more_addresses_than_a_datagram_holds_are_given_over_tcp(lab: Lab) -> None:
    make(lab, "shop")
    client = lab.box("client", "shop")
    for count in range(40):
        lab.networks._names.add(_made_up(lab, count), way_out=True)
    try:
        cut = query(client, "many")
        assert cut.header.tc == 1
        assert 0 < len(cut.rr) < 40
        assert len(found(query(client, "many", tcp=True))) == 40
    finally:
        for count in range(40):
            endpoint = _made_up(lab, count)
            lab.networks._names.remove(endpoint.container_id, endpoint.network_id)


def _made_up(lab: Lab, count: int) -> Endpoint:
    network = lab.networks.get("shop")
    address = network.pools[0].subnet[100 + count]
    return Endpoint(
        id=f"{count:064x}", network_id=network.id, network_name="shop", container_id=f"{count:064x}",
        ipv4=address, aliases=("many",),  # type: ignore[arg-type]
    )  # fmt: skip


# ---- what is asked of others


def test_other_names_are_asked_of_the_machines_servers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lab, "shop")
    client = lab.box("client", "shop")
    with server("127.0.0.53", partial(says, "9.9.9.9")) as asked:
        monkeypatch.setattr(lab.networks._upstream, "_told", ("127.0.0.53",))
        assert found(query(client, "example.com")) == ["9.9.9.9"]
        assert found(query(client, "example.com", tcp=True)) == ["9.9.9.9"]
    assert asked == ["udp example.com.", "tcp example.com."]


def test_what_they_answer_is_passed_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lab, "shop")
    client = lab.box("client", "shop")

    def answer(request: DNSRecord) -> DNSRecord:
        reply = request.reply()
        label = str(request.q.qname)
        if label.startswith("nx"):
            reply.header.rcode = RCODE.NXDOMAIN
        elif label.startswith("fail"):
            reply.header.rcode = RCODE.SERVFAIL
        elif label.startswith("big"):
            for count in range(20):
                reply.add_answer(RR(request.q.qname, QTYPE.TXT, rdata=TXT(f"{count} " + "x" * 200)))
        elif request.q.qtype == QTYPE.PTR:
            reply.add_answer(RR(request.q.qname, QTYPE.PTR, rdata=PTR("host.example")))
        else:
            reply.add_answer(RR(request.q.qname, QTYPE.AAAA, rdata=AAAA("2001:db8::1")))
        return reply

    with server("127.0.0.53", answer):
        monkeypatch.setattr(lab.networks._upstream, "_told", ("127.0.0.53",))
        assert code(query(client, "nx.example")) == "NXDOMAIN"
        assert code(query(client, "fail.example")) == "SERVFAIL"
        assert found(query(client, "six.example", "AAAA")) == ["2001:db8::1"]
        assert found(query(client, "4.3.2.1.in-addr.arpa", "PTR")) == ["host.example."]
        assert query(client, "big.example", "TXT").header.tc == 1
        assert len(query(client, "big.example", "TXT", tcp=True).rr) == 20


def test_a_server_that_is_silent_or_fails_is_passed_over(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lab, "shop")
    client = lab.box("client", "shop")

    def refuse(request: DNSRecord) -> DNSRecord:
        reply = request.reply()
        reply.header.rcode = RCODE.REFUSED
        return reply

    with (
        server("127.0.0.51", lambda _: None, udp=False) as silent,
        server("127.0.0.52", refuse) as failing,
        server("127.0.0.53", partial(says, "9.9.9.9")),
    ):
        # nobody at all listens on 127.0.0.50
        servers = ("127.0.0.50", "127.0.0.51", "127.0.0.52", "127.0.0.53")
        monkeypatch.setattr(lab.networks._upstream, "_told", servers)
        assert found(query(client, "example.com")) == ["9.9.9.9"]
        assert (silent, failing) == (["udp example.com."], ["udp example.com."])
        monkeypatch.setattr(lab.networks._upstream, "_told", servers[:2])
        assert code(query(client, "example.com")) == "SERVFAIL"
        assert found(query(client, "client")) == [client.ip], "what is known is answered all the while"


def test_a_forged_answer_is_not_believed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lab, "shop")
    client = lab.box("client", "shop")

    def forge(request: DNSRecord) -> DNSRecord:
        other = DNSRecord.question("evil.example")
        other.header.id = request.header.id
        return says("6.6.6.6", other)

    with server("127.0.0.53", forge):
        monkeypatch.setattr(lab.networks._upstream, "_told", ("127.0.0.53",))
        assert code(query(client, "bank.example")) == "SERVFAIL"


def test_a_container_may_have_servers_of_its_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lab, "shop")
    with server("127.0.0.52", partial(says, "5.2.5.2")), server("127.0.0.53", partial(says, "5.3.5.3")):
        monkeypatch.setattr(lab.networks._upstream, "_told", ("127.0.0.53",))
        own, plain = lab.box("own", "shop", dns=("127.0.0.52",)), lab.box("plain", "shop")
        assert found(query(own, "example.com")) == ["5.2.5.2"]
        assert found(query(plain, "example.com")) == ["5.3.5.3"]
        assert found(query(own, "plain")) == [plain.ip]


def test_an_internal_network_knows_its_own_names_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lab, "vault", internal=True)
    make(lab, "shop")
    gateway = str(lab.networks.get("vault").pools[0].gateway)
    with server("127.0.0.53", partial(says, "9.9.9.9")) as asked:
        monkeypatch.setattr(lab.networks._upstream, "_told", ("127.0.0.53",))
        web, client = lab.box("web", "vault"), lab.box("client", "vault")
        assert found(query(client, "web", server=gateway)) == [web.ip]
        assert code(query(client, "example.com", server=gateway)) == "SERVFAIL"
        assert asked == []
        lab.networks.connect(client.id, "shop", EndpointRequest(names=("client",)))
        assert found(query(client, "example.com", server=gateway)) == ["9.9.9.9"]


def test_strangers_get_no_answer(lab: Lab) -> None:
    make(lab, "shop")
    web = lab.box("web", "shop")
    stranger = lab.box("stranger")
    gateway = str(web.endpoints[0].gateway)
    with pytest.raises(TimeoutError):
        query(stranger, "web", server=gateway, seconds=netlab.REFUSED_SECONDS)
    with netlab.outside() as (machine, near, _):
        machine.run("ip", "route", "add", f"{gateway}/32", "via", near)
        with pytest.raises(OSError, match=r"timed out|refused"):
            query(machine, "web", server=gateway, seconds=netlab.REFUSED_SECONDS)


def test_rubbish_does_no_harm(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lab, "shop")
    client = lab.box("client", "shop")
    monkeypatch.setattr(lab.networks._upstream, "_told", ("127.0.0.50",))
    gateway = str(client.endpoints[0].gateway)

    def made() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((gateway, 53))
        return sock

    good = DNSRecord.question("client").pack()
    with sockets.made_in_network(client.namespace, made) as sock:
        for content in (
            b"",
            b"x",
            good[:11],
            good[:-3],
            good[:12] + b"\xff" * 40,
            good[:4] + b"\0\7" + good[6:],
            b"\0" * 600,
        ):
            sock.send(content)
    with sockets.made_in_network(client.namespace, partial(socket.create_connection, (gateway, 53))) as stream:
        stream.sendall(b"\xff\xff half")
    assert found(query(client, "client")) == [client.ip]


# ---- /etc/resolv.conf


def test_resolv_conf(lab: Lab, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lab, "shop")
    host = scratch / "resolv.conf"
    host.write_text(
        "# the machine's\nsearch corp.example\nnameserver 127.0.0.53\n"
        "nameserver 10.1.1.1\nnameserver fe80::1%eth0\noptions edns0\n"
    )
    monkeypatch.setattr(lab.networks._upstream, "_path", host)
    monkeypatch.setattr(lab.networks._upstream, "_seen", None)
    plain, shop, alone, own = (
        lab.box("plain"),
        lab.box("shop", "shop"),
        lab.box("alone", "none"),
        lab.box("own", "host"),
    )
    gateway = shop.endpoints[0].gateway
    text = lab.networks.resolv_conf
    assert text(plain.id) == "nameserver 10.1.1.1\nsearch corp.example\noptions edns0\n"
    assert text(shop.id) == f"nameserver {gateway}\nsearch corp.example\noptions edns0 ndots:0\n"
    assert (
        text(own.id)
        == "nameserver 127.0.0.53\nnameserver 10.1.1.1\nnameserver fe80::1%eth0\nsearch corp.example\noptions edns0\n"
    )
    assert text(alone.id).startswith("nameserver 127.0.0.53\n")
    asked = (("10.2.2.2",), ("a.example", "b.example"), ("ndots:2",))
    assert text(plain.id, *asked) == "nameserver 10.2.2.2\nsearch a.example b.example\noptions ndots:2\n"
    assert text(shop.id, *asked) == f"nameserver {gateway}\nsearch a.example b.example\noptions ndots:2\n"
    assert text(plain.id, (), (".",)) == "nameserver 10.1.1.1\noptions edns0\n"
    host.write_text("nameserver 127.0.0.53\n")
    assert text(plain.id) == f"nameserver {plain.endpoints[0].gateway}\n", "whom a container cannot ask, we ask for it"


def test_on_the_default_bridge_a_loopback_server_is_asked_for_the_container(scratch: Path) -> None:
    with (
        server("127.0.0.53", partial(says, "9.9.9.9")),
        netlab.lab(scratch, nameservers=("127.0.0.53",)) as lab,
    ):
        web, client = lab.box("web"), lab.box("client")
        assert lab.networks.resolv_conf(client.id).startswith(f"nameserver {client.endpoints[0].gateway}\n")
        assert found(query(client, "example.com")) == ["9.9.9.9"]
        assert found(query(client, "web")) == ["9.9.9.9"], "nobody has a name on the default bridge, as with Docker"
        del web
