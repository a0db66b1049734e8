"""DNS messages: one question read, an answer written. Only what a resolver for names of containers needs.

The rule that keeps it simple: bytes in, bytes out; whatever is not plainly one question for an address is not read, but passed on
as it is. The layout is that of RFC 1035, section 4; an answer's name is a pointer to the question's, so that it is written as it
was asked.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable

A, PTR, AAAA, ANY = 1, 12, 28, 255
NO_ERROR, SERVER_FAILURE, REFUSED = 0, 2, 5
MIN_BYTES, UDP_BYTES = 12, 512
_IN = 1
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct(
    "!HHIH"
)  # what follows a record's name: kind, class, time to live, and how many bytes of data come then
_RESPONSE, _OPCODE, _AUTHORITATIVE, _TRUNCATED, _WANTED, _AVAILABLE = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080
_POINTER_TO_QUESTION = 0xC00C
_TTL = 10  # seconds: a container that starts again has another address
_LABEL_MAX = 63
_NAME_MAX = 253
_V4_ZONE, _V6_ZONE = ".in-addr.arpa", ".ip6.arpa"


@record
class Question:
    """One question: `name` as it is asked, without the last dot; `end`: where the question ends in the message."""

    name: str
    kind: int
    end: int


def read_question(message: bytes) -> Question | None:
    """Give the one question of a query, None for anything else: no query, several questions, another class, broken."""
    if len(message) < MIN_BYTES:
        return None
    _, flags, questions, *_ = _HEADER.unpack_from(message)
    if flags & (_RESPONSE | _OPCODE) or questions != 1:
        return None
    labels, place, length = [], MIN_BYTES, 0
    while place < len(message):
        size = message[place]
        if size == 0:
            break
        if size > _LABEL_MAX or place + 1 + size >= len(message):  # pointers have no place in a question
            return None
        labels.append(message[place + 1 : place + 1 + size])
        length += size + 1
        place += 1 + size
    if length > _NAME_MAX + 1 or place + 5 > len(message):
        return None
    kind, family = struct.unpack_from("!HH", message, place + 1)
    if family != _IN:
        return None
    return Question(name=b".".join(labels).decode("latin-1"), kind=kind, end=place + 5)


def answer(message: bytes, question: Question, addresses: Iterable[IPv4Address | IPv6Address]) -> bytes:
    """Answer with the addresses of the kind asked for. None is an answer too: the name is there, without such an address."""
    versions = {A: (4,), AAAA: (6,), ANY: (4, 6)}.get(question.kind, ())
    rows = [
        struct.pack("!HHHIH", _POINTER_TO_QUESTION, A if address.version == 4 else AAAA, _IN, _TTL, len(address.packed))
        + address.packed
        for address in addresses
        if address.version in versions
    ]
    return _head(message, NO_ERROR, len(rows)) + message[MIN_BYTES : question.end] + b"".join(rows)


def answer_name(message: bytes, question: Question, name: str) -> bytes:
    """Answer a question for the name of an address."""
    packed = b"".join(bytes([len(label)]) + label for label in _labels(name)) + b"\0"
    row = struct.pack("!HHHIH", _POINTER_TO_QUESTION, PTR, _IN, _TTL, len(packed)) + packed
    return _head(message, NO_ERROR, 1) + message[MIN_BYTES : question.end] + row


def refuse(message: bytes, question: Question | None, code: int) -> bytes:
    """Answer with an error."""
    if question is None:
        head = bytearray(_head(message, code, 0))
        head[4:6] = b"\0\0"
        return bytes(head)
    return _head(message, code, 0) + message[MIN_BYTES : question.end]


def fit(response: bytes, limit: int) -> bytes:
    """Give a response that has `limit` bytes at most: of one that has more, the first answers that fit, marked as cut.

    There are resolvers that never ask again over TCP (musl's before 1.2.4): they do with what is there.
    """
    if len(response) <= limit:
        return response
    question = read_question(bytes([*response[:2], 0, 0]) + response[4:])
    end, kept = question.end if question else MIN_BYTES, 0
    answers = int.from_bytes(response[6:8], "big") if question else 0
    while kept < answers and (after := _end_of_record(response, end)) <= limit:
        end, kept = after, kept + 1
    head = bytearray(response[:end])
    head[2] |= _TRUNCATED >> 8
    head[6:12] = kept.to_bytes(2, "big") + bytes(4)
    return bytes(head)


def belongs(response: bytes, query: bytes) -> bool:
    """Whether a response is that to a query: the same number, and the same question in any case of letters."""
    if len(response) < MIN_BYTES or response[:2] != query[:2] or not response[2] & _RESPONSE >> 8:
        return False
    question = read_question(query)
    if question is None or response[4:6] == b"\0\0":
        return True
    return response[MIN_BYTES : question.end].lower() == query[MIN_BYTES : question.end].lower()


def code_of(response: bytes) -> int:
    """Give the error code of a response, 0 for none."""
    return response[3] & 0x0F


def udp_limit(query: bytes, question: Question | None) -> int:
    """Give how many bytes the asker takes over UDP: what its OPT record says (RFC 6891, section 6.1.2), else 512."""
    if question is not None and query[6:10] == b"\0\0\0\0" and query[10:12] == b"\0\1":
        record_of_opt = query[question.end : question.end + 5]
        if len(record_of_opt) == 5 and record_of_opt[:3] == b"\0\0\x29":
            return max(UDP_BYTES, int.from_bytes(record_of_opt[3:5], "big"))
    return UDP_BYTES


def address_of(name: str) -> IPv4Address | IPv6Address | None:
    """Give the address that a name such as `2.0.17.172.in-addr.arpa` asks about, None for another name."""
    lower = name.lower()
    try:
        if lower.endswith(_V4_ZONE):
            return IPv4Address(".".join(reversed(lower.removesuffix(_V4_ZONE).split("."))))
        if lower.endswith(_V6_ZONE):
            digits = lower.removesuffix(_V6_ZONE).split(".")
            if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
                return IPv6Address(int("".join(reversed(digits)), 16))
    except ValueError:
        return None
    return None


def _head(message: bytes, code: int, answers: int) -> bytes:
    number, flags = struct.unpack_from("!HH", message)
    flags = _RESPONSE | _AVAILABLE | flags & _WANTED | code | (0 if code else _AUTHORITATIVE)
    return _HEADER.pack(number, flags, 1, answers, 0, 0)


def _end_of_record(message: bytes, place: int) -> int:
    """Give where the record that begins here ends; behind the message where it is broken."""
    while place < len(message) and 0 < message[place] <= _LABEL_MAX:
        place += 1 + message[place]
    place += 1 if message[place : place + 1] == b"\0" else 2  # else the rest of the name is a pointer
    return place + _RECORD.size + int.from_bytes(message[place + _RECORD.size - 2 : place + _RECORD.size], "big")


def _labels(name: str) -> list[bytes]:
    """Give the labels of a name, each cut to what a label can hold: names of containers may be longer."""
    return [label.encode("latin-1", "replace")[:_LABEL_MAX] for label in name.split(".") if label]
