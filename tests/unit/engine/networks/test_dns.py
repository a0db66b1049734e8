"""DNS messages: judged by a library that knows all of DNS, and by rubbish."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from dnslib import CLASS, CNAME, EDNS0, NS, QTYPE, RR, DNSHeader, DNSQuestion, DNSRecord  # type: ignore[import-untyped]
from hypothesis import example, given
from hypothesis import strategies as st

from declarative.engine.networks import dns

LABELS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=20)
NAMES = st.lists(LABELS, min_size=1, max_size=6).map(".".join)
ADDRESSES = st.lists(st.ip_addresses(), max_size=5)


@given(NAMES, st.sampled_from(["A", "AAAA", "PTR", "MX", "TXT", "ANY", "HTTPS"]))
def test_a_question_is_read_as_it_was_asked(name: str, kind: str) -> None:
    packed = DNSRecord.question(name, kind).pack()
    question = dns.read_question(packed)
    assert question is not None
    assert (question.name, question.kind, question.end) == (name, getattr(QTYPE, kind), len(packed))


@given(NAMES, st.sampled_from(["A", "AAAA", "ANY"]), ADDRESSES)
def test_an_answer_has_what_was_asked_for(name: str, kind: str, addresses: list[IPv4Address | IPv6Address]) -> None:
    query = DNSRecord.question(name, kind)
    packed = query.pack()
    question = dns.read_question(packed)
    assert question is not None
    answer = DNSRecord.parse(dns.answer(packed, question, addresses))
    versions = {"A": [4], "AAAA": [6], "ANY": [4, 6]}[kind]
    assert [
        IPv4Address(str(row.rdata)) if row.rtype == QTYPE.A else IPv6Address(str(row.rdata)) for row in answer.rr
    ] == [address for address in addresses if address.version in versions]
    assert {str(row.rname) for row in answer.rr} <= {f"{name}."}
    assert (answer.header.id, answer.header.qr, answer.header.aa, answer.header.rcode) == (query.header.id, 1, 1, 0)
    assert answer.header.rd == query.header.rd


@given(st.ip_addresses(), NAMES)
def test_a_name_for_an_address(address: IPv4Address | IPv6Address, name: str) -> None:
    packed = DNSRecord.question(address.reverse_pointer, "PTR").pack()
    question = dns.read_question(packed)
    assert question is not None
    assert dns.address_of(question.name) == address
    assert str(DNSRecord.parse(dns.answer_name(packed, question, name)).rr[0].rdata) == f"{name}."


@given(NAMES)
def test_most_names_are_no_addresses(name: str) -> None:
    assert dns.address_of(name) is None
    assert dns.address_of(f"{name}.in-addr.arpa") is None or name.replace(".", "").isdigit()


@given(st.binary(max_size=300))
@example(b"\0" * 12)
@example(b"\0\0\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1")
def test_rubbish_is_no_question_and_is_refused_politely(content: bytes) -> None:
    question = dns.read_question(content)
    if len(content) >= dns.MIN_BYTES:
        refused = dns.refuse(content, question, dns.SERVER_FAILURE)
        assert refused[:2] == content[:2]
        assert dns.code_of(refused) == dns.SERVER_FAILURE
        assert len(refused) <= len(content)
    else:
        assert question is None


@given(NAMES, st.integers(0, 400))
def test_a_cut_question_is_none(name: str, cut: int) -> None:
    packed = DNSRecord.question(name).pack()
    assert dns.read_question(packed[: min(cut, len(packed) - 1)]) is None


def test_what_is_not_one_question_is_not_read() -> None:
    one = DNSQuestion("web")
    assert dns.read_question(DNSRecord(DNSHeader(qr=0), questions=[one, one]).pack()) is None
    assert dns.read_question(DNSRecord(DNSHeader(qr=1), questions=[one]).pack()) is None
    assert dns.read_question(DNSRecord(DNSHeader(qr=0, opcode=4), questions=[one]).pack()) is None
    assert dns.read_question(DNSRecord(DNSHeader(qr=0), questions=[DNSQuestion("web", qclass=CLASS.CH)]).pack()) is None


def test_of_what_does_not_fit_the_first_answers_are_kept() -> None:
    packed = DNSRecord.question("web").pack()
    question = dns.read_question(packed)
    assert question is not None
    addresses = [IPv4Address(value) for value in range(100)]
    long = dns.answer(packed, question, addresses)
    short = dns.fit(long, 512)
    cut = DNSRecord.parse(short)
    assert (cut.header.tc, str(cut.q.qname), cut.header.id) == (1, "web.", DNSRecord.parse(packed).header.id)
    assert [str(row.rdata) for row in cut.rr] == [str(address) for address in addresses[: len(cut.rr)]]
    assert 512 - 16 < len(short) <= 512  # a record has 16 bytes
    assert dns.fit(long, len(long)) == long


@given(st.lists(NAMES, max_size=6), st.integers(0, 600))
def test_what_others_answered_is_cut_between_records(names: list[str], limit: int) -> None:
    query = DNSRecord.question("web")
    response = query.reply()
    for name in names:
        response.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME(f"{name}.other")))
    response.add_auth(RR("web", QTYPE.NS, rdata=NS("ns.web")))
    packed = response.pack()
    cut = DNSRecord.parse(dns.fit(packed, limit))
    assert len(dns.fit(packed, limit)) <= max(limit, len(query.pack()))
    assert [str(row) for row in cut.rr] == [str(row) for row in response.rr[: len(cut.rr)]]
    assert cut.header.tc == (len(packed) > limit)


def test_broken_answers_are_not_kept() -> None:
    packed = DNSRecord.question("web").pack()
    response = bytes([*packed[:2], 0x80, 0, 0, 1, 0, 9, 0, 0, 0, 0]) + packed[12:]
    for rest in (b"\xc0", b"\x3f", b"\xc0\x0c" + bytes(8) + b"\xff\xff", b"\x01" * 40):
        assert dns.fit(response + rest.ljust(600, b"\x3f"), 512)[12:] == packed[12:]


def test_an_asker_says_how_much_it_takes() -> None:
    plain, more = DNSRecord.question("web"), DNSRecord.question("web")
    more.add_ar(EDNS0(udp_len=1232))
    small = DNSRecord.question("web")
    small.add_ar(EDNS0(udp_len=100))
    limits = [dns.udp_limit(query.pack(), dns.read_question(query.pack())) for query in (plain, more, small)]
    assert limits == [512, 1232, 512]


def test_an_answer_belongs_to_its_question() -> None:
    query = DNSRecord.question("web.Example")
    packed, reply = query.pack(), query.reply().pack()
    assert dns.belongs(reply, packed)
    assert dns.belongs(reply.replace(b"web", b"WEB"), packed)
    assert not dns.belongs(reply.replace(b"web", b"bad"), packed)
    assert not dns.belongs(bytes([reply[0] ^ 1]) + reply[1:], packed)
    assert not dns.belongs(packed, packed)
    assert not dns.belongs(b"", packed)


def test_a_very_long_name_of_a_container_is_cut_to_what_a_label_holds() -> None:
    packed = DNSRecord.question("2.0.5.10.in-addr.arpa", "PTR").pack()
    question = dns.read_question(packed)
    assert question is not None
    assert str(DNSRecord.parse(dns.answer_name(packed, question, "x" * 100)).rr[0].rdata) == "x" * 63 + "."
